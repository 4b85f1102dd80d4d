"""The batch file: which boards get which firmware, and how it is known that they are well."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field, JsonValue

from drivers.virtual.spec import Fault, Speed
from harness.config import DeviceTypeSettings, ErrorHandling, FirmwareValidation, FlashSettings, RollbackSettings
from harness.fields import Address, Baud, ByteCount, Mac, Pause, Percent, Port, Regex, Revision, Seconds, Section
from harness.problems import BatchFileError
from harness.rollout.policy import ExitOn
from harness.rollout_settings import GroupSettings, PerformanceThresholds, QualityGates, WaveEntry

__all__ = ["Batch", "BatchFileError", "Target"]

VIRTUAL_PORT = "virtual"


class Strategy(StrEnum):
    """In which order devices are worked on."""

    PARALLEL = "parallel"
    SEQUENTIAL = "sequential"
    GRADUAL = "gradual"


class ImageAt(Section):
    """A file that goes to an address of the flash."""

    file: Path = Field(description="The image, relative to the batch file.")
    address: Address = Field(description="Where it goes, such as 0x10000.")


class Expect(Section):
    """What the console must show after the new firmware has started."""

    version_within: Seconds = Field(
        default=10, description="How long the board has to show all of this; left out, 60 for those on a WLAN."
    )
    settle: Pause = Field(default=1, description="How long it must then go on without a failure or a `reject`.")
    patterns: tuple[Regex, ...] = Field(default=(), description="Regular expressions that must all appear.")
    reject: tuple[Regex, ...] = Field(default=(), description="Regular expressions that must not appear.")
    require_version: bool = Field(default=True, description="The board must report the batch's version.")


class Virtual(Section):
    """The virtual board of `port: virtual` and of `--simulate`; a real port takes no notice of it."""

    speed: Speed = Field(default=Speed.FAST, description="`realistic` takes the time that a real board takes.")
    factory: Path | None = Field(
        default=None, description="What is in the flash from address 0 on. Left out: a firmware of the bench's own."
    )
    keep: bool | None = Field(
        default=None,
        description="Keep the flash from run to run; false: made anew. Left out: true, with --simulate false.",
    )
    mac: Mac | None = Field(default=None, description="Left out: the `expected` one, else one made from device_id.")
    flash_size: ByteCount | None = Field(default=None, description="Left out: the `expected` one, else the usual one.")
    chip: str | None = Field(default=None, description="Left out: the device type's.")
    options: dict[str, JsonValue] | None = Field(
        default=None, description="What the virtual board is to do otherwise than the target's `options` say."
    )
    faults: tuple[Fault, ...] = Field(default=(), description="What is wrong with the board.")


class DeviceSettings(Section):
    """What may be said for the batch, for a device type in it, and for one target; the nearest to the target wins."""

    firmware_file: Path | None = Field(
        default=None, description="The application, relative to the batch file; goes to the type's `flash_address`."
    )
    images: tuple[ImageAt, ...] | None = Field(
        default=None, min_length=1, description="Several files at addresses, in place of `firmware_file`."
    )
    previous_firmware: Path | None = Field(
        default=None,
        description="What the board runs now: what a rollback writes to one that can not be read back, where no run "
        "has put it there.",
    )
    version: str | None = Field(
        default=None, min_length=1, description="The version that the firmware reports. Left out: what the image says."
    )
    timeout: Seconds | None = Field(default=None, description="Time limit of a device: `flash_settings.timeout`.")
    expect: Expect | None = Field(default=None, description="What the console must show after the update.")
    tests: tuple[Path, ...] | None = Field(
        default=None,
        description="Modules, relative to the batch file, whose test functions run on each updated device.",
    )
    options: dict[str, JsonValue] | None = Field(
        default=None, description="The family's own settings, key by key: docs/families/."
    )
    virtual: Virtual | None = Field(default=None, description="The virtual board in the place of a real one.")


class BatchDeviceType(DeviceSettings, DeviceTypeSettings):
    """A device type in this batch: its firmware, and settings in place of the site's."""


