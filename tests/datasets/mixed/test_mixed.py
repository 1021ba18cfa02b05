"""Any mix of faults over a sound set gives the same boxes or a finding that names what is lost, in
every form of labels; the repaired copy holds every object that was usable.
"""

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings

from datasets.dataset import Dataset
from datasets.doctor.examine import Examination, examine
from datasets.doctor.kinds import REMARKS
from datasets.doctor.repair import repair
from datasets.errors import DataError, Finding
from datasets.layouts import open_all
from tests.datasets.mixed.coco import coco
from tests.datasets.mixed.scene import Form, Row, Scene, rows, scenes
from tests.datasets.mixed.voc import voc
from tests.datasets.mixed.yolo import YOLO_FORMS

FORMS: dict[str, Form] = {"voc": voc, "coco": coco, **YOLO_FORMS}
TOLERANCE_PX = 0.05


def read(opened: dict[str, Dataset]) -> list[Row]:
    found = []
    for data in opened.values():
        for index in range(len(data)):
            labels = data.annotation(index)
            stem = PurePosixPath(labels.path).stem
            for label, box in zip(labels.labels_N, labels.boxes_N4.tolist(), strict=True):
                found.append(Row(stem.lower(), data.classes[label], tuple(box)))
    return found


def without(some: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """Those of `some` that are not among `others`, each of which stands for one."""
    left = list(others)
    missing = []
    for one in some:
        same = next((row for row in left if alike(one, row)), None)
        if same is None:
            missing.append(one)
        else:
            left.remove(same)
    return missing


def alike(one: Row, other: Row) -> bool:
    near = all(abs(a - b) <= TOLERANCE_PX for a, b in zip(one.box, other.box, strict=True))
    return near and one.stem.lower() == other.stem.lower() and one.name == other.name


def told(findings: Sequence[Finding]) -> Counter[str]:
    """How many objects findings may stand for: by the photo's name, or all in one file's."""
    count: Counter[str] = Counter()
    for one in findings:
        number = re.search(r"\((\d+) such", one.message)
        of_image = one.object is None or "images[" in one.message
        weight = 6 if of_image else int(number[1]) if number else 1
        stem = "" if one.file.endswith(".json") else PurePosixPath(one.file).stem.lower()
        count[stem] += weight
        if one.kind == "no_label_file":
            count[""] += weight * (int(number[1]) if number else 1)
    return count


def nothing_is_lost_in_silence(root: Path, scene: Scene) -> None:
    meant = rows(scene)
    try:
        seen = examine(root, decode=True)
    except DataError as error:  # the split itself can't be read: said, and nothing is learned
        assert str(root) in str(error)
        with pytest.raises(DataError):
            open_all(root)
        return
    try:
        found = read(open_all(root))
    except DataError as error:
        assert any(str(one.file) in str(error) for one in seen.findings), error
        return
    assert len(found) == sum(split.objects + split.ignored for split in seen.splits.values())
    named = told(seen.findings)
    for other in (without(meant, found), without(found, meant)):
        left = Counter(named)
        for row in other:
            stem = row.stem.lower()
            assert left[stem] > 0 or left[""] > 0, f"{row} is lost or changed in silence"
            left[stem if left[stem] > 0 else ""] -= 1


def usable(seen: Examination) -> int:
    """Objects that a reader takes, in images that decode, each box once."""
    joined, kept = seen.joined, seen.judged.kept_M
    image_M = joined.image_N[kept]
    keys = {
        (int(image), int(label), tuple(round(float(v), 2) for v in box))
        for image, label, box in zip(
            image_M, seen.judged.labels_M, seen.judged.boxes_M4, strict=True
        )
        if int(image) not in seen.unusable
    }
    return len(keys)


def the_copy_holds_all_that_is_usable(root: Path) -> None:
    try:
        seen = examine(root)
    except DataError:
        return
    out = root.parent / "copy"
    try:
        repair(seen, out)
    except DataError as error:
        assert "--allow-loss" in str(error) and not out.exists()
        repair(seen, out, allow_loss=True)
    if usable(seen) == 0:
        return
    again = examine(out)
    assert usable(again) == usable(seen)
    kept = read(open_all(out))
    assert len(kept) == usable(seen)
    assert {one.kind for one in again.findings} <= REMARKS | {"in_two_splits", "no_objects"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mixed")


def check(form: Form, scene: Scene, folder: Path) -> None:
    for name in ("set", "copy"):
        shutil.rmtree(folder / name, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTGAMMA_CACHE", "/dev/null/none")  # kept in memory: no waiting for a disk
        form(folder / "set", scene)
        nothing_is_lost_in_silence(folder / "set", scene)
        the_copy_holds_all_that_is_usable(folder / "set")


def hold(form: Form, folder: Path, examples: int, most: int) -> None:
    @settings(
        deadline=None,
        max_examples=examples,
        derandomize=examples < 100,  # the quick ones are the same every time, the many look further
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(scenes(form.faults, most))
    def holds(scene: Scene) -> None:
        check(form, scene, folder)

    holds()


@pytest.mark.parametrize("name", list(FORMS))
def test_a_few_mixes(name: str, folder: Path) -> None:
    hold(FORMS[name], folder, 12 if name in ("voc", "coco") else 6, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FORMS))
def test_many_mixes(name: str, folder: Path) -> None:
    hold(FORMS[name], folder, 300, 6)
