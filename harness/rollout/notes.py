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
    """`success_threshold: 60 %, at least 90 % wanted (3 of 5 devices, 2 failed)`."""
    figure = "nothing measured" if gate.figure is None else f"{gate.figure:.4g}{_UNITS[gate.unit]}"
    detail = f" ({gate.detail})" if gate.detail else ""
    return f"{gate.name}: {figure}{_limit_words(gate)}{detail}"


_UNITS = {Unit.PERCENT: " %", Unit.SECONDS: " s", Unit.DEVICES: ""}


def _limit_words(gate: GateState) -> str:
    amount = f"{gate.limit:g}{_UNITS[gate.unit]}"
    if gate.unit is Unit.DEVICES:
        return f" of {amount}, every one wanted"
    is_upper = gate.name.startswith("max_") or gate.name == "canary"
    return f", at most {amount} allowed" if is_upper else f", at least {amount} wanted"


def devices_words(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"
