"""What a board's application says after its reset, and waiting for it to say something."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable

from drivers.base import Session

_POLL_S = 0.2  # the longest wait for the next bytes; the pattern is looked for after each
_LAST_LOOK_S = 0.05  # what has arrived may still be on its way through a thread of the port's

# Colours and the like (ECMA-48, 5.4): ESP-IDF's log puts them around each line, "1.2.0" would be "1.2.0\x1b[0m".
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_UNFINISHED = re.compile(r"(?:\x1b(?:\[[0-?]*[ -/]*)?|\r)\Z")


class ConsoleTimeout(Exception):
    """The board did not say it in time."""


class Console:
    """The output since the last reset, as plain text; given to a batch's own tests as the fixture `console`."""

    def __init__(self, session: Session, on_text: Callable[[str], None]) -> None:
        self._session = session
        self._on_text = on_text
        self.clear()

    def clear(self) -> None:
        """Forget what was said: the board is about to be reset."""
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def read(self, timeout_s: float = _POLL_S) -> str:
        """What came within `timeout_s` seconds, empty when nothing did; it is added to `text`."""
        new = self._plain(self._session.read_console(timeout_s))
        if new:
            self.text += new
            self._on_text(new)
        return new

    def _plain(self, data: bytes) -> str:
        """Without escape sequences and carriage returns; what has come in part waits for its rest."""
        text = self._rest + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        self._rest = text[end:]
        return _ESCAPE.sub("", text[:end]).replace("\r\n", "\n")

    def wait_until(self, condition: Callable[[str], bool], timeout_s: float) -> bool:
        """Read until `condition(text)` holds, or `timeout_s` seconds are over; whether it holds.

        They end with a look: what the board has said while this process stood still on a busy machine, it has said.
        """
        deadline, is_over = time.monotonic() + timeout_s, False
        while not condition(self.text):
            if is_over:
                return False
            left_s = deadline - time.monotonic()
            is_over = left_s <= 0
            self.read(_LAST_LOOK_S if is_over else min(_POLL_S, left_s))
        return True

    def expect(self, pattern: str, timeout_s: float = 10.0) -> re.Match[str]:
        """The first match of a regular expression in the output. Raises `ConsoleTimeout` with its last lines."""
        compiled = re.compile(pattern, re.MULTILINE)
        self.wait_until(lambda text: compiled.search(text) is not None, timeout_s)
        match = compiled.search(self.text)
        if match is None:
            last = "\n".join(self.text.splitlines()[-5:]) or "(nothing)"
            raise ConsoleTimeout(f"{pattern!r} did not appear within {timeout_s:g} s; the last lines were:\n{last}")
        return match

    def write(self, text: str) -> None:
        """Send text to the application; end it with the line ending that the application wants."""
        self._session.write_console(text.encode())
