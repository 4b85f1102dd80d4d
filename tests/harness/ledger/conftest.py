from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.ledger import Ledger
from harness.record import RunRecord
from tests.harness.builders import mixed_run
from tests.harness.ledger.postgres import Server, running_server

_FIRST_VERSION = Path(__file__).with_name("first_version.sql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a ledger that is not there yet, in each kind of database."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    server: Server = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def ledger(address: str) -> Ledger:
    return Ledger(address)


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    """A file that the code wrote which knew of no migrations, with `run` in it."""
    path = tmp_path / "ledger.db"
    database = sqlite3.connect(path)
    database.executescript(_FIRST_VERSION.read_text())
    database.close()
    return path


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    return mixed_run(tmp_path / "journals")
