"""The `Update` object of the Arduino cores, which every updater of theirs writes through.

Sources: arduino-esp32 `libraries/Update/src/Updater.cpp`, esp8266/Arduino `cores/esp8266/Updater.cpp` (texts, numbers,
the order of checks); both write in sectors, compute an MD5 of what they were given, and activate at the end.
"""

from __future__ import annotations

import hashlib
from enum import Enum

from drivers.virtual.esp.chips import ESP8266
from drivers.virtual.flash import BLOCK, SECTOR
from drivers.virtual.ota.espressif import EspressifBoard

_MAGIC = 0xE9
_GZIP_MAGIC = 0x1F  # which the ESP8266 takes, for eboot to unpack
_WITHHELD = 16  # bytes that the ESP32 programs last, so that half a firmware does not start


class UpdateError(Enum):
    """Its number and words on the ESP8266, and its words on the ESP32."""

    SPACE = (4, "Not Enough Space", "Not Enough Space")
    SIZE = (5, "Bad Size Given", "Bad Size Given")
    MD5 = (7, "MD5 verification failed: expected: {expected}, calculated: {calculated}", "MD5 Check Failed")
    MAGIC = (10, "Magic byte is not 0xE9", "Wrong Magic Byte")
    NO_DATA = (13, "No data supplied", "Aborted")
    ACTIVATE = (0, "UNKNOWN", "Could Not Activate The Firmware")
    ABORT = (6, "Stream Read Timeout", "Aborted")


class Update:
    """One update. `error` is what went wrong first; nothing is taken after it."""

    def __init__(self, board: EspressifBoard) -> None:
        self._board = board
        self._is_8266 = board.chip is ESP8266
        self._slot = board.spare
        self._md5 = hashlib.md5()
        self._expected = ""
        self._calculated = ""
        self._buffer = b""
        self._head = b""
        self._first = 0
        self.written = 0
        self.size = 0
        self.error: UpdateError | None = None

    def begin(self, size: int | None) -> bool:
        """Make room for `size` bytes; None: as many as there is room for. False with `error` where that fails."""
        room = self._board.slots.size
        self._expected = ""  # what was set before is forgotten (`_target_md5 = emptyString`, both cores since 2020)
        if size == 0:
            self.error = UpdateError.SIZE
        elif size is not None and size > room:
            self.error = UpdateError.SPACE if self._is_8266 else UpdateError.SIZE
        self.size = room if size is None else size
        return self.error is None

    def set_md5(self, digest: str) -> bool:
        """What the MD5 must be, in hex; False where it is none."""
        if len(digest) != 32:
            return False
        self._expected = digest.lower()
        return True

    async def write(self, data: bytes) -> bool:
        """The next bytes; False when there is an `error`."""
        if self.error is None and self.written + len(self._buffer) + len(data) > self.size:
            self.error = UpdateError.SPACE
        if self.error is not None:
            return False
        self._buffer += data
        while len(self._buffer) >= SECTOR and self.error is None:
            await self._program(self._buffer[:SECTOR])
            self._buffer = self._buffer[SECTOR:]
        if self._buffer and self.written + len(self._buffer) == self.size and self.error is None:
            await self._rest()
        return self.error is None

    @property
    def finished(self) -> bool:
        """Whether all of the size has come, or nothing more is taken."""
        return self.error is not None or self.written == self.size

    async def end(self, *, even_if_remaining: bool) -> bool:
        """All has come: check it, and let it be started at the next reset. False when there is an `error`."""
        if even_if_remaining and self.error is None:
            await self._rest()
            self.size = self.written
        if self.error is None and not self.written:
            self.error = UpdateError.NO_DATA
        if self.error is None and self.written < self.size:
            self.error = UpdateError.ABORT
        if self.error is None:
            self._calculated = self._board.faults.digest(self._md5.digest()).hex()
            if self._expected and self._expected != self._calculated:
                self.error = UpdateError.MD5
        if self.error is None and self._first not in (_MAGIC, _GZIP_MAGIC):  # where the ESP8266 looks at it
            self.error = UpdateError.MAGIC
        if self.error is None:
            await self._activate()
        return self.error is None

    async def _rest(self) -> None:
        if self._buffer:
            await self._program(self._buffer)
            self._buffer = b""

    async def _activate(self) -> None:
        await self._board.slots.program(self._slot, 0, self._head, self._board.faults)
        if self._board.activate() is not None:
            self.error = UpdateError.ACTIVATE

    async def _program(self, data: bytes) -> None:
        """One sector, or the rest: erased first, by blocks where that much is still to come (ESP32)."""
        slots, faults, at = self._board.slots, self._board.faults, self.written
        if not at and not self._is_8266 and data[0] != _MAGIC:
            self.error = UpdateError.MAGIC
            return
        if not at:
            self._first = data[0]
        unit = SECTOR if self._is_8266 else BLOCK
        if at % unit == 0:
            await slots.erase(self._slot, at, min(unit, slots.size - at), faults)
        withheld = 0 if at or self._is_8266 else _WITHHELD
        if withheld:
            self._head = data[:withheld]
        await slots.program(self._slot, at + withheld, data[withheld:], faults)
        self._md5.update(data)
        self.written += len(data)

    @property
    def error_line(self) -> str:
        """What `Update.printError` prints, with its line ending."""
        if self.error is None:
            return "No Error\r\n"
        number, words_8266, words_32 = self.error.value
        if not self._is_8266:
            return f"{words_32}\r\n"
        words = words_8266.format(expected=self._expected, calculated=self._calculated)
        return f"ERROR[{number}]: {words}\n"
