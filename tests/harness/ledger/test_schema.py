"""A ledger of any earlier version is brought up to this one without losing a row, once; a newer one is left alone."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, NullPool, create_engine, text

from harness.ledger import Ledger, LedgerError
from harness.ledger.models import Base
from harness.ledger.schema import REVISION
from harness.record import RunRecord
from tests.harness.ledger.test_ledger import as_kept


def engine_of(address: str) -> Engine:
    url = address.replace("postgresql://", "postgresql+psycopg://") if "://" in address else f"sqlite:///{address}"
    return create_engine(url, poolclass=NullPool)


def test_models_and_migrations_agree(address: str):
    Ledger(address)
    with engine_of(address).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_models_and_migrations_agree_where_an_earlier_ledger_was_adopted(first_version: Path):
    Ledger(first_version)
    with engine_of(str(first_version)).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_the_newest_migration_is_the_one_that_an_open_ledger_is_held_to():
    scripts = ScriptDirectory(str(Path(__file__).parents[3] / "harness/ledger/migrations"))
    assert scripts.get_heads() == [REVISION]


def test_a_ledger_of_the_first_version_keeps_every_row(first_version: Path, run: RunRecord):
    ledger = Ledger(first_version)

    assert ledger.run(run.run_id) == as_kept(run)
    ledger.record(run)
    assert ledger.run(run.run_id) == as_kept(run)


def test_the_code_of_the_first_version_would_refuse_what_has_become_of_its_ledger(first_version: Path):
    Ledger(first_version)
    with sqlite3.connect(first_version) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_ledger_of_a_newer_version_is_not_touched(address: str, run: RunRecord):
    Ledger(address).record(run)
    with engine_of(address).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(LedgerError, match="was written by a newer version: update batch-flash"):
        Ledger(address)
    with engine_of(address).begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"


def test_a_file_of_a_newer_version_from_before_migrations_is_not_touched(first_version: Path):
    with sqlite3.connect(first_version) as database:
        database.execute("PRAGMA user_version = 2")

    with pytest.raises(LedgerError, match="newer version"):
        Ledger(first_version)


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(first_version: Path):
    with sqlite3.connect(first_version) as database:
        database.execute("CREATE TABLE releases (mine TEXT)")  # the last table that the upgrade makes
        before = list(database.iterdump())

    with pytest.raises(LedgerError, match="table releases already exists"):
        Ledger(first_version)
    with sqlite3.connect(first_version) as database:
        assert list(database.iterdump()) == before
        assert database.execute("PRAGMA user_version").fetchone() == (1,)


def test_alembic_is_imported_only_to_change_tables(address: str):
    Ledger(address)
    code = f"import sys; from harness.ledger import Ledger; Ledger({address!r}).runs(); print('alembic' in sys.modules)"
    assert _output_of(code) == "False"


@pytest.mark.parametrize("entry", ["harness.cli", "harness.plugin"])
def test_neither_commands_nor_workers_pay_for_a_database(entry: str):
    heavy = {"sqlalchemy", "alembic", "psycopg"}
    assert _output_of(f"import sys, {entry}; print(sorted({heavy!r} & sys.modules.keys()))") == "[]"


def _output_of(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
