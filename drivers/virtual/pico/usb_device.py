"""The boot loader as a USB device: descriptors, standard requests, and which endpoint is whose.

Sources: USB 2.0, chapter 9; pico-bootrom-rp2040 `usb_boot_device.c`, pico-bootrom-rp2350 `nsboot_usb_client.c`. The
mass storage interface is described and stays silent: on the bench, its disk is the folder.
"""

from __future__ import annotations

import asyncio
import struct
from enum import IntEnum

from drivers.virtual.pico.chips import Chip
from drivers.virtual.pico.picoboot import STALL, Picoboot

VENDOR = 0x2E8A
OUT_ENDPOINT, IN_ENDPOINT = 0x03, 0x84
INTERFACES = ((0x08, 0x06, 0x50), (0xFF, 0x00, 0x00))  # class, subclass, protocol
_PICOBOOT_INTERFACE = 1
_MASS_STORAGE = (0x81, 0x02)
_VERSION = 0x0100
_LANGUAGE = b"\x04\x03\x09\x04"
_MANUFACTURER = "Raspberry Pi"


class Request(IntEnum):
    GET_STATUS = 0
    CLEAR_FEATURE = 1
    SET_FEATURE = 3
    GET_DESCRIPTOR = 6
    GET_CONFIGURATION = 8
    SET_CONFIGURATION = 9


def device_descriptor(chip: Chip) -> bytes:
    return struct.pack(
        "<BBHBBBBHHHBBBB", 18, 1, chip.usb_version, 0, 0, 0, 64, VENDOR, chip.product_id, _VERSION, 1, 2, 3, 1
    )


def configuration_descriptor(chip: Chip) -> bytes:
    """One configuration: mass storage and PICOBOOT, two bulk endpoints each."""
    body = b""
    for number, (kind, endpoints) in enumerate(
        zip(INTERFACES, (_MASS_STORAGE, (OUT_ENDPOINT, IN_ENDPOINT)), strict=True)
    ):
        body += struct.pack("<9B", 9, 4, number, 0, 2, *kind, 0)
        body += b"".join(struct.pack("<BBBBHB", 7, 5, address, 2, 64, 0) for address in endpoints)
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), len(INTERFACES), 1, 0, 0x80, chip.max_power) + body


class UsbDevice:
    """The device of one boot loader, from its appearing to its leaving. Transfers raise what `Picoboot` raises."""

    def __init__(self, chip: Chip, serial: str, boot: Picoboot) -> None:
        self.chip = chip
        self._strings = ("", _MANUFACTURER, chip.product, serial)
        self._boot = boot
        self._configuration = 1  # the server's machine has configured it already
        self.gone = asyncio.Event()
        """Set once the device has left the bus."""

    async def control(self, setup: bytes, data: bytes) -> tuple[int, bytes]:  # noqa: ARG002  (no request takes data)
        """Status (0 or `STALL`) and data of a control transfer."""
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        answer = (
            self._vendor(kind, request, index, length) if kind & 0x60 else self._standard(kind, request, value, index)
        )
        return (STALL, b"") if answer is None else (0, answer[:length])

    async def bulk_out(self, endpoint: int, data: bytes) -> int:
        """Status; waits for ever where nobody listens."""
        if endpoint != OUT_ENDPOINT:
            await asyncio.Event().wait()
        return await self._boot.out(data)

    async def bulk_in(self, endpoint: int, size: int) -> tuple[int, bytes]:
        """Status and data; waits for ever where nobody speaks."""
        if endpoint != IN_ENDPOINT & 0x0F:
            await asyncio.Event().wait()
        data = await self._boot.take_in(size)
        return (STALL, b"") if data is None else (0, data)

    def _vendor(self, kind: int, request: int, index: int, length: int) -> bytes | None:
        if kind & 0x7F != 0x41 or index & 0xFF != _PICOBOOT_INTERFACE:
            return None
        if kind & 0x80:
            return self._boot.command_status() if request == 0x42 and length == 16 else None
        if request != 0x41:
            return None
        self._boot.reset()
        return b""

    def _standard(self, kind: int, request: int, value: int, index: int) -> bytes | None:
        if request == Request.GET_DESCRIPTOR and kind == 0x80:
            return self._descriptor(value >> 8, value & 0xFF)
        if request == Request.GET_CONFIGURATION:
            return bytes([self._configuration])
        if request == Request.SET_CONFIGURATION and value in (0, 1):
            self._configuration = value
            self._boot.configure()
            return b""
        if request == Request.GET_STATUS:
            return self._status(kind, index)
        if request == Request.CLEAR_FEATURE and kind == 0x02 and value == 0:
            self._boot.clear_halt(of_in=index == IN_ENDPOINT)
            return b""
        return None  # GET_INTERFACE and SET_INTERFACE, too

    def _status(self, kind: int, index: int) -> bytes | None:
        if kind == 0x82 and index not in (0x00, 0x80, *_MASS_STORAGE, OUT_ENDPOINT, IN_ENDPOINT):
            return None
        is_ours = kind == 0x82 and index in (OUT_ENDPOINT, IN_ENDPOINT)
        return bytes([is_ours and self._boot.halted(of_in=index == IN_ENDPOINT), 0])

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        if (kind, index) == (1, 0):
            return device_descriptor(self.chip)
        if (kind, index) == (2, 0):
            return configuration_descriptor(self.chip)
        if kind == 3 and not index:
            return _LANGUAGE
        if kind == 3:
            text = "".join(self._strings[index : index + 1]).encode("utf-16-le")
            return bytes([2 + len(text), 3]) + text
        return None
