"""`python -m tests.e2e.chaos --seconds N --seed S`: rounds until the time is over; 1 when one of them failed."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from tests.e2e.chaos.fleet import Fleet
from tests.e2e.chaos.rounds import Round, plan
from tests.e2e.chaos.tally import Tally


def run(folder: Path, seconds: float, seed: int, say: Callable[[str], None]) -> Tally:
    """Play rounds in `folder`; none is begun after `seconds`. The last lines are the tally's."""
    began = time.monotonic()
    tally = Tally()
    say(f"seed {seed}, in {folder}")
    with Fleet(folder) as fleet:
        while time.monotonic() < began + seconds:
            verdict = Round(fleet, plan(tally.rounds, seed, fleet)).play()
            tally.add(verdict)
            say(str(verdict))
            if verdict.complaints:
                for complaint in verdict.complaints:
                    say(f"  {complaint}")
                fleet.begin_anew()
    for line in tally.lines(seed, time.monotonic() - began):
        say(line)
    return tally


@click.command()
@click.option("--seconds", type=float, default=600, show_default=True, help="No round is begun after them.")
@click.option("--seed", type=int, help="For the same rounds again; the machine's pace is not in it.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where; a new temporary one otherwise.")
def main(seconds: float, seed: int | None, folder: Path | None) -> None:
    """Kill runs of a batch at random moments, resume them, and look what became of the boards."""
    tally = run(
        folder or Path(tempfile.mkdtemp(prefix="batch-flash-chaos-")),
        seconds,
        secrets.randbelow(1_000_000) if seed is None else seed,
        click.echo,
    )
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
