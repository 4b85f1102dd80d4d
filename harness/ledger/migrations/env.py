"""Alembic's entry: the migrations run in the transaction of whoever opens the ledger, all of them or none."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
