"""What every driver offers, and how it fails: the only names that the procedure knows of a board.

The error family (the category is the one of the reports; `retryable` says whether trying again can mend it):

    DeviceError                     other         no
    ├── PhaseTimeout                timeout       yes
    ├── ConnectionLost              connection    yes
    ├── PortUnavailable             connection    yes   in use, or not there
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
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol


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
    default_advice: ClassVar[str] = "Read the device's log below; run it again with --log-level=DEBUG."

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
    default_advice = "The flash holds the image, but it does not run as expected: read the console output below."


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


@dataclass(frozen=True)
class Identity:
    """What a board says of itself. `serial` is the one that a batch may pin a target to (MAC of an ESP)."""

    chip: str
    revision: str
    serial: str
    flash_size: int  # bytes


@dataclass(frozen=True)
class Capabilities:
    """What a family can do; a batch that asks for more is refused before the run."""

    can_read_back: bool
    can_hash: bool  # with MD5, over any region, on the board itself
    can_reset: bool
    has_slots: bool = False


@dataclass(frozen=True)
class ImageFacts:
    """What an image file says of itself; None where it does not say."""

    chip: str | None = None
    project: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Link:
    """How a board is reached, and how fast. Rates in baud; `trace` asks for every packet in the log."""

    port: str
    baudrate: int
    flash_baudrate: int
    trace: bool = False


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

    def installed_version(self, address: int) -> str | None:
        """The version of the firmware that the board has at an address; None where it does not say."""

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        """Erase what the segments cover (in whole erase blocks), write them, and check what the board reports."""

    def reset(self) -> None:
        """Start the application. Console output from here on is kept for `read_console`."""

    def read_console(self, timeout_s: float) -> bytes:
        """Wait up to `timeout_s` seconds for output of the application; empty bytes when there was none."""

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
    """A family of boards."""

    device_type: str
    capabilities: Capabilities
    erase_block: int  # bytes; writes begin and end on its multiples
    hash_block: int  # bytes; the unit of backups

    def open(self, link: Link, log: Log) -> Session:
        """A session that has not touched the port yet."""

    def inspect(self, segment: Segment) -> ImageFacts:
        """What an image says of itself. Raises `BadImage` when it is one that this family's boot loader refuses."""

    def matches(self, wanted: str, identity: Identity) -> bool:
        """Whether a board that identified itself so is of the chip type `wanted` (a batch's or site's `chip`)."""

    def reported_version(self, console: str) -> str | None:
        """The firmware version that the board's own boot output names, None before it did."""

    def boot_failure(self, console: str) -> str | None:
        """The line of the boot output that says the firmware does not run (a panic, a refused image), None without."""
