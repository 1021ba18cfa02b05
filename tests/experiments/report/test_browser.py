"""The page in a real browser: it sorts, filters, switches its theme, and asks nothing of anyone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import write_study
from experiments.report import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
EVIL = "<script>alert(1)</script>"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
PATIENCE = 120_000  # ms: a busy machine is slow, not wrong


class Visit:
    """One page, opened from disk, with all that it said and asked for."""

    def __init__(self, browser: Any, path: Path, size: str, scheme: str = "light") -> None:
        width, height = SIZES[size]
        viewport = {"width": width, "height": height}
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def column(self, table: int, cell: int) -> list[float]:
        """The numbers of one column of the table, top to bottom, unknown ones left out."""
        found = self.page.evaluate(
            "([table, cell]) => [...document.querySelectorAll('table.sortable')[table].tBodies[0]"
            ".rows].map((row) => row.cells[cell].dataset.value).filter(Boolean).map(Number)",
            [table, cell],
        )
        return list(found)

    def unfold(self) -> None:
        """Open what is folded, as a reader does who wants the long tables."""
        self.page.evaluate(
            "for (const one of document.querySelectorAll('details')) one.open = true"
        )

    def background(self) -> str:
        return str(self.page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    visits: list[Visit] = []

    def open_page(path: Path, size: str = "desktop", scheme: str = "light") -> Visit:
        visits.append(Visit(browser, path, size, scheme))
        return visits[-1]

    yield open_page
    for one in visits:
        one.context.close()


@pytest.mark.parametrize("size", list(SIZES))
def test_page_sorts_filters_and_keeps_to_itself(
    visit: Callable[..., Visit], small_report: Path, size: str
) -> None:
    one = visit(small_report, size)
    one.unfold()
    header = one.page.locator("table.sortable").first.locator("thead button").nth(4)
    header.click()
    down = one.column(0, 4)
    header.click()
    assert down == sorted(down, reverse=True) and one.column(0, 4) == sorted(down)
    assert len(set(down)) > 3
    search = one.page.locator("input.filter").last
    rows = one.page.locator("table", has_text="Record").locator("tbody tr:visible")
    everything = rows.count()
    search.fill("failed")
    assert rows.count() == 1 < everything
    search.fill("")
    assert rows.count() == everything
    assert one.said == [] and one.asked == [small_report.as_uri()]
    overflow = one.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert overflow <= 0
    unnamed = one.page.locator("svg:not([aria-hidden]):not([aria-label])")
    assert unnamed.count() == 0


@pytest.fixture(scope="module")
def long_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 runs: the table of runs is longer than what is shown at once."""
    study = tmp_path_factory.mktemp("long")
    write_study(study / "runs", 2)
    return write_report([study / "runs"], study / "report", images=0, formats=())


def test_long_tables_show_their_first_rows_and_all_when_asked(
    browser: Any, long_report: Path
) -> None:
    visit = Visit(browser, long_report, "desktop")
    visit.unfold()
    table = visit.page.locator("table.sortable").last
    rows, button = table.locator("tbody tr"), visit.page.locator("button.all:visible")
    assert rows.count() == 200 and table.locator("tbody tr:visible").count() == 100
    table.locator("thead button").nth(1).click()  # the highest seeds are on top, from all rows
    assert {rows.nth(place).locator("td").first.inner_text() for place in range(100)} == {"1"}
    visit.page.emulate_media(media="print")
    assert table.locator("tbody tr:visible").count() == 200
    visit.page.emulate_media(media="screen")
    assert button.inner_text() == "Show all 200 rows"
    button.click()
    assert table.locator("tbody tr:visible").count() == 200 and button.count() == 0
    assert visit.said == []


def test_a_link_to_a_row_that_is_not_shown_shows_it(browser: Any, long_report: Path) -> None:
    visit = Visit(browser, long_report, "desktop")
    row = visit.page.locator("table.sortable").last.locator("tbody tr").last
    assert not row.is_visible()
    name = row.evaluate("row => (row.id ? row : row.querySelector('[id]')).id")
    visit.page.evaluate("name => { location.hash = name; }", name)
    row.wait_for(state="visible")


def test_theme_follows_the_reader_and_the_switch_stays(
    visit: Callable[..., Visit], small_report: Path
) -> None:
    light, dark = visit(small_report), visit(small_report, scheme="dark")
    assert light.background() != dark.background()
    light.page.locator("#theme").click()
    assert light.background() == dark.background()
    light.page.reload()
    assert light.background() == dark.background()
    assert light.said == []  # the page's own policy lets its script run


def test_every_link_of_the_page_leads_somewhere(
    visit: Callable[..., Visit], small_report: Path
) -> None:
    one = visit(small_report)
    links = one.page.locator("nav.map a").evaluate_all("all => all.map((a) => a.hash)")
    assert len(links) >= 7
    for link in links:
        one.page.locator(f"nav.map a[href='{link}']").click()
        assert one.page.locator(link).is_visible(), link
    one.page.locator("table.sortable").first.locator("tbody td a").first.click()
    target = one.page.evaluate(
        "document.querySelector(':target').closest('tr').cells[2].textContent"
    )
    assert target == "finished"  # a number leads to its run
    one.page.locator("tr:has(:target) a, tr:target a").last.click()
    assert one.page.url.endswith("record.json")


def test_without_a_script_everything_can_be_read(browser: Any, small_report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(small_report.as_uri(), timeout=PATIENCE)
    assert page.locator("table").first.is_visible() and page.locator("#theme").count() == 0
    context.close()


def test_hostile_names_run_nothing(
    visit: Callable[..., Visit],
    tmp_path: Path,
    make_run: Callable[..., Path],
    make_setting: Any,
) -> None:
    classes = (EVIL, '"><img src=x onerror=alert(2)>')
    for gamma in (0.0, 2.0):
        loss = {"name": "focal", "gamma": gamma}
        setting = make_setting("yolov2", f"{EVIL} gamma {gamma}", loss, 50.0)
        make_run(tmp_path / f"in/{gamma}", setting, 0, classes=classes, note=f"</pre>{EVIL}")
    page = write_report([tmp_path / "in"], tmp_path / "out", question=f"Why {EVIL}?")
    one = visit(page)
    assert one.said == [] and one.asked == [page.as_uri()]
    assert one.page.title() == f"Why {EVIL}?" and one.page.locator("script").count() == 1
