"""The flasher stub: the program that esptool loads into RAM, recognised by what was loaded, and spoken like it.

Source: espressif/esp-flasher-stub, `src/command_handler.c` and `src/slip.c` (the stub's commands, checks and their
order, status codes, which answers come before the work they announce); esptool documentation, "Flasher Stub".
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Awaitable, Callable

from drivers.virtual.esp import slip
from drivers.virtual.esp.chips import ESP8266
from drivers.virtual.esp.download import Inflater
from drivers.virtual.esp.machine import Machine
from drivers.virtual.esp.packets import Block, Op, Request, StubStatus, answer, block, checksum, parse, words
from drivers.virtual.esp.program import Exit, Frames, Jump
from drivers.virtual.esp.rom import security_info
from drivers.virtual.flash import BLOCK, SECTOR

_GREETING = b"OHAI"
# RISC-V has no literals: the greeting is built by "lui a5, 0x49415; addi a5, a5, -1969".
_GREETING_RISCV = re.compile(rb"\xb7\x57\x41\x49.{0,8}?\x93\x87\xf7\x84", re.DOTALL)

_SYNC_SIZE = 36
_SYNC_ANSWERS = 8
_INFLATED_AT_ONCE = 0x8000  # TINFL_LZ_DICT_SIZE: the stub programs its output when this is full, or the stream ends
_MAX_PACKET = 0x1000


class Failed(Exception):
    """The stub's answer, or what it makes of work after its answer, is a failure."""

    def __init__(self, status: StubStatus) -> None:
        super().__init__(status.name)
        self.status = status


def is_stub(loaded: list[bytes]) -> bool:
    """Whether programs that were loaded into RAM are a flasher stub."""
    return any(_GREETING in part or _GREETING_RISCV.search(part) for part in loaded)


