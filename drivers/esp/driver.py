"""Espressif chips, through esptool's Python API: one open port from the identity check to the last reset.

Sources: esptool 5.6's documentation ("Serial Protocol", "Flasher Stub") and source. What it adds to esptool:
the port stays open and ours between operations, a failed write never leaves a half-working session behind,
errors come in the drivers' categories, and images are written exactly as they are ("keep", never patched).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import serial

from drivers.base import (
    Capabilities,
    ConnectionLost,
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
    WrongBoard,
)
from drivers.esp import boot_log as esp_boot_log
from drivers.esp import image as esp_image
from drivers.esp import security
from drivers.esp.errors import translate
from drivers.esp.log import attach, esptool, no_progress
from drivers.files import raw
from drivers.ports import closed_port
from drivers.translation import LOST_PORT, translated

SECTOR = 0x1000  # bytes; the smallest erase of every SPI NOR flash that these chips boot from
READ_CHUNK = 0x10000  # bytes; esptool's read is quadratic in the length: 1.0 s for 4 MB in one piece, 18 s for 16 MB
_DESCRIPTION_REACH = 0x1000  # bytes of an image in which its description is looked for on the board
_ROM_BAUD = 115200  # the ROM detects the rate; every ROM copes with this one
_LOWER_RATES = (460800, 230400, 115200)
_LOOK_AGAIN_S = 0.1
_PORT_PATIENCE_S = 10.0  # a chip's own USB port leaves the bus with each reset, until its next program has set it up


class EspSession:
    """One board's port and the loader that answers on it. See `drivers.base.Session` for the contract."""

    def __init__(self, link: Link, log: Log) -> None:
        self._link = link
        self._log = log
        self._flash_baud = link.flash_baudrate
        self._port: serial.Serial | None = None
        self._gone_since: float | None = None  # when the port left the bus, with a reset as far as is known
        self._esp: Any = None

    @property
    def flash_baudrate(self) -> int:
        return self._flash_baud

    def connect(self) -> Identity:
        with self._translated("connect"):
            self._forget()
            esp = self._detect()
            self._refuse_protected(esp)
            esp = esptool.run_stub(esp)
            # A write that reconnects by itself leaves this object without its stub, on the slow ROM path.
            # One attempt: a lost line is ours to handle, with a session made anew.
            esp.WRITE_FLASH_ATTEMPTS = 1
            if self._flash_baud != _ROM_BAUD:
                esp.change_baud(self._flash_baud)
            esptool.attach_flash(esp)
            identity = self._identity(esp)
            # The ROM takes every flash for one of 4 MB until it is told; the stub has asked the flash itself.
            esp.flash_set_parameters(identity.flash_size)
            self._esp = esp
            return identity

    def _detect(self) -> Any:
        if self._gone_since is not None:
            self._gone_since = time.monotonic()  # firmware that crashes again and again is there now and then
        port = self._come_back()
        try:
            return esptool.detect_chip(port, _ROM_BAUD, trace_enabled=self._link.trace)
        except LOST_PORT as error:
            # The reset into the loader takes a chip's own USB port off the bus; it comes back as the loader's.
            self._miss_port(error)
            return esptool.detect_chip(self._come_back(), _ROM_BAUD, trace_enabled=self._link.trace)

    def _come_back(self) -> serial.Serial:
        """The port, which is waited for where it was there before."""
        while True:
            try:
                return self._open_port(_ROM_BAUD)
            except LOST_PORT as error:
                if self._gone_since is None:
                    raise
                self._miss_port(error)
                time.sleep(_LOOK_AGAIN_S)

    def _open_port(self, baudrate: int) -> serial.Serial:
        if self._port is None or not self._port.is_open:
            # Always a new one. pyserial would put DTR and RTS, which the system asserts when it opens a port, one after
            # the other to where a reset has left them: on the way the chip is reset again. Asserted, they do nothing,
            # and a USB console of TinyUSB speaks only while DTR is.
            port = closed_port(self._link.port)
            port.open()
            self._port = port
        if self._port.baudrate != baudrate:  # setting it costs a negotiation over RFC2217
            self._port.baudrate = baudrate
        self._gone_since = None
        return self._port

    def _miss_port(self, error: Exception) -> None:
        """The port has gone, or is still away; raises `error` where it has been for too long."""
        self._close_port()
        now = time.monotonic()
        if self._gone_since is None:
            self._gone_since = now
            self._log(f"the port has left the bus: {error}")
        elif now - self._gone_since > _PORT_PATIENCE_S:
            raise error

    @staticmethod
    def _refuse_protected(esp: Any) -> None:
        if esp.secure_download_mode:
            raise WrongBoard(
                "the chip is in Secure Download Mode: its flash can be neither read back nor verified",
                advice="Nothing was written. Update this board over the air.",
            )
        if esp.get_flash_encryption_enabled():
            raise WrongBoard(
                "flash encryption is enabled on this chip: plain images would not start",
                advice="Nothing was written. Use images encrypted for this board, with Espressif's own tools.",
            )

    @staticmethod
    def _identity(esp: Any) -> Identity:
        size = esptool.detect_flash_size(esp)
        if size is None:
            raise ConnectionLost(f"the flash chip does not identify itself (id {esp.flash_id():#08x})")
        mac = ":".join(f"{byte:02x}" for byte in esp.read_mac())
        return Identity(
            chip=str(esp.CHIP_NAME).lower().replace("-", ""),
            revision=_revision(esp),
            serial=mac,
            flash_size=esptool.util.flash_size_bytes(size),
            security=security.read(esp).as_text(),
        )

    def digest(self, region: Region) -> str:
        with self._translated(f"hash {region.size} bytes at {region.address:#x}"):
            return str(self._loader.flash_md5sum(region.address, region.size))

    def read(self, region: Region, progress: Progress) -> bytes:
        with self._translated(f"read {region.size} bytes at {region.address:#x}"):
            pieces: list[bytes] = []
            for address in range(region.address, region.end, READ_CHUNK):
                size = min(READ_CHUNK, region.end - address)
                pieces.append(self._loader.read_flash(address, size))
                progress(address + size - region.address, region.size)
            return b"".join(pieces)

    def holds(self, segment: Segment) -> bool:
        return self.digest(segment.region) == hashlib.md5(segment.data, usedforsecurity=False).hexdigest()

    def installed_version(self, address: int) -> str | None:
        head = self.read(Region(address, _DESCRIPTION_REACH), no_progress)
        if not esp_image.is_image(head):
            return None
        description = esp_image.find_description(head)
        return description[0] if description else None

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        total = sum(len(segment.data) for segment in segments)
        done = 0
        for segment in segments:
            self._write_one(segment, _Share(progress, done, len(segment.data), total))
            done += len(segment.data)

    def _write_one(self, segment: Segment, share: _Share) -> None:
        with self._translated(f"write {len(segment.data)} bytes at {segment.address:#x}", share):
            # Only keywords of write_flash's signature: it swallows the ones that it does not know.
            esptool.write_flash(
                self._loader,
                [(segment.address, segment.data)],
                flash_freq="keep",
                flash_mode="keep",
                flash_size="keep",
            )

    def reset(self) -> None:
        with self._translated("reset"):
            if self._esp is None:
                self._reset_by_lines()
                return
            # The stub leaves at the console's rate, so that nothing of the boot log is lost to a late change.
            self._esp.change_baud(self._link.baudrate)
            try:
                self._esp.hard_reset()
            except LOST_PORT as error:
                self._miss_port(error)  # as a chip on its own USB port does; what it starts, the console tells
            self._forget()

    def _reset_by_lines(self) -> None:
        """Where nobody answers. DTR first: opening a port asserts it, which would lead the chip into its loader."""
        port = self._open_port(self._link.baudrate)
        port.dtr = False
        esptool.reset.HardReset(port)()

    def confirm(self) -> None:
        """There is no probation over a serial line: what is in flash is what runs."""

    def revert(self, version: str | None) -> bool:  # noqa: ARG002
        return False

    def read_console(self, timeout_s: float) -> bytes:
        with self._translated("read the console"):
            try:
                port = self._open_port(self._link.baudrate)
                port.timeout = timeout_s
                first = bytes(port.read(1))
                return first + bytes(port.read(port.in_waiting)) if first else b""
            except LOST_PORT as error:
                # A chip on its own USB port leaves the bus when it resets: the next call looks for it again.
                self._miss_port(error)
                time.sleep(min(_LOOK_AGAIN_S, timeout_s))
                return b""

    def write_console(self, data: bytes) -> None:
        with self._translated("write to the console"):
            self._open_port(self._link.baudrate).write(data)

    def slow_down(self) -> bool:
        lower = [rate for rate in _LOWER_RATES if rate < self._flash_baud]
        if lower:
            self._flash_baud = lower[0]
        return bool(lower)

    def close(self) -> None:
        self._forget()
        self._close_port()

    def _close_port(self) -> None:
        if self._port is None:
            return
        try:
            self._port.close()
        except (*LOST_PORT, RuntimeError) as error:
            # RuntimeError: pyserial's RFC2217 client joins a reader thread that it may not have started
            self._log(f"closing the port: {error}")

    @property
    def _loader(self) -> Any:
        if self._esp is None:
            raise ConnectionLost("the session has no boot loader to talk to; connect first")
        return self._esp

    def _translated(self, doing: str, progress: Progress = no_progress) -> AbstractContextManager[None]:
        """esptool talks to this session's log meanwhile. The port goes with an error: a lost line leaves it dead."""
        attach(self._log, progress, trace=self._link.trace)
        return translated(translate, doing, failed=self.close, cut_short=self._forget)

    def _forget(self) -> None:
        self._esp = None


