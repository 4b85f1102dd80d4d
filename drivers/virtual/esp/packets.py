"""Frames to requests, answers to frames: the messages of the boot loaders. Pure.

Source: esptool documentation, "Serial Protocol", sections "Command Packet", "Response Packet" and "Commands".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

_HEADER = struct.Struct("<BBHI")  # direction, command, size of the data, checksum (in answers: value)
_REQUEST, _RESPONSE = 0x00, 0x01
CHECKSUM_SEED = 0xEF


class Op(IntEnum):
    """Commands. Section "Commands"; the stub's own ones also in esp-flasher-stub, `src/commands.h`."""

    FLASH_BEGIN = 0x02
    FLASH_DATA = 0x03
    FLASH_END = 0x04
    MEM_BEGIN = 0x05
    MEM_END = 0x06
    MEM_DATA = 0x07
    SYNC = 0x08
    WRITE_REG = 0x09
    READ_REG = 0x0A
    SPI_SET_PARAMS = 0x0B
    SPI_ATTACH = 0x0D
    READ_FLASH_SLOW = 0x0E
    CHANGE_BAUDRATE = 0x0F
    FLASH_DEFL_BEGIN = 0x10
    FLASH_DEFL_DATA = 0x11
    FLASH_DEFL_END = 0x12
    SPI_FLASH_MD5 = 0x13
    GET_SECURITY_INFO = 0x14
    ERASE_FLASH = 0xD0
    ERASE_REGION = 0xD1
    READ_FLASH = 0xD2
    RUN_USER_CODE = 0xD3


class RomError(IntEnum):
    """Second status byte of a ROM's refusal. Section "ROM Loader Errors"."""

    INVALID_MESSAGE = 0x05
    FAILED_TO_ACT = 0x06
    INVALID_CRC = 0x07
    FLASH_WRITE = 0x08
    FLASH_READ = 0x09
    FLASH_READ_LENGTH = 0x0A
    DEFLATE = 0x0B


class StubStatus(IntEnum):
    """Both status bytes of a stub's answer, high byte first. esp-flasher-stub, `src/commands.h`, esp_response_code."""

    SUCCESS = 0x0000
    BAD_DATA_LEN = 0xC000
    BAD_DATA_CHECKSUM = 0xC100
    INVALID_COMMAND = 0xC300
    FAILED_SPI_OP = 0xC400
    NOT_IN_FLASH_MODE = 0xC600
    INFLATE_ERROR = 0xC700
    NOT_ENOUGH_DATA = 0xC800
    TOO_MUCH_DATA = 0xC900
    CMD_NOT_IMPLEMENTED = 0xFF00


@dataclass(frozen=True)
class Request:
    """A command as it arrived; `whole` tells whether its length field is true. `op` may be no known command."""

    direction: int
    op: int
    checksum: int
    data: bytes
    whole: bool

    @property
    def is_request(self) -> bool:
        return self.direction == _REQUEST


def parse(frame: bytes) -> Request | None:
    """The request in a frame; None when the frame is shorter than a header."""
    if len(frame) < _HEADER.size:
        return None
    direction, op, size, checksum = _HEADER.unpack_from(frame)
    data = frame[_HEADER.size :]
    return Request(direction, op, checksum, data, whole=size == len(data))


def answer(op: int, value: int, payload: bytes) -> bytes:
    """An answer's frame content; `payload` ends with the status bytes."""
    return _HEADER.pack(_RESPONSE, op & 0xFF, len(payload), value & 0xFFFFFFFF) + payload


def checksum(data: bytes) -> int:
    """XOR over all bytes, seeded with 0xEF. Section "Checksum"."""
    folded = int.from_bytes(data, "little")
    width = len(data)
    while width > 1:  # halves are XORed onto each other: a few long-integer steps instead of one per byte
        half = (width + 1) // 2
        folded = (folded >> (8 * half)) ^ (folded & ((1 << (8 * half)) - 1))
        width = half
    return folded ^ CHECKSUM_SEED


def words(data: bytes, count: int) -> tuple[int, ...] | None:
    """Exactly `count` 32-bit words, None when the data is of another length."""
    if len(data) != 4 * count:
        return None
    return struct.unpack(f"<{count}I", data)


@dataclass(frozen=True)
class Block:
    """What FLASH_DATA, FLASH_DEFL_DATA and MEM_DATA carry: a header of four words, then data."""

    size: int
    sequence: int
    data: bytes


def block(data: bytes) -> Block | None:
    """The block in a data command; None when its header is cut."""
    if len(data) < 16:
        return None
    size, sequence, _, _ = struct.unpack_from("<4I", data)
    return Block(size, sequence, data[16:])
