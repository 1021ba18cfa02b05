"""The live page of a running sweep, asked by a real HTTP client."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.record.follow import MOST_LOSSES, Progress, in_force
from experiments.report.live.page import duration
from experiments.report.live.server import HOST, LiveServer
from experiments.report.live.state import Watch
from experiments.sweep.actions import status
from experiments.sweep.ledger import Ledger

CHECKOUT = Path(__file__).parents[3]
EVIL = "<script>alert(1)</script>"


def begin(folder: Path, arm: str, seed: int = 0) -> Path:
    """A run that has begun, as the record of a training process says it."""
    folder.mkdir(parents=True)
    record = {"format": 1, "arm": arm, "seed": seed, "status": "running"}
    record["config"] = {"train": {"iterations": 200}}
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def grow(folder: Path, first: int, last: int, end: str = "\n") -> None:
    rows = [
        {"iteration": step, "seconds": step * 0.5, "loss": 4.0 / step, "images_per_second": 9.5}
        for step in range(first, last + 1)
    ]
    with (folder / "curves.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(row) for row in rows) + end)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    (tmp_path / "sweep").mkdir()
    made = LiveServer(tmp_path / "sweep", 0, {"images": 0})
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.close()
    thread.join()


def ask(
    server: LiveServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, str, dict[str, str]]:
    client = http.client.HTTPConnection(HOST, server.server_port, timeout=60)
    client.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        client.putheader(name.replace("_", "-"), value)
    client.endheaders()
    answer = client.getresponse()
    text = answer.read().decode()
    client.close()
    return answer.status, text, dict(answer.getheaders())


def test_the_table_grows_with_the_curves(server: LiveServer) -> None:
    server.look()
    assert "no run has begun yet" in ask(server, "/")[1]
    folder = begin(server.watch.directory / "trials/0", "yolov2 focal", 3)
    grow(folder, 1, 50)
    server.look()
    status, text, headers = ask(server, "/state")
    assert status == 200 and "1 running" in text and "50 / 200" in text and "<polyline" in text
    assert "75 s" in text  # 25 s for a quarter
    assert ask(server, "/state", If_None_Match=headers["ETag"])[0] == 304
    grow(folder, 51, 100)
    server.look()
    status, text, _ = ask(server, "/state", If_None_Match=headers["ETag"])
    assert status == 200 and "100 / 200" in text and "50 s" in text


def test_finished_runs_are_reported_and_the_reports_links_hold(
    server: LiveServer, make_run: Callable[..., Path], make_setting: Any
) -> None:
    loss = {"name": "focal", "gamma": 2.0}
    make_run(server.watch.directory / "trials/a", make_setting("yolov2", "a", loss, 50.0), 0)
    server.look()
    status, page, _ = ask(server, "/live/report.html")
    assert status == 200 and "Report of 1 finished run." in ask(server, "/")[1]
    links = set(re.findall(r'href="([^"#]+)"', page)) - {"data:,", "figures/"}
    assert "../trials/a/record.json" in links
    for link in links:
        path = link.removeprefix("..") if link.startswith("../") else f"/live/{link}"
        assert ask(server, path)[0] == 200, path


@pytest.mark.parametrize(
    "path",
    [
        *("/../secret.txt", "/live/../../secret.txt", "/live/..%2f..%2fsecret.txt", "/secret.txt"),
        *("//etc/passwd", "/%2e%2e/secret.txt", "/live/", "/trials/0/curves.jsonl"),
    ],
)
def test_nothing_else_can_be_had(server: LiveServer, path: str) -> None:
    (server.watch.directory.parent / "secret.txt").write_text("secret")
    (server.watch.directory / "secret.txt").write_text("secret")
    grow(begin(server.watch.directory / "trials/0", "a"), 1, 3)
    server.look()
    status, text, _ = ask(server, path)
    assert status == 404 and "secret" not in text


def test_it_listens_on_this_machine_only(server: LiveServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.server_port), timeout=10)
    assert ask(server, "/", Host="evil.example")[0] == 403  # a name of somebody else's for us
    assert ask(server, "/", Host="localhost.evil.example:80")[0] == 403
    assert ask(server, "/", Host=f"localhost:{server.server_port}")[0] == 200
    assert ask(server, "/", Host="localhost:9000")[0] == 200  # the near end of `ssh -L`
    assert ask(server, "/", "POST")[0] == 501
    assert ask(server, "/", "HEAD")[:2] == (200, "")


def test_a_request_without_host_is_refused_and_the_server_goes_on(server: LiveServer) -> None:
    for request in (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff\r\n\r\n"):
        with socket.create_connection((HOST, server.server_port), timeout=60) as client:
            client.sendall(request)
            answer = client.recv(1000)
        assert b" 403 " in answer or b" 400 " in answer or b"Error code: 400" in answer
    assert ask(server, "/")[0] == 200


def test_names_are_inert(server: LiveServer) -> None:
    begin(server.watch.directory / "0", EVIL)
    server.look()
    text = ask(server, "/")[1]
    assert EVIL not in text and "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("name", ["a b", "50%#1?", "é", os.fsdecode(b"caf\xe9")])
def test_folders_of_any_name_are_reached_by_their_links(server: LiveServer, name: str) -> None:
    folder = begin(server.watch.directory / name / "0", "yolov2 focal")
    (folder / "trial.log").write_text("said", encoding="utf-8")
    server.look()
    status, text, _ = ask(server, "/state")
    links = re.findall(r'href="([^"]+)"', text)
    assert status == 200 and len(links) == 2
    assert [ask(server, link)[0] for link in links] == [200, 200]
    assert ask(server, links[1])[1] == "said"


def test_a_line_cut_off_waits_and_a_shorter_file_is_read_afresh(tmp_path: Path) -> None:
    folder = begin(tmp_path / "run", "a")
    watch = Watch(tmp_path)
    grow(folder, 1, 10, end='\n{"iterat')
    assert watch.update() and watch.runs[folder].curves.iteration == 10
    assert not watch.update()
    (folder / "curves.jsonl").write_text('{"iteration": 4, "loss": 1.0}\n', encoding="utf-8")
    assert watch.update() and watch.runs[folder].curves.iteration == 4
    assert watch.runs[folder].curves.losses == [1.0]


def test_long_curves_are_thinned_and_keep_their_span(tmp_path: Path) -> None:
    folder = begin(tmp_path / "run", "a")
    grow(folder, 1, 5000)
    run = Progress(folder)
    run.update()
    assert MOST_LOSSES / 2 <= len(run.losses) <= MOST_LOSSES
    assert run.losses == sorted(run.losses, reverse=True) and run.iteration == 5000


def test_durations_in_words() -> None:
    assert [duration(value) for value in (None, 40, 600, 7500)] == [
        *("–", "40 s", "10 min", "2 h 05 min")
    ]


def test_the_verb_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    grow(begin(tmp_path / "0", "a"), 1, 3)
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments", "serve", str(tmp_path), "--port", "0"],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        assert found is not None
        client = http.client.HTTPConnection(HOST, int(found[1]), timeout=200)
        client.request("GET", "/state")
        assert "3 / 200" in client.getresponse().read().decode()
        client.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=200) == 0


def test_rows_lead_to_the_run_s_folder_and_log_and_the_best_is_marked(server: LiveServer) -> None:
    for place, (name, score) in enumerate((("a b", 40.0), ("c", 50.0))):
        folder = begin(server.watch.directory / f"trials/{name}", f"arm {name}", place)
        record = json.loads((folder / "record.json").read_text())
        record |= {"status": "finished", "metrics": {"voc07_map": score}}
        (folder / "record.json").write_text(json.dumps(record))
        (folder / "trial.log").write_text(f"words of {name}")
        (folder / "secret.txt").write_text("not shown")
    server.watch.update()
    _, table, _ = ask(server, "/state")
    assert table.count("best") == 2  # a class and a tag, of one row
    assert table.index("arm c") < table.index(">best<")
    assert 'href="/trials/a%20b/"' in table and 'href="/trials/a%20b/trial.log"' in table
    status, page, _ = ask(server, "/trials/a%20b/")
    assert status == 200 and "record.json" in page and "secret.txt" not in page
    assert ask(server, "/trials/a%20b/trial.log")[1] == "words of a b"
    for path in ("/trials/a%20b/secret.txt", "/trials/", "/trials/../trials/c/trial.log"):
        assert ask(server, path)[0] == 404


def test_status_serve_and_report_show_what_was_in_force_not_what_was_asked_for(
    server: LiveServer,
    make_run: Callable[..., Path],
    make_setting: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mapping as W&B hands it over, a number as text, and values that a later word replaced."""
    root = server.watch.directory
    points = []
    for n, (gamma, rate) in enumerate(((2.0, 1e-4), (0.5, 3e-4))):
        arm = f"{'ab'[n]}rm"
        setting = make_setting("yolov2", arm, {"name": "focal", "gamma": gamma}, 50.0 + n)
        key = f"{n:04d}-{n:08d}"
        folder = make_run(root / "trials" / key, setting, 0, optimizer={"lr": rate})
        record = json.loads((folder / "record.json").read_text())
        asked = {"loss": {"gamma": 70.0 + n}, "optimizer.lr": f"{rate * 1e4:g}e-4", "seed": 0}
        (folder / "record.json").write_text(json.dumps(record | {"overrides": asked}))
        resolved = in_force(asked, record["config"])
        points.append({"event": "point", "n": n, "key": key[5:], "parameters": asked})
        end = {"event": "end", "n": n, "status": "finished", "metric": 50.0, "seconds": 1.0}
        points.append({**end, "resolved": resolved, "exit": 0})

    def status_said() -> str:
        assert status(root) == 0
        return capsys.readouterr().out

    said = {"pulled": status_said()}
    with Ledger(root) as ledger:
        ledger.append(*points)
    said["status"] = status_said()
    server.look()
    said["serve"] = re.sub(r"<[^>]+>", " ", ask(server, "/state")[1])
    page = ask(server, "/live/report.html")[1]
    said["report"] = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    for where, text in said.items():
        words = text.split()
        assert {"2", "0.5", "0.0001", "0.0003"} <= {*words}, where
        assert not {"70", "71", "1e-4", "3e-4"} & {*words}, where


