"""What happens in a rollout, in words, for the live view and the run's journal. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from harness.rollout.state import GateState, Unit


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


def gate_words(gate: GateState) -> str:
    """`success_threshold: 60 %, limit 90 % (3 of 5 devices, 2 failed)`."""
    unit = {Unit.PERCENT: " %", Unit.SECONDS: " s", Unit.DEVICES: " devices"}[gate.unit]
    figure = "none" if gate.figure is None else f"{round(gate.figure, 1):g}"
    detail = f" ({gate.detail})" if gate.detail else ""
    if gate.unit is Unit.DEVICES:
        return f"{gate.name}: {figure} of {gate.limit:g}{unit}{detail}"
    return f"{gate.name}: {figure}{unit}, limit {gate.limit:g}{unit}{detail}"


def devices_words(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"
