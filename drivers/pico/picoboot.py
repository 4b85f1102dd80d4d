"""PICOBOOT, the boot ROMs' own USB interface: commands and statuses as bytes, and the exchange of one command.

Sources: RP2040 datasheet 2.8.5, RP2350 datasheet 5.6, pico-sdk `boot/picoboot.h`; the exchange as picotool does it.
"""

from __future__ import annotations

import errno
import struct
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from usb.core import Configuration, Device

_COMMAND = struct.Struct("<IIBBHI16s")
_STATUS = struct.Struct("<IIBB6x")
_MAGIC = 0x431FD10B
_IF_RESET, _IF_CMD_STATUS = 0x41, 0x42
_VENDOR_OUT, _VENDOR_IN = 0x41, 0xC1  # bmRequestType: vendor, to an interface
_GET_STATUS, _ENDPOINT_IN = 0x00, 0x82
_VENDOR_CLASS = 0xFF
_IN = 0x80

_COMMAND_MS, _DATA_MS = 3000, 10_000  # picotool's
_ERASE_MS_PER_SECTOR = 500  # W25Q16JV: 400 ms at most
_SECTOR = 0x1000
_POLL_S = 0.02


class Command(IntEnum):
    """`picoboot_cmd_id`; bit 7: data comes from the board."""

    EXCLUSIVE_ACCESS = 0x01
    REBOOT = 0x02
    FLASH_ERASE = 0x03
    READ = 0x84
    WRITE = 0x05
    EXIT_XIP = 0x06
    REBOOT2 = 0x0A  # RP2350 alone


class Status(IntEnum):
    """`picoboot_status`."""

    OK = 0
    UNKNOWN_CMD = 1
    INVALID_CMD_LENGTH = 2
    INVALID_TRANSFER_LENGTH = 3
    INVALID_ADDRESS = 4
    BAD_ALIGNMENT = 5
    INTERLEAVED_WRITE = 6
    REBOOTING = 7
    UNKNOWN_ERROR = 8
    INVALID_STATE = 9
    NOT_PERMITTED = 10
    INVALID_ARG = 11
    BUFFER_TOO_SMALL = 12
    PRECONDITION_NOT_MET = 13
    MODIFIED_DATA = 14
    INVALID_DATA = 15
    NOT_FOUND = 16
    UNSUPPORTED_MODIFICATION = 17


class Refused(Exception):
    """The boot loader did not carry out a command; `status` is its reason, None where it gave none that is known."""

    def __init__(self, command: Command, status: Status | None) -> None:
        why = status.name if status is not None else "no known reason"
        super().__init__(f"the boot loader refuses {command.name}: {why}")
        self.command = command
        self.status = status


class Garbled(Exception):
    """The board's answer is none of PICOBOOT's."""


@dataclass(frozen=True)
class CommandStatus:
    """The board's answer to CMD_STATUS."""

    token: int
    status: int
    command: int
    in_progress: bool


def pack_command(token: int, command: int, arguments: bytes, transfer_length: int) -> bytes:
    """One command as it goes to the OUT endpoint."""
    return _COMMAND.pack(_MAGIC, token, command, len(arguments), 0, transfer_length, arguments)


def unpack_status(data: bytes) -> CommandStatus:
    """Raises `Garbled`."""
    if len(data) != _STATUS.size:
        raise Garbled(f"a command's status has {len(data)} bytes, not {_STATUS.size}")
    token, status, command, in_progress = _STATUS.unpack(data)
    return CommandStatus(token, status, command, bool(in_progress))


