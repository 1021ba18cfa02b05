"""Writes tests/golden/darknet_*.npz: what the original Darknet computes on networks small enough to
commit.

python tests/peers/make_golden.py PROBE      (PROBE: probe.c compiled, see
tests/peers/test_darknet.py)

Each file holds cfg (text), weights (the bytes of a .weights file), input (uint8, divided by 256),
truth [B, 30, 5] and, for each number of images seen, everything the probe writes.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CFG = Path("/usr/share/darknet/cfg")
GOLDEN = Path(__file__).parents[1] / "golden"
BATCH, HEIGHT, WIDTH = 3, 64, 96
SEEN = (0, 20000)
REORG = """[net]
batch=3
subdivisions=1
height=4
width=6
channels=8

[reorg]
stride=2

[region]
anchors = .5,.5, 1,1
bias_match=1
classes=11
coords=4
num=2
softmax=1
rescore=1
absolute=1
thresh=.6
"""


def narrow(cfg: str, width: float, passthrough: int) -> str:
    """The cfg at another size and batch, every block's filters scaled, the passthrough set."""
    for key, value in {"batch": BATCH, "subdivisions": 1, "width": WIDTH, "height": HEIGHT}.items():
        cfg = re.sub(rf"(?m)^{key}\s*=.*$", f"{key}={value}", cfg)

    def scaled(match: re.Match[str]) -> str:
        filters = int(match.group(1))
        if "route" in cfg and filters == 64 and match.start() > cfg.index("route"):
            return f"filters={passthrough}"
        return f"filters={max(8, round(filters * width / 8) * 8)}"

    blocks, region = cfg.rsplit("[convolutional]", 1)
    return re.sub(r"filters=(\d+)", scaled, blocks) + "[convolutional]" + region


def layers(cfg: str) -> list[tuple[int, int, int, bool]]:
    """(inputs, filters, kernel, batch norm) of every convolution, by walking the cfg."""
    found, outs, channels = [], [], 3
    for block in re.split(r"\n(?=\[)", re.sub(r"#.*", "", cfg))[1:]:
        options = dict(re.findall(r"(\w+)\s*=\s*(\S+)", block))
        if block.startswith("[convolutional]"):
            filters, kernel = int(options["filters"]), int(options["size"])
            found.append((channels, filters, kernel, "batch_normalize" in options))
            channels = filters
        elif block.startswith("[reorg]"):
            channels *= 4
        elif block.startswith("[route]"):
            places = [int(place) for place in options["layers"].split(",")]
            channels = sum(outs[place] for place in places)
        outs.append(channels)
    return found


def weights(cfg: str, random: np.random.Generator) -> bytes:
    """A .weights file with random values."""
    data = np.array([0, 2, 0, 0, 0], "<i4").tobytes()
    for inputs, filters, kernel, norm in layers(cfg):
        chunks = [random.normal(0, 0.1, filters)]
        if norm:
            chunks += [
                random.uniform(0.7, 1.3, filters),
                random.normal(0, 0.1, filters),
                random.uniform(0.5, 1.5, filters),
            ]
        fan_in = inputs * kernel * kernel
        chunks.append(random.normal(0, (2 / fan_in) ** 0.5, filters * fan_in))
        data += b"".join(chunk.astype("<f4").tobytes() for chunk in chunks)
    return data


def truths(classes: int, random: np.random.Generator) -> np.ndarray:
    """Up to 8 boxes an image; the second shares the first one's centre."""
    truth = np.zeros((BATCH, 30, 5), "<f4")
    for image in truth:
        count = int(random.integers(3, 9))
        image[:count, :2] = random.uniform(0.1, 0.9, (count, 2))
        image[:count, 2:4] = random.uniform(0.05, 0.7, (count, 2))
        image[:count, 4] = random.integers(0, classes, count)
        image[1, :2] = image[0, :2]
    return truth


def write(name: str, cfg: str, probe: str, seed: int) -> None:
    """Run the probe on random values and keep what it wrote."""
    random = np.random.default_rng(seed)
    sides = {k: int(v) for k, v in re.findall(r"(?m)^(height|width|channels)\s*=\s*(\d+)", cfg)}
    shape = (BATCH, sides["channels"], sides["height"], sides["width"])
    image = random.integers(0, 4, shape, dtype=np.uint8) * 64  # 2 bits a value compress well
    kept = {"cfg": np.array(cfg), "input": image}
    kept["weights"] = np.frombuffer(weights(cfg, random), np.uint8)
    classes = int(re.findall(r"classes\s*=\s*(\d+)", cfg)[0])
    kept["truth"] = truths(classes, random)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "net.cfg").write_text(cfg)
        (place / "net.weights").write_bytes(kept["weights"].tobytes())
        (image.astype("<f4") / 256).tofile(place / "input.f32")
        kept["truth"].tofile(place / "truth.f32")
        for seen in SEEN:
            files = [str(place / file) for file in ("input.f32", "truth.f32")]
            model = [str(place / "net.cfg"), str(place / "net.weights")]
            subprocess.run([probe, *model, str(BATCH), str(seen), *files, folder], check=True)
            for part in ("eval_head", "eval_detections", "train_head", "train_delta"):
                key = f"{part}_{seen}" if part == "train_delta" else part
                kept[key] = np.fromfile(place / f"{part}.f32", "<f4")
    np.savez_compressed(GOLDEN / f"darknet_{name}.npz", **kept)


def main() -> None:
    """Write the three files."""
    probe = sys.argv[1]
    write("yolov2", narrow((CFG / "yolov2-voc.cfg").read_text(), 1 / 64, 8), probe, seed=1)
    tiny = (CFG / "yolov2-tiny-voc.cfg").read_text().replace("rescore=1", "rescore=0")
    write("tiny", narrow(tiny, 1 / 64, 8), probe, seed=2)
    write("reorg", REORG, probe, seed=3)


if __name__ == "__main__":
    main()
