"""A circuit breaker for each group: repeated errors of one kind pause the group, not the fleet. Pure.

A state machine of our own: pybreaker wraps the calls that fail and has a clock of its own; here devices end elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.rollout.notes import Notes
from harness.rollout.policy import Breaker, Group
from harness.rollout.state import GroupState, GroupStatus
from harness.rollout.tally import Result


class Circuit:
    """One group: closed → PAUSED → TRYING → closed, or GIVEN_UP.

    A device that was running when the group was paused says nothing about what came after, so its end changes nothing
    until the group is closed again. One that did not run says nothing at all. A failure without a kind of error is no
    sign of something that the group shares: it ends a row, and starts none.
    """

    def __init__(self, group: str, policy: Breaker, notes: Notes) -> None:
        self.group = group
        self._policy = policy
        self._notes = notes
        self._kind: str | None = None
        self._row = 0
        self._status: GroupStatus | None = None  # None: closed
        self._until: float | None = None
        self._trial: str | None = None
        self.reason = ""
        """Why it is not closed, in words."""

    @property
    def is_closed(self) -> bool:
        return self._status is None

    @property
    def is_given_up(self) -> bool:
        return self._status is GroupStatus.GIVEN_UP

    @property
    def is_trying(self) -> bool:
        return self._status is GroupStatus.TRYING

    @property
    def holds(self) -> bool:
        """Whether no further device of the group may start now."""
        return self._status is not None and not (self.is_trying and self._trial is None)

    @property
    def state(self) -> GroupState | None:
        """None while it is closed."""
        if self._status is None:
            return None
        return GroupState(name=self.group, status=self._status, reason=self.reason, until=self._until)

    def tick(self, now: float) -> None:
        if self._until is not None and now >= self._until:
            self._status, self._until = GroupStatus.TRYING, None

    def started(self, device_id: str) -> None:
        if self.is_trying and self._trial is None:
            self._trial = device_id
            self._notes.say(f"group {self.group}: the pause is over, {device_id} is tried")

    def ended(self, device_id: str, result: Result, now: float) -> None:
        if self._status is None:
            self._watch(result, now)
        elif device_id == self._trial:
            self._trial = None
            if result.ran:
                self._decide(device_id, result)

    def _watch(self, result: Result, now: float) -> None:
        if not result.ran:
            return
        if result.succeeded or result.error_kind is None:
            self._kind, self._row = None, 0
            return
        self._row = self._row + 1 if result.error_kind == self._kind else 1
        self._kind = result.error_kind
        if self._row >= self._policy.failures:
            self._pause(now)

    def _pause(self, now: float) -> None:
        errors = "error" if self._row == 1 else "errors in a row"
        self.reason = f"{self._row} {errors} [{self._kind}]"  # "2 other errors" would be read otherwise
        self._status, self._until = GroupStatus.PAUSED, now + self._policy.pause_s
        self._notes.say(f"group {self.group} paused for {self._policy.pause_s:g} s: {self.reason}", loud=True)

    def _decide(self, device_id: str, result: Result) -> None:
        self._kind, self._row = None, 0
        if result.succeeded:
            self._status, self.reason = None, ""
            self._notes.say(f"group {self.group} goes on: {device_id} succeeded")
            return
        self._status = GroupStatus.GIVEN_UP
        self.reason = f"{self.reason}, and after the pause {device_id} failed too"
        self._notes.say(f"group {self.group} given up: {self.reason}", loud=True)


class Breakers:
    """The circuits of all groups. Without a policy there are none, and nothing is held."""

    def __init__(self, policy: Breaker | None, groups: Iterable[Group], notes: Notes) -> None:
        self._devices_of: dict[Circuit, tuple[str, ...]] = {}
        self._circuits_of: dict[str, tuple[Circuit, ...]] = {}
        if policy is None:
            return
        for group in groups:
            self._watch(Circuit(group.name, policy, notes), group)

    def _watch(self, circuit: Circuit, group: Group) -> None:
        self._devices_of[circuit] = tuple(dict.fromkeys(group.devices))
        for device_id in self._devices_of[circuit]:
            self._circuits_of[device_id] = (*self.of(device_id), circuit)

    @property
    def states(self) -> tuple[GroupState, ...]:
        return tuple(state for circuit in self._devices_of if (state := circuit.state))

    @property
    def are_closed(self) -> bool:
        return all(circuit.is_closed for circuit in self._devices_of)

    def tick(self, now: float) -> None:
        for circuit in self._devices_of:
            circuit.tick(now)

    def of(self, device_id: str) -> tuple[Circuit, ...]:
        return self._circuits_of.get(device_id, ())

    def devices(self, circuit: Circuit) -> tuple[str, ...]:
        return self._devices_of[circuit]

    def started(self, device_id: str) -> None:
        for circuit in self.of(device_id):
            circuit.started(device_id)

    def ended(self, device_id: str, result: Result, now: float) -> tuple[Circuit, ...]:
        """The circuits that are given up because of it."""
        closed = [circuit for circuit in self.of(device_id) if not circuit.is_given_up]
        for circuit in closed:
            circuit.ended(device_id, result, now)
        return tuple(circuit for circuit in closed if circuit.is_given_up)
