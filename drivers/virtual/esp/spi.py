"""The flash controller's registers, and the flash chip's answers to commands that are sent through them.

Sources: ESP32 Technical Reference Manual, chapter "SPI Controller" (SPI_CMD_REG.USR, SPI_USER*_REG); Winbond W25Q32JV
datasheet, chapter "Instructions"; JEDEC JESD216 for the parameter table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum

from drivers.virtual.esp.chips import SpiRegisters
from drivers.virtual.flash import BLOCK, PAGE, SECTOR, NorFlash

_CMD_USR = 1 << 18
_USER_COMMAND, _USER_ADDRESS, _USER_MISO, _USER_MOSI = 1 << 31, 1 << 30, 1 << 28, 1 << 27
_BUFFER_BYTES = 64
_ADDRESS_REGISTER = 0x04
_WRITE_ENABLED = 0x02
_FLOATING = b"\xff" * _BUFFER_BYTES
_MANUFACTURER, _MEMORY_TYPE = 0xEF, 0x40  # Winbond, W25Q family


class Instruction(IntEnum):
    """W25Q32JV, table "Instruction Set"."""

    WRITE_STATUS_1 = 0x01
    PAGE_PROGRAM = 0x02
    READ = 0x03
    WRITE_DISABLE = 0x04
    READ_STATUS_1 = 0x05
    WRITE_ENABLE = 0x06
    WRITE_STATUS_3 = 0x11
    READ_STATUS_3 = 0x15
    SECTOR_ERASE = 0x20
    WRITE_STATUS_2 = 0x31
    READ_STATUS_2 = 0x35
    VOLATILE_WRITE_ENABLE = 0x50
    READ_SFDP = 0x5A
    ENABLE_RESET = 0x66
    RESET = 0x99
    READ_ID = 0x9F
    CHIP_ERASE = 0xC7
    BLOCK_ERASE = 0xD8


def flash_id(size: int) -> bytes:
    """The three bytes that the chip identifies itself with: manufacturer, type, log2 of the size in bytes."""
    return bytes([_MANUFACTURER, _MEMORY_TYPE, size.bit_length() - 1])


def sfdp(size: int) -> bytes:
    """The chip's parameter table (JESD216): header, one parameter header, the basic table's first two words."""
    header = b"SFDP" + bytes([6, 1, 0, 0xFF])
    parameter = bytes([0, 6, 1, 2, 0x80, 0, 0, 0xFF])
    basic = struct.pack("<II", 0xFFF920E5, size * 8 - 1)
    return (header + parameter).ljust(0x80, b"\xff") + basic


class FlashChip:
    """The NOR chip's command decoder."""

    def __init__(self, cells: NorFlash) -> None:
        self._cells = cells
        self._status = [0, 0, 0]
        self._write_enabled = False

    def transact(self, opcode: int, address: int, sent: bytes) -> bytes:
        """What the chip puts on the wire after the command; the bus floats high where it does not answer."""
        try:
            instruction = Instruction(opcode)
        except ValueError:
            return _FLOATING
        handler = self._handlers().get(instruction)
        return (handler(address, sent) if handler else b"") + _FLOATING

    def _handlers(self) -> dict[Instruction, Callable[[int, bytes], bytes]]:
        return {
            Instruction.READ_ID: lambda _a, _s: flash_id(self._cells.size),
            Instruction.READ_SFDP: lambda address, _s: sfdp(self._cells.size)[address:],
            Instruction.READ: lambda address, _s: self._cells.read(address, _BUFFER_BYTES),
            Instruction.READ_STATUS_1: lambda _a, _s: bytes([self._status[0] | self._latch_bit()]),
            Instruction.READ_STATUS_2: lambda _a, _s: bytes([self._status[1]]),
            Instruction.READ_STATUS_3: lambda _a, _s: bytes([self._status[2]]),
            Instruction.WRITE_ENABLE: lambda _a, _s: self._latch(on=True),
            Instruction.VOLATILE_WRITE_ENABLE: lambda _a, _s: self._latch(on=True),
            Instruction.WRITE_DISABLE: lambda _a, _s: self._latch(on=False),
            Instruction.RESET: lambda _a, _s: self._latch(on=False),
            Instruction.WRITE_STATUS_1: lambda _a, sent: self._write_status(0, sent),
            Instruction.WRITE_STATUS_2: lambda _a, sent: self._write_status(1, sent),
            Instruction.WRITE_STATUS_3: lambda _a, sent: self._write_status(2, sent),
            Instruction.PAGE_PROGRAM: self._program,
            Instruction.SECTOR_ERASE: lambda address, _s: self._erase(address, SECTOR),
            Instruction.BLOCK_ERASE: lambda address, _s: self._erase(address, BLOCK),
            Instruction.CHIP_ERASE: lambda _a, _s: self._erase(0, self._cells.size),
        }

    def _latch_bit(self) -> int:
        return _WRITE_ENABLED if self._write_enabled else 0

    def _latch(self, *, on: bool) -> bytes:
        self._write_enabled = on
        return b""

    def _unlatch(self) -> bool:
        enabled, self._write_enabled = self._write_enabled, False
        return enabled

    def _write_status(self, first: int, sent: bytes) -> bytes:
        if self._unlatch():
            for register, value in zip(range(first, 3), sent[:2], strict=False):
                self._status[register] = value & ~0x03 if register == 0 else value
        return b""

    def _program(self, address: int, sent: bytes) -> bytes:
        if self._unlatch():
            page, offset = address - address % PAGE, address % PAGE
            for index, byte in enumerate(sent):  # beyond its end, a page program wraps to the page's beginning
                self._cells.program(page + (offset + index) % PAGE, bytes([byte]))
        return b""

    def _erase(self, address: int, size: int) -> bytes:
        if self._unlatch():
            self._cells.erase(address - address % size, size)
        return b""


