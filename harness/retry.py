"""When to try again, and after how long: `tenacity` with the batch's figures and the drivers' `retryable`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_fixed
from tenacity.wait import wait_base

from drivers.base import DeviceError

JITTER = 0.25
"""Pauses are up to this share longer, at random, so that boards that failed together do not come back together."""

MAX_PAUSE_S = 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """`attempts` in all (1: never again); `delay_s` seconds before the second, doubled each time if exponential."""

    attempts: int
    delay_s: float
    exponential: bool


def pause_s(policy: RetryPolicy, failed_attempts: int, jitter: float) -> float:
    """Seconds to wait after so many failed attempts; `jitter` from 0 to 1. Pure."""
    wait: wait_base
    if policy.exponential:
        wait = wait_exponential(multiplier=policy.delay_s, min=policy.delay_s, max=max(MAX_PAUSE_S, policy.delay_s))
    else:
        wait = wait_fixed(policy.delay_s)
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = failed_attempts
    return wait(state) * (1 + JITTER * jitter)


def call(
    attempt: Callable[[int], T],
    policy: RetryPolicy,
    on_retry: Callable[[int, float, DeviceError], None],
    sleep: Callable[[float], None] = time.sleep,
    rng: Callable[[], float] = random.random,
) -> T:
    """`attempt(1)`, and `attempt(2)` … while it fails with what trying again can mend.

    `on_retry(failed_attempt, pause_s, error)` is called before each pause. Raises the last attempt's error.
    """

    def wait(state: RetryCallState) -> float:
        return pause_s(policy, state.attempt_number, rng())

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, DeviceError):
            on_retry(state.attempt_number, state.upcoming_sleep, error)

    retrying = Retrying(
        stop=stop_after_attempt(policy.attempts),
        retry=retry_if_exception(lambda error: isinstance(error, DeviceError) and error.retryable),
        wait=wait,
        before_sleep=before_sleep,
        sleep=sleep,
        reraise=True,
    )
    for try_ in retrying:
        with try_:
            return attempt(try_.retry_state.attempt_number)
    raise AssertionError("tenacity ends by return or by raising")  # pragma: no cover
