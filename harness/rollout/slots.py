"""How many devices may be worked on at once: in all, and of each group. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from harness.rollout.policy import Group


class Slots:
    """The free places. A device takes one of all, and one of each of its groups that is limited."""

    def __init__(self, free: int, of_groups: dict[str, int], groups_of: Mapping[str, tuple[str, ...]]) -> None:
        self.free = free
        self._of_groups = of_groups
        self._groups_of = groups_of

    @classmethod
    def within(cls, max_concurrent: int, groups: Iterable[Group]) -> Self:
        limited = [(group, group.max_concurrent) for group in groups if group.max_concurrent is not None]
        groups_of: dict[str, tuple[str, ...]] = {}
        for group, _ in limited:
            for device_id in dict.fromkeys(group.devices):
                groups_of[device_id] = (*groups_of.get(device_id, ()), group.name)
        return cls(max_concurrent, {group.name: limit for group, limit in limited}, groups_of)

    def copy(self) -> Slots:
        """To plan with: what is taken of it is not taken of this one."""
        return Slots(self.free, dict(self._of_groups), self._groups_of)

    def take_if_free(self, device_id: str) -> bool:
        for name in self._groups_of.get(device_id, ()):  # a plain loop: each of hundreds of devices is asked about
            if self._of_groups[name] <= 0:
                return False
        if self.free <= 0:
            return False
        self.take(device_id)
        return True

    def take(self, device_id: str) -> None:
        self._move(device_id, -1)

    def give_back(self, device_id: str) -> None:
        self._move(device_id, +1)

    def _move(self, device_id: str, places: int) -> None:
        self.free += places
        for name in self._groups_of.get(device_id, ()):
            self._of_groups[name] += places
