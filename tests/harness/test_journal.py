"""The journal: what was written before a crash is read after it, whatever the crash left behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.journal import Follower, Journal, JournalBusy, Kind, parse, read

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


def texts(path: Path) -> list[str]:
    return [event.data["text"] for event in read(path)]


def write(path: Path, *lines: str) -> None:
    with Journal(path) as journal:
        for line in lines:
            journal.write(Kind.LOG, text=line)


def test_events_are_read_as_they_were_written(tmp_path: Path) -> None:
    times = iter([10.0, 11.5])
    with Journal(tmp_path / "new" / "j.jsonl", clock=lambda: next(times)) as journal:
        journal.write(Kind.STARTED, device_id="D", pid=7)
        journal.write(Kind.PROGRESS, done=1, total=2)

    assert [(e.at, e.kind, dict(e.data)) for e in read(tmp_path / "new" / "j.jsonl")] == [
        (10.0, Kind.STARTED, {"device_id": "D", "pid": 7}),
        (11.5, Kind.PROGRESS, {"done": 1, "total": 2}),
    ]


def test_a_journal_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "j.jsonl") == ()
    assert Follower(tmp_path / "j.jsonl").new_events() == ()


@given(lines=st.lists(ANY_TEXT, max_size=6))
def test_any_text_comes_back(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("journal") / "j.jsonl"
    write(path, *lines)

    assert texts(path) == lines


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_the_reader_fail(data: bytes) -> None:
    assert all(event.kind in Kind for event in parse(data))


@pytest.mark.parametrize("kept", [1, 10, 40])
def test_a_torn_last_line_is_dropped_and_what_a_later_writer_adds_is_not(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write(path, "first", "second")
    first_line = path.read_bytes().index(b"\n") + 1
    os.truncate(path, first_line + kept)

    assert texts(path) == ["first"]

    write(path, "third")
    assert texts(path) == ["first", "third"]


def test_after_a_full_disk_the_torn_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Journal(path) as journal:
            journal.write(Kind.LOG, text="first")
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
            with pytest.raises(OSError, match=r"j\.jsonl"):
                journal.write(Kind.LOG, text="lost")
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            journal.write(Kind.LOG, text="after")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)

    assert texts(path) == ["first", "after"]


def test_what_is_written_before_a_process_is_killed_is_read_after_it(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    code = (
        "import os, signal, sys; from pathlib import Path; from harness.journal import Journal, Kind;"
        "Journal(Path(sys.argv[1])).write(Kind.PHASE_STARTED, phase='flash', attempt=1);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert [event.kind for event in read(path)] == [Kind.PHASE_STARTED]


@given(lines=st.lists(st.text(max_size=10), max_size=8), looks=st.lists(st.floats(0, 1), max_size=5))
def test_a_follower_gets_every_event_once_wherever_its_looks_fall(
    lines: list[str], looks: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    write(folder / "whole.jsonl", *lines)
    content = (folder / "whole.jsonl").read_bytes()
    follower = Follower(folder / "growing.jsonl")

    seen: list[str] = []
    for look in (*sorted(looks), 1.0):
        (folder / "growing.jsonl").write_bytes(content[: int(look * len(content))])
        seen += [event.data["text"] for event in follower.new_events()]

    assert seen == lines
    assert follower.new_events() == ()


_WRITER = """
import sys
import threading
from harness.journal import Journal, Kind
from pathlib import Path
with Journal(Path(sys.argv[1])) as journal:
    journal.write(Kind.LOG, text="first")
    print("open", flush=True)
    sys.stdin.readline()
"""


def start_writer(path: Path) -> subprocess.Popen[str]:
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "open\n"
    return writer


def test_a_journal_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    writer = start_writer(path)
    with pytest.raises(JournalBusy, match="another process still writes this journal"):
        Journal(path)
    writer.communicate("\n")
    write(path, "second")
    assert texts(path) == ["first", "second"]


def test_a_killed_writers_journal_is_free_when_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    writer = start_writer(path)
    threading.Timer(0.2, writer.kill).start()
    with Journal(path, wait_s=30) as journal:
        journal.write(Kind.LOG, text="second")
    writer.communicate()
    assert texts(path) == ["first", "second"]
