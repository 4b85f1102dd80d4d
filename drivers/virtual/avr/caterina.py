"""Caterina, the boot loader of the Leonardo and the Micro, which speaks AVR109, as a generator of steps. Pure.

Source: `Caterina.c` of Arduino's AVR core, read line by line, as its Makefile builds it (`NO_LOCK_BYTE_WRITE_SUPPORT`);
Atmel AVR109. Its timer runs only while the flash's first word is not erased, and only blocks wind it up again. It takes
one command from a USB packet, and loses what comes after it in the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from drivers.virtual.avr.parts import Part
from drivers.virtual.avr.steps import (
    Countdown,
    DropPacket,
    ErasePage,
    Exit,
    Program,
    ProgramPage,
    Receive,
    ReceiveInTime,
    Send,
    Step,
    WriteEeprom,
)

WINDOW_S = 8.0  # TIMEOUT_PERIOD
EXIT_S = 0.5  # what 'E' leaves of it
_SOFTWARE_ID = b"CATERIN"  # seven bytes of "CATERINA"
_OK, _UNKNOWN, _ESCAPE = b"\r", b"?", 27
_ADDRESSES = 0x10000  # pgm_read_byte takes 16 bits

Doing = Generator[Step, int | None, None]
Fetching = Generator[Step, int | None, int]


class PageBuffer:
    """The chip's own: a word that was filled once stays as it is, until the page is written or RWWSRE is set."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._words: dict[int, bytes] = {}

    def fill(self, address: int, word: bytes) -> None:
        self._words.setdefault(address % self._size & ~1, word)

    def clear(self) -> None:
        self._words.clear()

    def take(self) -> bytes:
        """The page, for its being written."""
        page = bytearray(b"\xff" * self._size)
        for at, word in self._words.items():
            page[at : at + 2] = word
        self.clear()
        return bytes(page)


class Caterina:
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
        self._address = 0
        self._buffer = PageBuffer(part.page_size)
        low, high, extended = part.fuses
        self._answers: dict[int, Callable[[], bytes]] = {
            ord("L"): lambda: _OK,
            ord("P"): lambda: _OK,
            ord("t"): lambda: b"\x44\x00",  # the ATmega128's code
            ord("a"): lambda: b"Y",
            ord("p"): lambda: b"S",
            ord("S"): lambda: _SOFTWARE_ID,
            ord("V"): lambda: b"10",
            ord("s"): lambda: part.signature[::-1],
            ord("r"): lambda: bytes([lock_bits()]),
            ord("F"): lambda: bytes([low]),
            ord("N"): lambda: bytes([high]),
            ord("Q"): lambda: bytes([extended]),
            ord("b"): lambda: b"Y" + part.page_size.to_bytes(2, "big"),
            ord("R"): lambda: read(self._address, 2)[::-1],
            _ESCAPE: lambda: b"",
        }
        self._works: dict[int, Callable[[], Doing]] = {
            ord("E"): self._exit,
            ord("T"): self._select_type,
            ord("A"): self._set_address,
            ord("e"): self._erase_application,
            ord("B"): self._write_block,
            ord("g"): self._read_block,
            ord("C"): lambda: self._fill_byte(0),
            ord("c"): lambda: self._fill_byte(2),
            ord("m"): self._write_page,
            ord("D"): self._write_eeprom_byte,
            ord("d"): self._read_eeprom_byte,
        }

    def run(self) -> Program:
        yield Countdown(WINDOW_S)
        while True:
            is_blank = self._read(0, 2) == b"\xff\xff"
            command = yield (Receive(None) if is_blank else ReceiveInTime())
            if command is None:
                return Exit.START_APP
            yield from self._serve(command)

    def _serve(self, command: int) -> Doing:
        if command in self._works:
            yield from self._works[command]()
        else:
            yield Send(self._answers.get(command, lambda: _UNKNOWN)())
        if command != _ESCAPE:  # hosts send it apart, which a bench that was late does not see
            yield DropPacket()

    @staticmethod
    def _fetch() -> Fetching:
        """In the middle of a command it waits for ever."""
        byte = yield Receive(None)
        assert byte is not None
        return byte

    def _exit(self) -> Doing:
        yield Countdown(EXIT_S)
        self._buffer.clear()
        yield Send(_OK)

    def _select_type(self) -> Doing:
        yield from self._fetch()
        yield Send(_OK)

    def _set_address(self) -> Doing:
        high = yield from self._fetch()
        low = yield from self._fetch()
        self._address = high << 9 | low << 1
        yield Send(_OK)

    def _erase_application(self) -> Doing:
        for page in range(0, self._part.boot_start, self._part.page_size):
            yield ErasePage(page)
        yield Send(_OK)

    def _block(self) -> Generator[Step, int | None, tuple[int, int]]:
        yield Countdown(WINDOW_S)
        size = yield from self._fetch()
        size = size << 8 | (yield from self._fetch())
        return size, (yield from self._fetch())

    def _read_block(self) -> Doing:
        size, memory = yield from self._block()
        if memory not in b"EF":
            yield Send(_UNKNOWN)
            return
        self._buffer.clear()
        if memory == ord("F"):
            data = b"".join(self._read((self._address + at) % _ADDRESSES, 1) for at in range(size))
            self._address += size & ~1
        else:
            data = b"".join(self._read_eeprom((self._address >> 1) + at, 1) for at in range(size))
            self._address += 2 * size
        if data:
            yield Send(data)
        yield Countdown(WINDOW_S)  # its timer stood still meanwhile

    def _write_block(self) -> Doing:
        size, memory = yield from self._block()
        if memory not in b"EF":
            yield Send(_UNKNOWN)
            return
        if memory == ord("F"):
            yield from self._write_flash(size)
        else:
            for _ in range(size):
                yield WriteEeprom(self._address >> 1, (yield from self._fetch()))
                self._address += 2
        yield Send(_OK)
        yield Countdown(WINDOW_S)

    def _write_flash(self, size: int) -> Doing:
        """One page, wherever in it the address is: erased first, and written when all of the bytes are there."""
        start = self._address
        yield ErasePage(start)
        for _ in range(size // 2):
            low = yield from self._fetch()
            self._buffer.fill(self._address, bytes([low, (yield from self._fetch())]))
            self._address += 2
        if size % 2:
            yield from self._fetch()
        yield ProgramPage(start, self._buffer.take())

    def _fill_byte(self, step: int) -> Doing:
        """'C' and 'c' fill the same word; what the second one says is too late."""
        self._buffer.fill(self._address, bytes([(yield from self._fetch()), 0]))
        self._address += step
        yield Send(_OK)

    def _write_page(self) -> Doing:
        yield ProgramPage(self._address, self._buffer.take())
        yield Send(_OK)

    def _write_eeprom_byte(self) -> Doing:
        yield WriteEeprom(self._address >> 1, (yield from self._fetch()))
        self._address += 2
        yield Send(_OK)

    def _read_eeprom_byte(self) -> Doing:
        yield Send(self._read_eeprom(self._address >> 1, 1))
        self._address += 2
