"""A ledger that can not be used is one clear sentence, with what to do, and stays as whole as it was."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.ledger import Ledger, LedgerError
from harness.record import RunRecord
from tests.harness.ledger.test_ledger import as_kept

NOBODY = 65534

_ON_A_FULL_DISK = """
import pickle, resource, sys
from harness.ledger import Ledger, LedgerError

address, room = sys.argv[1:]
run = pickle.load(sys.stdin.buffer)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))
try:
    Ledger(address).record(run)
except LedgerError as error:
    print(error)
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A folder of this user's that nobody may write to: root may write to any, so root is nobody for a while."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        user = os.geteuid()
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def give_up_writing(folder: Path) -> None:
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)


def test_a_file_that_is_no_database(tmp_path: Path):
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database" * 100)

    with pytest.raises(LedgerError, match=r"ledger\.db can not be used: file is not a database; .* move it away"):
        Ledger(path)


def test_a_file_that_is_damaged_in_the_middle(tmp_path: Path, ledger: Ledger, run: RunRecord):
    ledger.record(run)
    path = tmp_path / "ledger.db"
    page, size = 4096, path.stat().st_size
    with path.open("r+b") as file:
        file.seek(page)  # the first one tells where the tables are
        file.write(os.urandom(size - page))

    with pytest.raises(LedgerError, match=r"can not be used: .*malformed; if it is damaged, move it away"):
        ledger.record(run)


def test_another_programs_database(tmp_path: Path):
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE runs (distance_km REAL)")

    with pytest.raises(LedgerError, match=r"ledger\.db is no ledger: .*; choose another place"):
        Ledger(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("runs",)]


def test_a_folder_that_can_not_be(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(LedgerError, match=r"can not be used: .*file"):
        Ledger(tmp_path / "file" / "ledger.db")
    with pytest.raises(LedgerError, match="check that the file and its folder can be written to"):
        Ledger(Path("/proc/ledger.db"))


def test_a_new_ledger_in_a_folder_that_may_not_be_written_to(ledger: Ledger):
    with without_privileges() as folder:
        give_up_writing(folder)
        with pytest.raises(LedgerError, match=r"[Pp]ermission denied.*; check that the file and its folder can be"):
            Ledger(folder / "ledger.db")


def test_a_ledger_that_may_not_be_written_to(run: RunRecord):
    with without_privileges() as folder:
        ledger = Ledger(folder / "ledger.db")
        ledger.record(run)
        give_up_writing(folder)
        for question in (lambda: Ledger(folder / "ledger.db"), ledger.runs, lambda: ledger.record(run)):
            with pytest.raises(LedgerError, match="check that the file and its folder can be written to"):
                question()


def test_a_file_that_has_become_something_else(tmp_path: Path, ledger: Ledger, run: RunRecord):
    (tmp_path / "ledger.db").unlink()
    (tmp_path / "ledger.db").mkdir()

    with pytest.raises(LedgerError, match="unable to open"):
        ledger.record(run)


def on_a_full_disk(path: Path, run: RunRecord, room: int) -> str:
    """What is said when no file may grow beyond so many bytes."""
    command = [sys.executable, "-c", _ON_A_FULL_DISK, str(path), str(room)]
    return subprocess.run(command, input=pickle.dumps(run), capture_output=True, check=True).stdout.decode()


@pytest.mark.parametrize("room", [0, 60_000, 150_000])
def test_a_full_disk_loses_no_earlier_run(tmp_path: Path, ledger: Ledger, run: RunRecord, room: int):
    ledger.record(run)
    larger = replace(run, run_id="larger", description="x" * 200_000)

    said = on_a_full_disk(tmp_path / "ledger.db", larger, room)

    assert "can not be used: " in said
    assert said.endswith("; check that the file and its folder can be written to, and that the disk is not full\n")
    assert said.count("\n") == 1
    assert ledger.run(run.run_id) == as_kept(run)
    ledger.record(larger)
    assert ledger.run("larger") == as_kept(larger)


def test_a_full_disk_when_the_ledger_is_to_be_made(tmp_path: Path, run: RunRecord):
    assert on_a_full_disk(tmp_path / "ledger.db", run, 10_000).endswith("and that the disk is not full\n")

    Ledger(tmp_path / "ledger.db").record(run)


def test_a_file_that_somebody_holds_for_too_long(tmp_path: Path, ledger: Ledger, run: RunRecord):
    impatient = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}?timeout=0.1")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="database is locked; another process holds it: try again"):
            impatient.record(run)
        assert impatient.runs() == []


def test_words_of_a_later_version(tmp_path: Path, ledger: Ledger, run: RunRecord):
    ledger.record(run)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        database.execute("UPDATE devices SET outcome = 'melted'")

    with pytest.raises(LedgerError, match=r"not be understood: 'melted' is not a valid Outcome; .*update batch-flash"):
        ledger.run(run.run_id)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense://host/ledger", "can not be kept in nonsense; these can: sqlite, postgresql"),
        ("mysql+pymysql://host/ledger", r"can not be kept in mysql\+pymysql"),
        ("postgresql://host:port/ledger", "neither a path nor a database's URL"),
        ("://", "neither a path nor a database's URL"),
        ("sqlite://", "a ledger in memory would be forgotten"),
        (":memory:", "a ledger in memory would be forgotten"),
    ],
)
def test_an_address_that_can_not_be_one(address: str, message: str):
    with pytest.raises(LedgerError, match=message):
        Ledger(address)


@pytest.mark.parametrize("address", ["postgresql://lab:hunter2@host/ledger", "postgresql://host/x?password=hunter2"])
def test_a_password_is_refused_and_not_repeated(address: str):
    with pytest.raises(LedgerError, match=r"a password must not stand in the ledger's URL.*PGPASSWORD") as caught:
        Ledger(address)
    assert "hunter2" not in str(caught.value)
