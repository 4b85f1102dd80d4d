"""The ledger's tables. Times in seconds since the epoch, sizes in bytes; logs and console stay in the journals.

Each change here needs a migration in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

BYTES = BigInteger().with_variant(Integer(), "sqlite")  # SQLite's integers have 64 bits


class Text(TypeDecorator[str]):
    """Text from a board or a path: what a database can not hold (NUL, half a surrogate pair) is spelled out."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  (SQLAlchemy's)
        return value and value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, float: Double, str: Text}  # noqa: RUF012  (SQLAlchemy's protocol)


class RunRow(Base):
    __tablename__ = "runs"

    run_id: Mapped[str] = mapped_column(primary_key=True)
    batch_name: Mapped[str]
    batch_file: Mapped[str]
    description: Mapped[str]
    version: Mapped[str]
    strategy: Mapped[str]
    started: Mapped[float] = mapped_column(index=True)
    ended: Mapped[float | None]
    simulated: Mapped[bool]
    rehearsal: Mapped[bool] = mapped_column(server_default=false())
    interrupted: Mapped[str]
    total_count: Mapped[int]
    success_count: Mapped[int]
    failure_count: Mapped[int]
    restored_count: Mapped[int] = mapped_column(server_default="0")
    rollout: Mapped[dict[str, Any]] = mapped_column(server_default="{}")

    devices: Mapped[list[DeviceRow]] = relationship(
        back_populates="run", order_by="DeviceRow.position", cascade="all, delete-orphan", passive_deletes=True
    )
    events: Mapped[list[EventRow]] = relationship(
        order_by="EventRow.position", cascade="all, delete-orphan", passive_deletes=True
    )


class EventRow(Base):
    """Something that happened to a run as a whole."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    at: Mapped[float]
    kind: Mapped[str]
    text: Mapped[str]


class DeviceRow(Base):
    """One device in one run."""

    __tablename__ = "devices"
    __table_args__ = (
        UniqueConstraint("run_id", "device_id"),
        Index("ix_devices_device_id", "device_id"),
        Index("ix_devices_port", "port"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"))
    position: Mapped[int]  # in the batch
    wave: Mapped[int | None]
    device_id: Mapped[str]
    device_type: Mapped[str]
    port: Mapped[str]
    wanted_version: Mapped[str | None]
    outcome: Mapped[str] = mapped_column(index=True)
    update_outcome: Mapped[str] = mapped_column(server_default="not-run")
    chip: Mapped[str | None]
    revision: Mapped[str | None]
    serial: Mapped[str | None] = mapped_column(index=True)
    flash_size: Mapped[int | None] = mapped_column(BYTES)
    version_before: Mapped[str | None]
    version_after: Mapped[str | None]
    error_category: Mapped[str | None]
    error: Mapped[dict[str, Any] | None]
    reason: Mapped[str]
    worker: Mapped[str]
    started: Mapped[float | None]
    ended: Mapped[float | None]

    run: Mapped[RunRow] = relationship(back_populates="devices")
    attempts: Mapped[list[AttemptRow]] = relationship(
        order_by="AttemptRow.position", cascade="all, delete-orphan", passive_deletes=True
    )
    phases: Mapped[list[PhaseRow]] = relationship(
        order_by="PhaseRow.position", cascade="all, delete-orphan", passive_deletes=True
    )


class AttemptRow(Base):
    __tablename__ = "attempts"

    id: Mapped[int] = mapped_column(primary_key=True)
    device: Mapped[int] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    number: Mapped[int]
    baud: Mapped[int]
    started: Mapped[float]
    error: Mapped[dict[str, Any] | None]
    wait_s: Mapped[float | None]


class PhaseRow(Base):
    __tablename__ = "phases"

    id: Mapped[int] = mapped_column(primary_key=True)
    device: Mapped[int] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    phase: Mapped[str]
    attempt: Mapped[int]
    started: Mapped[float]
    ended: Mapped[float | None]
    outcome: Mapped[str]
    detail: Mapped[str]
    figures: Mapped[dict[str, Any]]
    error: Mapped[dict[str, Any] | None]


class QuarantineRow(Base):
    """A device that is skipped until it is released. No foreign key: a run's row is replaced while the run goes on."""

    __tablename__ = "quarantine"

    device_id: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[float]
    run_id: Mapped[str]
    reason: Mapped[str]


class ReleaseRow(Base):
    """A device was released; what it did in earlier runs no longer counts against it."""

    __tablename__ = "releases"
    __table_args__ = (Index("ix_releases_device_id_at", "device_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[str]
    at: Mapped[float]
    released_by: Mapped[str]
