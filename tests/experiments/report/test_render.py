"""The folder that a report writes."""

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from experiments.record.record import Memory
from experiments.report import ReportError, write_report

CHECKOUT = Path(__file__).parents[3]
FILES = [
    "anatomy.csv",
    "contrasts.csv",
    "diagnosis.json",
    "errors.csv",
    "manifest.json",
    "per_class.csv",
    "report.html",
    "report.md",
    "runs.csv",
    "table.csv",
    "table.tex",
]
EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Ids, links, outside references and scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.outside: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [values["id"]] if values.get("id") else []
        self.scripts += tag == "script"
        target = values.get("href") or values.get("src") or values.get("xlink:href")
        if target and tag == "a":
            self.links.append(target)
        elif target and not target.startswith(("data:", "#")):
            self.outside.append(target)


def test_all_files_are_there_and_linked(small_report: Path) -> None:
    assert sorted(path.name for path in small_report.parent.iterdir() if path.is_file()) == FILES
    page = Page(small_report.read_text(encoding="utf-8"))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        else:
            assert (small_report.parent / link).exists(), link


def test_the_page_needs_nothing_from_outside_and_ids_are_unique(small_report: Path) -> None:
    text = small_report.read_text(encoding="utf-8")
    page = Page(text)
    assert page.outside == [] and page.scripts == 1
    assert len(page.ids) == len(set(page.ids))
    assert "@import" not in text and not re.search(r"url\((?!#)", text)


def test_equal_records_give_equal_bytes(
    small_study: Path, small_report: Path, tmp_path: Path
) -> None:
    out = small_report.parent.parent / "again"
    again = write_report([small_study], out, images=2)
    for path in small_report.parent.rglob("*.*"):
        if path.is_file():
            assert (
                path.read_bytes()
                == (again.parent / path.relative_to(small_report.parent)).read_bytes()
            ), path.name


def test_hostile_names_are_inert(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    classes = (EVIL, '"><img src=x onerror=alert(2)>', "$x_1$ & ]]> {{ 7 * 7 }}")
    for gamma in (0.0, 2.0):
        setting = make_setting(
            "yolov2",
            f"{EVIL} gamma {gamma}" + " and so on" * 20,
            {"name": "focal", "gamma": gamma, "where": EVIL},
            50.0,
        )
        for seed in range(2):
            make_run(
                tmp_path / f"in/{gamma}-{seed}",
                setting,
                seed,
                classes=classes,
                note=f"</pre>{EVIL}",
            )
    page = write_report([tmp_path / "in"], tmp_path / "out", question=f"Why {EVIL}?")
    text = page.read_text(encoding="utf-8")
    assert Page(text).scripts == 1 and EVIL not in text and "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "{{ 7 * 7 }}" in text
    markdown = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    for path in (tmp_path / "out/figures").glob("*.svg"):
        assert "<script" not in path.read_text(encoding="utf-8")


def test_the_page_is_light_enough(small_report: Path) -> None:
    without_images = re.sub(
        r"data:image/jpeg;base64,[^\"]+", "", small_report.read_text(encoding="utf-8")
    )
    assert len(without_images.encode()) < 3_000_000


def test_one_arm_alone_and_no_finished_run_still_give_a_page(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    setting = make_setting("yolov2", "yolov2 focal", {"name": "focal", "gamma": 2.0}, 50.0)
    make_run(tmp_path / "one/a", setting, 0)
    make_run(tmp_path / "none/a", setting, 0, status="interrupted")
    assert "Another seed would give another number." in write_report(
        [tmp_path / "one"], tmp_path / "r1"
    ).read_text(encoding="utf-8")
    assert "No run has finished" in write_report([tmp_path / "none"], tmp_path / "r2").read_text(
        encoding="utf-8"
    )


def test_an_unknown_metric_is_refused_with_the_known_ones(
    small_study: Path, tmp_path: Path
) -> None:
    with pytest.raises(ReportError, match="metric: unknown 'map'.*voc07_map"):
        write_report([small_study], tmp_path, metric="map")


def test_a_report_is_made_without_torch(tiny_study: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import experiments.verbs.report;"
        "from experiments.report import write_report;"
        f"write_report([Path({str(tiny_study)!r})], Path({str(tmp_path)!r}), images=1);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT, timeout=400)


def test_memory_is_shown_where_records_have_it(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Callable[..., Any]
) -> None:
    plain = make_setting("yolov2", "yolov2 cross-entropy", {"name": "cross_entropy"}, 70.0)
    focal = make_setting("yolov2", "yolov2 focal", {"name": "focal", "gamma": 2.0}, 72.0)
    make_run(tmp_path / "old", plain, 0)
    for seed, peak in enumerate((900.0, 1234.6)):
        make_run(tmp_path / f"new-{seed}", focal, seed, memory=Memory(peak, worker_mib=700.0))
    page = write_report([tmp_path], tmp_path / "out", images=0).read_text(encoding="utf-8")
    cost = page[page.index('id="cost"') : page.index('id="provenance"')]
    assert re.findall(r"<th scope=\"col\">(\w+) \(MiB\)", cost) == ["Memory", "Worker"]
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row)[-2:] for row in cost.split("<tr>")[2:]]
    assert cells == [["–", "–"], ["1,235", "700"]]
    rows = (tmp_path / "out/runs.csv").read_text(encoding="utf-8").splitlines()
    assert [row.rsplit(",", 3)[1] for row in rows] == [
        "process_mib",
        "",
        "900.000000",
        "1234.600000",
    ]