class ConnectionInfo(Section):
    """Where a board is connected: by `port`, by `host`, or by `mount_point` or `usb`, as its family asks."""

    port: Port | None = Field(
        default=None,
        description="The serial port, best by /dev/serial/by-id/…; a URL such as rfc2217://host:4000; or `virtual`. "
        "With `host`: the number of its port.",
    )
    host: str | None = Field(default=None, min_length=1, description="The board's name or address on the network.")
    mount_point: Path | None = Field(default=None, description="The folder at which the board's boot drive appears.")
    usb: str | None = Field(
        default=None,
        min_length=1,
        description="The serial number of the board's boot loader on USB, or a usbip:// URL.",
    )
    baudrate: Baud | None = Field(default=None, description="Left out: interfaces.serial.baudrate.")
    flash_baudrate: Baud | None = Field(default=None, description="Left out: the device type's.")


class Expected(Section):
    """Who must answer on the port; checked on the connection that is then written to, before anything is written."""

    mac: Mac | None = Field(default=None, description="The board's MAC address.")
    serial: str | None = Field(default=None, min_length=1, description="Its serial number, where it has no MAC.")
    chip: str | None = Field(default=None, description="Its chip. Left out: the device type's.")
    flash_size: ByteCount | None = Field(default=None, description="The size of its flash.")
    revision: Revision | None = Field(default=None, description="The revision of its chip, such as v3.1.")


class Target(DeviceSettings):
    """One board."""

    device_id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100, description="Its name, in this batch and in reports."
    )
    device_type: str | None = Field(default=None, description="Left out: the batch's.")
    connection_info: ConnectionInfo = Field(description="Where it is connected.")
    expected: Expected = Field(default=Expected(), description="Who must answer there.")
    groups: tuple[str, ...] = Field(default=(), description="Groups that it belongs to, whatever its port.")


class Batch(DeviceSettings):
    """An update of a fleet of boards."""

    name: str = Field(min_length=1, description="What this batch is called in reports.")
    description: str = Field(default="", description="What it is for.")
    device_type: str | None = Field(default=None, description="The type of targets that do not name one.")
    device_types: dict[str, BatchDeviceType] = Field(
        default={}, description="What differs by device type, such as the firmware of a mixed fleet."
    )
    strategy: Strategy = Field(
        default=Strategy.PARALLEL,
        description="`parallel`: up to max_concurrent at the same time; `sequential`: one; `gradual`: in waves.",
    )
    batch_size: int | None = Field(default=None, ge=1, description="gradual: devices in each wave. Left out: 5.")
    waves: tuple[WaveEntry, ...] | None = Field(
        default=None,
        min_length=1,
        description="gradual: the size of each wave, such as [1, 5, 10%, 50%, 100%]; the last one is repeated.",
    )
    success_threshold: Percent | None = Field(
        default=None,
        description="gradual: so many of a wave must succeed before the next one starts. Left out: 90.",
    )
    soak: Pause | None = Field(default=None, description="gradual: pause between a wave that passed and the next.")
    approve: bool | None = Field(
        default=None, description="gradual: each further wave waits for `batch-flash approve RUN`."
    )
    approval_timeout: Seconds | None = Field(
        default=None, description="gradual: how long it waits before it halts. Left out: 3600."
    )
    max_concurrent: int | None = Field(default=None, ge=1, description="Left out: flash_settings.max_concurrent.")
    rollback_on_failure: bool | None = Field(
        default=None, description="Left out: rollback_settings.rollback_on_failure."
    )
    flash_settings: FlashSettings = Field(default=FlashSettings(), description="In place of the site's, key by key.")
    error_handling: ErrorHandling = Field(default=ErrorHandling(), description="In place of the site's, key by key.")
    rollback_settings: RollbackSettings = Field(
        default=RollbackSettings(), description="In place of the site's, key by key."
    )
    firmware_validation: FirmwareValidation = Field(
        default=FirmwareValidation(), description="In place of the site's, key by key."
    )
    quality_gates: QualityGates = Field(default=QualityGates(), description="In place of the site's, key by key.")
    performance_thresholds: PerformanceThresholds = Field(
        default=PerformanceThresholds(), description="In place of the site's, key by key."
    )
    groups: dict[str, GroupSettings] = Field(
        default={}, description="Devices that share something; beside the site's, in place of those of the same name."
    )
    exit_on: ExitOn | None = Field(default=None, description="Left out: the site's.")
    targets: tuple[Target, ...] = Field(min_length=1, description="The boards, in the order of the reports.")
