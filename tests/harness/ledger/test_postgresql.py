"""What is particular to a ledger in PostgreSQL: who may connect, what may be printed, and who waits for whom."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from harness.ledger import Ledger, LedgerError
from harness.record import RunRecord
from tests.harness.ledger.postgres import Server, running_server
from tests.harness.ledger.test_ledger import as_kept

CAREFUL = "careful"
"""A user that the server asks for a password."""


@pytest.fixture(scope="session")  # as its server: workers come back to a module that they have left
def careful(postgres: Server) -> str:
    """The URL of a database of its own."""
    database = postgres.new_database().rpartition("/")[2]
    postgres.execute(f"CREATE ROLE {CAREFUL} LOGIN PASSWORD 'hunter2'", f"ALTER DATABASE {database} OWNER TO {CAREFUL}")
    return postgres.url(database, CAREFUL)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_either_spelling_of_the_url_will_do(postgres: Server, run: RunRecord, scheme: str):
    address = postgres.new_database().replace("postgresql", scheme, 1)
    Ledger(address).record(run)

    assert Ledger(address).run(run.run_id) == as_kept(run)


def test_the_password_comes_from_the_environment(careful: str, run: RunRecord, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    Ledger(careful).record(run)


def test_or_from_a_file(careful: str, run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pgpass").write_text(f"*:*:*:{CAREFUL}:hunter2\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    Ledger(careful).record(run)


@pytest.mark.parametrize("password", [None, "wrong-hunter"])
def test_without_the_right_one_it_is_said_where_it_belongs(
    careful: str, password: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PGPASSWORD", raising=False)
    if password:
        monkeypatch.setenv("PGPASSWORD", password)
    with pytest.raises(LedgerError, match=r"password.*; the password belongs into PGPASSWORD, ~/\.pgpass") as caught:
        Ledger(careful)
    assert "wrong-hunter" not in str(caught.value)


def test_a_database_that_is_not_there(postgres: Server):
    with pytest.raises(LedgerError, match=r'"nowhere" does not exist.*; create the database and its user first'):
        Ledger(postgres.url("nowhere"))


def test_a_user_who_may_make_no_tables(postgres: Server):
    address = postgres.new_database()
    postgres.execute("CREATE ROLE guest LOGIN")
    with pytest.raises(
        LedgerError, match=r"permission denied for schema public.*; its user must own the ledger's tables"
    ):
        Ledger(address.replace("postgres@", "guest@"))


def test_a_server_that_is_not_there(run: RunRecord):
    with running_server() as server:
        ledger = Ledger(server.new_database())
        ledger.record(run)
    with pytest.raises(LedgerError, match=r"[Cc]onnection refused.*; check that the server runs") as caught:
        ledger.record(run)
    assert "\n" not in str(caught.value)


def test_no_connection_is_held_between_calls(postgres: Server, run: RunRecord):
    ledger = Ledger(postgres.new_database())
    ledger.record(run)

    with psycopg.connect(postgres.url("postgres")) as connection:
        held = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'batch-flash'")
        assert held.fetchone() == (0,)


def test_a_writer_that_waits_too_long_says_so_and_readers_wait_for_nobody(postgres: Server, run: RunRecord):
    address = postgres.new_database()
    ledger = Ledger(address)
    ledger.record(run)
    postgres.execute(f"ALTER DATABASE {address.rpartition('/')[2]} SET lock_timeout = '100ms'")

    with ledger._writing() as session:
        session.connection()
        with pytest.raises(LedgerError, match="lock timeout; another process holds it: try again"):
            ledger.record(run)
        assert ledger.run(run.run_id) == as_kept(run)


def test_a_reader_sees_a_run_as_it_was_at_one_moment(postgres: Server, run: RunRecord):
    """Rows of a run are replaced while it goes on: half of the old and half of the new would be a third state."""
    ledger = Ledger(postgres.new_database())
    ledger.record(run)
    done = threading.Event()

    def replace_it_all_the_time() -> None:
        while not done.is_set():
            ledger.record(replace(run, devices=run.devices[::-1]))
            ledger.record(run)

    writer = threading.Thread(target=replace_it_all_the_time)
    writer.start()
    try:
        seen = [ledger.run(run.run_id) for _ in range(30)]
    finally:
        done.set()
        writer.join()
    states = (as_kept(run), as_kept(replace(run, devices=run.devices[::-1])))
    assert all(each in states for each in seen)


def test_without_its_driver_it_is_said_what_to_install():
    code = """if True:
        import sys
        sys.modules["psycopg"] = None
        from harness.ledger import Ledger, LedgerError
        try:
            Ledger("postgresql://lab@127.0.0.1/ledger")
        except LedgerError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "the ledger postgresql://lab@127.0.0.1/ledger needs psycopg: pip install 'batch-flash[postgresql]'\n"
    )