def test_the_live_page_in_a_browser(server: LiveServer, browser: Any) -> None:
    """Links to folder and log, sorting by a click that lasts as the table grows, the best marked;
    the console says nothing.
    """
    for place, score in enumerate((40.0, 50.0, 45.0)):
        folder = begin(server.watch.directory / f"trials/run {place}", f"arm {place}", place)
        grow(folder, 1, 20)
        record = json.loads((folder / "record.json").read_text())
        record |= {"status": "finished", "metrics": {"voc07_map": score}}
        (folder / "record.json").write_text(json.dumps(record))
        (folder / "trial.log").write_text(f"words of {place}")
    server.watch.update()
    page = browser.new_page()
    page.set_default_timeout(120_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(server.address)

    def column(heading: str) -> list[str]:
        headings = page.locator("thead th").all_inner_texts()
        place = next(n for n, text in enumerate(headings) if text.strip().startswith(heading))
        return [
            row.locator("th, td").nth(place).inner_text() for row in page.locator("tbody tr").all()
        ]

    assert column("VOC07 mAP") == ["40.0", "50.0", "45.0"]
    page.get_by_role("button", name="VOC07 mAP").click()
    assert column("VOC07 mAP") == ["50.0", "45.0", "40.0"]
    page.get_by_role("button", name="VOC07 mAP").click()
    assert column("VOC07 mAP") == ["40.0", "45.0", "50.0"]
    assert page.locator("tr.best").inner_text().startswith("arm 1 best")
    begin(server.watch.directory / "trials/late", "arm 3", 3)
    server.watch.update()
    page.get_by_role("rowheader", name="arm 3").wait_for()
    assert column("Arm")[:3] == ["arm 0 log", "arm 2 log", "arm 1 best log"]  # unknown ones last
    page.locator("tr.best").get_by_role("link", name="log").click()
    assert page.locator("body").inner_text() == "words of 1"
    page.go_back()
    page.get_by_role("link", name="arm 2").click()
    assert "run 2" in page.locator("main").inner_text()
    page.get_by_role("link", name="record.json").click()
    assert '"arm 2"' in page.locator("body").inner_text()
    page.close()
    assert said == []
