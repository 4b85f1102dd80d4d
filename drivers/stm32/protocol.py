"""AN3155's bytes: what is sent, and what a reply means. Pure.

Source: ST AN3155 rev. 14, "USART protocol used in the STM32 bootloader". Every multi-byte value is big endian; every
frame but a command ends with the XOR of its bytes, and a command or a single byte is followed by its complement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

SYNC = b"\x7f"  # from its length the boot loader takes the baud rate; once after a reset
ACK = 0x79
NACK = 0x1F
BUSY = 0x76  # "still at it" (protocol 3.1's no-stretch commands): another byte follows

MAX_BLOCK = 256  # bytes that one read or write carries
MAX_PAGES = 255  # of one 0x43: N = 0xFF means all of the flash
MAX_EXTENDED_PAGES = 128  # of one 0x44: it may list more, but parts with little RAM refuse (stm32flash splits at 512)


class Command(IntEnum):
    """Section 3, table 2; what this driver must never send (0x63, 0x73, 0x82, 0x92) is left out."""

    GET = 0x00
    GET_ID = 0x02
    READ_MEMORY = 0x11
    GO = 0x21
    WRITE_MEMORY = 0x31
    ERASE = 0x43
    EXTENDED_ERASE = 0x44


class LoaderError(Exception):
    """The exchange with the boot loader went wrong."""


class NoAnswer(LoaderError):
    """Fewer bytes than expected within the time."""


class BadAnswer(LoaderError):
    """Bytes that are no answer of AN3155's: noise, or another program."""


class Refused(LoaderError):
    """NACK. `at_command`: the command itself was refused, which is how readout protection shows."""

    def __init__(self, what: str, *, at_command: bool = False) -> None:
        super().__init__(f"the boot loader refuses {what}")
        self.at_command = at_command


@dataclass(frozen=True)
class Abilities:
    """The answer to GET: the boot loader's version (0x31 is 3.1) and the commands that it has."""

    version: int
    commands: frozenset[int]

    @property
    def version_text(self) -> str:
        return f"v{self.version >> 4}.{self.version & 0x0F}"


def checksum(data: bytes) -> int:
    """The XOR of all bytes."""
    result = 0
    for byte in data:
        result ^= byte
    return result


def command(code: int) -> bytes:
    return bytes([code, code ^ 0xFF])


def address_frame(address: int) -> bytes:
    return _checked(address.to_bytes(4, "big"))


def length_frame(size: int) -> bytes:
    """How many bytes READ_MEMORY is to send, 1 to 256."""
    _need(1 <= size <= MAX_BLOCK, size)
    return command(size - 1)


def data_frame(data: bytes) -> bytes:
    """What WRITE_MEMORY takes: 4 to 256 bytes, a multiple of 4 (section 3.6)."""
    _need(1 <= len(data) <= MAX_BLOCK and len(data) % 4 == 0, len(data))
    return _checked(bytes([len(data) - 1]) + data)


def erase_frame(pages: Sequence[int]) -> bytes:
    """The pages of ERASE (0x43), a byte each."""
    _need(1 <= len(pages) <= MAX_PAGES, len(pages))
    return _checked(bytes([len(pages) - 1, *pages]))


def extended_erase_frame(pages: Sequence[int]) -> bytes:
    """The pages of EXTENDED_ERASE (0x44), two bytes each."""
    _need(1 <= len(pages) <= MAX_EXTENDED_PAGES, len(pages))
    return _checked(b"".join(number.to_bytes(2, "big") for number in (len(pages) - 1, *pages)))


def is_ack(reply: int, what: str, *, at_command: bool = False) -> bool:
    """Whether a reply is the ACK; False for BUSY, after which another one follows. Raises for everything else."""
    if reply == NACK:
        raise Refused(what, at_command=at_command)
    if reply not in (ACK, BUSY):
        raise BadAnswer(f"{reply:#04x} is no answer: {what}")
    return reply == ACK


def parse_abilities(body: bytes) -> Abilities:
    """The bytes between the two ACKs of GET, without the count: version, then a byte per command."""
    found = Abilities(body[0] if body else 0, frozenset(body[1:]))
    needed = {Command.GET, Command.GET_ID, Command.READ_MEMORY, Command.WRITE_MEMORY}
    if not needed <= found.commands:
        raise BadAnswer(f"no list of a boot loader's commands: {body.hex(' ')}")
    return found


def parse_product_id(body: bytes) -> int:
    """The bytes between the two ACKs of GET_ID, without the count."""
    if len(body) != 2:
        raise BadAnswer(f"a product id of {len(body)} bytes: {body.hex(' ')}")
    return int.from_bytes(body, "big")


def _checked(data: bytes) -> bytes:
    return data + bytes([checksum(data)])


def _need(holds: bool, value: int) -> None:
    if not holds:
        raise ValueError(f"{value} does not fit into a frame")
