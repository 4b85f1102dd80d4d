"""Optiboot, which speaks a small part of STK500v1 (Atmel AVR061), as a generator of steps. Pure.

Sources: `optiboot.c` 4.4 (Arduino's AVR core) and 8.3 (Optiboot/optiboot), read line by line; run on a simulated CPU
to compare. It knows no unknown command: whatever is not listed here is answered as STK_ENTER_PROGMODE is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import IntEnum

from drivers.virtual.avr.parts import Loader, Part
from drivers.virtual.avr.steps import ErasePage, Exit, Pause, Program, ProgramPage, Receive, Send, Step

SHORT_WATCHDOG_S = 0.016
_ANY_PARAMETER = b"\x03"  # "enough to keep Avrdude happy"
_RAM = 256  # bytes that the page buffer in RAM can be filled with: lengths are one byte
_NRWW_START = {0x8000: 0x7000, 0x4000: 0x3800}  # by flash size


class Stk(IntEnum):
    """Commands and answers, AVR061 chapters "Commands" and "Command constants"."""

    OK = 0x10
    INSYNC = 0x14
    CRC_EOP = 0x20
    GET_PARAMETER = 0x41
    SET_DEVICE = 0x42
    SET_DEVICE_EXT = 0x45
    LEAVE_PROGMODE = 0x51
    LOAD_ADDRESS = 0x55
    UNIVERSAL = 0x56
    PROG_PAGE = 0x64
    READ_PAGE = 0x74
    READ_SIGN = 0x75


_SW_MAJOR, _SW_MINOR = 0x81, 0x82
Reading = Generator[Step, int | None, int]
Doing = Generator[Step, int | None, None]


class _Watchdog(Exception):
    """It ran out."""


class Optiboot:
    """One run of it, from reset to its end. `read(address, size)` reads the flash."""

    def __init__(self, part: Part, read: Callable[[int, int], bytes]) -> None:
        self._part = part
        self._read = read
        self._address = 0
        self._watchdog_s = part.watchdog_s
        self._ram = bytearray(_RAM)
        self._is_old = part.loader is Loader.OPTIBOOT_4

    def run(self) -> Program:
        try:
            while True:
                yield from self._serve((yield from self._getch()))
                yield Send(bytes([Stk.OK]))
        except _Watchdog:
            return Exit.WATCHDOG

    def _getch(self) -> Reading:
        byte = yield Receive(self._watchdog_s)
        if byte is None:
            raise _Watchdog
        return byte

    def _skip(self, count: int) -> Doing:
        for _ in range(count):
            yield from self._getch()

    def _verify_space(self) -> Doing:
        if (yield from self._getch()) != Stk.CRC_EOP:
            yield from self._wait_for_watchdog(SHORT_WATCHDOG_S)
        yield Send(bytes([Stk.INSYNC]))

    @staticmethod
    def _wait_for_watchdog(seconds: float) -> Doing:
        """Busy, deaf, until it resets the chip."""
        yield Pause(seconds)
        raise _Watchdog

    def _serve(self, command: int) -> Doing:
        serve = {
            Stk.GET_PARAMETER: self._get_parameter,
            Stk.SET_DEVICE: lambda: self._ignore(20),
            Stk.SET_DEVICE_EXT: lambda: self._ignore(5),
            Stk.LEAVE_PROGMODE: self._leave,
            Stk.LOAD_ADDRESS: self._load_address,
            Stk.UNIVERSAL: self._universal,
            Stk.PROG_PAGE: self._prog_page,
            Stk.READ_PAGE: self._read_page,
            Stk.READ_SIGN: self._read_sign,
        }.get(Stk(command) if command in set(Stk) else Stk.OK, self._verify_space)
        yield from serve()

    def _get_parameter(self) -> Doing:
        which = yield from self._getch()
        yield from self._verify_space()
        version = {_SW_MAJOR: b"\x04", _SW_MINOR: b"\x04"} if self._is_old else {_SW_MAJOR: b"\x08", _SW_MINOR: b"\x03"}
        yield Send(version.get(which, _ANY_PARAMETER))

    def _ignore(self, count: int) -> Doing:
        yield from self._skip(count)
        yield from self._verify_space()

    def _universal(self) -> Doing:
        """Fuses, lock bits, chip erase: nothing is done, and all of it is answered 0x00."""
        yield from self._ignore(4)
        yield Send(b"\x00")

    def _leave(self) -> Doing:
        self._watchdog_s = SHORT_WATCHDOG_S
        yield from self._verify_space()

    def _load_address(self) -> Doing:
        low = yield from self._getch()
        high = yield from self._getch()
        self._address = (low | high << 8) * 2 & 0xFFFF
        yield from self._verify_space()

    def _read_sign(self) -> Doing:
        yield from self._verify_space()
        yield Send(self._part.signature)

    def _read_page(self) -> Doing:
        """Flash, whatever memory type is asked for."""
        yield from self._getch()
        length = (yield from self._getch()) or _RAM
        yield from self._getch()
        yield from self._verify_space()
        yield Send(bytes(self._read(self._address + at, 1)[0] for at in range(length)))
        if self._is_old:  # 8.3 counts in a copy of it
            self._address = (self._address + length) & 0xFFFF

    def _prog_page(self) -> Doing:
        yield from self._getch()
        length = (yield from self._getch()) or _RAM
        kind = yield from self._getch()
        erases_early = self._is_old and self._address < _NRWW_START[self._part.flash_size]
        if erases_early:
            yield ErasePage(self._address)
        for at in range(length):
            self._ram[at] = yield from self._getch()
        if self._is_old and not erases_early:
            yield ErasePage(self._address)
        yield from self._verify_space()
        if not self._is_old:
            yield from self._before_programming(kind, length)
        yield ProgramPage(self._address, self._page(length))

    def _before_programming(self, kind: int, length: int) -> Doing:
        """8.3 has no EEPROM support in 512 bytes, and counts words down to exactly zero: else the watchdog ends it."""
        if kind == ord("E") or length % 2:
            yield from self._wait_for_watchdog(self._watchdog_s)
        yield ErasePage(self._address)

    def _page(self, length: int) -> bytes:
        """The chip's page buffer. 4.4 fills all of it, with what its RAM holds; 8.3 fills `length` bytes, where a word
        that was filled once stays as it is.
        """
        size = self._part.page_size
        page, filled = bytearray(b"\xff" * size), set()
        for at in range(0, size if self._is_old else length, 2):
            word = (self._address + at) % size & ~1
            if word not in filled:
                filled.add(word)
                page[word : word + 2] = self._ram[at : at + 2]
        return bytes(page)
