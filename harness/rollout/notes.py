"""What happens in a rollout, in words, for the live view and the run's journal. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """A line in words. `loud`: somebody may have to do something."""

    text: str
    loud: bool = False


class Notes:
    """Collects them until they are asked for."""

    def __init__(self) -> None:
        self._notes: list[Note] = []

    def say(self, text: str, *, loud: bool = False) -> None:
        self._notes.append(Note(text, loud))

    def take(self) -> tuple[Note, ...]:
        """Those since the last call."""
        notes, self._notes = tuple(self._notes), []
        return notes


def devices_words(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"
