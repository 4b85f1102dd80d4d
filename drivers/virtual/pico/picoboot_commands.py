"""PICOBOOT's commands as bytes, and what the boot ROMs check of them before they do anything. Pure.

Sources: `boot/picoboot.h`; `cmd_mapping` in pico-bootrom-rp2040 `usb_boot_device.c`, `picoboot_cmd_mapping` in
pico-bootrom-rp2350 `nsboot_usb_client.c`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

_COMMAND = struct.Struct("<IIBBHI16s")
_MAGIC = 0x431FD10B
_LONGEST_INFO = 256


class Id(IntEnum):
    EXCLUSIVE_ACCESS = 0x1
    REBOOT = 0x2
    FLASH_ERASE = 0x3
    READ = 0x4
    WRITE = 0x5
    EXIT_XIP = 0x6
    ENTER_CMD_XIP = 0x7
    EXEC = 0x8
    VECTORIZE_FLASH = 0x9
    REBOOT2 = 0xA
    GET_INFO = 0xB
    OTP_READ = 0xC
    OTP_WRITE = 0xD


class Status(IntEnum):
    OK = 0
    UNKNOWN_CMD = 1
    INVALID_CMD_LENGTH = 2
    INVALID_TRANSFER_LENGTH = 3
    INVALID_ADDRESS = 4
    BAD_ALIGNMENT = 5
    INTERLEAVED_WRITE = 6
    REBOOTING = 7
    NOT_PERMITTED = 10
    INVALID_ARG = 11
    BUFFER_TOO_SMALL = 12


_ARGUMENTS = {  # bytes of each command's arguments
    Id.EXCLUSIVE_ACCESS: 1,
    Id.REBOOT: 12,
    Id.FLASH_ERASE: 8,
    Id.READ: 8,
    Id.WRITE: 8,
    Id.EXIT_XIP: 0,
    Id.ENTER_CMD_XIP: 0,
    Id.EXEC: 4,
    Id.VECTORIZE_FLASH: 4,
    Id.REBOOT2: 16,
    Id.GET_INFO: 16,
    Id.OTP_READ: 5,
    Id.OTP_WRITE: 5,
}
_OF_BOTH = frozenset(Id) - {Id.REBOOT2, Id.GET_INFO, Id.OTP_READ, Id.OTP_WRITE}


class Refused(Exception):
    """A command is not carried out."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


@dataclass(frozen=True)
class Command:
    token: int
    code: int  # with its direction
    size: int  # of the arguments, as the host says
    length: int  # of the data
    arguments: bytes


def unpack(packet: bytes) -> Command | None:
    """None for a packet that is no command."""
    if len(packet) != _COMMAND.size:
        return None
    magic, token, code, size, _, length, arguments = _COMMAND.unpack(packet)
    return Command(token, code, size, length, arguments) if magic == _MAGIC else None


def check(command: Command, *, is_rp2040: bool) -> Id:
    """Which command it is. Raises `Refused`."""
    number = command.code & 0x7F
    if number not in (_OF_BOTH if is_rp2040 else frozenset(Id)):
        raise Refused(Status.UNKNOWN_CMD)
    known = Id(number)
    if command.size != _ARGUMENTS[known]:
        raise Refused(Status.INVALID_CMD_LENGTH)
    if command.length != _expected_length(known, command):
        raise Refused(Status.INVALID_TRANSFER_LENGTH)
    return known


def _expected_length(known: Id, command: Command) -> int:
    if known in (Id.READ, Id.WRITE):
        return int(struct.unpack_from("<I", command.arguments, 4)[0])
    if known is Id.GET_INFO:
        return command.length if command.length <= _LONGEST_INFO else -1
    if known in (Id.OTP_READ, Id.OTP_WRITE):
        _, rows, ecc = struct.unpack_from("<HHB", command.arguments)
        return int(rows) * (2 if ecc else 4)
    return 0
