"""What docs/ledger.md says of tables and queries is so, in each kind of database."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import text

from harness.ledger import Ledger
from harness.ledger.models import Base
from harness.record import RunRecord
from tests.harness.ledger.test_schema import engine_of

PAGE = (Path(__file__).parents[3] / "docs/ledger.md").read_text()


def test_each_query_of_the_page_finds_something(address: str, run: RunRecord):
    Ledger(address).record(run)
    queries = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)

    with engine_of(address).connect() as connection:
        found = [connection.execute(text(query)).fetchall() for query in queries]
    assert len(found) == 2
    assert all(found)


def test_the_page_names_each_table():
    table = PAGE.partition("## Tables")[2].partition("\n## ")[0]
    assert set(Base.metadata.tables) <= set(re.findall(r"`(\w+)`", table))
