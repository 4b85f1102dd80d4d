"""Tables for the terminal: ruled and coloured for a person, plain columns for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from harness.report.words import one_line

if TYPE_CHECKING:
    from rich.text import Text

_NO_WRAPPING = 10_000
"""Columns of a pipe: what reads it cuts lines itself."""


@dataclass(frozen=True)
class Part:
    """Words in a cell; control characters in them are spelled out. `style` is one of rich's."""

    text: str
    style: str = ""


Cell = str | tuple[Part, ...]
"""Plain words, or several in their own styles, with commas between them."""


def show(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print a table. A heading that begins with `#` is of numbers; only the last column may be wrapped."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    is_terminal = sys.stdout.isatty()
    console = Console(width=None if is_terminal else _NO_WRAPPING, highlight=False)
    table = Table(box=box.SIMPLE_HEAD if is_terminal else None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(
            heading.removeprefix("#"),
            justify="right" if heading.startswith("#") else "left",
            no_wrap=heading != headings[-1],
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(_rendered, row))
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def _rendered(cell: Cell) -> Text:
    from rich.text import Text

    if isinstance(cell, str):
        return Text(one_line(cell))
    return Text(", ").join(Text(one_line(part.text), style=part.style) for part in cell)
