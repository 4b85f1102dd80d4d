"""What is wrong with a file that a user wrote: where, what, and what to do; all of it at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One mistake. Lines and columns count from 1; line 0 means the file as a whole.

    `place` is what the place is called, such as `ESP32_001: connection_info.port`.
    """

    path: Path
    line: int
    column: int
    message: str
    hint: str = ""
    place: str = ""

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}:{self.column}" if self.line else str(self.path)
        said = f"{self.place}: {self.message}" if self.place else self.message
        return _printable(f"{where}: {said}" + (f"; {self.hint}" if self.hint else ""))


def _printable(text: str) -> str:
    """A file's text must not steer the terminal: `"C:\\app.bin"` in double quotes holds a bell."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class BatchFileError(Exception):
    """A batch or site file can not be used; its text is every problem, one a line, in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_file_order(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return "\n".join([*map(str, self.problems), f"{count}; nothing was touched."])


def in_file_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each once (an anchor's mistake is found at each of its uses); files stay in the order they came in."""
    unique: dict[Problem, Problem] = {}
    for problem in problems:
        unique.setdefault(replace(problem, place=""), problem)
    files = list(dict.fromkeys(problem.path for problem in unique))
    return tuple(sorted(unique.values(), key=lambda problem: (files.index(problem.path), problem.line, problem.column)))


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be."""
    close = get_close_matches(word.lower(), list(known), n=1, cutoff=0.65)
    return close[0] if close else None
