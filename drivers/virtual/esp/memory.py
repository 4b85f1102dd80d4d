"""A chip's address space as far as programs over the wire can reach it: RAM, eFuses, registers.

Reading or writing where nothing is mapped is what it is on the chip: an exception that stops the program.
"""

from __future__ import annotations

from drivers.virtual.esp.chips import ROM_MAGIC_ADDRESS, Chip, Ram
from drivers.virtual.esp.spi import SpiController

_ROM = Ram(0x40000000, 0x40070000)
_PAGE = 0x1000


class Crash(Exception):
    """The CPU took an exception: `cause` as the architecture numbers it (3: load/store error, 9: alignment)."""

    def __init__(self, cause: int, address: int) -> None:
        super().__init__(f"exception {cause} at {address:#010x}")
        self.cause = cause
        self.address = address


class Memory:
    """One chip's memory. RAM survives a reset, as it does while the chip has power."""

    def __init__(self, chip: Chip, spi: SpiController, fixed: dict[int, int]) -> None:
        self._chip = chip
        self._spi = spi
        self._fixed = {**fixed, ROM_MAGIC_ADDRESS: chip.magic}  # eFuses and ROM: writing changes nothing
        self._ram: dict[int, bytearray] = {}
        self._registers: dict[int, int] = {}

    def is_ram(self, address: int, size: int) -> bool:
        """Whether a program may be loaded there."""
        return any(ram.start <= address and address + size <= ram.end for ram in self._chip.ram)

    def store(self, address: int, data: bytes) -> None:
        """Put bytes into RAM, byte by byte as it would be."""
        while data:
            page, offset = address // _PAGE, address % _PAGE
            cells = self._ram.setdefault(page, bytearray(_PAGE))
            piece = data[: _PAGE - offset]
            cells[offset : offset + len(piece)] = piece
            address, data = address + len(piece), data[len(piece) :]

    def fetch(self, address: int, size: int) -> bytes:
        """Bytes of RAM; what was never written reads as 0."""
        data = bytearray()
        while len(data) < size:
            page, offset = divmod(address + len(data), _PAGE)
            cells = self._ram.get(page, bytes(_PAGE))
            data += cells[offset : offset + size - len(data)]
        return bytes(data)

    def read_word(self, address: int) -> int:
        """The 32-bit word at an address. Raises `Crash` where nothing answers."""
        self._check(address)
        if address in self._fixed:
            return self._fixed[address]
        if self._spi.owns(address):
            return self._spi.read(address)
        if self._in(address, self._chip.peripherals):
            return self._registers.get(address, 0)
        return int.from_bytes(self.fetch(address, 4), "little")

    def write_word(self, address: int, value: int, mask: int) -> None:
        """Write the bits of `mask`. Raises `Crash` where nothing answers; ROM and eFuses stay as they are."""
        self._check(address)
        if address in self._fixed:
            return
        if mask != 0xFFFFFFFF:
            value = value & mask | self.read_word(address) & ~mask
        if self._spi.owns(address):
            self._spi.write(address, value)
        elif self._in(address, self._chip.peripherals):
            self._registers[address] = value
        elif self.is_ram(address, 4):
            self.store(address, value.to_bytes(4, "little"))

    def set_register(self, address: int, value: int) -> None:
        """Set what a peripheral shows of itself."""
        self._registers[address] = value

    def _check(self, address: int) -> None:
        if address % 4:
            raise Crash(9, address)
        mapped = (*self._chip.ram, *self._chip.peripherals, *self._chip.flash_mapped, _ROM)
        if not self._in(address, mapped):
            raise Crash(3, address)

    @staticmethod
    def _in(address: int, ranges: tuple[Ram, ...]) -> bool:
        return any(part.start <= address < part.end for part in ranges)