class Picoboot:
    """The PICOBOOT interface of one device. Its methods raise pyusb's `USBError`, `Refused` and `Garbled`."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._interface, self._out, self._in = _endpoints(device)
        self._token = 0

    def claim(self) -> None:
        """Take the interface, forget what an earlier program left undone, and keep the drive from writing meanwhile.

        EXIT_XIP must be: configuring the device cuts the ROM off from its flash, which reads as zeros until then.
        """
        import usb.util

        usb.util.claim_interface(self._device, self._interface)
        self.reset()
        self._run(Command.EXCLUSIVE_ACCESS, b"\x01")
        self._run(Command.EXIT_XIP)

    def give_back(self) -> None:
        """The drive may write again."""
        self._run(Command.EXCLUSIVE_ACCESS, b"\x00", limit_ms=_COMMAND_MS)

    def reset(self) -> None:
        """End a command that is under way, and the halt after one that was refused."""
        self._wait_for_erase()
        for endpoint in (self._in, self._out):
            if self._device.ctrl_transfer(_ENDPOINT_IN, _GET_STATUS, 0, endpoint, 2, _COMMAND_MS)[0] & 1:
                self._device.clear_halt(endpoint)
        self._device.ctrl_transfer(_VENDOR_OUT, _IF_RESET, 0, self._interface, None, _COMMAND_MS)

    def _wait_for_erase(self) -> None:
        """One that another session began. Where it is not waited for, the ROM acknowledges it to the next session, and
        is one answer behind from then on; and the flash is busy, and reads as nothing.
        """
        deadline = time.monotonic() + _DATA_MS / 1000
        while (status := self._status()).in_progress and status.command == Command.FLASH_ERASE:
            if time.monotonic() >= deadline:
                break
            time.sleep(_POLL_S)

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes; the address of flash is a multiple of 256."""
        return self._run(Command.READ, struct.pack("<II", address, size), size=size)

    def erase(self, address: int, size: int) -> None:
        """Whole sectors. The ROM of RP2040 says that it did, also where it refused: read back what matters."""
        limit_ms = _COMMAND_MS + _ERASE_MS_PER_SECTOR * (size // _SECTOR)
        self._run(Command.FLASH_ERASE, struct.pack("<II", address, size), limit_ms=limit_ms)

    def write(self, address: int, data: bytes) -> None:
        """Program pages of 256 bytes, without erasing them."""
        self._run(Command.WRITE, struct.pack("<II", address, len(data)), data)

    def reboot(self, chip: str, delay_ms: int) -> None:
        """Into what is in flash."""
        if chip == "rp2350":
            self._run(Command.REBOOT2, struct.pack("<IIII", 0, delay_ms, 0, 0))  # REBOOT2_FLAG_REBOOT_TYPE_NORMAL
        else:
            self._run(Command.REBOOT, struct.pack("<III", 0, 0, delay_ms))  # pc 0: the regular boot path

    def _run(
        self, command: Command, arguments: bytes = b"", data: bytes = b"", *, size: int = 0, limit_ms: int = _DATA_MS
    ) -> bytes:
        import usb.core

        self._token += 1
        try:
            self._device.write(self._out, pack_command(self._token, command, arguments, size or len(data)), _COMMAND_MS)
            return self._transfer(command, data, size, limit_ms)
        except usb.core.USBError as error:
            raise self._refusal(command, error) from error

    def _transfer(self, command: Command, data: bytes, size: int, limit_ms: int) -> bytes:
        """The data, then an empty packet the other way."""
        if data:
            self._device.write(self._out, data, limit_ms)
        read = self._device.read(self._in, size, limit_ms).tobytes() if size else b""
        if len(read) != size:
            raise Garbled(f"{len(read)} bytes came instead of {size}")
        if command & _IN:
            self._device.write(self._out, b"", _COMMAND_MS)
        else:
            self._take_acknowledgement(command, limit_ms)
        return read

    def _take_acknowledgement(self, command: Command, limit_ms: int) -> None:
        """A board that was told to restart may have left before a slow host asks for it: it has obeyed."""
        import usb.core

        try:
            self._device.read(self._in, 64, limit_ms)
        except usb.core.USBError as error:
            if error.errno != errno.ENODEV or command not in (Command.REBOOT, Command.REBOOT2):
                raise

    def _refusal(self, command: Command, error: Exception) -> Exception:
        """Why the board halted the endpoint; the error itself where it does not say, or is gone."""
        import usb.core

        try:
            status = self._status()
        except (usb.core.USBError, Garbled):
            return error
        if status.token != self._token or status.status == Status.OK:
            return error
        try:
            return Refused(command, Status(status.status))
        except ValueError:
            return Refused(command, None)

    def _status(self) -> CommandStatus:
        answer = self._device.ctrl_transfer(_VENDOR_IN, _IF_CMD_STATUS, 0, self._interface, _STATUS.size, _COMMAND_MS)
        return unpack_status(answer.tobytes())


def _configuration(device: Device) -> Configuration:
    """The active one. Setting it anew would fail where a driver of the system has the drive's interface."""
    import usb.core

    try:
        return device.get_active_configuration()
    except usb.core.USBError:  # not configured yet, as a USB/IP server may leave it
        device.set_configuration()
        return device.get_active_configuration()


def _endpoints(device: Device) -> tuple[int, int, int]:
    """The interface's number and its endpoints, found as picotool finds them. Raises `Garbled`."""
    for interface in _configuration(device):
        addresses = [endpoint.bEndpointAddress for endpoint in interface]
        outs = [address for address in addresses if not address & _IN]
        ins = [address for address in addresses if address & _IN]
        if interface.bInterfaceClass == _VENDOR_CLASS and len(outs) == len(ins) == 1:
            return int(interface.bInterfaceNumber), outs[0], ins[0]
    raise Garbled("the device offers no PICOBOOT interface")
