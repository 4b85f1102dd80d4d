"""The boot loader in the system memory: AN3155's commands, byte by byte, as it reads them.

Sources: AN3155 rev. 14; for what it leaves open, ST's open boot loader (stm32-mw-openbl, USART/openbl_usart_cmd.c):
the order of checks, that addresses are checked only where a command begins, that errors of the flash are not reported,
and that page numbers beyond the flash are passed over. Of a list of pages in a second bank only the first is erased
(AN2606, G0B1, V9.2: "Erase multiple sectors not working on Bank2").

It takes the baud rate from one 0x7F and never again: whatever comes first otherwise leaves it deaf until a reset. A
second 0x7F is the first byte of a command; the next byte is not its complement: NACK.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import IntEnum

from drivers.virtual.stm32.chips import FLASH_BASE
from drivers.virtual.stm32.machine import Machine
from drivers.virtual.stm32.program import Exit, Jump, SystemReset

_SYNC, _ACK, _NACK = 0x7F, 0x79, 0x1F
_FASTEST = 115200  # AN3155, 2.2: what every part measures well enough
_SLOWEST = 1200  # AN3155, 2.1
_WORD = 4
_PAGE_BUFFER = 577  # of extended erase: what the open boot loader's buffer of 1156 bytes keeps
_ALL_PAGES = 0xFF
_MASS_ERASE = 0xFFFF  # 0xFFFE and 0xFFFD are banks, which these chips do not have
_SPECIAL_ERASE = 0xFFF0


class _Op(IntEnum):
    GET = 0x00
    GET_VERSION = 0x01
    GET_ID = 0x02
    READ_MEMORY = 0x11
    GO = 0x21
    WRITE_MEMORY = 0x31
    ERASE = 0x43
    EXTENDED_ERASE = 0x44
    WRITE_PROTECT = 0x63
    WRITE_UNPROTECT = 0x73
    READOUT_PROTECT = 0x82
    READOUT_UNPROTECT = 0x92


_ALWAYS_ALLOWED = frozenset({_Op.GET, _Op.GET_VERSION, _Op.GET_ID, _Op.READOUT_UNPROTECT})


class _Refused(Exception):
    """The answer is NACK, and the next byte is a command."""


class BootRom:
    """One session of the boot loader, from a reset to the next."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._wire = machine.wire
        self._memory = machine.memory
        self._received = bytearray()
        self._exit: Exit | None = None
        self._handlers: dict[int, Callable[[], Awaitable[None]]] = {
            _Op.GET: self._get,
            _Op.GET_VERSION: self._get_version,
            _Op.GET_ID: self._get_id,
            _Op.READ_MEMORY: self._read_memory,
            _Op.GO: self._go,
            _Op.WRITE_MEMORY: self._write_memory,
            _Op.ERASE: self._erase,
            _Op.EXTENDED_ERASE: self._extended_erase,
            _Op.WRITE_PROTECT: self._write_protect,
            _Op.WRITE_UNPROTECT: self._write_unprotect,
            _Op.READOUT_PROTECT: self._readout_protect,
            _Op.READOUT_UNPROTECT: self._readout_unprotect,
        }

    async def run(self) -> Exit:
        """Listen until a command ends the boot loader."""
        await self._measure_baud()
        while self._exit is None:
            try:
                await self._command()
            except _Refused:
                await self._send(_NACK)
        return self._exit

    async def _measure_baud(self) -> None:
        self._wire.autobaud = True
        first = await self._byte()
        self._wire.autobaud = False
        if first != _SYNC or not _SLOWEST <= self._wire.baud <= _FASTEST:
            await asyncio.get_running_loop().create_future()  # it measured something, and understands nothing
        await self._send(_ACK)

    async def _command(self) -> None:
        code, complement = await self._byte(), await self._byte()
        if code ^ complement != 0xFF or code not in self._machine.chip.commands:
            raise _Refused
        if self._memory.options.readout_protected and code not in _ALWAYS_ALLOWED:
            raise _Refused
        await self._send(_ACK)
        await self._handlers[code]()

    async def _byte(self) -> int:
        while not self._received:
            self._received += await self._wire.receive()
        return self._received.pop(0)

    async def _bytes(self, count: int) -> bytes:
        return bytes([await self._byte() for _ in range(count)])

    async def _checked(self, data: bytes) -> None:
        """The next byte must be the XOR of what was received."""
        if await self._byte() != _xor(data):
            raise _Refused

    async def _send(self, *data: int) -> None:
        await self._wire.send(bytes(data))

    async def _get(self) -> None:
        commands = self._machine.chip.commands
        await self._send(len(commands), self._machine.chip.loader_version, *commands, _ACK)

    async def _get_version(self) -> None:
        await self._send(self._machine.chip.loader_version, 0x00, 0x00, _ACK)

    async def _get_id(self) -> None:
        await self._send(0x01, *self._machine.chip.product_id.to_bytes(2, "big"), _ACK)

    async def _address(self, is_valid: Callable[[int], bool]) -> int:
        data = await self._bytes(4)
        await self._checked(data)
        address = int.from_bytes(data, "big")
        if not is_valid(address):
            raise _Refused
        return address

    async def _read_memory(self) -> None:
        address = await self._address(self._memory.is_readable)
        await self._send(_ACK)
        count, complement = await self._byte(), await self._byte()
        data = self._memory.read(address, count + 1)
        if count ^ complement != 0xFF or data is None:  # the chip runs into a bus fault there; nobody should rely on it
            raise _Refused
        await self._send(_ACK, *data)

    async def _write_memory(self) -> None:
        address = await self._address(self._is_writable)
        await self._send(_ACK)
        count = await self._byte()
        data = await self._bytes(count + 1)
        await self._checked(bytes([count]) + data)
        await self._write(address, data)
        await self._send(_ACK)

    def _is_writable(self, address: int) -> bool:
        if address == self._memory.chip.options.start:
            return True
        return address % _WORD == 0 and (self._memory.is_flash(address) or self._memory.is_free_ram(address))

    async def _write(self, address: int, data: bytes) -> None:
        memory, chip = self._memory, self._machine.chip
        if address == chip.options.start:
            await self._write_options(data)
        elif memory.is_flash(address):
            data += b"\xff" * (-len(data) % chip.program_unit)
            if not memory.is_flash(address, len(data)):
                raise _Refused
            await self._machine.program(address - FLASH_BASE, data)
        elif memory.is_free_ram(address, len(data)):
            memory.store(address, data)
        else:
            raise _Refused

    async def _write_options(self, data: bytes) -> None:
        if len(data) > self._machine.chip.options.end - self._machine.chip.options.start:
            raise _Refused
        self._memory.options.write(data)
        self._exit = SystemReset(loads_options=True)

    async def _go(self) -> None:
        memory = self._memory
        address = await self._address(lambda at: at % _WORD == 0 and (memory.is_flash(at) or memory.is_free_ram(at)))
        await self._send(_ACK)
        self._exit = Jump(address)

    async def _erase(self) -> None:
        count = await self._byte()
        if count == _ALL_PAGES:
            await self._checked(bytes([_ALL_PAGES, 0xFF]))  # its complement, 0x00
            await self._erase_pages(None)
        else:
            pages = await self._bytes(count + 1)
            await self._checked(bytes([count]) + pages)
            await self._erase_pages(list(pages))
        await self._send(_ACK)

    async def _extended_erase(self) -> None:
        head = await self._bytes(2)
        count = int.from_bytes(head, "big")
        if count >= _SPECIAL_ERASE:
            await self._checked(head)
            if count != _MASS_ERASE:
                raise _Refused
            await self._erase_pages(None)
        else:
            data = await self._bytes(2 * (count + 1))
            await self._checked(head + data)
            pages = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
            await self._erase_pages(pages[:_PAGE_BUFFER])
        await self._send(_ACK)

    async def _erase_pages(self, pages: list[int] | None) -> None:
        if pages is None:
            await self._machine.erase_all()
            return
        for page in pages:
            sector, is_of_second_bank = self._sector(page)
            if sector < self._memory.cells.sectors:
                await self._machine.erase(sector)
            if is_of_second_bank:
                return  # the flash still erases, and takes no other page meanwhile

    def _sector(self, page: int) -> tuple[int, bool]:
        """The sector that a page number means (one beyond the last for others), and whether it is of a second bank."""
        if not self._memory.options.makes_two_banks:
            return page, False
        in_bank, first = self._memory.cells.sectors // 2, self._machine.chip.second_bank
        if page < in_bank:
            return page, False
        return (page - first + in_bank, True) if page >= first else (self._memory.cells.sectors, False)

    async def _write_protect(self) -> None:
        count = await self._byte()
        codes = await self._bytes(count + 1)
        await self._checked(bytes([count]) + codes)
        self._memory.options.protect_writing(codes)
        await self._done_with_options()

    async def _write_unprotect(self) -> None:
        self._memory.options.allow_writing()
        await self._done_with_options()

    async def _readout_protect(self) -> None:
        self._memory.options.protect_readout()
        await self._done_with_options()

    async def _readout_unprotect(self) -> None:
        await self._machine.charge(self._machine.chip.mass_erase_s)
        self._memory.cells.wipe()
        self._memory.options.open_readout()
        await self._done_with_options()

    async def _done_with_options(self) -> None:
        await self._send(_ACK)
        self._exit = SystemReset(loads_options=True)


def _xor(data: bytes) -> int:
    result = 0
    for byte in data:
        result ^= byte
    return result
