"""What a running run is told from outside, as files in its folder: `batch-flash cancel` and `approve`.

Files, since a controller that is busy, or on another machine that shares the folder, answers no call; each is written
whole and taken once.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Order(StrEnum):
    CANCEL = "cancel"
    APPROVE = "approve"


@dataclass(frozen=True)
class Control:
    """The `control` folder of a run."""

    folder: Path

    def give(self, order: Order) -> None:
        """Leave an order, signed with the user's name. Raises `OSError`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{order}-{os.getpid()}"
        temporary.write_text(user())
        temporary.replace(self.folder / order)

    def take(self, order: Order) -> str | None:
        """Who has given the order since it was last taken; None: nobody."""
        path = self.folder / order
        try:
            who = path.read_text().strip()
            path.unlink()
        except OSError:
            return None
        return who or "somebody"

    def waiting(self) -> Mapping[Order, object]:
        """The orders that nobody has taken yet, each with what tells it from a later one."""
        found = {}
        for order in Order:
            with suppress(OSError):
                status = (self.folder / order).stat()
                found[order] = status.st_ino, status.st_mtime_ns
        return found

    def drop(self, orders: Mapping[Order, object]) -> None:
        """Forget what was `waiting`, but not what was given since."""
        for order, this_one in orders.items():
            if self.waiting().get(order) == this_one:
                self.take(order)


def user() -> str:
    """Who gives an order."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user that the machine has no name for
        return f"user {os.getuid()}"
