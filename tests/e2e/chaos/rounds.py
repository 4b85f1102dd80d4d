"""One round: a run is begun, struck, resumed until it says that it is finished, and judged."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.run_reader import run_facts
from harness.runs import RunFolder, known
from tests.e2e.chaos import blows, hits, judge
from tests.e2e.chaos.blows import Blow, Striker, Struck
from tests.e2e.chaos.fleet import VERSIONS, Fleet, some_boards
from tests.e2e.chaos.hits import Watch
from tests.e2e.chaos.session import Session
from tests.e2e.chaos.tally import Verdict
from tests.e2e.project import BOARDS

WORKERS = ("-n", "4")
_USUAL_S, _USUAL_WITH_ROLLBACKS_S = 11.0, 30.0  # of an undisturbed run on two cores
_CALM_RESUMES = 3
_LATE_S = 30.0  # for a worker to end after its controller has
_USAGE_ERROR = 4


@dataclass(frozen=True)
class Plan:
    """What a round is about."""

    number: int
    version: str
    panicking: tuple[str, ...]
    blows: tuple[Blow, ...]
    blows_at_resume: tuple[Blow, ...]
    waits: bool
    """Whether the resume comes only after everything of the run has ended; otherwise as soon as the controller has."""
    usual_s: float

    @property
    def name(self) -> str:
        return f"round-{self.number:03}"

    def __str__(self) -> str:
        bad = f", which panics on {', '.join(self.panicking)}" if self.panicking else ""
        return f"to {self.version}{bad}"


def plan(number: int, seed: int, fleet: Fleet) -> Plan:
    """Goes to the version that fewer boards hold; every third one is stopped by a gate, and takes the others back."""
    dice = random.Random(f"{seed}-{number}")
    is_bad = number % 3 == 1
    usual_s = _USUAL_WITH_ROLLBACKS_S if is_bad else _USUAL_S
    return Plan(
        number,
        min(VERSIONS, key=lambda version: len(fleet.holders(version))),
        panicking=tuple(some_boards(dice, 2)) if is_bad else (),
        blows=tuple(blows.plan(dice, usual_s, rollbacks=is_bad)),
        blows_at_resume=tuple(blows.plan(dice, usual_s, rollbacks=is_bad)) if dice.random() < 0.25 else (),
        waits=dice.random() < 0.5,
        usual_s=usual_s,
    )


class Round:
    """Plays one plan on a fleet."""

    def __init__(self, fleet: Fleet, plan: Plan) -> None:
        self._fleet = fleet
        self._plan = plan
        self._folder = fleet.folder / plan.name
        self._before = fleet.contents()
        self._wanted = {board: fleet.written(board, self._before[board], plan.version) for board in BOARDS}
        self._watch = Watch(self._run)
        self._struck: list[Struck] = []
        self._sessions: list[Session] = []
        self._complaints: list[str] = []
        self._too_late: set[str] = set()
        self._released = 0

    def play(self) -> Verdict:
        began = time.monotonic()
        self._folder.mkdir()
        plan, fleet = self._plan, self._fleet
        self._batch = fleet.write_batch(plan.name, plan.version, gradual=bool(plan.panicking))
        fleet.set_faults(plan.panicking, plan.version)
        try:
            self._play_sessions()
        finally:
            for session in self._sessions:
                session.end()
        self._complaints += judge.complaints(fleet, self._run(), self._before, self._wanted)
        self._complaints += [
            f"{board}: started after the rollout had been taken back"
            for board, events in self._watch.journals().items()
            if board in self._too_late and events
        ]
        self._release()
        if self._complaints:
            fleet.keep(BOARDS, self._folder)
        return self._verdict(time.monotonic() - began)

    def _play_sessions(self) -> None:
        first = self._session((), self._plan.blows)
        if self._plan.waits:
            self._end(first)
            if run := self._run():
                self._complaints += judge.interim_complaints(self._fleet, run, self._before, self._wanted)
        planned = self._plan.blows_at_resume
        for _ in range(_CALM_RESUMES + bool(planned)):
            self._fleet.restore_power()
            self._note_what_must_not_start()
            session = self._session(("--resume", "last"), planned)
            planned = ()
            if self._is_finished(session):
                break
            self._release()
        else:
            self._complaints.append("the run was not finished after all resumes")
        for session in self._sessions:
            self._end(session)
        self._fleet.restore_power()

    def _note_what_must_not_start(self) -> None:
        """A rollout that a gate has stopped, and that is being taken back, is not begun anew by a resume."""
        run = self._run()
        if run and run_facts(run).rollout.restoring:
            self._too_late |= {board for board, events in self._watch.journals().items() if not events}

    def _session(self, options: Sequence[str], planned: Sequence[Blow]) -> Session:
        """From its start to its controller's end."""
        output = self._folder / f"session-{len(self._sessions)}.txt"
        session = Session(self._fleet.folder, [self._batch.name, *options, *WORKERS], output)
        self._sessions.append(session)
        striker = Striker(session, self._fleet, self._watch)
        for blow in planned:
            struck = striker.strike(blow, self._plan.usual_s)
            if struck is None:
                break
            self._struck.append(struck)
        self._end_controller(session)
        return session

    def _end_controller(self, session: Session) -> None:
        session.wait(self._fleet.attend, until=lambda: session.returncode is not None)

    def _end(self, session: Session) -> None:
        """Wait for all of its processes."""
        limit = time.monotonic() + _LATE_S
        session.wait(self._fleet.attend, until=lambda: time.monotonic() > limit)
        if session.hung:
            self._complaints.append(f"{session.output.name}: it hung")
        if left := session.processes():
            self._complaints.append(f"{session.output.name}: its processes {left} live on {_LATE_S:.0f} s after it")
            for pid in left:
                session.kill(pid)

    def _is_finished(self, session: Session) -> bool:
        run = self._run()
        if run is None:  # it had not come as far as to be one
            return session.returncode == _USAGE_ERROR and session.said("--resume: no run of")
        if session.returncode not in (0, 1):
            return False
        outcomes = judge.reported(run)
        return bool(outcomes) and all(outcome in judge.NEW | judge.OLD for outcome in outcomes.values())

    def _run(self) -> RunFolder | None:
        return next((run for run in known(self._fleet.runs) if f"-{self._plan.name}-" in run.run_id), None)

    def _release(self) -> None:
        """As a person would who was told that a board is in quarantine, and has looked at it."""
        if self._run() is None:
            return
        for board in self._fleet.ledger.quarantined():
            subprocess.run(
                [Path(sys.executable).with_name("batch-flash"), "quarantine", "release", board],
                cwd=self._fleet.folder,
                check=True,
                capture_output=True,
            )
            self._released += 1

    def _verdict(self, seconds: float) -> Verdict:
        run, found = self._run(), self._watch.journals()
        outcomes = judge.reported(run) if run else {}
        return Verdict(
            number=self._plan.number,
            way=str(self._plan),
            seconds=seconds,
            hit=tuple((struck, tuple(struck.hit(found))) for struck in self._struck),
            recoveries=tuple(hits.recoveries(found)),
            resumes=len(self._sessions) - 1,
            released=self._released,
            outcomes=Counter(str(outcome) for outcome in outcomes.values()),
            complaints=tuple(self._complaints),
            folder=self._folder,
            run_id=run.run_id if run else "",
        )
