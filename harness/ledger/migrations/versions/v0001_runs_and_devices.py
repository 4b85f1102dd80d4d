"""The tables of the first version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(), primary_key=True),
        sa.Column("batch_name", sa.String(), nullable=False),
        sa.Column("batch_file", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False, index=True),
        sa.Column("ended", sa.Double()),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("interrupted", sa.String(), nullable=False),
        sa.Column("total_count", sa.Integer(), nullable=False),
        sa.Column("success_count", sa.Integer(), nullable=False),
        sa.Column("failure_count", sa.Integer(), nullable=False),
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.String(), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False, index=True),
        sa.Column("device_type", sa.String(), nullable=False),
        sa.Column("port", sa.String(), nullable=False),
        sa.Column("wanted_version", sa.String()),
        sa.Column("outcome", sa.String(), nullable=False, index=True),
        sa.Column("chip", sa.String()),
        sa.Column("revision", sa.String()),
        sa.Column("serial", sa.String(), index=True),
        sa.Column("flash_size", sa.BigInteger().with_variant(sa.Integer(), "sqlite")),
        sa.Column("version_before", sa.String()),
        sa.Column("version_after", sa.String()),
        sa.Column("error_category", sa.String()),
        sa.Column("error", sa.JSON()),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("started", sa.Double()),
        sa.Column("ended", sa.Double()),
        sa.UniqueConstraint("run_id", "device_id"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.Integer(), primary_key=True),
        _device_column(),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("baud", sa.Integer(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("error", sa.JSON()),
        sa.Column("wait_s", sa.Double()),
    )
    op.create_table(
        "phases",
        sa.Column("id", sa.Integer(), primary_key=True),
        _device_column(),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double()),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON()),
    )


def _device_column() -> sa.Column[int]:
    device = sa.ForeignKey("devices.id", ondelete="CASCADE")
    return sa.Column("device", sa.Integer(), device, nullable=False, index=True)
