"""What every driver offers, and how it fails: the only names that the procedure knows of a board.

The error family (the category is the one of the reports; `retryable` says whether trying again can mend it):

    DeviceError                     other         no
    ├── PhaseTimeout                timeout       yes
    ├── ConnectionLost              connection    yes
    ├── PortUnavailable             connection    yes   not there, or closed to us
    │   └── PortInUse               connection    yes   another run or program has it
    ├── PortPermission              permission    no
    ├── VerificationFailed          verification  yes
    ├── BootFailed                  verification  no    the new firmware does not start, or is another version
    ├── BoardTestFailed             verification  no    a test of the batch's own failed on the board
    ├── FlashFailed                 flash         yes
    ├── NetworkFailed               network       yes
    ├── WrongBoard                  other         no    identity differs: nothing was written
    ├── BadImage                    other         no    the image can not run on this board
    └── UnknownDeviceType           other         no
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict


class Category(StrEnum):
    """The error categories that reports count by."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    PERMISSION = "permission"
    VERIFICATION = "verification"
    FLASH = "flash"
    NETWORK = "network"
    OTHER = "other"


class DeviceError(Exception):
    """Something went wrong with one board. `advice` tells the person at the bench what to do next."""

    category: ClassVar[Category] = Category.OTHER
    retryable: ClassVar[bool] = False
    default_advice: ClassVar[str] = (
        "Read its log in the report; `logging: {log_level: DEBUG}` in the site file puts every packet there."
    )

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice or self.default_advice


class PhaseTimeout(DeviceError):
    category = Category.TIMEOUT
    retryable = True
    default_advice = "Check the board's power and cable; raise the time limit if the board is only slow."


class ConnectionLost(DeviceError):
    category = Category.CONNECTION
    retryable = True
    default_advice = "Check the cable and the board's power, and that it can enter its boot loader."


class PortUnavailable(DeviceError):
    category = Category.CONNECTION
    retryable = True
    default_advice = "Check that the port exists and that no serial monitor or other program has it open."


class PortInUse(PortUnavailable):
    default_advice = "Another program has the port: end that serial monitor, or wait for the other run."


class PortPermission(DeviceError):
    category = Category.PERMISSION
    default_advice = (
        "Add yourself to the group that owns the port: sudo usermod -a -G dialout $USER, then log in again."
    )


class VerificationFailed(DeviceError):
    category = Category.VERIFICATION
    retryable = True
    default_advice = "What is in flash differs from the image: check power and cable; a worn flash fails like this too."


class BootFailed(DeviceError):
    category = Category.VERIFICATION
    default_advice = "The image was in the flash, but did not run as expected: read the console output in the report."


class BoardTestFailed(DeviceError):
    category = Category.VERIFICATION
    default_advice = "The new firmware started, but one of the batch's tests failed on it: read its message."


class FlashFailed(DeviceError):
    category = Category.FLASH
    retryable = True
    default_advice = "Check the power supply; try a lower flash_baudrate."


class NetworkFailed(DeviceError):
    category = Category.NETWORK
    retryable = True
    default_advice = "Check that the device answers on its address from this machine."


class WrongBoard(DeviceError):
    default_advice = "Nothing was written. Check which board is on the port, and the target's `expected` in the batch."


class BadImage(DeviceError):
    default_advice = "Nothing was written. Build the firmware for this board, or correct the batch."


class UnknownDeviceType(DeviceError):
    default_advice = "Correct device_type, or install the package that drives it."

    def __init__(self, device_type: str, known: Sequence[str]) -> None:
        super().__init__(f"no driver for device type {device_type!r}; known: {', '.join(known)}")


@dataclass(frozen=True)
class Region:
    """`size` bytes of a board's non-volatile memory from `address` on."""

    address: int
    size: int

    @property
    def end(self) -> int:
        """The first address after the region."""
        return self.address + self.size


@dataclass(frozen=True)
class Segment:
    """Bytes that belong at an address of the board's memory."""

    address: int
    data: bytes
    name: str = ""

    @property
    def region(self) -> Region:
        return Region(self.address, len(self.data))


class Interface(StrEnum):
    """How a family's boards are connected; decides which keys of `connection_info` name one."""

    SERIAL = "serial"  # port
    NETWORK = "network"  # host and port
    USB = "usb"  # mount_point or usb, and port where the application has a serial port too


