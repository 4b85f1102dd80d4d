"""Whether what must hold of a wave, or of the batch, holds: judged as early as it is certain. Pure.

A gate that has failed or passed stays so, whatever follows: a verdict is given before the end only when no way in which
the other devices could end would change it, their not running at all included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache

from harness.rollout.canary import Canary
from harness.rollout.policy import Gates
from harness.rollout.state import GateState, Unit, Verdict
from harness.rollout.tally import Extreme, Result, Tally

__all__ = ["Jury", "Result", "judge"]

_UNWRITTEN = "nothing was written"


def judge(
    gates: Gates, success_threshold: float | None, results: Mapping[str, Result], total: int
) -> tuple[GateState, ...]:
    """Each gate that is asked for, over `total` devices, of which `results` have ended, in the order of their ending.

    - `success_threshold`, `min_success_rate`, `max_failure_rate`: percent of the devices that count (those that ran).
      With none that counts they stay OPEN: nothing was shown.
    - `require_verification`: every success was compared with the images; `figure` of `limit` were.
    - `max_flash_time`, `min_flash_time`, `max_verification_time`: of each single device.
    - `canary`: the lower confidence bound of the failure rate (`canary.py`), the highest so far.

    All but the rates fail at the first violation, and pass at the end, even if there was nothing to measure.
    """
    jury = Jury(gates, success_threshold, total)
    for device_id, result in results.items():
        jury.add(device_id, result)
    return jury.gates


class Jury:
    """The gates of one wave, or of the batch, while its devices end."""

    def __init__(self, gates: Gates, success_threshold: float | None, total: int) -> None:
        self._asked = gates
        self._success_threshold = success_threshold
        self._total = total
        self._tally = Tally(gates.canary)
        self._judged: tuple[GateState, ...] | None = None

    def add(self, device_id: str, result: Result) -> None:
        """The device has ended."""
        self._tally.add(device_id, result)
        self._judged = None

    def drop(self) -> None:
        """One of the devices will not run: it is none of the total any more."""
        self._total -= 1
        self._judged = None

    @property
    def gates(self) -> tuple[GateState, ...]:
        if self._judged is None:
            self._judged = tuple(self._judge())
        return self._judged

    @property
    def failed(self) -> GateState | None:
        """The first gate that is certain to fail, or has."""
        return next((gate for gate in self.gates if gate.verdict is Verdict.FAILED), None)

    @property
    def is_open(self) -> bool:
        return any(gate.verdict is Verdict.OPEN for gate in self.gates)

    @property
    def words(self) -> str:
        return self._tally.words(self._total)

    @property
    def _left(self) -> int:
        return self._total - self._tally.skipped - self._tally.counted

    def _judge(self) -> Iterator[GateState]:
        asked = self._asked
        if self._success_threshold is not None:
            yield self._success("success_threshold", self._success_threshold)
        if asked.min_success_rate is not None:
            yield self._success("min_success_rate", asked.min_success_rate)
        if asked.max_failure_rate is not None:
            yield self._failure("max_failure_rate", asked.max_failure_rate)
        if asked.require_verification:
            yield self._verification()
        yield from self._times()
        if asked.canary and self._tally.canary:
            yield self._canary(self._tally.canary, asked.canary.max_failure_rate)

    def _success(self, name: str, limit: float) -> GateState:
        sure, possible = self._tally.succeeded, self._tally.succeeded + self._left
        wanted = _exact(limit) * (self._tally.counted + self._left) / 100
        return self._rate(name, limit, sure, is_met=sure >= wanted, is_missed=possible < wanted)

    def _failure(self, name: str, limit: float) -> GateState:
        sure, possible = self._tally.failed, self._tally.failed + self._left
        allowed = _exact(limit) * (self._tally.counted + self._left) / 100
        return self._rate(name, limit, sure, is_met=possible <= allowed, is_missed=sure > allowed)

    def _rate(self, name: str, limit: float, devices: int, *, is_met: bool, is_missed: bool) -> GateState:
        """A rate that is met even if all others fail, or missed even if they succeed.

        That some of them do not run can not change either, unless none at all has run.
        """
        counted = self._tally.counted
        certain = Verdict.FAILED if is_missed else Verdict.PASSED if is_met else Verdict.OPEN
        return GateState(
            name=name,
            verdict=certain if counted else Verdict.OPEN,
            figure=100 * devices / counted if counted else None,
            limit=limit,
            unit=Unit.PERCENT,
            detail=self.words,
        )

    def _verification(self) -> GateState:
        tally = self._tally
        verdict = self._verdict(is_violated=bool(tally.unverified))
        named = f"not verified: {tally.unverified}" if tally.unverified else ""
        return GateState(
            name="require_verification",
            verdict=verdict,
            figure=tally.verified if tally.succeeded else None,
            limit=tally.succeeded,
            unit=Unit.DEVICES,
            detail=_UNWRITTEN if verdict is Verdict.PASSED and not tally.succeeded else named,
        )

    def _times(self) -> Iterator[GateState]:
        asked, tally = self._asked, self._tally
        if (limit := asked.max_flash_time) is not None:
            yield self._at_most("max_flash_time", limit, tally.slowest_flash, _UNWRITTEN)
        if (limit := asked.min_flash_time) is not None:
            fastest = tally.fastest_flash
            is_violated = fastest is not None and fastest.seconds < limit
            words = f"fastest: {fastest.device_id}" if fastest else _UNWRITTEN
            yield self._time("min_flash_time", limit, fastest, words, is_violated=is_violated)
        if (limit := asked.max_verification_time) is not None:
            yield self._at_most("max_verification_time", limit, tally.slowest_verification, "nothing was verified")

    def _at_most(self, name: str, limit: float, slowest: Extreme | None, nothing: str) -> GateState:
        is_violated = slowest is not None and slowest.seconds > limit
        words = f"slowest: {slowest.device_id}" if slowest else nothing
        return self._time(name, limit, slowest, words, is_violated=is_violated)

    def _time(self, name: str, limit: float, extreme: Extreme | None, words: str, *, is_violated: bool) -> GateState:
        verdict = self._verdict(is_violated=is_violated)
        return GateState(
            name=name,
            verdict=verdict,
            figure=extreme.seconds if extreme else None,
            limit=limit,
            unit=Unit.SECONDS,
            detail=words if extreme or verdict is Verdict.PASSED else "",
        )

    def _canary(self, canary: Canary, limit: float) -> GateState:
        tally, left = self._tally, self._left
        is_safe = not canary.can_alarm(tally.failed + left, tally.counted + left)
        return GateState(
            name="canary",
            verdict=Verdict.PASSED if is_safe and not canary.alarmed else self._verdict(is_violated=canary.alarmed),
            figure=canary.bound if tally.counted else None,
            limit=limit,
            unit=Unit.PERCENT,
            detail=self._shown_by(canary),
        )

    def _shown_by(self, canary: Canary) -> str:
        if canary.bound:
            return f"{canary.failures} of {canary.devices} devices failed"
        return f"{self._tally.failed} of {self._tally.counted} devices failed: no proof" if self._tally.failed else ""

    def _verdict(self, *, is_violated: bool) -> Verdict:
        """Of a gate that any single device can violate."""
        if is_violated:
            return Verdict.FAILED
        return Verdict.OPEN if self._left else Verdict.PASSED


@lru_cache
def _exact(limit: float) -> Fraction:
    """As it was written: 66.7 % of 1000 devices are 667, where the float's own value is a little more."""
    return Fraction(str(limit))
