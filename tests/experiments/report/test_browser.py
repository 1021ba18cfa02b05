"""The page in a real browser: it sorts, filters, switches its theme, and asks nothing of anyone."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from experiments.report import write_report

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars"
    " --disable-background-networking --disable-component-update --disable-sync"
).split()
# Runs after the page's own script; its findings are read from the dumped document.
PROBE = """
<script>
const seen = {errors: window.seenErrors};
seen.resources = performance.getEntriesByType("resource").length;
const table = document.querySelector("table.sortable"), rows = () => [...table.tBodies[0].rows];
const column = () => rows().map((row) => row.cells[4].dataset.value).filter(Boolean).map(Number);
const button = table.tHead.rows[0].cells[4].querySelector("button");
button.click(); seen.down = column();
button.click(); seen.up = column();
seen.sort = table.tHead.rows[0].cells[4].getAttribute("aria-sort");
const filter = document.querySelector("input.filter");
if (filter) {
  filter.value = "finished 9"; filter.dispatchEvent(new Event("input"));
  const body = filter.nextElementSibling.querySelector("tbody");
  seen.shown = [...body.rows].filter((row) => !row.hidden).length; seen.all = body.rows.length;
}
const before = getComputedStyle(document.body).backgroundColor;
document.getElementById("theme").click();
seen.themes = [before, getComputedStyle(document.body).backgroundColor];
seen.overflow = document.documentElement.scrollWidth - window.innerWidth;
seen.unnamed = [...document.querySelectorAll("svg:not([aria-hidden])")].filter(
  (svg) => !svg.closest("[aria-hidden]") && !svg.getAttribute("aria-label")).length;
const found = document.createElement("pre"); found.id = "probe";
found.textContent = JSON.stringify(seen); document.body.append(found);
</script>
"""
CATCH = (
    "<script>window.seenErrors = []; window.onerror = (words) => seenErrors.push(words);</script>"
)


@pytest.fixture(scope="module")
def browser() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no chromium is installed")
    return found


def dump(browser: str, page: Path, profile: Path, *, width: int, probe: bool) -> str:
    """The document after its scripts ran; with `probe`, the page's policy makes room for ours."""
    text = page.read_text(encoding="utf-8")
    if probe:
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', CATCH, text)
        text = text.replace("</body>", PROBE + "</body>")
    copy = page.parent / f"probed-{width}-{probe}.html"
    copy.write_text(text, encoding="utf-8")
    command = [browser, *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},900"]
    done = subprocess.run(
        [*command, "--enable-logging=stderr", "--dump-dom", copy.as_uri()],
        capture_output=True,
        text=True,
        timeout=400,
        check=True,
    )
    messages = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert messages == []
    return done.stdout


@pytest.fixture(scope="module")
def report(tiny_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([tiny_study], tmp_path_factory.mktemp("browser"), images=1)


@pytest.mark.parametrize("width", [1280, 500])  # headless Chromium is never narrower than 500
def test_page_sorts_filters_and_switches_theme(
    browser: str, report: Path, tmp_path: Path, width: int
) -> None:
    document = dump(browser, report, tmp_path, width=width, probe=True)
    found = re.search(r'<pre id="probe">(.*?)</pre>', document)
    assert found is not None, "the page's script or the probe stopped"
    seen = json.loads(found[1])
    assert seen["errors"] == [] and seen["resources"] == 0
    assert seen["down"] == sorted(seen["down"], reverse=True) and seen["up"] == sorted(seen["up"])
    assert seen["sort"] == "ascending" and len(seen["up"]) == 2
    assert seen["themes"][0] != seen["themes"][1]
    assert seen["overflow"] <= 0 and seen["unnamed"] == 0


def test_page_runs_its_script_under_its_own_policy(
    browser: str, report: Path, tmp_path: Path
) -> None:
    document = dump(browser, report, tmp_path, width=1280, probe=False)
    assert 'id="theme"' in document  # made by the script, which the policy allows by its hash
