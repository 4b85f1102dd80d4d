"""The loader in the mask ROM: which commands it has, what it answers, what it refuses.

Sources: esptool documentation, "Serial Protocol" (commands, status bytes, errors); traces of real boards for what the
documentation leaves open: the value of a SYNC's answer is its own first word, stays in the answers until a READ_REG
replaces it, and a command that the ROM does not know is answered as the last one that it knew.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable

from drivers.virtual.esp import efuse, slip
from drivers.virtual.esp.chips import ESP32, ESP32S2, ESP32S3, ESP8266, Reason
from drivers.virtual.esp.download import Download, Inflater
from drivers.virtual.esp.efuse import ESP32_CRYSTAL_ERROR
from drivers.virtual.esp.machine import Machine
from drivers.virtual.esp.packets import Op, Request, RomError, answer, block, checksum, parse, words
from drivers.virtual.esp.program import Exit, Frames, Jump, Reset, RunFlash
from drivers.virtual.flash import BLOCK, SECTOR

_SYNC_ANSWERS = 8
_S3_READ_POINTER = 0x3FCEF688  # rom_spiflash_legacy_funcs.read (esptool, `run_stub`)
_SLOW_READ_LIMIT = 64
_ROM_FLASH_SIZE = 4 << 20  # what the ROM takes the flash chip for until SPI_SET_PARAMS (g_rom_flashchip)
_SECURITY_API_VERSION = 0
_SECURE_BOOT = 1  # the lowest of the flags


class Refused(Exception):
    """The ROM's answer is a refusal."""

    def __init__(self, error: RomError) -> None:
        super().__init__(error.name)
        self.error = error


class _Hijacked(Exception):
    """A command ran into code that does not come back."""

    def __init__(self, jump: Jump) -> None:
        super().__init__()
        self.jump = jump


Handler = Callable[[Request], Awaitable[bytes]]