@dataclass(frozen=True)
class Identity:
    """What a board says of itself. `serial` is the one that a batch may pin a target to (MAC of an ESP)."""

    chip: str
    revision: str
    serial: str
    flash_size: int  # bytes; 0 where a board does not say
    flash_base: int = 0  # the address of the flash's first byte
    reserved: int = 0  # bytes at the flash's end that are the boot loader's: backed up, never written
    security: str = field(default="", compare=False)  # what its fuses ask of an image, in its family's own words

    @property
    def flash(self) -> Region:
        """All of the flash."""
        return Region(self.flash_base, self.flash_size)

    @property
    def writable(self) -> Region:
        """The flash without the boot loader's part."""
        return Region(self.flash_base, self.flash_size - self.reserved)


@dataclass(frozen=True)
class Capabilities:
    """What a family can do; a batch that asks for more is refused before the run."""

    can_read_back: bool
    can_hash: bool  # with MD5, over any region, on the board itself
    can_reset: bool
    has_slots: bool = False  # what is written goes beside the running firmware, which stays until the reset
    can_revert: bool = True  # with slots: a board can be told to run the older firmware again, without an image of it
    can_verify: bool = True  # something proves a write: a digest, reading back, the board's check of what it received
    has_console: bool = True  # what the application prints can be read
    has_serial: bool = True  # the board has a serial number or a MAC, which a batch can expect


@dataclass(frozen=True)
class TypeDefaults:
    """What holds for a device type where no file says otherwise. Sizes in bytes, rates in baud."""

    flash_address: int | None = None  # where a file goes that has no address of its own
    max_firmware_size: int | None = None
    flash_baudrate: int | None = None
    rate_is_fixed: bool = False  # by the boot loader: what a site says of its lines in general is not about it
    flash_base: int = 0  # the address of the flash's first byte
    usual_flash: int | None = None  # what the common modules have at least: a virtual twin of that size needs no saying
    port: int | None = None  # of network devices whose protocol has one of its own
    start_s: float | None = None  # seconds until its firmware is seen after a reset, where it takes longer than most


class Options(BaseModel):
    """A family's own settings: what may stand under `options` of a device type, a batch or a target.

    A driver declares a subclass. Its values travel in the run's plan, which people can read: a secret is given by the
    name of an environment variable or of a file, and looked up by `Driver.open`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    of_real_boards: ClassVar[frozenset[str]] = frozenset()
    """Those that say where, or in which form, a real board has something; its virtual twin has that in its own way."""

    @property
    def how_version_is_told(self) -> str:
        """Empty where the board tells the version that it runs; else the option that is needed for that."""
        return ""

    @property
    def reset_s(self) -> float:
        """Seconds that `Session.reset` may take until the application starts, beyond those of a reset as such."""
        return 0.0


@dataclass(frozen=True)
class ImageFacts:
    """What an image file says of itself; None where it does not say."""

    chip: str | None = None
    project: str | None = None
    version: str | None = None


_NO_OPTIONS = Options()


@dataclass(frozen=True)
class Link:
    """How a board is reached, and how fast. Rates in baud; `trace` asks for every packet in the log.

    `port` is a device file, a URL that pyserial knows, or `net://host:port`; empty where a board has none.
    `mount_point` is the folder at which its boot drive appears, `usb` the serial number of its boot loader on USB.
    `untouched` says that no earlier try has written to the board what was not seen to be good since; False where that
    is not known. What the session finds first is then the firmware to go back to. `version` is the one to be installed.
    `chip` is the one that the batch expects.
    """

    port: str
    baudrate: int
    flash_baudrate: int
    trace: bool = False
    chip: str = ""
    options: Options = _NO_OPTIONS
    mount_point: str = ""
    usb: str = ""
    connect_timeout_s: float = 30.0
    read_timeout_s: float = 60.0
    untouched: bool = False
    version: str = ""


Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all, often; cheap on the caller's side."""

Log = Callable[[str], None]
"""Takes one line of what a tool says."""


