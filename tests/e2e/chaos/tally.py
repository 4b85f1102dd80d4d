"""The figures of a kill test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.chaos.blows import Struck


@dataclass(frozen=True)
class Verdict:
    """How a round went. `way` is what it was about, `hit` each blow with the phases that it hit."""

    number: int
    way: str
    seconds: float
    hit: tuple[tuple[Struck, tuple[str, ...]], ...]
    recoveries: tuple[str, ...]
    resumes: int
    released: int
    outcomes: Counter[str]
    complaints: tuple[str, ...]
    folder: Path
    run_id: str

    def __str__(self) -> str:
        blows = "; ".join(f"{struck.target} ({', '.join(phases)})" for struck, phases in self.hit) or "no blow in time"
        ended = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        word = "FAILED" if self.complaints else "ok"
        return f"round {self.number}, {self.way}: {blows}: {ended or 'no run'}; {word} in {self.seconds:.0f} s"


@dataclass
class Tally:
    rounds: int = 0
    resumes: int = 0
    released: int = 0
    blows: Counter[str] = field(default_factory=Counter)
    phases: dict[str, Counter[str]] = field(default_factory=dict)
    recoveries: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        self.rounds += 1
        self.resumes += verdict.resumes
        self.released += verdict.released
        self.recoveries.update(verdict.recoveries)
        self.outcomes += verdict.outcomes
        for struck, phases in verdict.hit:
            self.blows[struck.target] += 1
            self.phases.setdefault(struck.target, Counter()).update(phases)
        if verdict.complaints:
            self.failures.append(verdict)

    def lines(self, seed: int, seconds: float) -> Iterator[str]:
        yield f"{self.rounds} rounds in {seconds:.0f} s, seed {seed}"
        for target, count in self.blows.most_common():
            yield f"{target}: {count}; boards hit: {_counts(self.phases[target])}"
        yield f"resumed {self.resumes} times; boards gone on with: {_counts(self.recoveries)}"
        yield f"boards' ends: {_counts(self.outcomes)}"
        yield f"boards released from quarantine: {self.released}"
        yield f"failures: {len(self.failures)}"
        for failure in self.failures:
            yield from told(failure)


def told(failure: Verdict) -> Iterator[str]:
    """A failed round, and how to look at it."""
    yield f"round {failure.number}, {failure.way}: {failure.folder}"
    for struck, phases in failure.hit:
        yield f"  {struck} ({', '.join(phases)})"
    for complaint in failure.complaints:
        yield f"  {complaint}"
    yield f"  its sessions' output and the flash of the boards complained of: {failure.folder}"
    if failure.run_id:
        yield f"  cd {failure.folder.parent} && batch-flash status {failure.run_id}; journals: runs/{failure.run_id}"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "none"
