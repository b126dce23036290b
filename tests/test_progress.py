"""Long work at a terminal: how far it is, how long it still takes, and Ctrl+C. Elsewhere next to nothing is said."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ecomlib.cli import main
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.verbs import progress

if os.name == "nt":
    pytest.skip("Windows has no pseudo-terminals", allow_module_level=True)

BAR = re.compile(r"(\w+) (\d+) of (\d+) (\w+) \|.*?\| +[\d.]+ \4/s, about [\d:]+ left")
PATIENCE = 60.0  # seconds: for a machine that is busy with something else
# Takes the terminal as a login does, so that Ctrl+C reaches it. The bar need not wait, for a fast machine's sake.
PROGRAM = """
import os, sys
from ecomlib.cli import main
from ecomlib.verbs import progress
os.login_tty(0)
progress.QUICK = 0.0
sys.exit(main())
"""


class Terminal:
    """A verb in a pseudo-terminal, where everything that it says is kept in `shown`."""

    def __init__(self, *arguments: str, folder: Path, columns: int) -> None:
        self._screen, end = os.openpty()
        if columns:
            termios.tcsetwinsize(end, (24, columns))
        program = [sys.executable, "-c", PROGRAM, *arguments]
        self.process = subprocess.Popen(program, cwd=folder, stdin=end, stdout=end, stderr=end)
        os.close(end)
        self.shown = ""

    def type(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def wait_for(self, seen: Callable[[str], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not seen(self.shown):
            assert time.monotonic() < deadline, self.shown
            assert self._read(), self.shown

    def end(self) -> int:
        """Reads what is still said; returns the exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        assert select.select([self._screen], [], [], PATIENCE)[0], self.shown
        try:
            said = os.read(self._screen, 65_536)
        except OSError:  # on Linux, the end
            return False
        self.shown += said.decode(errors="replace")
        return bool(said)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._screen)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_(*arguments: str, columns: int = 100) -> Terminal:
        opened.append(Terminal(*arguments, folder=tmp_path, columns=columns))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long") / "log"
    with FileLog(folder, durability="system") as log:
        for piece in range(20):
            log.append(
                "shop", *[Event("order.created", {"order_id": 5_000 * piece + n, "amount": 5}) for n in range(5_000)]
            )
    return folder


def test_a_long_day_shows_a_bar_with_an_estimate_and_ctrl_c_ends_it_with_a_log_that_can_be_replayed(
    terminal: Callable[..., Terminal], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = terminal("demo", "--orders", "50000", "--log", "log")
    day.wait_for(BAR.search)
    began = time.monotonic()
    day.type(b"\x03")
    assert day.end() == 1
    assert time.monotonic() - began < PATIENCE / 2
    shown = BAR.search(day.shown)
    assert shown
    assert shown[1] == "Serving"
    assert int(shown[3]) > 50_000
    last = day.shown.splitlines()[-1]
    said = re.fullmatch(r"Stopped: (\d+) of (\d+) commands are done. What is in the log stays: (ecomlib .*)", last)
    assert said, day.shown
    assert int(shown[2]) <= int(said[1]) < int(said[2]) == int(shown[3])
    assert "Traceback" not in day.shown

    assert said[3] == "ecomlib replay --log log"
    assert main(["replay", "--json", "--log", str(tmp_path / "log")]) == 0
    totals = json.loads(capsys.readouterr().out)
    assert 0 < totals["orders"] <= int(said[1]) + 1
    assert totals["events"] >= int(said[1])


def test_a_long_replay_shows_a_bar_with_an_estimate_and_sigterm_ends_it(
    terminal: Callable[..., Terminal], long_log: Path
) -> None:
    replay = terminal("replay", "--log", str(long_log))
    replay.wait_for(BAR.search)
    replay.process.terminate()
    assert replay.end() == 1
    assert re.search(r"Replaying \d+ of 100000 events \|", replay.shown)
    said = re.fullmatch(
        r"Stopped: (\d+) of 100000 events are done. The log is as it was.", replay.shown.splitlines()[-1]
    )
    assert said, replay.shown
    assert "Traceback" not in replay.shown


def test_the_bar_is_gone_when_the_results_come(terminal: Callable[..., Terminal]) -> None:
    day = terminal("demo", "--orders", "300")
    assert day.end() == 0
    bars, results = day.shown[: day.shown.index("✓")], day.shown[day.shown.index("✓") :]
    assert BAR.search(bars)
    assert re.search(r"\r +\r$", bars), "the line is wiped"
    assert "left" not in results
    assert "The log says the same" in results


@pytest.mark.parametrize("columns", [100, 0], ids=["terminal", "terminal without a size"])
def test_an_import_shows_a_bar_and_what_is_appended(
    columns: int, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    line = '{{"timestamp": "05-12-2025 09:31:17", "event": "order.created", "data": {{"order_id": {}, "amount": 0}}}}\n'
    (tmp_path / "events.log").write_text("".join(map(line.format, range(1, 3_001))))
    imported = terminal("import", "original", "events.log", "--log", "log", columns=columns)
    assert imported.end() == 0
    shown = BAR.search(imported.shown)
    assert shown
    assert shown.groups() == ("Appending", "1000", "3000", "events")
    assert "Appended 3000 of 3000 events to log." in imported.shown


def test_what_is_quick_says_nothing_and_loads_no_bar(tmp_path: Path) -> None:
    program = "import sys; from ecomlib.cli import main; main(); sys.exit('tqdm' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program, "demo", "--orders", "20", "--json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(run.stdout)["orders"] == 20


def test_without_a_terminal_a_plain_line_comes_now_and_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "RARE", 0.0)
    assert main(["demo", "--orders", "20", "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    lines = err.splitlines()
    assert all(
        re.fullmatch(r"(Serving|Replaying) \d+ of \d+ (commands|events), about [\d:]+ left", one) for one in lines
    )
    assert lines[-1] == "Replaying {0} of {0} events, about 0:00:00 left".format(json.loads(out)["events"])
    assert "\r" not in err


def test_a_very_long_day_is_announced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ecomlib.verbs.shop.MANY", 20)
    assert main(["demo", "--orders", "20", "--json"]) == 0
    assert capsys.readouterr().err == "Making a day of 20 orders: about a minute for a million.\n"


def test_a_plain_line_comes_seldom_and_says_how_long_the_rest_will_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    with progress.progress("Serving", 100, "commands", stopped="") as shown:
        for _ in range(70):
            seconds[0] += 1.0
            shown.add()
    assert capsys.readouterr().err.splitlines() == [
        "Serving 30 of 100 commands, about 0:01:10 left",
        "Serving 60 of 100 commands, about 0:00:40 left",
    ]


def test_what_is_served_and_replayed_comes_to_all_that_was_announced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "RARE", 0.0)
    assert main(["demo", "--orders", "200", "--json"]) == 0
    last = {line.split()[0]: line for line in capsys.readouterr().err.splitlines()}
    for doing in ("Serving", "Replaying"):
        assert re.fullmatch(rf"{doing} (\d+) of \1 \w+, about 0:00:00 left", last[doing])
