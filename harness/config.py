"""The site file: what holds for every batch of a lab, and the built-in defaults where it is silent.

The sections from `FlashSettings` to `FirmwareValidation` may stand in a batch too, where they win over the site's.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from drivers.base import Interface
from harness.fields import Address, Baud, ByteCount, Pause, PortNumber, Seconds, Section
from harness.rollout.policy import ExitOn
from harness.rollout_settings import GroupSettings, PerformanceThresholds, QualityGates

SITE_FILE = "batch-flash-config.yaml"


class BackupScope(StrEnum):
    """What is read from a board before it is written."""

    FLASH = "flash"
    IMAGES = "images"


class LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"

    @property
    def severity(self) -> int:
        """The number that `logging` gives this level."""
        return logging.getLevelNamesMapping()[self.value]


class SerialInterface(Section):
    """How boards on serial lines are reached."""

    type: Literal["serial"] = Field(default="serial", description="The kind of interface.")
    baudrate: Baud = Field(default=115200, description="Rate of the application's console.")
    flash_baudrate: Baud = Field(
        default=921600, description="Rate of transfers to and from the flash; lowered by itself after failures."
    )
    timeout: Seconds = Field(default=30, description="How long a board may take to be reached and to identify itself.")


class NetworkInterface(Section):
    """How boards on the network are reached."""

    type: Literal["network"] = Field(default="network", description="The kind of interface.")
    timeout: Seconds = Field(default=30, description="How long a board may take to be reached and to identify itself.")
    port: PortNumber = Field(default=80, description="Of boards whose protocol has no port of its own.")


class UsbInterface(Section):
    """How boards are reached that are a drive, or a boot loader, on USB."""

    type: Literal["usb"] = Field(default="usb", description="The kind of interface.")
    timeout: Seconds = Field(default=60, description="How long a board may take to appear and to identify itself.")


class Interfaces(Section):
    serial: SerialInterface = Field(default=SerialInterface(), description="Boards on serial lines.")
    network: NetworkInterface = Field(default=NetworkInterface(), description="Boards on the network.")
    usb: UsbInterface = Field(default=UsbInterface(), description="Boards on USB.")


class Performance(Section):
    """Limits of connections over the network."""

    connection_timeout: Seconds = Field(default=30, description="How long a connection may take to be made.")
    read_timeout: Seconds = Field(default=60, description="How long a board may be silent in the middle of something.")
    max_connections_per_host: int = Field(
        default=5, ge=1, description="So many devices behind one host name or address at the same time."
    )


class PhaseTimeouts(Section):
    """Time limits of single phases; `flash_settings.timeout` bounds a device as a whole."""

    lock: Seconds = Field(default=10, description="Waiting for a port that another run holds.")
    identify: Seconds | None = Field(default=None, description="Left out: 5 s more than its interface's `timeout`.")
    backup: Seconds | None = Field(default=None, description="Left out: the device's timeout.")
    flash: Seconds | None = Field(default=None, description="Left out: the device's timeout.")
    verify: Seconds | None = Field(default=None, description="Left out: the device's timeout.")
    boot: Seconds | None = Field(default=None, description="Left out: 15 s more than `expect` and a restart may take.")
    test: Seconds | None = Field(default=None, description="Left out: the device's timeout.")


class FlashSettings(Section):
    max_concurrent: int = Field(default=10, ge=1, description="How many devices are worked on at the same time.")
    timeout: Seconds = Field(default=300, description="Time limit of one device, all attempts, without a rollback.")
    max_retries: int = Field(
        default=3, ge=0, le=20, description="How often a failed device is tried again (so 3 means 4 attempts in all)."
    )
    verify_after_flash: bool = Field(default=True, description="Compare the flash with the images after writing.")
    backup_before_flash: bool = Field(default=True, description="Keep what is in the flash before it is written.")
    backup_scope: BackupScope = Field(
        default=BackupScope.FLASH,
        description="`flash` keeps all of it, `images` only what the images cover: faster, but data elsewhere "
        "(NVS, file systems) that the new firmware converts is then not put back.",
    )
    phase_timeouts: PhaseTimeouts = Field(default=PhaseTimeouts(), description="Time limits of single phases.")


class DeviceTypeSettings(Section):
    """What holds for every board of a type."""

    interface: Interface | None = Field(default=None, description="The interface that such boards are on, as a check.")
    flash_baudrate: Baud | None = Field(default=None, description="Left out: interfaces.serial.flash_baudrate.")
    chip: str | None = Field(default=None, description="The chip that must answer. Left out: the device type.")
    flash_address: Address | None = Field(default=None, description="Where `firmware_file` goes.")
    max_firmware_size: ByteCount | None = Field(default=None, description="No image may be larger.")
    options: dict[str, JsonValue] | None = Field(
        default=None, description="The family's own settings, key by key: docs/families/."
    )


class FirmwareValidation(Section):
    """What is checked of the firmware files before any board is touched."""

    validate_before_flash: bool = Field(default=True, description="The switch for the two checks below.")
    check_file_size: bool = Field(default=True, description="Refuse images above `max_firmware_size`.")
    check_compatibility: bool = Field(
        default=True, description="Refuse images that the chip's boot loader would refuse, and other versions."
    )
    verify_checksum: Literal[True] = Field(
        default=True, description="Files are always held to the SHA-256 that they had when the run began."
    )
    validate_signature: Literal[False] = Field(default=False, description="Not built yet.")


class ErrorHandling(Section):
    auto_retry: bool = Field(default=True, description="Try again what trying again can mend (a lost connection, say).")
    max_retry_attempts: int = Field(
        default=3, ge=0, le=20, description="The same number as `flash_settings.max_retries`, by its other name."
    )
    retry_delay: Pause = Field(default=5, description="Pause before the first retry.")
    exponential_backoff: bool = Field(default=True, description="Double the pause with each retry, up to 60 s.")
    circuit_breaker: bool = Field(default=True, description="Repeated errors of one kind in a group pause that group.")
    breaker_failures: int = Field(default=3, ge=2, description="So many devices of a group in a row trip its breaker.")
    breaker_pause: Seconds = Field(
        default=60, description="Then one device of the group is tried; its failure gives the group up."
    )
    quarantine_after: int = Field(
        default=3,
        ge=0,
        description="A device that failed in so many runs in a row is skipped until it is released; 0: never.",
    )


class RollbackSettings(Section):
    auto_rollback: bool = Field(default=True, description="The same as `rollback_on_failure`, by its other name.")
    backup_before_flash: bool = Field(default=True, description="The same as in `flash_settings`.")
    rollback_on_failure: bool = Field(default=True, description="Restore the backup when the new firmware fails.")
    restore_on_failed_gate: bool = Field(
        default=True, description="With rollback_on_failure: a failed gate takes back what the run has updated."
    )
    rollback_timeout: Seconds = Field(default=180, description="Time limit of a rollback, beyond the device's timeout.")


class Logging(Section):
    log_level: LogLevel = Field(default=LogLevel.INFO, description="How much the run's log says.")


class Storage(Section):
    """Where results and backups are kept; relative paths start at the site file's folder."""

    runs_dir: Path = Field(default=Path("runs"), description="A folder for each run: plan, journals, reports.")
    store_dir: Path = Field(default=Path("store"), description="Backups, as blocks that boards share.")
    ledger: str = Field(
        default="runs/ledger.sqlite",
        min_length=1,
        description="The history of all runs: a SQLite file, or a database's URL without a password.",
    )


