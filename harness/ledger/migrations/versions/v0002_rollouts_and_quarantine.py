"""Rollouts, what happened to a run as a whole, rehearsals, and devices in quarantine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _extend_runs()
    _extend_devices()
    _add_quarantine()
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA user_version = 2")  # the version without migrations looks there, and refuses what is newer


def _extend_runs() -> None:
    op.add_column("runs", sa.Column("rehearsal", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("restored_count", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("rollout", sa.JSON(), nullable=False, server_default="{}"))
    run = sa.ForeignKey("runs.run_id", ondelete="CASCADE")
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.String(), run, nullable=False, index=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
    )


def _extend_devices() -> None:
    op.add_column("devices", sa.Column("wave", sa.Integer()))
    op.add_column("devices", sa.Column("update_outcome", sa.String(), nullable=False, server_default="not-run"))
    op.execute("UPDATE devices SET update_outcome = outcome")  # nothing was restored by a batch's rollback until now
    op.create_index("ix_devices_port", "devices", ["port"])


def _add_quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("device_id", sa.String(), primary_key=True),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
    )
    op.create_table(
        "releases",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("released_by", sa.String(), nullable=False),
    )
    op.create_index("ix_releases_device_id_at", "releases", ["device_id", "at"])
