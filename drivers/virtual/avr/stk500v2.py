"""The Mega 2560's boot loader, which speaks STK500v2 (Atmel AVR068), as a generator of steps. Pure.

Source: `stk500boot.c` of Arduino's AVR core, read line by line; its binary disassembled and run on a simulated CPU to
compare. Its faults are kept: it erases page after page from 0, one with each page that it is sent, wherever that one
goes, and none from 0x3C000 on (`eraseAddress`, `APP_END`); it never checks a length.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import IntEnum

from drivers.virtual.avr.parts import Part
from drivers.virtual.avr.steps import (
    ErasePage,
    Exit,
    Program,
    ProgramPage,
    Receive,
    Send,
    SetLockBits,
    Step,
    WriteEeprom,
)

WINDOW_S = 0.8  # from its start to the application where nobody says anything; measured on a simulated CPU
IDLE_S = 5.0  # between two bytes, once somebody has spoken: as measured
_MESSAGE_START, _TOKEN = 0x1B, 0x0E
_BUFFER = 285  # bytes of msgBuffer; whatever is longer overwrites the stack
_BOOT_SIZE = 8192
_MONITOR_WITHIN = 10  # three "!" among so many bytes start a monitor instead
_COUNTER = 0x10000  # the count of received bytes is 16 bits wide
_MONITOR = (b"!" * 25 + b"\r\n") * 5 + b"Arduino explorer stk500V2 by MLS\r\nBootloader>"


class Command(IntEnum):
    """AVR068, chapter "Commands"."""

    SIGN_ON = 0x01
    SET_PARAMETER = 0x02
    GET_PARAMETER = 0x03
    LOAD_ADDRESS = 0x06
    ENTER_PROGMODE_ISP = 0x10
    LEAVE_PROGMODE_ISP = 0x11
    CHIP_ERASE_ISP = 0x12
    PROGRAM_FLASH_ISP = 0x13
    READ_FLASH_ISP = 0x14
    PROGRAM_EEPROM_ISP = 0x15
    READ_EEPROM_ISP = 0x16
    PROGRAM_LOCK_ISP = 0x19
    READ_FUSE_ISP = 0x18
    READ_SIGNATURE_ISP = 0x1B
    READ_LOCK_ISP = 0x1A
    SPI_MULTI = 0x1D


_OK, _FAILED = 0x00, 0xC0
_PARAMETERS = {0x80: 0, 0x81: 0, 0x90: 0x0F, 0x91: 2, 0x92: 0x0A}  # build, hardware and software version
Answering = Generator[Step, int | None, bytes]


class _Left(Exception):
    """The boot loader is over."""

    def __init__(self, how: Exit) -> None:
        super().__init__(how.value)
        self.how = how


class Frames:
    """Bytes to messages: the parser's states as in the source, one byte at a time."""

    def __init__(self) -> None:
        self._message = bytearray()
        self._body_size = 0
        self.sequence = 0

    def feed(self, byte: int) -> bytes | None:
        """A whole message's body, once its checksum is right. Raises `_Left` where the buffer would overflow."""
        self._message.append(byte)
        message = self._message
        at = len(message)
        if (at == 1 and byte != _MESSAGE_START) or (at == 5 and byte != _TOKEN):
            message.clear()
        elif at == 5:
            self._body_size = message[2] << 8 | message[3]
        elif at > 5 + _BUFFER and at <= 5 + (self._body_size or _COUNTER):
            raise _Left(Exit.HUNG)
        elif at > 5 and at == 6 + self._body_size and self._body_size:
            return self._end(byte)
        return None

    def _end(self, check: int) -> bytes | None:
        whole, body = bytes(self._message[:-1]), bytes(self._message[5:-1])
        self._message.clear()
        if xor(whole) != check:
            return None
        self.sequence = whole[1]
        return body

    def answer(self, body: bytes) -> bytes:
        head = bytes([_MESSAGE_START, self.sequence, len(body) >> 8, len(body) & 0xFF, _TOKEN])
        return head + body + bytes([xor(head + body)])


def xor(data: bytes) -> int:
    check = 0
    for byte in data:
        check ^= byte
    return check


