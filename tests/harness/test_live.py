"""The live view: lines that are redrawn on a terminal, plain lines in a log, and never a word that stops the run."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from drivers.base import Category
from harness.journal import Kind
from harness.live import LiveView
from harness.record import ErrorRecord, Outcome, Phase
from tests.harness.builders import (
    EPOCH,
    Story,
    emergency,
    not_restored,
    restored,
    retried,
    rolled_back,
    untouched,
    updated,
)

PATIENCE_S = 20.0
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Screen:
    """The far end of a terminal: what was written to it so far, control sequences and all."""

    def __init__(self, master: int, terminal: TextIO) -> None:
        self.terminal = terminal
        self._master = master
        self.seen = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} never came; seen: {self.seen!r}"
            self.read(0.2)

    def read(self, timeout_s: float = 0.0) -> str:
        while select.select([self._master], [], [], timeout_s)[0]:
            self.seen += os.read(self._master, 65536).decode()
            timeout_s = 0.0
        return self.seen


@pytest.fixture
def screen() -> Iterator[Screen]:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        yield Screen(master, terminal)
    os.close(master)


@contextmanager
def live(view: LiveView) -> Iterator[None]:
    view.start()
    try:
        yield
    finally:
        view.stop()


def log_of(*stories: Story, total: int | None = None) -> list[str]:
    out = io.StringIO()
    with live(LiveView({s.device_id: s.path for s in stories}, total or len(stories), out, tty=False)):
        pass  # stopping looks at the journals once more
    return out.getvalue().splitlines()


def test_a_log_has_a_line_for_each_phase_and_one_for_the_outcome(tmp_path: Path) -> None:
    lines = [line.split(" ", 1)[1] for line in log_of(updated(tmp_path))]

    assert lines == [
        "ESP32_001 lock",
        *(f"ESP32_001 {phase} (attempt 1)" for phase in ("identify", "backup", "flash", "verify", "boot")),
        "[1/1] ESP32_001 updated 1.1.0 -> 1.2.0 in 16.4 s",
    ]


def test_the_lines_of_a_log_carry_the_time_of_the_event(tmp_path: Path) -> None:
    assert log_of(updated(tmp_path))[0].split()[0] == time.strftime("%H:%M:%S", time.localtime(EPOCH))


def test_a_log_tells_retries_with_the_reason(tmp_path: Path) -> None:
    assert any("ESP32_002 again in 2.0 s: No serial data received." in line for line in log_of(retried(tmp_path)))


def test_a_failed_device_says_why_in_its_one_line(tmp_path: Path) -> None:
    assert log_of(rolled_back(tmp_path))[-1].endswith(
        "ESP32_004 rolled back 1.1.0 -> 1.1.0 in 21.6 s: verify: the flash at 0x10000 does not hold app.bin"
    )


def test_devices_are_counted_as_they_end(tmp_path: Path) -> None:
    lines = log_of(updated(tmp_path), rolled_back(tmp_path), total=3)

    assert [line.split()[1] for line in lines if "[" in line] == ["[1/3]", "[2/3]"]


def test_a_log_has_no_control_characters_whatever_a_board_says(tmp_path: Path) -> None:
    error = ErrorRecord(Category.OTHER, "E", "\x1b[2Jgone\r\n\x07[bold]x", "", Phase.FLASH)
    lines = log_of(rolled_back(tmp_path, error=error))

    assert not [line for line in lines if CONTROL.search(line)]
    assert "\\x1b[2Jgone \\x07[bold]x" in lines[-1]


def test_a_terminal_shows_phase_percent_and_rate_of_an_active_device(tmp_path: Path, screen: Screen) -> None:
    story = Story(tmp_path).starts().attempt().identified().phase_starts(Phase.FLASH)
    story.after(1.0).tell(Kind.PROGRESS, done=50 << 10, total=200 << 10)
    view = LiveView({"ESP32_001": story.path}, 2, screen.terminal, tty=True, clock=lambda: story.now)

    with live(view):
        screen.wait_for("25%")
        screen.wait_for("50 KiB/s")
        screen.wait_for("0 of 2 done, 1 active")
        assert "ESP32_001" in screen.seen
        assert "flash" in screen.seen

        story.after(1.0).tell(Kind.PROGRESS, done=150 << 10, total=200 << 10)
        screen.wait_for("75%")


def test_a_finished_device_stays_as_one_line_and_leaves_the_active_ones(tmp_path: Path, screen: Screen) -> None:
    story = Story(tmp_path).starts().attempt().identified().flashed()
    with live(LiveView({"ESP32_001": story.path}, 1, screen.terminal, tty=True)):
        screen.wait_for("0 of 1 done, 1 active")
        story.boots().ends(Outcome.UPDATED)
        screen.wait_for("1 of 1 done, 0 active")

    assert "[1/1] ESP32_001 updated 1.1.0 -> 1.2.0" in screen.read()


def test_the_terminal_is_given_back_with_its_cursor(tmp_path: Path, screen: Screen) -> None:
    with live(LiveView({"ESP32_001": updated(tmp_path).path}, 1, screen.terminal, tty=True)):
        screen.wait_for("1 of 1 done")

    assert screen.read().rindex("\x1b[?25h") > screen.seen.rindex("\x1b[?25l")


def test_a_board_can_not_steer_the_terminal(tmp_path: Path, screen: Screen) -> None:
    error = ErrorRecord(Category.OTHER, "E", "\x1b]0;owned\x07[red]", "", Phase.FLASH)
    with live(LiveView({"ESP32_004": rolled_back(tmp_path, error=error).path}, 1, screen.terminal, tty=True)):
        screen.wait_for("\\x1b]0;owned\\x07[red]")

    assert "\x1b]0;" not in screen.seen


def test_what_other_threads_write_to_the_standard_output_is_left_alone(
    tmp_path: Path, screen: Screen, capsys: pytest.CaptureFixture[str]
) -> None:
    with live(LiveView({"ESP32_001": updated(tmp_path).path}, 1, screen.terminal, tty=True)):
        screen.wait_for("1 of 1 done")
        sys.stdout.write("mine\n")

    assert capsys.readouterr().out == "mine\n"


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("tty", [True, False])
def test_a_terminal_that_went_away_does_not_end_the_run(tmp_path: Path, tty: bool) -> None:
    view = LiveView({"ESP32_006": emergency(tmp_path).path}, 1, Broken(), tty=tty)

    view.start()
    view.stop()

    assert "batch-flash live view" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("tty", [True, False])
def test_a_letter_that_the_terminal_does_not_know_is_spelled_out(tmp_path: Path, tty: bool) -> None:
    error = ErrorRecord(Category.OTHER, "E", "gerät weg", "", Phase.FLASH)
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii", write_through=True) as out:
        with live(LiveView({"ESP32_004": rolled_back(tmp_path, error=error).path}, 1, out, tty=tty)):
            pass
        shown = raw.getvalue().decode("ascii")

    assert "ger\\xe4t weg" in shown


def test_a_device_that_was_never_identified_has_no_versions_in_its_line(tmp_path: Path) -> None:
    assert log_of(untouched(tmp_path))[-1].endswith("ESP32_005 untouched in 12.0 s: identify: No serial data received.")


def test_a_view_that_fails_says_so_and_no_more(tmp_path: Path) -> None:
    out = io.StringIO()
    with live(LiveView({"ESP32_001": tmp_path}, 1, out, tty=False)):  # a folder is no journal
        pass

    assert "the live view has stopped (IsADirectoryError" in out.getvalue()


def test_a_view_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    out = io.StringIO()
    LiveView({"ESP32_001": tmp_path / "none.jsonl"}, 1, out, tty=False).stop()

    assert out.getvalue() == ""


def test_devices_without_a_journal_are_waited_for(tmp_path: Path, screen: Screen) -> None:
    path = tmp_path / "ESP32_001.jsonl"
    with live(LiveView({"ESP32_001": path}, 1, screen.terminal, tty=True)):
        screen.wait_for("0 of 1 done, 0 active")
        updated(tmp_path)
        screen.wait_for("1 of 1 done")


def test_a_device_that_is_taken_back_is_shown_again_and_not_counted_twice(tmp_path: Path) -> None:
    lines = [line.split(" ", 1)[1] for line in log_of(restored(tmp_path), total=2)]
    at = lines.index("[1/2] ESP32_001 updated 1.1.0 -> 1.2.0 in 16.4 s")

    assert lines[at + 1 :] == [
        "ESP32_001 is taken back",
        "ESP32_001 lock (attempt 1)",
        "ESP32_001 rollback",
        "ESP32_001 restored 1.1.0 -> 1.2.0 -> 1.1.0 in 6.0 s",
    ]


def test_a_device_that_could_not_be_taken_back_says_so(tmp_path: Path) -> None:
    assert log_of(not_restored(tmp_path))[-1].endswith(
        "ESP32_002 not restored: No serial data received. 1.1.0 -> 1.2.0 in 10 ms"
    )


def test_a_device_that_ended_is_seen_when_it_is_begun_again(tmp_path: Path, screen: Screen) -> None:
    story = updated(tmp_path)
    with live(LiveView({"ESP32_001": story.path}, 2, screen.terminal, tty=True)):
        screen.wait_for("1 of 2 done, 0 active")
        story.begins_again(restoring=True).phase_starts(Phase.ROLLBACK)
        screen.wait_for("1 of 2 done, 1 active")
        story.phase_ends(Phase.ROLLBACK).ends(Outcome.RESTORED)
        screen.wait_for("ESP32_001 restored")

    assert "2 of 2 done" not in screen.read()


def test_a_device_that_is_updated_once_more_is_not_done_meanwhile(tmp_path: Path, screen: Screen) -> None:
    story = emergency(tmp_path)
    with live(LiveView({"ESP32_006": story.path}, 1, screen.terminal, tty=True)):
        screen.wait_for("1 of 1 done, 0 active")
        story.begins_again()
        screen.wait_for("0 of 1 done, 1 active")
        story.ends(Outcome.UPDATED)
        screen.wait_for("[1/1] ESP32_006 updated")


def test_what_happened_before_the_run_was_resumed_is_counted_and_not_shown(tmp_path: Path) -> None:
    out = io.StringIO()
    stories = [updated(tmp_path), rolled_back(tmp_path, now=EPOCH + 100)]
    with live(LiveView({s.device_id: s.path for s in stories}, 3, out, tty=False, since=EPOCH + 50)):
        pass

    assert "ESP32_001" not in out.getvalue()
    assert "[2/3] ESP32_004 rolled back" in out.getvalue()


def test_what_is_said_of_the_run_stands_where_it_happened(tmp_path: Path) -> None:
    story, later = updated(tmp_path, "A1"), updated(tmp_path, "A2", now=EPOCH + 100)
    out = io.StringIO()
    clock = iter((EPOCH + 50, EPOCH + 500))
    view = LiveView({s.device_id: s.path for s in (later, story)}, 2, out, tty=False, clock=lambda: next(clock))
    view.say("wave 2 of 2 starts: 1 device")
    view.say("all is\x1b[2J well")
    with live(view):
        pass
    lines = [line.split(" ", 1)[1] for line in out.getvalue().splitlines()]

    assert lines[lines.index("wave 2 of 2 starts: 1 device") - 1].startswith("[1/2] A1 updated")
    assert lines[lines.index("wave 2 of 2 starts: 1 device") + 1] == "A2 lock"
    assert lines[-1] == "all is\\x1b[2J well"


def test_every_device_of_a_large_fleet_is_seen_soon(tmp_path: Path, screen: Screen) -> None:
    paths = {f"D{n:03}": tmp_path / f"D{n:03}.jsonl" for n in range(350)}
    with live(LiveView(paths, len(paths), screen.terminal, tty=True)):
        for device_id in ("D000", "D120", "D349"):
            updated(tmp_path, device_id)
            screen.wait_for(f"{device_id} updated")
        screen.wait_for("3 of 350 done, 0 active")
