"""How a gate is put into words: alike in notes, on the terminal and in the reports. Pure."""

from __future__ import annotations

from harness.rollout.state import GateState, Unit


def gate_words(gate: GateState) -> str:
    """`success_threshold: 60 %, at least 90 % wanted (3 of 5 devices, 2 failed)`."""
    detail = f" ({gate.detail})" if gate.detail else ""
    return f"{gate.name}: {figure_words(gate)}, {limit_words(gate)}{detail}"


def figure_words(gate: GateState) -> str:
    """`60 %`; four digits, so that a rate that misses its limit never reads like it."""
    if gate.figure is None:
        return "nothing measured"
    if gate.unit is Unit.DEVICES:
        return f"{gate.figure:g} of {gate.limit:g}"
    if gate.unit is Unit.SECONDS and gate.figure < 1:
        return f"{1000 * gate.figure:.4g} ms"
    return _amount(f"{gate.figure:.4g}", gate.unit)


def limit_words(gate: GateState) -> str:
    """What was asked for: `at least 90 % wanted`, `at most 60 s allowed`."""
    if gate.unit is Unit.DEVICES:
        return "every one wanted"
    amount = _amount(f"{gate.limit:g}", gate.unit)
    is_upper = gate.name.startswith("max_") or gate.name == "canary"
    return f"at most {amount} allowed" if is_upper else f"at least {amount} wanted"


def _amount(number: str, unit: Unit) -> str:
    return f"{number} {'%' if unit is Unit.PERCENT else 's'}"