class Session(Protocol):
    """One board's port, held open from the identity check to the last reset.

    Every method raises only `DeviceError`s (and the deadline's own exception, which it lets through).
    After an error the session is unusable until `connect` has succeeded again.
    """

    def connect(self) -> Identity:
        """Open the port where needed, bring the board into its boot loader and read who it is.

        May be called again at any time: after an error, and after `reset`. Never writes to non-volatile memory.
        """

    def digest(self, region: Region) -> str:
        """MD5 of a region as the board computes it, in hex. Needs `can_hash`."""

    def read(self, region: Region, progress: Progress) -> bytes:
        """Exactly the region's bytes, checked against the board's digest where there is one. Needs `can_read_back`."""

    def holds(self, segment: Segment) -> bool | None:
        """Whether the memory holds these bytes now: by the board's digest, by reading back, or as the board says of its
        firmware (in whichever slot). None where nothing tells.

        With slots, after `reset`: whether it is what runs; a boot loader may have gone back by itself.
        """

    def installed_version(self, address: int) -> str | None:
        """The version of the firmware that the board has at an address; None where it does not say."""

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        """Erase what the segments cover (in whole erase blocks), write them, and check what the board reports.

        Never touches the reserved part of the flash. With slots: into the one that is not running.
        """

    def reset(self) -> None:
        """Start the application. With slots: the one that this session has written or found to be held, on probation
        where the board can do that; after `revert`, and where neither was, the one that runs.

        Console output from here on is kept for `read_console`.
        """

    def confirm(self) -> None:
        """The application that runs is good: make it stay. Nothing to do where a board has no probation."""

    def revert(self, version: str | None) -> bool:
        """With slots: run firmware `version` again, from the slot that still holds it; True when it runs (or ran on).

        False where no slot holds it, or nothing tells; then an image of it must be written. Needs `has_slots`.
        `version` is None where nobody knows it; it proves nothing where it is the link's, too.
        """

    def read_console(self, timeout_s: float) -> bytes:
        """Wait up to `timeout_s` seconds for output of the application; empty bytes when there was none.

        Without a console, whatever else tells that the application runs, and its version, is given as lines of text.
        """

    @property
    def flash_baudrate(self) -> int:
        """The transfer rate in use, in baud."""

    def write_console(self, data: bytes) -> None:
        """Send bytes to the application."""

    def slow_down(self) -> bool:
        """Use the next lower transfer rate from the next `connect` on; False when there is none."""

    def close(self) -> None:
        """Release the port, whatever state it is in; never raises."""


class Driver(Protocol):
    """A family of boards. All of its attributes are read only."""

    @property
    def device_type(self) -> str: ...

    @property
    def interface(self) -> Interface: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def defaults(self) -> TypeDefaults: ...

    @property
    def options(self) -> type[Options]:
        """What may stand under `options`; `Options` itself takes nothing."""

    @property
    def erase_block(self) -> int:
        """Bytes; writes begin and end on its multiples."""

    @property
    def hash_block(self) -> int:
        """Bytes; the unit of backups. Its multiples lie on boundaries of erase blocks, whichever part it is."""

    def open(self, link: Link, log: Log) -> Session:
        """A session that has not touched the port yet. Raises a `DeviceError` where a secret is not to be had."""

    def parse(self, name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
        """What a firmware file puts where, by its name's ending and contents. Raises `BadImage`, and nothing else.

        `address` is where a file without addresses of its own goes, None where nobody said. A file that has its own
        (Intel HEX, ELF, UF2) goes where it says.
        """

    def inspect(self, segments: Sequence[Segment]) -> ImageFacts:
        """What an image says of itself. Raises `BadImage` when it is one that this family's boot loader refuses."""

    def matches(self, wanted: str, identity: Identity) -> bool:
        """Whether a board that identified itself so is of the chip type `wanted` (a batch's or site's `chip`)."""

    def reported_version(self, console: str) -> str | None:
        """The firmware version that the board's own boot output names, None before it did."""

    def boot_failure(self, console: str) -> str | None:
        """The line of the boot output that says the firmware does not run (a panic, a refused image), None without."""


@runtime_checkable
class KnowsChips(Protocol):
    """What a driver may offer besides: it knows its chips by name, so that a batch's mistake shows before the run."""

    def room(self, chip: str, options: Options) -> Region | None:
        """Where firmware may lie on a board of the chip type `chip`; None where only the board tells.

        Raises `DeviceError` for a chip that no board of the family has.
        """


@runtime_checkable
class JudgesImages(Protocol):
    """What a driver may offer besides: an image says on which boards of its chip it runs."""

    def refusal(self, image: Segment, identity: Identity) -> str:
        """Why the board that identified itself so would not start the image, in words; empty where nothing says so."""