class Stk500v2:
    """One run of it, from reset to its end. `read` reads the flash, `read_eeprom` the EEPROM."""

    def __init__(
        self,
        part: Part,
        read: Callable[[int, int], bytes],
        read_eeprom: Callable[[int, int], bytes],
        lock_bits: Callable[[], int],
    ) -> None:
        self._part = part
        self._read = read
        self._read_eeprom = read_eeprom
        self._lock_bits = lock_bits
        self._address = 0
        self._erase_at = 0
        self._received = 0
        self._marks = 0
        self._frames = Frames()

    def run(self) -> Program:
        try:
            byte = yield Receive(WINDOW_S)
            if byte is None:
                return Exit.START_APP
            while True:
                yield from self._take(byte)
                byte = yield Receive(IDLE_S)
                if byte is None:
                    byte = yield from self._idle()
        except _Left as left:
            return left.how

    def _idle(self) -> Generator[Step, int | None, int]:
        """Nobody speaks: the application starts, where there is one."""
        while True:
            if self._read(0, 2) != b"\xff\xff":
                raise _Left(Exit.START_APP)
            byte = yield Receive(IDLE_S)
            if byte is not None:
                return byte

    def _take(self, byte: int) -> Generator[Step, int | None, None]:
        yield from self._watch_for_monitor(byte)
        body = self._frames.feed(byte)
        if body is None:
            return
        answer = yield from self._serve(body)
        yield Send(self._frames.answer(answer))
        self._frames.sequence = (self._frames.sequence + 1) & 0xFF
        if body[0] == Command.LEAVE_PROGMODE_ISP:
            raise _Left(Exit.START_APP)

    def _watch_for_monitor(self, byte: int) -> Generator[Step, int | None, None]:
        self._received = (self._received + 1) % _COUNTER
        self._marks = self._marks + 1 if byte == ord("!") and self._received < _MONITOR_WITHIN else 0
        if self._marks == 3:
            yield Send(_MONITOR)
            raise _Left(Exit.HUNG)

    def _serve(self, body: bytes) -> Answering:
        """The body of the answer. What the message lacks is what the buffer held before: zeros here."""
        message = body.ljust(_BUFFER, b"\0")
        command = body[0]
        if command in (Command.PROGRAM_FLASH_ISP, Command.PROGRAM_EEPROM_ISP):
            return (yield from self._program(message))
        if command == Command.PROGRAM_LOCK_ISP:
            yield SetLockBits(~(~message[4] & 0x3C) & 0xFF)
            return bytes([command, _OK, _OK])
        return self._simple(command, message)

    def _simple(self, command: int, message: bytes) -> bytes:
        """The commands that change nothing outside of the loader."""
        if command in (Command.READ_FLASH_ISP, Command.READ_EEPROM_ISP):
            return self._read_block(command, message[1] << 8 | message[2])
        if command in (Command.READ_SIGNATURE_ISP, Command.READ_LOCK_ISP, Command.READ_FUSE_ISP, Command.SPI_MULTI):
            return self._identity(command, message)
        match command:
            case Command.SIGN_ON:
                return bytes([command, _OK, 8]) + b"AVRISP_2"
            case Command.GET_PARAMETER:
                return bytes([command, _OK, _PARAMETERS.get(message[1], 0)])
            case Command.SET_PARAMETER | Command.ENTER_PROGMODE_ISP | Command.LEAVE_PROGMODE_ISP:
                return bytes([command, _OK])
            case Command.LOAD_ADDRESS:
                self._address = int.from_bytes(message[1:5], "big") << 1 & 0xFFFFFFFF
                return bytes([command, _OK])
            case Command.CHIP_ERASE_ISP:
                self._erase_at = 0
        return bytes([command, _FAILED])  # chip erase, too: "issue 543, return FAILED instead of OK"

    def _identity(self, command: int, message: bytes) -> bytes:
        """Signature, lock bits and fuses: by commands of their own, or by the ISP instructions."""
        match command:
            case Command.READ_SIGNATURE_ISP:
                value = self._signature(message[4])
            case Command.READ_LOCK_ISP:
                value = self._lock_bits()
            case Command.READ_FUSE_ISP:
                value = self._fuse(message[2], message[3])
            case _:
                return bytes([command, _OK, 0, message[4], 0, self._spi(message[4], message[6]), _OK])
        return bytes([command, _OK, value, _OK])

    def _signature(self, index: int) -> int:
        return self._part.signature[min(index, 2)]

    def _fuse(self, first: int, second: int) -> int:
        low, high, extended = self._part.fuses
        if first != 0x50:
            return high
        return extended if second == 0x08 else low

    def _spi(self, first: int, index: int) -> int:
        """An ISP instruction's answer: the signature, two fuses, else a dummy."""
        if first == 0x30:
            return self._signature(index)
        return {0x50: self._part.fuses[0], 0x58: self._part.fuses[1]}.get(first, 0)

    def _read_block(self, command: int, size: int) -> bytes:
        size = size or _COUNTER
        if size + 3 > _BUFFER:
            raise _Left(Exit.HUNG)
        if command == Command.READ_EEPROM_ISP:
            # The address was doubled when it was loaded, and is taken as it is.
            data = self._read_eeprom(self._address, size)
            self._address += size
        else:
            size += size % 2
            data = self._read(self._address, size)
            self._address += size
        return bytes([command, _OK]) + data + bytes([_OK])

    def _program(self, message: bytes) -> Answering:
        size, data = message[1] << 8 | message[2], message[10:]
        if message[0] == Command.PROGRAM_EEPROM_ISP:
            for at, value in enumerate(data[:size]):
                yield WriteEeprom((self._address >> 1) + at, value)
            self._address += 2 * size
            return bytes([message[0], _OK])
        if self._erase_at < self._part.flash_size - 2 * _BOOT_SIZE:
            yield ErasePage(self._erase_at)
            self._erase_at += self._part.page_size
        if size == 0 or size % 2:
            raise _Left(Exit.HUNG)  # it counts words down to exactly zero
        yield ProgramPage(self._address, self._page(data[:size]))
        self._address += size
        return bytes([message[0], _OK])

    def _page(self, data: bytes) -> bytes:
        """The chip's page buffer: a word that was filled once stays as it is."""
        size = self._part.page_size
        page, filled = bytearray(b"\xff" * size), set()
        for at in range(0, len(data), 2):
            word = (self._address + at) % size & ~1
            if word not in filled:
                filled.add(word)
                page[word : word + 2] = data[at : at + 2]
        return bytes(page)