class RomLoader:
    """One session of the loader, from reset to the program that it starts."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.loaded: list[tuple[int, int]] = []  # ranges of RAM that were filled, [start, end)
        self._last_op = 0
        self._value = 0
        self._flash_size = _ROM_FLASH_SIZE
        self._flash: Download | None = None
        self._inflater: Inflater | None = None
        self._ram: Download | None = None
        self._exit: Exit | None = None
        self._new_baud: int | None = None
        self._handlers: dict[Op, Handler] = {
            Op.FLASH_BEGIN: self._flash_begin,
            Op.FLASH_DATA: self._flash_data,
            Op.FLASH_END: self._flash_end,
            Op.MEM_BEGIN: self._mem_begin,
            Op.MEM_DATA: self._mem_data,
            Op.MEM_END: self._mem_end,
            Op.SYNC: self._sync,
            Op.WRITE_REG: self._write_reg,
            Op.READ_REG: self._read_reg,
            Op.SPI_SET_PARAMS: self._set_params,
            Op.SPI_ATTACH: self._attach,
            Op.READ_FLASH_SLOW: self._read_slow,
            Op.CHANGE_BAUDRATE: self._change_baud,
            Op.FLASH_DEFL_BEGIN: self._defl_begin,
            Op.FLASH_DEFL_DATA: self._defl_data,
            Op.FLASH_DEFL_END: self._flash_end,
            Op.SPI_FLASH_MD5: self._md5,
            Op.GET_SECURITY_INFO: self._security_info,
        }

    async def run(self) -> Exit:
        """Answer commands until one of them ends the loader. Raises `Crash` and `PowerLost`."""
        wire = self._machine.wire
        wire.autobaud = True
        frames = Frames(wire)
        while self._exit is None:
            request = parse(await frames.next())
            if request is None or not request.is_request:
                continue
            if wire.autobaud and request.op != Op.SYNC:
                continue
            wire.autobaud = False
            try:
                await self._serve(request)
            except _Hijacked as hijacked:
                return hijacked.jump
        return self._exit

    async def _serve(self, request: Request) -> None:
        known = request.op in self._machine.chip.rom_commands
        if known:
            self._last_op = request.op
        try:
            payload = await self._handle(request, known=known) + self._status(None)
        except Refused as refusal:
            payload = self._status(refusal.error)
        # A refusal of an unknown command leaves as the last known one's answer: eight times when that was a SYNC.
        frame = slip.encode(answer(self._last_op, self._value, payload))
        await self._machine.wire.send(frame * (_SYNC_ANSWERS if self._last_op == Op.SYNC else 1))
        if self._new_baud is not None:
            self._machine.set_baud(self._new_baud)
            self._new_baud = None

    async def _handle(self, request: Request, *, known: bool) -> bytes:
        if not known or not (request.whole or request.op == Op.SYNC):
            raise Refused(RomError.INVALID_MESSAGE)
        return await self._handlers[Op(request.op)](request)

    def _status(self, error: RomError | None) -> bytes:
        status = bytes([1, error]) if error else bytes(2)
        return status.ljust(self._machine.chip.status_bytes, b"\0")

    async def _sync(self, request: Request) -> bytes:
        self._value = int.from_bytes(request.data[:4], "little")
        self._machine.set_baud(self._machine.wire.baud)
        return b""

    async def _read_reg(self, request: Request) -> bytes:
        (address,) = _words(request, 1)
        self._value = self._machine.memory.read_word(address)
        return b""

    async def _write_reg(self, request: Request) -> bytes:
        if not request.data or len(request.data) % 16:
            raise Refused(RomError.INVALID_MESSAGE)
        for address, value, mask, delay_us in struct.iter_unpack("<4I", request.data):
            await self._machine.pace.charge(delay_us / 1_000_000)
            self._machine.memory.write_word(address, value, mask)
        return b""

    async def _security_info(self, request: Request) -> bytes:
        if request.data:
            raise Refused(RomError.INVALID_MESSAGE)
        return security_info(self._machine)

    async def _attach(self, request: Request) -> bytes:
        _words(request, 2)
        self._machine.spi.attached = True
        return b""

    async def _set_params(self, request: Request) -> bytes:
        self._flash_size = _words(request, 6)[1]
        return b""

    async def _change_baud(self, request: Request) -> bytes:
        baud, _ = _words(request, 2)
        if baud == 0:
            raise Refused(RomError.INVALID_MESSAGE)
        # The ESP32's ROM divides by the crystal's frequency as it measured it, which is off a little.
        self._new_baud = round(baud / ESP32_CRYSTAL_ERROR) if self._machine.chip is ESP32 else baud
        return b""

    async def _flash_begin(self, request: Request) -> bytes:
        size, blocks, block_size, address, *_ = _words(request, self._machine.chip.rom_begin_words)
        if self._machine.chip is ESP8266:
            self._machine.spi.attached = True
        if size:
            self._check_flash(address, size, RomError.FAILED_TO_ACT)
            await self._machine.erase(address, self._erased(address, size))
        self._flash = Download(address, address + blocks * block_size, blocks, block_size)
        self._inflater = None
        return b""

    def _erased(self, address: int, size: int) -> int:
        """Bytes that the ROM erases when asked for `size`: the ESP8266's counts the first block's sectors twice."""
        if self._machine.chip is not ESP8266:
            return size
        sectors = -(-size // SECTOR)
        in_first_block = (BLOCK - address % BLOCK) // SECTOR
        return (sectors + min(sectors, in_first_block)) * SECTOR

    async def _flash_data(self, request: Request) -> bytes:
        download = self._flash
        if download is None or self._inflater is not None:
            raise Refused(RomError.FAILED_TO_ACT)
        data = _block(request, download)
        await self._write(download.address, data)
        download.took(len(data))
        return b""

    async def _defl_begin(self, request: Request) -> bytes:
        size, blocks, block_size, address, *_ = _words(request, self._machine.chip.rom_begin_words)
        if size:
            self._check_flash(address, size, RomError.FAILED_TO_ACT)
            await self._machine.erase(address, size)
        self._flash = Download(address, address + size, blocks, block_size)
        self._inflater = Inflater(size)
        return b""

    async def _defl_data(self, request: Request) -> bytes:
        download, inflater = self._flash, self._inflater
        if download is None or inflater is None:
            raise Refused(RomError.FAILED_TO_ACT)
        unpacked = inflater.feed(_block(request, download))
        if unpacked is None:
            raise Refused(RomError.DEFLATE)
        await self._write(download.address, unpacked)
        download.took(len(unpacked))
        return b""

    async def _write(self, address: int, data: bytes) -> None:
        self._check_flash(address, len(data), RomError.FLASH_WRITE)
        await self._machine.program(address, data)
        if checksum(self._machine.cells.read(address, len(data))) != checksum(data):
            raise Refused(RomError.FLASH_WRITE)

    async def _flash_end(self, request: Request) -> bytes:
        (stay,) = _words(request, 1)
        if self._flash is None:
            raise Refused(RomError.FAILED_TO_ACT)
        self._exit = RunFlash() if stay else Reset(Reason.SOFTWARE)
        return b""

    async def _md5(self, request: Request) -> bytes:
        address, size, _, _ = _words(request, 4)
        self._check_flash(address, size, RomError.FLASH_READ)
        return (await self._machine.md5(address, size)).hex().encode()

    async def _read_slow(self, request: Request) -> bytes:
        address, size = _words(request, 2)
        if entry := self._replaced_read():
            raise _Hijacked(Jump(entry))
        if size > _SLOW_READ_LIMIT:
            raise Refused(RomError.FLASH_READ_LENGTH)
        self._check_flash(address, size, RomError.FLASH_READ)
        return self._machine.cells.read(address, size).ljust(_SLOW_READ_LIMIT, b"\0")

    def _replaced_read(self) -> int:
        """What stands in for the S3's flash read, in a table in RAM; 0: nothing. Its way around MEM_END (below)."""
        return self._machine.memory.read_word(_S3_READ_POINTER) if self._machine.chip is ESP32S3 else 0

    def _check_flash(self, address: int, size: int, error: RomError) -> None:
        if not self._machine.spi.attached or address + size > self._flash_size:
            raise Refused(error)

    async def _mem_begin(self, request: Request) -> bytes:
        size, blocks, block_size, address = _words(request, 4)
        if not self._machine.memory.is_ram(address, size):
            raise Refused(RomError.INVALID_MESSAGE)
        self._ram = Download(address, address + size, blocks, block_size)
        return b""

    async def _mem_data(self, request: Request) -> bytes:
        download = self._ram
        if download is None:
            raise Refused(RomError.FAILED_TO_ACT)
        data = _block(request, download)
        if download.address + len(data) > download.end:
            raise Refused(RomError.INVALID_MESSAGE)
        self._machine.memory.store(download.address, data)
        self._note_loaded(download.address, download.address + len(data))
        download.took(len(data))
        return b""

    def _note_loaded(self, start: int, end: int) -> None:
        if self.loaded and self.loaded[-1][1] == start:
            start = self.loaded.pop()[0]
        self.loaded.append((start, end))

    async def _mem_end(self, request: Request) -> bytes:
        stay, entry = _words(request, 2)
        if self._ram is None:
            raise Refused(RomError.FAILED_TO_ACT)
        self._ram = None
        if not stay and self._machine.chip is ESP32S3 and security_info(self._machine)[0] & _SECURE_BOOT:
            raise Refused(RomError.FAILED_TO_ACT)  # "Bug in ESP32-S3 ROM prevents stub execution" (esptool, run_stub)
        if not stay:
            self._exit = Jump(entry)
        return b""


def security_info(machine: Machine) -> bytes:
    """Flags, crypt count, key purposes, chip id and API version.

    The ESP32-S2, the first chip with this command, leaves out the last two.
    """
    fuses = efuse.security(machine.chip, machine.memory.read_word)
    if machine.chip is ESP32S2:
        return fuses
    return fuses + struct.pack("<II", machine.chip.image_chip_id, _SECURITY_API_VERSION)


def _words(request: Request, count: int) -> tuple[int, ...]:
    parameters = words(request.data, count)
    if parameters is None:
        raise Refused(RomError.INVALID_MESSAGE)
    return parameters


def _block(request: Request, download: Download) -> bytes:
    """The data of the next block of a download, checked as the ROM does."""
    received = block(request.data)
    if received is None or received.size != len(received.data) or received.size > download.block_size:
        raise Refused(RomError.INVALID_MESSAGE)
    if checksum(received.data) != request.checksum & 0xFF:
        raise Refused(RomError.INVALID_CRC)
    if received.sequence != download.sequence or not download.blocks_left:
        raise Refused(RomError.FAILED_TO_ACT)
    return received.data
