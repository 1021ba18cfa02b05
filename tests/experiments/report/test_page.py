"""What the page shows of studies of every kind, in a real browser at three widths."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.config.words import arm_name
from experiments.report import write_report
from tests.calling import call

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.slow  # four reports and a browser: half a minute
PATIENCE = 240_000  # ms: a busy machine is slow, not wrong
RAMP = {"schedule": "linear", "start": 0.0, "end": 2.0, "ramp": [0.0, 0.5]}
SOFT = "focal α 0.25 soft 0→2, linear to 50 %"
CLASSES = tuple(f"class {place:02}" for place in range(24))
# Letters of figures as the screen has them: an SVG's own size, scaled to its box.
SMALLEST = """
() => Math.min(...[...document.querySelectorAll("figure > svg")].flatMap((svg) => {
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  const letters = (text) => parseFloat(getComputedStyle(text).fontSize);
  return [...svg.querySelectorAll("text")].map((text) => letters(text) * scale);
}))
"""
CUT = """
() => [...document.querySelectorAll(".scroll, .verdict, figure, .thumbs")]
  .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
  .map((e) => e.getAttribute("aria-label") || e.className)
"""


def focal(alpha: float, gamma: Any) -> dict[str, Any]:
    return {"name": "focal", "alpha": alpha, "gamma": gamma}


ARMS: list[tuple[dict[str, Any], float]] = [
    ({"name": "cross_entropy"}, 0.0),
    (focal(0.25, 0.0), -6.0),
    (focal(0.25, 2.0), 3.0),
    (focal(0.25, RAMP), 8.0),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Any:
    """Reports by name: three seeds of both detectors, one seed, one run, a sweep of 12 arms, and a
    study of three arms at five learning rates, of which val chose the second for each.
    """
    from tests.experiments.report.conftest import Setting, photographs, write_run

    root = tmp_path_factory.mktemp("pages")
    truth = photographs(4, root)

    def arm(detector: str, loss: dict[str, Any], level: float) -> Setting:
        name = arm_name({"detector": {"name": detector}, "loss": loss})
        return Setting(detector, name, loss, level, 0.4)

    for detector, level in (("retinanet", 60.0), ("yolov2", 50.0)):
        for place, (loss, gain) in enumerate(ARMS):
            setting = arm(detector, loss, level + gain)
            for seed in range(3):
                folder = root / f"seeds/{detector}-{place}-{seed}"
                write_run(folder, setting, seed, truth=truth, points=20, arm=None, val_level=level)
    for place, (loss, gain) in enumerate(ARMS):
        folder = root / f"single/{place}"
        write_run(folder, arm("yolov2", loss, 50 + gain), 0, truth=truth, points=9, arm=None)
    one = arm("yolov2", focal(0.25, 2.0), 50.0)
    write_run(root / "one/a", one, 0, truth=truth, points=9, arm=None, classes=CLASSES[:1])
    for place in range(12):
        loss = focal((0.25, 0.5, 0.75)[place % 3], (0.0, 1.0, 2.0, 5.0)[place // 3])
        for seed in range(2):
            setting = arm("retinanet", loss, 55.0 + place % 5)
            folder = root / f"sweep/{place}-{seed}"
            write_run(folder, setting, seed, points=9, arm=None, classes=CLASSES)
    for place, (loss, gain) in enumerate((ARMS[0], ARMS[2], ARMS[3])):
        for step, rate in enumerate((6e-4, 1.2e-3, 2.4e-3, 4.8e-3, 9.6e-3)):
            for seed in range(3):
                lower = 3.0 * abs(step - 1)
                setting = arm("yolov2", loss, 60 - gain - lower)
                folder = root / f"study/{place}-{step}-{seed}"
                rates = {"optimizer": {"lr": rate}, "val_level": 50 - lower}
                write_run(folder, setting, seed, truth=truth, points=9, arm=None, **rates)
    names = ("seeds", "single", "one", "sweep", "study")
    options: dict[str, dict[str, Any]] = {"seeds": {"formats": ("svg", "pdf", "png")}}
    options["study"] = {"nuisance": ["optimizer.lr"]}
    return {
        name: write_report([root / name], root / f"report-{name}", **options.get(name, {}))
        for name in names
    }


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def open_page(path: Path, width: int = 1400) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900})
        made.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in made:
        context.close()


def test_questions_come_first_each_with_answers_and_an_effect_plot(
    visit: Callable[..., Any], pages: dict[str, Path]
) -> None:
    page = visit(pages["seeds"])
    cards = page.locator("article.verdict")
    assert cards.locator("h2").all_inner_texts() == [
        "Does focal loss beat cross-entropy?",
        "Which other arms differ from cross-entropy?",
        "Does a rising γ beat a fixed one at the same α?",
        "What does α alone do?",
    ]
    assert cards.locator("figure > svg").count() == 4
    soft = cards.nth(2).locator(".said").inner_text()
    assert SOFT[1:] in soft and "focal α 0.25 γ 2" in soft  # a sentence begins with a capital
    assert soft.count("RetinaNet") == soft.count("YOLOv2") == 1
    assert "val chose the best of the 2 arms with γ 0." in cards.nth(0).inner_text().lower()
    order = page.evaluate("[...document.querySelectorAll('h2[id]')].map((one) => one.id)")
    assert order[:2] == ["comparison", "figures-retinanet"] and order[-1] == "provenance"


def test_an_arm_has_one_name_in_every_file(pages: dict[str, Path]) -> None:
    folder = pages["seeds"].parent
    for name in ("table.csv", "per_class.csv", "errors.csv", "runs.csv", "contrasts.csv"):
        assert f"yolov2 {SOFT}" in (folder / name).read_text(encoding="utf-8"), name
    for name in ("report.html", "report.md"):
        assert SOFT in (folder / name).read_text(encoding="utf-8")
        assert "soft-gamma" not in (folder / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [1400, 800, 390])
def test_nothing_is_cut_and_letters_of_figures_can_be_read(
    visit: Callable[..., Any], pages: dict[str, Path], width: int
) -> None:
    for name in ("seeds", "single", "one", "study"):
        page = visit(pages[name], width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        if width >= 800:
            page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        assert page.evaluate(CUT) == [] or width == 390, (name, page.evaluate(CUT))
        assert page.evaluate(SMALLEST) >= 9, name


def test_a_study_shows_its_arms_and_folds_what_val_did_not_choose(
    visit: Callable[..., Any], pages: dict[str, Path]
) -> None:
    page = visit(pages["study"])
    assert page.locator("table.cards tbody tr").count() == 3
    fold = page.locator("details", has_text="12 settings that val did not choose").first
    assert fold.locator("tbody tr").count() == 12
    assert "3 in 15 settings" in page.locator("dl.facts").inner_text()
    titles = page.locator("article.verdict h2").all_inner_texts()
    assert titles[:2] == [
        "Does focal loss beat cross-entropy?",
        "Which other arms differ from cross-entropy?",
    ]
    told = page.locator("article.verdict").nth(1).inner_text()
    assert SOFT[1:] in told and "worse than cross-entropy" in told
    drawn = page.locator("article.verdict figure > svg").nth(1).text_content()
    assert SOFT in drawn


def test_gamma_and_alpha_stay_on_a_phone(visit: Callable[..., Any], pages: dict[str, Path]) -> None:
    page = visit(pages["seeds"], 390)
    row = page.locator("table.cards tbody tr").nth(2)
    cells = row.locator("td[data-label='γ'], td[data-label='α']")
    assert cells.all_inner_texts() == ["2", "0.25"]
    assert all(cells.nth(place).bounding_box()["x"] < 390 for place in range(2))
    assert row.bounding_box()["width"] < 390


def test_one_seed_gives_an_interval_over_images_that_says_so(
    visit: Callable[..., Any], pages: dict[str, Path]
) -> None:
    page = visit(pages["single"])
    told = page.locator("article.verdict").first.inner_text()
    assert "two sets of weights" in told and "VOC area" in told and "One seed" not in told
    cells = page.locator("td.interval small").all_inner_texts()
    assert [text.endswith("VOC area, these weights") for text in cells if text] == [True] * 3
    assert page.locator("svg.ci path[stroke-dasharray]").count() == 3


def test_one_run_speaks_of_one_run(visit: Callable[..., Any], pages: dict[str, Path]) -> None:
    page = visit(pages["one"])
    text = page.locator("body").inner_text()
    assert "One run" in text or "ONE RUN" in text
    for word in ("baseline", "Arms", "Seeds an arm", "Which arm", "no verdict", "1 classes"):
        assert word not in text, word
    assert "1 class," in text and "Another seed would give another number." in text


def test_images_are_a_grid_of_a_screen_that_opens_and_closes(
    visit: Callable[..., Any], pages: dict[str, Path]
) -> None:
    page = visit(pages["seeds"])
    assert page.locator("section[aria-labelledby=images]").bounding_box()["height"] <= 900
    page.locator("a.thumb").first.click()
    opened = page.locator(".opened:target")
    assert opened.is_visible() and opened.locator(".panels > div").count() == 3
    titles = opened.locator(".panels strong").all_inner_texts()
    assert titles[0] == "truth" and len(set(titles)) == 3  # never an arm beside itself
    page.keyboard.press("ArrowRight")
    assert opened.get_attribute("id").endswith("-2")
    page.keyboard.press("Escape")
    assert page.locator(".opened:target").count() == 0


def test_settings_are_a_matrix_within_a_detector(
    visit: Callable[..., Any], pages: dict[str, Path]
) -> None:
    page = visit(pages["seeds"])
    table = page.locator("table.settings").first
    keys = table.locator("tbody th").all_inner_texts()
    assert keys == ["loss.alpha", "loss.gamma", "loss.name"]  # no key in which detectors differ
    assert table.locator("thead th").all_inner_texts()[-1] == SOFT
    assert table.locator("tbody tr").nth(1).locator("td").last.inner_text() == (
        "0→2, linear to 50 %"
    )


def test_every_figure_has_its_files_and_one_colour_an_arm(pages: dict[str, Path]) -> None:
    folder = pages["seeds"].parent
    stems = {path.stem for path in (folder / "figures").iterdir()}
    assert {"confusion-1-yolov2", "sizes-yolov2", "cost-yolov2", "validation-yolov2"} <= stems
    for stem in stems:
        for form, magic in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")):
            data = (folder / f"figures/{stem}.{form}").read_bytes()
            assert data.startswith(magic), stem
    text = pages["seeds"].read_text(encoding="utf-8")
    assert text.count(">PDF</a>") == len(stems)
    swatches = [part.split(")")[0] for part in text.split('swatch" style="--hue:var(')[1:]]
    assert swatches[:4] == swatches[4:8] and len(set(swatches)) == 4


def test_a_larger_sweep_has_main_effects_and_parallel_coordinates(pages: dict[str, Path]) -> None:
    folder = pages["sweep"].parent
    stems = {path.stem for path in (folder / "figures").iterdir()}
    assert {"effects-retinanet", "parallel-retinanet", "heatmap-retinanet"} <= stems
    text = pages["sweep"].read_text(encoding="utf-8")
    assert "4 other arms faint and not named." in text
    by_class = (folder / "figures/classes-retinanet.svg").read_text(encoding="utf-8")
    assert "class 23 (" in by_class and "class 00 (" in by_class and "class 12 (" not in by_class
    assert "4 classes between the frequent and the rare" in text


def test_pages_are_short_and_say_no_raw_words(pages: dict[str, Path], visit: Any) -> None:
    page = visit(pages["seeds"])
    assert page.evaluate("document.documentElement.scrollHeight") < 11_000
    for name, path in pages.items():
        text = path.read_text(encoding="utf-8").split("<script")[0]
        assert "`" not in text and "p = <" not in text and "p = &lt;" not in text, name
        for link in ("anatomy.csv",):  # of no run: it holds a head alone
            assert f'href="{link}"' not in text


def test_a_record_that_cannot_be_read_is_named_and_left_out(
    pages: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Path(shutil.copytree(pages["single"].parent.parent / "single", tmp_path / "study"))
    (study / "0/record.json").write_text('{"format": 1, "id": "half')
    assert call("report", study, "--images", "0") == 0
    assert "0/record.json" in capsys.readouterr().err
    page = (study / "report/report.html").read_text(encoding="utf-8")
    assert "Left out:" in page and "0/record.json" in page