class Site(Section):
    """A lab's settings: built-in defaults < this file < the batch < its device type < its target."""

    interfaces: Interfaces = Field(default=Interfaces(), description="How boards are reached.")
    flash_settings: FlashSettings = Field(default=FlashSettings(), description="How boards are flashed.")
    device_types: dict[str, DeviceTypeSettings] = Field(default={}, description="What holds for a type of board.")
    firmware_validation: FirmwareValidation = Field(
        default=FirmwareValidation(), description="Checks of the firmware files."
    )
    error_handling: ErrorHandling = Field(default=ErrorHandling(), description="When failed devices are tried again.")
    rollback_settings: RollbackSettings = Field(default=RollbackSettings(), description="What happens after a failure.")
    quality_gates: QualityGates = Field(default=QualityGates(), description="What every rollout must reach.")
    performance_thresholds: PerformanceThresholds = Field(
        default=PerformanceThresholds(), description="Gates over the times of single devices."
    )
    groups: dict[str, GroupSettings] = Field(default={}, description="Devices that share a hub, a rack or a host.")
    exit_on: ExitOn = Field(
        default=ExitOn.GATES,
        description="Exit status 1 when a gate failed (where there is none: a device), or when any device did.",
    )
    performance: Performance = Field(default=Performance(), description="Connections over the network.")
    logging: Logging = Field(default=Logging(), description="The run's log.")
    storage: Storage = Field(default=Storage(), description="Where results and backups are kept.")
