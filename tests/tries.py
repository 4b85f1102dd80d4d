"""Another go for what gives up on a machine that has just stood still: other people's tools with their own time-outs,
and who listens for a fixed time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

TRIES = 5
Result = TypeVar("Result")


def tried(attempt: Callable[[], Result], is_right: Callable[[Result], bool]) -> Result:
    """The first result that is right, or the last of so many; the test is to judge it."""
    for _ in range(TRIES - 1):
        if is_right(result := attempt()):
            return result
    return attempt()
