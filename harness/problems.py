"""What is wrong with a file that a user wrote: where, what, and what to do; all of it at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One mistake. Lines and columns count from 1; line 0 means the file as a whole."""

    path: Path
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}:{self.column}" if self.line else str(self.path)
        return f"{where}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class BatchFileError(Exception):
    """A batch or site file can not be used; its text is every problem, one a line, in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_file_order(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return "\n".join([*map(str, self.problems), f"{count}; nothing was touched."])


def in_file_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Without repetitions (an anchor's mistake shows at each of its uses); files stay in the order they came in."""
    unique = list(dict.fromkeys(problems))
    files = list(dict.fromkeys(problem.path for problem in unique))
    return tuple(sorted(unique, key=lambda problem: (files.index(problem.path), problem.line, problem.column)))


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be."""
    close = get_close_matches(word.lower(), list(known), n=1, cutoff=0.7)
    return close[0] if close else None
