"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.config import SITE_FILE

F = TypeVar("F", bound=Callable[..., Any])


def site_option(command: F) -> F:
    """`--config`: the site file."""
    return click.option(
        "--config",
        "site",
        type=click.Path(path_type=Path),
        help=f"The site file, which says where runs are kept; by default {SITE_FILE} of this folder, if any.",
    )(command)


def limit_option(command: F) -> F:
    """`--limit`: how many of the newest."""
    return click.option(
        "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show only so many of the newest."
    )(command)
