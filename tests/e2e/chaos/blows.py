"""What is done to a run: to whom, and when. Chosen beforehand: a seed says all of it but for the machine's pace."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.record import Phase
from tests.e2e.chaos import hits
from tests.e2e.chaos.fleet import Fleet
from tests.e2e.chaos.hits import Watch
from tests.e2e.chaos.session import Session
from tests.e2e.project import BOARDS

EARLIEST_S = 0.5
_OUTAGES_S = ((0.1, 3.0), (5.0, 60.0))  # bridged by the retries, and not
_AIMED = 0.7
_WITHIN_S = 0.4  # of a phase's beginning
_PHASES = (Phase.BACKUP, Phase.FLASH, Phase.FLASH, Phase.VERIFY, Phase.BOOT)
_ROLLBACKS = (Phase.ROLLBACK,) * 10


class Target(StrEnum):
    WORKER = "SIGKILL of a worker"
    TWO_WORKERS = "SIGKILL of two workers at one board"
    CONTROLLER = "SIGKILL of the controller"
    MACHINE = "SIGKILL of all processes at once"
    BOARD = "power cut of a board"


@dataclass(frozen=True)
class Blow:
    """A blow as it is planned: at a time after the run's (or the last blow's) beginning, or soon after a phase's."""

    target: Target
    after_s: float
    phase: Phase | None
    within_s: float
    board: str
    off_s: float
    luck: float  # which of the candidates, from 0 to 1


@dataclass(frozen=True)
class Struck:
    """A blow that has fallen. `at` in seconds since the epoch."""

    target: Target
    at: float
    pid: int = 0
    board: str = ""

    def hit(self, found: hits.Journals) -> list[str]:
        match self.target:
            case Target.WORKER | Target.TWO_WORKERS:
                return hits.of_worker(found, self.pid, self.at)
            case Target.CONTROLLER | Target.MACHINE:
                return hits.of_controller(found, self.at)
            case Target.BOARD:
                return hits.of_board(found, self.board, self.at)

    def __str__(self) -> str:
        return f"{self.at:.3f} {self.target} {self.board or self.pid}"


def plan(dice: random.Random, usual_s: float, *, rollbacks: bool) -> list[Blow]:
    """One blow, or two in a row: at any time of the run, or, more often, aimed at a phase that lasts but a moment.

    `rollbacks`: whether the run will see some.
    """
    phases = _PHASES + (_ROLLBACKS if rollbacks else ())
    return [_blow(dice, usual_s, phases) for _ in range(dice.choice((1, 1, 2)))]


def _blow(dice: random.Random, usual_s: float, phases: Sequence[Phase]) -> Blow:
    return Blow(
        target=dice.choice(tuple(Target)),
        after_s=dice.uniform(EARLIEST_S, usual_s),
        phase=dice.choice(phases) if dice.random() < _AIMED else None,
        within_s=dice.uniform(0, _WITHIN_S),
        board=dice.choice(BOARDS),
        off_s=dice.uniform(*dice.choice(_OUTAGES_S)),
        luck=dice.random(),
    )


@dataclass(frozen=True)
class Striker:
    """Lets blows fall on a run."""

    session: Session
    fleet: Fleet
    watch: Watch

    def strike(self, blow: Blow, usual_s: float) -> Struck | None:
        """Wait for the blow's moment and let it fall; None when the run was over before."""
        board = self._wait_for_phase(blow.phase, usual_s) if blow.phase else None
        self._wait(blow.within_s if blow.phase else blow.after_s)
        if not self.session.is_alive:
            return None
        match blow.target:
            case Target.BOARD:
                return self._cut_power(board or self._board_at_work(blow.luck) or blow.board, blow.off_s)
            case Target.CONTROLLER:
                return self._kill(blow.target, self._controller(), blow.luck)
            case Target.MACHINE:
                return self._kill_all()
            case Target.WORKER:
                return self._kill(blow.target, self._workers(board), blow.luck)
            case Target.TWO_WORKERS:
                return self._kill_two(board or self._board_at_work(blow.luck), usual_s)

    def _wait(self, seconds: float) -> None:
        due = time.monotonic() + seconds
        self.session.wait(self.fleet.attend, until=lambda: time.monotonic() >= due)

    def _wait_for_phase(self, phase: Phase, usual_s: float) -> str | None:
        """The board that comes to it next; None when none did for as long as a run usually takes."""
        limit = time.monotonic() + usual_s
        self.session.wait(self.fleet.attend, until=lambda: time.monotonic() > limit or bool(self._board_in(phase)))
        return self._board_in(phase)

    def _board_in(self, phase: Phase) -> str | None:
        return next((board for board, doing in self._at_work().items() if doing.startswith(phase)), None)

    def _board_at_work(self, luck: float) -> str | None:
        boards = list(self._at_work())
        return boards[int(luck * len(boards))] if boards else None

    def _at_work(self) -> dict[str, str]:
        now = time.time()
        found = self.watch.journals().items()
        return {board: phase for board, events in found if (phase := hits.doing(events, now))}

    def _controller(self) -> list[int]:
        return [self.session.controller] if self.session.returncode is None else []

    def _workers(self, board: str | None) -> list[int]:
        """All of them, or the one that is at a board; a controller takes a second to start the first."""
        self.session.wait(self.fleet.attend, until=lambda: bool(self.session.workers()))
        alive = self.session.workers()
        own = self._worker_of(board) if board else None
        return [own] if own in alive else alive

    def _cut_power(self, board: str, off_s: float) -> Struck:
        struck = Struck(Target.BOARD, time.time(), board=board)
        self.fleet.cut_power(board, off_s)
        return struck

    def _kill_all(self) -> Struck:
        """As when the machine that runs it loses its power; its boards keep theirs."""
        struck = Struck(Target.MACHINE, time.time(), pid=self.session.controller)
        self.session.end()
        return struck

    def _kill_two(self, board: str | None, usual_s: float) -> Struck | None:
        """The second when it is as far as the first was: the board is then left alone, and put into quarantine."""
        phase = self._at_work().get(board or "")
        if board is None or phase is None:
            return None
        first = self._worker_of(board)
        self._kill(Target.TWO_WORKERS, [first] if first else [], 0)
        limit = time.monotonic() + usual_s
        self.session.wait(
            self.fleet.attend,
            until=lambda: time.monotonic() > limit or (self._worker_of(board) != first and self._is_in(board, phase)),
        )
        second = self._worker_of(board)
        return self._kill(Target.TWO_WORKERS, [second] if second in self.session.workers() else [], 0)

    def _worker_of(self, board: str) -> int | None:
        return hits.worker(self.watch.journals()[board], time.time())

    def _is_in(self, board: str, phase: str) -> bool:
        return self._at_work().get(board) == phase

    def _kill(self, target: Target, candidates: Sequence[int], luck: float) -> Struck | None:
        if not candidates:
            return None
        pid = candidates[int(luck * len(candidates))]
        struck = Struck(target, time.time(), pid=pid)
        self.session.kill(pid)
        return struck