class SpiController:
    """The registers through which programs send commands to the flash chip."""

    def __init__(self, layout: SpiRegisters, chip: FlashChip) -> None:
        self._layout = layout
        self._chip = chip
        self._registers: dict[int, int] = {}
        self.attached = False  # whether the pins are connected to the flash chip

    def owns(self, address: int) -> bool:
        """Whether the address is one of the controller's registers."""
        return self._layout.base <= address < self._layout.base + 0x100

    def read(self, address: int) -> int:
        """A register's value."""
        return self._registers.get(address - self._layout.base, 0)

    def write(self, address: int, value: int) -> None:
        """Set a register; writing USR to the command register runs a command, which is done at once."""
        offset = address - self._layout.base
        if offset == 0:
            if value & _CMD_USR:
                self._run()
            return
        self._registers[offset] = value & 0xFFFFFFFF

    def _run(self) -> None:
        user = self._registers.get(self._layout.user, 0)
        opcode = self._registers.get(self._layout.user2, 0) & 0xFF
        sent = self._buffer()[: self._bits(_USER_MOSI, user, self._layout.mosi_length, 17) // 8]
        wanted = self._bits(_USER_MISO, user, self._layout.miso_length, 8) // 8
        floating = not self.attached or not user & _USER_COMMAND
        received = _FLOATING if floating else self._chip.transact(opcode, self._address(user), sent)
        if wanted:
            self._store(received[:wanted])

    def _bits(self, flag: int, user: int, register: int | None, shift: int) -> int:
        """Length of a phase in bits: a register of its own holds it less one, on the ESP8266 a field of USER1."""
        if not user & flag:
            return 0
        if register is None:
            field = self._registers.get(self._layout.user1, 0) >> shift & 0x1FF
        else:
            field = self._registers.get(register, 0) & 0x3FF
        return min(field + 1, 8 * _BUFFER_BYTES)

    def _address(self, user: int) -> int:
        if not user & _USER_ADDRESS:
            return 0
        value = self._registers.get(_ADDRESS_REGISTER, 0)
        return value >> 8 if self._layout.address_left_aligned else value

    def _buffer(self) -> bytes:
        words = [self._registers.get(self._layout.w0 + 4 * index, 0) for index in range(_BUFFER_BYTES // 4)]
        return struct.pack(f"<{len(words)}I", *words)

    def _store(self, received: bytes) -> None:
        padded = received.ljust((len(received) + 3) // 4 * 4, b"\0")
        for index, (word,) in enumerate(struct.iter_unpack("<I", padded)):
            self._registers[self._layout.w0 + 4 * index] = word