@dataclass(frozen=True)
class _Share:
    """One segment's share of a write's progress: esptool counts compressed bytes, and from 0 for each."""

    whole: Progress
    before: int
    size: int
    total: int

    def __call__(self, done: int, of: int) -> None:
        self.whole(self.before + self.size * done // max(of, 1), self.total)


def _revision(esp: Any) -> str:
    try:
        revision = esp.get_chip_revision()
    except (esptool.FatalError, TypeError):  # the ESP8266 has none; its class raises the error's type without arguments
        return ""
    return f"v{revision // 100}.{revision % 100}"


_EVERYTHING = Capabilities(can_read_back=True, can_hash=True, can_reset=True)


@dataclass(frozen=True)
class EspDriver:
    """A chip of the family; the chips differ only in data, which esptool's `targets` hold."""

    device_type: str
    defaults: TypeDefaults
    interface: Interface = Interface.SERIAL
    capabilities: Capabilities = _EVERYTHING
    options: type[Options] = Options
    erase_block: int = SECTOR
    hash_block: int = 0x10000

    def open(self, link: Link, log: Log) -> EspSession:
        return EspSession(link, log)

    def parse(self, name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
        return raw(name, data, address)

    def inspect(self, segments: Sequence[Segment]) -> ImageFacts:
        (segment,) = segments
        esp_image.check_place(segment, self.device_type, self.defaults.flash_address)
        return esp_image.inspect(segment, self.device_type)

    def refusal(self, image: Segment, identity: Identity) -> str:
        return esp_image.refusal(image, identity)

    def matches(self, wanted: str, identity: Identity) -> bool:
        return wanted.lower().replace("-", "") == identity.chip

    def reported_version(self, console: str) -> str | None:
        return esp_boot_log.version(console)

    def boot_failure(self, console: str) -> str | None:
        return esp_boot_log.failure(console)


_MODULE_FLASH = 0x400000  # bytes; what the common modules of all these chips have at least

# 3 MiB and 1 MiB are what the usual partition tables of 4 MB boards leave for an app.
_USUAL = TypeDefaults(flash_address=0x10000, max_firmware_size=0x300000, usual_flash=_MODULE_FLASH)

ESP32 = EspDriver("esp32", _USUAL)
ESP32C2 = EspDriver("esp32c2", _USUAL)
ESP32C3 = EspDriver("esp32c3", _USUAL)
ESP32C5 = EspDriver("esp32c5", _USUAL)
ESP32C6 = EspDriver("esp32c6", _USUAL)
ESP32H2 = EspDriver("esp32h2", _USUAL)
ESP32P4 = EspDriver("esp32p4", _USUAL)
ESP32S2 = EspDriver("esp32s2", _USUAL)
ESP32S3 = EspDriver("esp32s3", _USUAL)
ESP8266 = EspDriver(
    "esp8266",
    TypeDefaults(
        flash_address=0x0,
        max_firmware_size=0x100000,
        flash_baudrate=460800,  # many of its boards carry a USB bridge that loses bytes above that
        usual_flash=_MODULE_FLASH,
    ),
)
