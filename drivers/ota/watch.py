"""What is seen of a board since a restart was due, and which lines of it mean that the firmware did not stay up. Pure
but for the clock.
"""

from __future__ import annotations

import re
import time

from drivers.ota.status import Status

_LOST_AFTER = 3  # pages in a row that do not come,
_LOST_AFTER_S = 2.0  # and for how long: a WLAN drops one or the other

LOST_LINE = "the board has stopped answering"
CHANGED_LINE = "the board has restarted with another firmware"
_FAILURE = re.compile(rf"^.*(?:{LOST_LINE}|{CHANGED_LINE}).*$", re.MULTILINE)


class Watch:
    """What was seen of the board since a restart was due."""

    def __init__(self) -> None:
        self.outage = False
        self.alive = False
        self.why = ""
        self.missed = 0
        self.seen_at = 0.0
        self.shown: Status | None = None
        self._told = False
        self._explained = False

    def reason(self) -> str:
        """Why there is no page, once."""
        why, self.why = self.why, ""
        if not why or self._explained:
            return ""
        self._explained = True
        return f"{why}\n"

    def is_lost(self) -> bool:
        """Whether the new firmware was there, and is gone: once."""
        lost = self.missed >= _LOST_AFTER and time.monotonic() - self.seen_at > _LOST_AFTER_S and not self._told
        self._told = self._told or (lost and self.shown is not None)
        return lost and self.shown is not None


def boot_failure(console: str) -> str | None:
    """The line of `read_console` that says the firmware did not stay up."""
    line = _FAILURE.search(console)
    return line[0].strip() if line else None
