"""How many boards a run has left on which firmware. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.record import DeviceRecord, Outcome, RunRecord
from harness.report import words


class Certainty(StrEnum):
    """How far it is known what a board is on."""

    KNOWN = "known"
    AS_BEFORE = "as-before"  # on the firmware that it had, whose version was never read
    UNKNOWN = "unknown"  # on neither, or being written at this moment


@dataclass(frozen=True)
class Share:
    """The boards that are on the same; `version` only where that is known. `outcomes`: how they came to be on it."""

    certainty: Certainty
    version: str | None
    outcomes: Mapping[Outcome, int]

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())


def shares(run: RunRecord) -> tuple[Share, ...]:
    """Every device of the run is in one of them: the new firmware first, what nobody knows last."""
    found: dict[tuple[Certainty, str | None], Counter[Outcome]] = {}
    for device in run.devices:
        found.setdefault(_place(run, device), Counter())[device.outcome] += 1
    told = [Share(certainty, version, _in_order(outcomes)) for (certainty, version), outcomes in found.items()]
    order = list(Certainty)
    return tuple(sorted(told, key=lambda s: (order.index(s.certainty), s.version != run.version, -s.count)))


def on_what(run: RunRecord) -> str:
    """`9 on 1.1.0 (6 restored, 3 rolled back), 30 on the firmware they had (not run), 1 unknown (EMERGENCY)`."""
    return ", ".join(_told(share) for share in shares(run)) or "no boards"


def _told(share: Share) -> str:
    names = [(words.OUTCOME_WORDS[outcome], count) for outcome, count in share.outcomes.items()]
    how = names[0][0] if len(names) == 1 else ", ".join(f"{count} {name}" for name, count in names)
    where = {
        Certainty.KNOWN: f"on {share.version}",
        Certainty.AS_BEFORE: "on the firmware that they had" if share.count > 1 else "on the firmware that it had",
        Certainty.UNKNOWN: "unknown",
    }[share.certainty]
    return f"{share.count} {where} ({how})"


def _in_order(outcomes: Counter[Outcome]) -> Mapping[Outcome, int]:
    return {outcome: outcomes[outcome] for outcome in Outcome if outcomes[outcome]}


def _place(run: RunRecord, device: DeviceRecord) -> tuple[Certainty, str | None]:
    outcome = _settled_outcome(device)
    if outcome in (Outcome.EMERGENCY, Outcome.RUNNING):
        return Certainty.UNKNOWN, None
    if outcome.succeeded:
        return Certainty.KNOWN, device.version_after or device.wanted_version or run.version
    version = device.version_before or _version_of_the_old(device)
    return (Certainty.KNOWN, version) if version else (Certainty.AS_BEFORE, None)


def _settled_outcome(device: DeviceRecord) -> Outcome:
    """A device that was begun and not written to is still on what it was on."""
    if device.outcome is not Outcome.RUNNING or device.was_written:
        return device.outcome
    return device.certain_outcome or Outcome.UNTOUCHED


def _version_of_the_old(device: DeviceRecord) -> str | None:
    """What the old firmware said of itself once it was back; on a full disk the last word may be the new one's."""
    return None if device.version_after == device.wanted_version else device.version_after
