"""A board in memory, behind the drivers' Protocol: the seam at which the procedure is tested without a line.

It keeps to the rules of NOR flash, identifies itself, and fails where it is told to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from drivers.base import (
    Capabilities,
    ConnectionLost,
    DeviceError,
    FlashFailed,
    Identity,
    ImageFacts,
    Interface,
    Link,
    Log,
    Options,
    Progress,
    Region,
    Segment,
    TypeDefaults,
)
from drivers.files import raw

BLOCK = 0x1000
SIZE = 16 * BLOCK
APP = 2 * BLOCK
DEFAULTS = TypeDefaults(flash_address=APP)
EVERYTHING = Capabilities(can_read_back=True, can_hash=True, can_reset=True)
MAC = "24:0a:c4:00:00:01"


def firmware(version: str, size: int = 3 * BLOCK) -> bytes:
    """An image of the memory board: its version as text, then bytes that depend on it."""
    body = hashlib.sha256(version.encode()).digest() * (size // 32 + 1)
    return f"FW {version}\n".encode().ljust(32, b"\0") + body[: size - 32]


@dataclass
class MemoryBoard:
    """The state that outlives sessions, as a board's does. `fail` is asked before each operation."""

    flash: bytearray = field(default_factory=lambda: bytearray(b"\xff" * SIZE))
    identity: Identity = field(default_factory=lambda: Identity("memory", "v1.0", MAC, SIZE))
    fail: Callable[[str], DeviceError | None] = lambda _operation: None
    panics: Sequence[str] = ()  # versions that do not run
    operations: list[str] = field(default_factory=list)

    def put(self, version: str) -> None:
        image = firmware(version)
        self.flash[APP : APP + len(image)] = image

    def version(self) -> str | None:
        head = bytes(self.flash[APP : APP + 32])
        return head[3:].split(b"\n")[0].decode() if head.startswith(b"FW ") else None

    def operate(self, operation: str) -> None:
        self.operations.append(operation)
        error = self.fail(operation)
        if error is not None:
            raise error


class MemorySession:
    def __init__(self, board: MemoryBoard, capabilities: Capabilities) -> None:
        self._board = board
        self._capabilities = capabilities
        self._connected = False
        self._console = b""
        self.closed = False
        self.flash_baudrate = 921600

    def connect(self) -> Identity:
        self._connected = False
        self._board.operate("connect")
        self._connected = True
        return self._board.identity

    def digest(self, region: Region) -> str:
        self._need("digest")
        return hashlib.md5(self._board.flash[region.address : region.end]).hexdigest()

    def read(self, region: Region, progress: Progress) -> bytes:
        self._need("read")
        progress(region.size, region.size)
        return bytes(self._board.flash[region.address : region.end])

    def holds(self, segment: Segment) -> bool | None:
        if self._capabilities.can_hash:
            return self.digest(segment.region) == hashlib.md5(segment.data).hexdigest()
        if self._capabilities.can_read_back:
            return self.read(segment.region, lambda _done, _total: None) == segment.data
        return None

    def confirm(self) -> None:
        self._board.operate("confirm")

    def revert(self, version: str | None) -> bool:
        return False

    def installed_version(self, address: int) -> str | None:
        self._need("version")
        return self._board.version() if address == APP else None

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        for segment in segments:
            end = -(-segment.region.end // BLOCK) * BLOCK
            self._board.flash[segment.address : end] = b"\xff" * (end - segment.address)
            for at in range(0, len(segment.data), BLOCK):
                self._need("write")
                piece = segment.data[at : at + BLOCK]
                self._board.flash[segment.address + at : segment.address + at + len(piece)] = piece
                progress(at + len(piece), len(segment.data))

    def reset(self) -> None:
        self._board.operate("reset")
        self._connected = False
        version = self._board.version()
        text = "PANIC\n" if version in self._board.panics else f"version: {version}\n" if version else "no firmware\n"
        self._console = text.encode()

    def read_console(self, timeout_s: float) -> bytes:
        said, self._console = self._console, b""
        return said

    def write_console(self, data: bytes) -> None:
        self._console += data

    def slow_down(self) -> bool:
        slower, self.flash_baudrate = self.flash_baudrate > 115200, 115200
        return slower

    def close(self) -> None:
        self.closed = True

    def _need(self, operation: str) -> None:
        if not self._connected:
            raise ConnectionLost("not connected")
        try:
            self._board.operate(operation)
        except DeviceError:
            self._connected = False
            raise


@dataclass(frozen=True)
class MemoryDriver:
    board: MemoryBoard
    device_type: str = "memory"
    capabilities: Capabilities = EVERYTHING
    interface: Interface = Interface.SERIAL
    defaults: TypeDefaults = DEFAULTS
    options: type[Options] = Options
    erase_block: int = BLOCK
    hash_block: int = BLOCK

    def open(self, link: Link, log: Log) -> MemorySession:
        return MemorySession(self.board, self.capabilities)

    def parse(self, name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
        return raw(name, data, address)

    def inspect(self, segments: Sequence[Segment]) -> ImageFacts:
        return ImageFacts()

    def matches(self, wanted: str, identity: Identity) -> bool:
        return wanted == identity.chip

    def reported_version(self, console: str) -> str | None:
        return console.split("version: ")[1].split(maxsplit=1)[0] if "version: " in console else None

    def boot_failure(self, console: str) -> str | None:
        return next((line for line in ("PANIC", "no firmware") if line in console), None)


class FailAt:
    """The error at the n-th operation of a kind (from 1), and at the `times - 1` ones after it."""

    def __init__(self, operation: str, nth: int, error: DeviceError | None = None, times: int = 1) -> None:
        self._operation = operation
        self._range = range(nth, nth + times)
        self._seen = 0
        self._error = error or FlashFailed("the board refused")

    def __call__(self, operation: str) -> DeviceError | None:
        if operation != self._operation:
            return None
        self._seen += 1
        return self._error if self._seen in self._range else None
