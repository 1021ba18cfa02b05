"""The verbs eval, compare and errors on small dumps and records, as a user calls them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from experiments.evaluation import (
    DetectionCollector,
    Tables,
    TruthCollector,
    evaluate,
    write_dump,
)
from experiments.evaluation.dump import write_table
from experiments.evaluation.interchange.devkit import write_devkit
from experiments.record.record import (
    Data,
    Split,
    describe_file,
    read_metrics,
    start_record,
    write_record,
)
from tests.calling import call, refused

CLASSES = ("cat", "dog")
IMAGES = 30


def tables(quality: float, seed: int) -> Tables:
    """Thirty images with two objects each; a better detector moves its boxes less."""
    truth, detections = TruthCollector(), DetectionCollector()
    truth_random, random = np.random.default_rng(0), np.random.default_rng(seed)
    for image in range(IMAGES):
        corner = truth_random.integers(0, 60, (2, 2)).astype(float)
        boxes = np.column_stack((corner, corner + truth_random.integers(20, 40, (2, 2))))
        labels = truth_random.integers(0, 2, 2)
        name = f"{image:03d}"
        truth.add(name, width=100, height=100, path=f"{name}.jpg", boxes_N4=boxes, labels_N=labels)
        moved = boxes + random.normal(0, 8 * (1 - quality), (2, 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
        wrong = np.where(random.random(2) < 0.2, 1 - labels, labels)
        detections.add(name, moved, random.random(2) * 0.5 + 0.5 * quality, wrong)
    return Tables(detections.table(), *truth.tables(), CLASSES)


def write_run(folder: Path, arm: str, quality: float, seed: int, *, data: str = "d" * 64) -> None:
    measured = tables(quality, seed)
    inputs = (measured.detections, measured.truth, measured.images, CLASSES)
    config = {"arm": arm, "seed": seed}
    record = start_record(id=folder.name, arm=arm, config=config, seed=seed, gpus=())
    files = write_dump(folder, measured)
    record = dataclasses.replace(
        record,
        status="finished",
        metrics=read_metrics(evaluate(*inputs)),
        data=Data(CLASSES, test=Split(IMAGES, 2 * IMAGES, 0, data)),
        files={kind: describe_file(path) for kind, path in files.items()},
    )
    write_record(folder, record)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    for arm, quality in (("plain", 0.3), ("focal", 0.9), ("other", 0.32)):
        for seed in range(3):
            write_run(folder / arm / str(seed), arm, quality, seed)
    return folder


def test_eval_of_a_dump_prints_the_records_numbers(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("eval", "--detections", sweep / "focal/0", "--out", tmp_path) == 0
    shown = capsys.readouterr().out.splitlines()
    recorded = json.loads((sweep / "focal/0/record.json").read_text())["metrics"]
    assert shown[0].split()[:2] == ["VOC07", "mAP"]
    assert shown[1].split()[0] == f"{recorded['voc07_map']:.2f}"
    assert json.loads((tmp_path / "metrics.json").read_text()) == recorded
    same = (tmp_path / "detections.parquet").read_bytes()
    assert same == (sweep / "focal/0/detections.parquet").read_bytes()


def test_eval_shows_what_each_rule_makes_of_the_same_detections(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("eval", "--detections", sweep / "plain/0", "--protocol", "all") == 0
    shown = capsys.readouterr().out
    for name in ("devkit", "detectron2", "mmdet", "one pixel less", "difficult dropped"):
        assert name in shown
    assert call("eval", "--detections", sweep / "plain/0", "--iou", "0.9") == 0
    assert "0.00" in capsys.readouterr().out


def test_eval_of_devkit_files_against_voc_xml(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = tables(0.9, 0)
    write_devkit(tmp_path / "found", measured.detections, CLASSES, "comp4_det_test_")
    voc = tmp_path / "voc"
    (voc / "Annotations").mkdir(parents=True)
    (voc / "ImageSets/Main").mkdir(parents=True)
    for name, rows in measured.truth.groupby("image_id"):
        size = "<size><width>100</width><height>100</height></size>"
        objects = "".join(
            f"<object><name>{CLASSES[row.label]}</name><difficult>0</difficult><bndbox>"
            f"<xmin>{row.x1 + 1}</xmin><ymin>{row.y1 + 1}</ymin><xmax>{row.x2}</xmax>"
            f"<ymax>{row.y2}</ymax></bndbox></object>"
            for row in rows.itertuples()
        )
        (voc / f"Annotations/{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (voc / "ImageSets/Main/val.txt").write_text("\n".join(measured.images["image_id"]))
    words = ("eval", "--detections", tmp_path / "found", "--truth", voc, "--split", "val")
    assert call(*words) == 0
    inputs = (measured.detections, measured.truth, measured.images, CLASSES)
    assert f"{evaluate(*inputs)['voc07_map']:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name a run or a checkpoint"),
        (("--detections", "absent.parquet"), "absent.parquet: no such file or folder"),
        (("--detections", "losses"), "holds no dump, which would bring its truth"),
        (("run", "--detections", "x"), "not both"),
    ],
)
def test_eval_says_what_it_needs(words: tuple[str, ...], message: str) -> None:
    refused(message, "eval", *words)


def test_eval_suggests_the_protocol_that_was_meant(sweep: Path) -> None:
    refused(
        "did you mean 'detectron2'",
        "eval",
        "--detections",
        sweep / "plain/0",
        "--protocol",
        "detectron",
    )
    refused("iou: must be in", "eval", "--detections", sweep / "plain/0", "--iou", "1.5")


def test_classes_are_matched_by_name(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = tables(0.9, 0)
    swapped = measured.detections.assign(label=1 - measured.detections["label"])
    path = write_table(tmp_path / "found.parquet", swapped, "detections", ("dog", "cat"))
    assert call("eval", "--detections", path, "--truth", sweep / "plain/0") == 0
    theirs = capsys.readouterr().out
    assert call("eval", "--detections", sweep / "focal/0") == 0
    assert theirs == capsys.readouterr().out
    write_table(path, swapped, "detections", ("dog", "cow"))
    refused(
        "class 'cow' is not in the truth",
        "eval",
        "--detections",
        path,
        "--truth",
        sweep / "plain/0",
    )


def test_three_seeds_an_arm_give_a_verdict(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("compare", sweep / "plain", sweep / "focal") == 0
    shown = capsys.readouterr().out
    assert "Focal is better: " in shown and "above plain" in shown
    assert "permutation: p = 0.1 (least possible = 0.1)" in shown
    assert call("compare", "plain", "focal", "other", "--runs", sweep) == 0
    shown = capsys.readouterr().out
    assert shown.count("after Holm’s correction for 2 comparisons") == 2
    assert "No difference is shown: other reaches" in shown
    assert "Welch’s t test" in shown and "over 3 seeds is shared by 3 arms" in shown


def test_one_run_each_never_makes_a_winner(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("compare", sweep / "plain/0", sweep / "focal/0", "--resamples", "100") == 0
    shown = capsys.readouterr().out
    assert "Undecided: focal has" in shown and "one seed an arm" in shown
    assert "These weights of focal are better" in shown and "says nothing of the methods" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("plain",), "two arms or more"),
        (("nothing", "here"), "no such folder"),
        (("plan", "focal", "--runs", "{sweep}"), "no arm 'plan'; did you mean 'plain'"),
        (("{sweep}", "{sweep}/plain"), "holds 3 arms .focal, other, plain."),
        (("{sweep}/plain", "{sweep}/focal", "--metric", "voc07"), "did you mean 'voc07_map'"),
    ],
)
def test_compare_says_what_is_wrong(sweep: Path, words: tuple[str, ...], message: str) -> None:
    refused(message, "compare", *(word.format(sweep=sweep) for word in words))


def test_of_a_repeated_seed_the_latest_counts_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, arm in (("a/0", "plain"), ("a/1", "plain"), ("b/0", "focal")):
        write_run(tmp_path / name, arm, 0.3, 0)
    assert call("compare", tmp_path / "a", tmp_path / "b") == 0
    assert "plain ran seed 0 more than once; the latest run counts." in capsys.readouterr().out


def test_runs_that_are_not_seeds_of_one_arm_are_not_pooled(tmp_path: Path) -> None:
    write_run(tmp_path / "a/0", "plain", 0.3, 0)
    write_run(tmp_path / "a/1", "plain", 0.3, 1)
    write_run(tmp_path / "b/0", "plain", 0.3, 1, data="e" * 64)
    refused("measured on different data", "compare", tmp_path / "a/0", tmp_path / "b")
    refused("settings of one arm, which differ in their test data", "compare", tmp_path, tmp_path)
    record = json.loads((tmp_path / "a/1/record.json").read_text())
    record["status"], record["metrics"], record["files"] = "failed", None, {}
    (tmp_path / "a/1/record.json").write_text(json.dumps(record))
    refused("there is no finished run", "compare", tmp_path / "a/1", tmp_path / "b")


def test_errors_tell_kinds_confusions_and_cuts(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "curves.csv"
    assert call("errors", sweep / "plain/0", "--curves", path, "--score", "0.1") == 0
    shown = capsys.readouterr().out
    for word in ("location", "background", "missed", "Calibration", "cat", "scores from"):
        assert word in shown
    lines = path.read_text().splitlines()
    assert lines[0] == "class,score,recall,precision" and len(lines) == 1 + 2 * IMAGES
    refused("name a run's folder or --detections", "errors")
    refused("holds no dump, which would bring its truth", "errors", tmp_path)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("eval", "compare", "errors"):
        with pytest.raises(SystemExit):
            call(verb, "--help")
        assert f"python -m experiments {verb}" in capsys.readouterr().out


def test_eval_measures_the_classes_asked_for_by_either_library(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = sweep / "focal/0"
    told = []
    for backend in ("hotcoco", "pycocotools"):
        words = ["--classes", "dog", "--backend", backend, "--out", tmp_path / backend]
        assert call("eval", "--detections", whole, *words) == 0
        told.append(json.loads((tmp_path / backend / "metrics.json").read_text()))
        assert "objects of other classes are left out: cat" in capsys.readouterr().err
    assert told[0] == told[1] and list(told[0]["per_class"]) == ["dog"]
    everything = json.loads((whole / "record.json").read_text())["metrics"]["per_class"]["dog"]
    assert told[0]["per_class"]["dog"] == everything
