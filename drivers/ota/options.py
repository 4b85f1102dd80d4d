"""The options that all boards which update themselves have: where they say what runs on them."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from drivers.base import Options


def _a_path(text: str) -> str:
    if not text.startswith("/") or not text.isprintable() or " " in text:
        raise ValueError("a path begins with `/` and has no blanks")
    return text


def _a_pattern(text: str) -> str:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if not groups:
        raise ValueError("the pattern needs a group, which is the version")
    return text


UrlPath = Annotated[str, AfterValidator(_a_path)]


class StatusOptions(Options):
    """How the running version is known."""

    of_real_boards: ClassVar[frozenset[str]] = frozenset({"version_port", "version_pattern"})

    version_path: UrlPath | None = Field(
        default=None, description="Path of the page on which the board says which version runs."
    )
    version_port: int | None = Field(default=None, ge=1, le=65535, description="Its port. Left out: the usual ones.")
    version_pattern: Annotated[str, AfterValidator(_a_pattern)] | None = Field(
        default=None,
        description="Regular expression whose first group is the version. Left out: JSON, or `version: …`.",
    )
    restart_s: float = Field(
        default=5.0, ge=0, le=120, description="Seconds that the board may take from its OK to its restart."
    )

    @property
    def reset_s(self) -> float:
        return self.restart_s

    @property
    def how_version_is_told(self) -> str:
        return "" if self.version_path is not None else "the option `version_path`"
