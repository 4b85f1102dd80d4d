"""The ledger's tables. Times in seconds since the epoch, sizes in bytes; logs and console stay in the journals."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA_VERSION: Final = 1
"""In the database's `user_version`: what a migration starts from."""


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012  (SQLAlchemy's declarative protocol)


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
    interrupted: Mapped[str]
    total_count: Mapped[int]
    success_count: Mapped[int]
    failure_count: Mapped[int]

    devices: Mapped[list[DeviceRow]] = relationship(
        back_populates="run", order_by="DeviceRow.position", cascade="all, delete-orphan", passive_deletes=True
    )


class DeviceRow(Base):
    """One device in one run."""

    __tablename__ = "devices"
    __table_args__ = (UniqueConstraint("run_id", "device_id"), Index("ix_devices_device_id", "device_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"))
    position: Mapped[int]  # in the batch
    device_id: Mapped[str]
    device_type: Mapped[str]
    port: Mapped[str]
    wanted_version: Mapped[str | None]
    outcome: Mapped[str] = mapped_column(index=True)
    chip: Mapped[str | None]
    revision: Mapped[str | None]
    serial: Mapped[str | None] = mapped_column(index=True)
    flash_size: Mapped[int | None]
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
