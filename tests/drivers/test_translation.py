"""What leaves a session is one of the drivers' errors, and the session is not half-working after it."""

from __future__ import annotations

import pytest

from drivers.base import ConnectionLost, WrongBoard
from drivers.translation import translated


def leaving_with(error: BaseException) -> tuple[BaseException, list[str]]:
    calls: list[str] = []
    with (
        pytest.raises(BaseException) as raised,
        translated(
            lambda error, doing: ConnectionLost(f"{doing}: {error}"),
            "connect",
            failed=lambda: calls.append("failed"),
            cut_short=lambda: calls.append("cut short"),
        ),
    ):
        raise error
    return raised.value, calls


def test_a_librarys_error_becomes_ours_and_is_kept_as_the_cause():
    error = ValueError("noise")
    raised, calls = leaving_with(error)
    assert (str(raised), raised.__cause__, calls) == ("connect: noise", error, ["failed"])


def test_an_error_of_ours_goes_through_unchanged():
    error = WrongBoard("another board")
    assert leaving_with(error) == (error, ["failed"])


def test_a_time_limit_goes_through_unchanged_and_costs_no_closing():
    error = KeyboardInterrupt()
    assert leaving_with(error) == (error, ["cut short"])
