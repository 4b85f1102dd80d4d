"""Retries: what they mend, how long they wait, and that each is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import ConnectionLost, DeviceError, WrongBoard
from harness.retry import JITTER, MAX_PAUSE_S, RetryPolicy, call, pause_s

policies = st.builds(RetryPolicy, attempts=st.integers(1, 8), delay_s=st.floats(0.01, 30), exponential=st.booleans())


@given(policies, st.integers(1, 20), st.floats(0, 1))
def test_a_pause_is_never_shorter_than_the_delay_nor_longer_than_the_cap_with_jitter(policy, failed, jitter):
    assert policy.delay_s <= pause_s(policy, failed, jitter) <= max(policy.delay_s, MAX_PAUSE_S) * (1 + JITTER)


@given(st.floats(0.01, 30), st.integers(1, 19))
def test_exponential_pauses_double_until_the_cap(delay, failed):
    policy = RetryPolicy(20, delay, exponential=True)
    assert pause_s(policy, failed, 0) == pytest.approx(min(delay * 2 ** (failed - 1), max(MAX_PAUSE_S, delay)))


@given(policies, st.integers(1, 19))
def test_pauses_never_shrink(policy, failed):
    assert pause_s(policy, failed, 0) <= pause_s(policy, failed + 1, 0)


@given(policies)
def test_what_keeps_failing_is_tried_exactly_as_often_as_the_policy_says(policy):
    tried, told, slept = [], [], []

    def attempt(number: int) -> None:
        tried.append(number)
        raise ConnectionLost(f"attempt {number}")

    with pytest.raises(ConnectionLost, match=f"attempt {policy.attempts}$"):
        call(attempt, policy, lambda n, pause, error: told.append((n, pause, str(error))), slept.append, lambda: 0.5)
    assert tried == list(range(1, policy.attempts + 1))
    assert [(n, text) for n, _, text in told] == [(n, f"attempt {n}") for n in tried[:-1]]
    assert slept == [pause for _, pause, _ in told]


def test_what_trying_again_can_not_mend_is_not_tried_again():
    tried = []

    def attempt(number: int) -> None:
        tried.append(number)
        raise WrongBoard("another board")

    with pytest.raises(WrongBoard):
        call(attempt, RetryPolicy(5, 1, True), lambda *_: None, lambda _: None)
    assert tried == [1]


@pytest.mark.parametrize("error", [ValueError("bug"), DeviceError("unknown")])
def test_errors_that_nobody_declared_retryable_are_raised_at_once(error):
    def attempt(_number: int) -> None:
        raise error

    with pytest.raises(type(error)):
        call(attempt, RetryPolicy(5, 1, True), lambda *_: pytest.fail("retried"), lambda _: None)


def test_a_later_attempt_may_succeed():
    def attempt(number: int) -> str:
        if number < 3:
            raise ConnectionLost("noise")
        return f"attempt {number}"

    assert call(attempt, RetryPolicy(4, 0.1, True), lambda *_: None, lambda _: None) == "attempt 3"
