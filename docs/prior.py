"""Fills the table of docs/detectors.md on the prior pi from its records.

python -m docs.prior                       the table from docs/records/prior_*.json
python -m docs.prior runs/prior/trials     takes those records from a sweep's folder first
"""

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORDS = HERE / "records"
PAGE = HERE / "detectors.md"
BEGIN, END = "<!-- prior: begin -->\n", "<!-- prior: end -->\n"
SHOWN = (1, 2, 5, 10, 20, 50)  # updates


def main(folders: list[str]) -> None:
    """Take records where folders are named, and write the block."""
    for folder in folders:
        for path in Path(folder).glob("*/record.json"):
            RECORDS.mkdir(exist_ok=True)
            shutil.copy(path, RECORDS / f"prior_{pi_of(json.loads(path.read_text()))}.json")
    text = PAGE.read_text()
    start, stop = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text(text[:start] + block() + text[stop:])


def pi_of(record: dict[str, Any]) -> float:
    """The prior of a run."""
    return float(record["config"]["detector"]["head"]["prior"])


def block() -> str:
    """The classification loss of each run at some updates, and what its first one should be."""
    paths = sorted(RECORDS.glob("prior_*.json"))
    records = [json.loads(path.read_text()) for path in paths]
    lines = [
        "| pi | by the formula | " + " | ".join(f"update {number}" for number in SHOWN) + " |",
        "|---" * (len(SHOWN) + 2) + "|",
    ]
    for record in records:
        rows = {row["iteration"]: row for row in record["curves"]}
        told = [figure(rows.get(number, {}).get("loss_classification")) for number in SHOWN]
        expected = figure(formula(record, rows[1]["foreground"]))
        lines.append(f"| {pi_of(record):g} | {expected} | " + " | ".join(told) + " |")
    cores, commit = records[0]["hardware"]["cores"], str(records[0]["commit"])[:7]
    changed = " with uncommitted changes" if records[0]["dirty"] else ""
    return (
        "\n".join(lines)
        + "\n\n(Classification loss; RetinaNet of `configs/studies/prior.yaml`, glyphs, one seed, "
        f"{cores} cores, commit `{commit}`{changed}.)\n"
    )


def formula(record: dict[str, Any], foreground: float) -> float:
    """A K (-ln(1 - pi)) over the foreground of the first batch, and the foreground's own -ln pi."""
    config, pi = record["config"], pi_of(record)
    height, width = (config["input"]["fit"][side] for side in ("height", "width"))
    levels = config["detector"]["pyramid"]["levels"]
    cells = sum(
        -(-height // (8 * 2**level)) * -(-width // (8 * 2**level)) for level in range(levels)
    )
    anchors = config["detector"]["anchors"]
    each = anchors["octave_scales"] * len(anchors["ratios"])
    pairs = cells * each * len(record["data"]["classes"]) * config["train"]["batch_size"]
    return ((pairs - foreground) * -math.log(1 - pi) - foreground * math.log(pi)) / foreground


def figure(value: float | None) -> str:
    """Three digits; a dash for what is not there or not finite."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.3g}"


if __name__ == "__main__":
    main(sys.argv[1:])
