"""Several images of one name: labels go to the right one, or it is said that nothing tells."""

from pathlib import Path

from datasets.doctor.examine import examine
from datasets.importing.finding import TWINS, UNLABELLED, find
from datasets.layouts import open_all
from tests.datasets.test_exports import found_by
from tests.experiments.verbs.test_world import photo, voc, xml, yolo


def test_masks_have_the_names_of_photos(tmp_path: Path) -> None:
    """As Oxford's pets lie: masks nearer to the XML files than the photos are."""
    for stem in ("pet_1", "pet_2"):
        photo(tmp_path / f"images/{stem}.jpg")
        photo(tmp_path / f"annotations/trimaps/{stem}.png")
        path = tmp_path / f"annotations/xmls/{stem}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(xml().replace("<object>", f"<filename>{stem}.jpg</filename><object>"))
    images = [f"images/{stem}.jpg" for stem in ("pet_1", "pet_2")]
    assert list(found_by(tmp_path).values()) == images
    found = find(tmp_path)
    assert found.left_out == {UNLABELLED: 2}
    assert found.first[UNLABELLED] == "annotations/trimaps/pet_1.png"


def test_labels_say_which_ending_is_theirs(tmp_path: Path) -> None:
    voc(tmp_path, xml())
    photo(tmp_path / "JPEGImages/a.png", (48, 32))
    photo(tmp_path / "JPEGImages/b.png", (48, 32))
    path = tmp_path / "Annotations/a.xml"
    path.write_text(xml().replace("<object>", "<filename>a.png</filename><object>"))
    (data,) = open_all(tmp_path, ["train"]).values()
    names = [Path(data.annotation(n).path).name for n in range(3)]
    assert names == ["a.png", "b.jpg", "c.jpg"]
    twin = next(f for f in examine(tmp_path, ["train"]).findings if f.kind == "twin_images")
    assert (twin.file, twin.object) == ("Annotations/b.xml", None)
    assert "b.jpg, JPEGImages/b.png); JPEGImages/b.jpg is used" in twin.message
    assert "twin_images" in {finding.kind for finding in data.problems}
    assert find(tmp_path).left_out[TWINS] == 1


def test_photos_of_one_name_in_two_folders_are_not_guessed_at(tmp_path: Path) -> None:
    for folder in "xy":
        photo(tmp_path / f"{folder}/a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.xml").write_text(xml())
    photo(tmp_path / "b.jpg")
    (tmp_path / "labels/b.xml").write_text(xml())
    found = find(tmp_path)
    assert [item.image for item in found.items] == ["b.jpg"]
    assert "(x/a.jpg, y/a.jpg); none is used" in found.first[TWINS]


def test_one_text_is_the_labels_of_two_images(tmp_path: Path) -> None:
    yolo(tmp_path)
    photo(tmp_path / "images/train/a.png")
    findings = examine(tmp_path, ["train"]).findings
    assert [(f.file, f.kind) for f in findings] == [("labels/train/a.txt", "twin_images")]
