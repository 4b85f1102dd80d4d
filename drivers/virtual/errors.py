"""The one error of the bench's own."""

from __future__ import annotations


class BenchError(Exception):
    """The bench can not do what it was asked to; the message says why, and what to change."""