class _Write:
    """A write in progress: where it is, what is still to be erased, how much is still to come."""

    def __init__(self, address: int, size: int, inflater: Inflater | None) -> None:
        self.address = address
        self.left = size
        self.inflater = inflater
        self.unpacked = b""
        self.next_erase = address - address % SECTOR
        self.erase_end = -(-(address + size) // SECTOR) * SECTOR
        self.all_blank = True  # so far


After = Callable[[], Awaitable[None]]


class Stub:
    """One run of the stub."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._frames = Frames(machine.wire)
        self._flash_size = machine.cells.size  # the stub reads the flash chip's id when it starts
        self._write: _Write | None = None
        self._ram: tuple[int, int] | None = None  # next address, bytes left
        self._value = 0
        self._after: After | None = None
        self._failed = StubStatus.SUCCESS
        self._exit: Exit | None = None
        self._handlers: dict[int, Callable[[Request], Awaitable[bytes]]] = {
            Op.SYNC: self._sync,
            Op.FLASH_BEGIN: self._flash_begin,
            Op.FLASH_DATA: self._flash_data,
            Op.FLASH_END: self._flash_end,
            Op.MEM_BEGIN: self._mem_begin,
            Op.MEM_DATA: self._mem_data,
            Op.MEM_END: self._mem_end,
            Op.WRITE_REG: self._write_reg,
            Op.READ_REG: self._read_reg,
            Op.SPI_ATTACH: self._attach,
            Op.SPI_SET_PARAMS: self._set_params,
            Op.CHANGE_BAUDRATE: self._change_baud,
            Op.FLASH_DEFL_BEGIN: self._defl_begin,
            Op.FLASH_DEFL_DATA: self._defl_data,
            Op.FLASH_DEFL_END: self._flash_end,
            Op.SPI_FLASH_MD5: self._md5,
            Op.GET_SECURITY_INFO: self._security_info,
            Op.READ_FLASH: self._read_flash,
            Op.ERASE_FLASH: self._erase_flash,
            Op.ERASE_REGION: self._erase_region,
        }

    async def run(self) -> Exit:
        """Greet and answer commands for ever; ends only by a jump to another program. Raises Crash and PowerLost."""
        self._machine.spi.attached = True
        await self._machine.wire.send(slip.encode(_GREETING))
        while self._exit is None:
            request = parse(await self._frames.next())
            if request is not None:
                await self._serve(request)
        return self._exit

    async def _serve(self, request: Request) -> None:
        if request.op == Op.RUN_USER_CODE and request.is_request and request.whole:
            return  # known and not acted on: "Try to implement WDT reset", without an answer
        self._value, self._after = 0, None
        try:
            payload = await self._handle(request) + struct.pack(">H", StubStatus.SUCCESS)
        except Failed as failure:
            payload = struct.pack(">H", failure.status)
            self._after = None
        frame = slip.encode(answer(request.op, self._value, payload))
        synced = request.op == Op.SYNC and payload == b"\0\0"
        await self._machine.wire.send(frame * (_SYNC_ANSWERS if synced else 1))
        await self._work_on()

    async def _work_on(self) -> None:
        """What the stub does after it has answered; a failure is the answer to the next command."""
        if self._after is None:
            return
        try:
            await self._after()
        except Failed as failure:
            self._failed = failure.status

    async def _handle(self, request: Request) -> bytes:
        if not request.is_request:
            raise Failed(StubStatus.INVALID_COMMAND)
        if not request.whole:
            raise Failed(StubStatus.BAD_DATA_LEN)
        if self._failed is not StubStatus.SUCCESS:
            failed, self._failed = self._failed, StubStatus.SUCCESS
            raise Failed(failed)
        handler = self._handlers.get(request.op)
        if handler is None:
            raise Failed(StubStatus.INVALID_COMMAND)
        return await handler(request)

    async def _sync(self, request: Request) -> bytes:
        if len(request.data) != _SYNC_SIZE:
            raise Failed(StubStatus.BAD_DATA_LEN)
        return b""

    async def _read_reg(self, request: Request) -> bytes:
        (address,) = _words(request, 1)
        self._value = self._machine.memory.read_word(address)
        return b""

    async def _write_reg(self, request: Request) -> bytes:
        if not request.data or len(request.data) % 16:
            raise Failed(StubStatus.NOT_ENOUGH_DATA)
        for address, value, mask, delay_us in struct.iter_unpack("<4I", request.data):
            await self._machine.pace.charge(delay_us / 1_000_000)
            self._machine.memory.write_word(address, value, mask)
        return b""

    async def _attach(self, request: Request) -> bytes:
        _words(request, 1)
        return b""

    async def _set_params(self, request: Request) -> bytes:
        self._flash_size = _words(request, 6)[1]
        return b""

    async def _security_info(self, request: Request) -> bytes:
        _words(request, 0)
        if Op.GET_SECURITY_INFO not in self._machine.chip.rom_commands:
            raise Failed(StubStatus.CMD_NOT_IMPLEMENTED)
        return security_info(self._machine)

    async def _change_baud(self, request: Request) -> bytes:
        baud, _ = _words(request, 2)
        self._after = lambda: self._set_baud(baud)
        return b""

    async def _set_baud(self, baud: int) -> None:
        self._machine.set_baud(max(baud, 1))

    async def _flash_begin(self, request: Request) -> bytes:
        return await self._begin(request, packed=False)

    async def _defl_begin(self, request: Request) -> bytes:
        return await self._begin(request, packed=True)

    async def _begin(self, request: Request, *, packed: bool) -> bytes:
        if len(request.data) not in (16, 20):
            raise Failed(StubStatus.BAD_DATA_LEN)
        size, _blocks, _block_size, address = struct.unpack_from("<4I", request.data)
        self._write = _Write(address, size, Inflater(size) if packed else None)
        await self._erase_next(self._write)
        return b""

    async def _erase_next(self, write: _Write) -> None:
        """Pass one blank sector, or erase a sector or block, whichever fits.

        The stub looks for blank sectors only until it finds one that is not, and never on the ESP8266.
        """
        at, left = write.next_erase, write.erase_end - write.next_erase
        if left <= 0:
            return
        if write.all_blank and self._machine.chip is not ESP8266:
            self._check_flash(at, SECTOR)
            write.all_blank = await self._machine.is_blank(at)
            if write.all_blank:
                write.next_erase += SECTOR
                return
        unit = BLOCK if at % BLOCK == 0 and left >= BLOCK else SECTOR
        await self._machine.erase(at, unit)
        write.next_erase += unit

    async def _flash_data(self, request: Request) -> bytes:
        write = self._write
        received = block(request.data)
        if received is None:
            raise Failed(StubStatus.NOT_ENOUGH_DATA)
        if write is None:
            raise Failed(StubStatus.NOT_IN_FLASH_MODE)
        if received.size != len(received.data):
            raise Failed(StubStatus.TOO_MUCH_DATA)
        _check_sum(request, received)
        data = received.data[: write.left]
        self._after = lambda: self._program(write, data)
        return b""

    async def _defl_data(self, request: Request) -> bytes:
        write = self._write
        received = block(request.data)
        if received is None or received.size > len(received.data):
            raise Failed(StubStatus.BAD_DATA_LEN)
        if write is None or write.inflater is None:
            raise Failed(StubStatus.NOT_IN_FLASH_MODE)
        _check_sum(request, received)
        data = received.data[: received.size]
        self._after = lambda: self._inflate(write, data)
        return b""

    async def _inflate(self, write: _Write, data: bytes) -> None:
        assert write.inflater is not None
        unpacked = write.inflater.feed(data)
        if unpacked is None:
            raise Failed(StubStatus.INFLATE_ERROR)
        write.unpacked += unpacked
        await self._erase_next(write)  # ahead of what is unpacked
        while len(write.unpacked) >= _INFLATED_AT_ONCE:
            await self._program(write, write.unpacked[:_INFLATED_AT_ONCE])
            write.unpacked = write.unpacked[_INFLATED_AT_ONCE:]
        if write.inflater.complete and write.unpacked:
            await self._program(write, write.unpacked)
            write.unpacked = b""

    async def _program(self, write: _Write, data: bytes) -> None:
        while write.next_erase < min(write.address + len(data), write.erase_end):
            await self._erase_next(write)
        self._check_flash(write.address, len(data))
        await self._machine.program(write.address, data)
        write.address += len(data)
        write.left -= len(data)

    async def _flash_end(self, request: Request) -> bytes:
        _words(request, 1)
        if self._write is None:
            raise Failed(StubStatus.NOT_IN_FLASH_MODE)
        if self._write.left:
            raise Failed(StubStatus.BAD_DATA_LEN)
        self._write = None
        return b""

    async def _mem_begin(self, request: Request) -> bytes:
        size, _blocks, _block_size, address = _words(request, 4)
        self._ram = (address, size)
        return b""

    async def _mem_data(self, request: Request) -> bytes:
        received = block(request.data)
        if received is None:
            raise Failed(StubStatus.NOT_ENOUGH_DATA)
        if self._ram is None:
            raise Failed(StubStatus.NOT_IN_FLASH_MODE)
        address, left = self._ram
        if received.size > left or received.size != len(received.data):
            raise Failed(StubStatus.TOO_MUCH_DATA)
        if self._machine.memory.is_ram(address, len(received.data)):
            self._machine.memory.store(address, received.data)
        self._ram = (address + len(received.data), left - len(received.data))
        return b""

    async def _mem_end(self, request: Request) -> bytes:
        stay, entry = _words(request, 2)
        if self._ram is None:
            raise Failed(StubStatus.NOT_IN_FLASH_MODE)
        self._ram = None
        if not stay:
            self._exit = Jump(entry)
        return b""

    async def _md5(self, request: Request) -> bytes:
        address, size, _, _ = _words(request, 4)
        self._check_flash(address, size)
        return await self._machine.md5(address, size)

    async def _erase_flash(self, _request: Request) -> bytes:
        await self._machine.erase_chip()
        return b""

    async def _erase_region(self, request: Request) -> bytes:
        address, size = _words(request, 2)
        if address % SECTOR or size % SECTOR:
            raise Failed(StubStatus.BAD_DATA_LEN)
        await self._machine.erase(address, size)  # whatever the flash's size: the chip itself ignores upper bits
        return b""

    async def _read_flash(self, request: Request) -> bytes:
        address, size, packet, _in_flight = _words(request, 4)
        self._after = lambda: self._stream(address, size, packet)
        return b""

    async def _stream(self, address: int, size: int, packet: int) -> None:
        """Send a region packet by packet, each acknowledged with the bytes received so far; then its digest.

        One packet is under way at a time, whatever the host allows: the stub's choice since its first generation.
        """
        if not 0 < packet <= _MAX_PACKET:
            raise Failed(StubStatus.BAD_DATA_LEN)
        digest = hashlib.md5()
        sent = acknowledged = 0
        while sent < size or acknowledged < size:
            if sent < size:
                piece = min(packet, size - sent)
                self._check_flash(address + sent, piece)
                data = self._machine.cells.read(address + sent, piece)
                digest.update(data)
                await self._machine.wire.send(slip.encode(data))
                sent += piece
            answer_frame = await self._frames.next()
            if len(answer_frame) != 4:
                break
            (acknowledged,) = struct.unpack("<I", answer_frame)
        await self._machine.wire.send(slip.encode(digest.digest()))

    def _check_flash(self, address: int, size: int) -> None:
        if address + size > self._flash_size:
            raise Failed(StubStatus.FAILED_SPI_OP)


def _words(request: Request, count: int) -> tuple[int, ...]:
    parameters = words(request.data, count)
    if parameters is None:
        raise Failed(StubStatus.BAD_DATA_LEN)
    return parameters


def _check_sum(request: Request, received: Block) -> None:
    if checksum(received.data[: received.size]) != request.checksum:
        raise Failed(StubStatus.BAD_DATA_CHECKSUM)
