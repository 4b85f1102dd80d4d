"""What a board's two slots hold, and the way back to a version. Pure.

Source: Zephyr "Application/software image management group"; MCUboot docs/design.md, "Boot Swap Types".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Slot:
    """One image in the list that the board gives."""

    number: int
    version: str
    digest: bytes
    active: bool = False
    confirmed: bool = False
    pending: bool = False

    def __str__(self) -> str:
        flags = [name for name in ("active", "confirmed", "pending") if getattr(self, name)]
        return " ".join([f"image 0 slot {self.number} version {self.version}", *flags])


@dataclass(frozen=True)
class Slots:
    """The image that runs, and what is beside it."""

    active: Slot
    other: Slot | None = None

    def __iter__(self) -> Iterator[Slot]:
        both = [self.active, self.other] if self.other else [self.active]
        return iter(sorted(both, key=lambda slot: slot.number))

    def __str__(self) -> str:
        return ", ".join(map(str, self))

    @property
    def is_pending(self) -> bool:
        """Whether the next reset starts the other image."""
        return self.other is not None and self.other.pending

    @property
    def after_a_reset(self) -> tuple[bytes, bool, bool]:
        """What differs after a reset that swaps."""
        return self.active.digest, self.active.confirmed, self.is_pending


class Step(Enum):
    """What brings a board nearer to the version that it should run."""

    DONE = "done"
    RESET = "reset"  # the other image is pending, or the running one is on probation: MCUboot swaps
    TEST = "test"  # the other slot has it: run it on probation
    CONFIRM = "confirm"  # it runs, on probation
    IMPOSSIBLE = "impossible"


def step_back(slots: Slots, version: str | None, unwanted: bytes | None) -> Step:
    """The next step to run `version` for good again. `unwanted` is an image that must not run, whatever its version.

    A version is no identity: where both slots have it and nothing tells them apart, there is no sure step.
    """
    if slots.is_pending:
        return Step.RESET
    if version is None:
        return Step.IMPOSSIBLE if slots.active.confirmed else Step.RESET
    runs = _has(slots.active, version, unwanted)
    beside = slots.other is not None and _has(slots.other, version, unwanted)
    if not slots.active.confirmed:
        return Step.CONFIRM if runs and not beside else Step.RESET
    if runs:
        return Step.IMPOSSIBLE if beside else Step.DONE
    return Step.TEST if beside else Step.IMPOSSIBLE


def _has(slot: Slot, version: str, unwanted: bytes | None) -> bool:
    return slot.version == version and slot.digest != unwanted
