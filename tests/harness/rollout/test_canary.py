"""The canary's bound against published figures, exact arithmetic, and the confidence that it promises."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.rollout.canary import Canary, chance, lower_bound
from harness.rollout.policy import CanaryGate


def failures_of(most_devices):
    return st.integers(1, most_devices).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n)))


few, counts = failures_of(60), failures_of(400)
doubts = st.floats(1e-6, 0.5)


def exact_chance(failures: int, devices: int, rate: float) -> float:
    p = Fraction(rate)
    terms = (comb(devices, k) * p**k * (1 - p) ** (devices - k) for k in range(failures, devices + 1))
    return float(sum(terms, Fraction(0)))


@pytest.mark.parametrize(
    ("failures", "devices", "doubt", "published"),
    [
        # NIST/SEMATECH e-Handbook of Statistical Methods, 7.2.4.1: 4 of 20, two-sided 90 %: 0.071354 to 0.401029
        (4, 20, 0.05, 0.071354),
        # by the closed forms for all (doubt ** (1 / n)) and for one (1 - (1 - doubt) ** (1 / n))
        (3, 3, 0.05, 0.05 ** (1 / 3)),
        (1, 10, 0.025, 1 - 0.975 ** (1 / 10)),
        (0, 10, 0.05, 0.0),
    ],
)
def test_the_bound_is_the_published_one(failures, devices, doubt, published):
    assert lower_bound(failures, devices, doubt) == pytest.approx(published, abs=5e-7)


@given(few, doubts)
def test_at_the_bound_so_many_failures_are_exactly_as_unlikely_as_the_doubt(count, doubt):
    bound = lower_bound(*count, doubt)
    assert exact_chance(*count, bound) <= doubt * (1 + 1e-9)
    assert exact_chance(*count, bound + 1e-12) >= doubt * (1 - 1e-9)


@given(few, st.floats(1e-6, 1 - 1e-6))
def test_the_chance_is_that_of_exact_arithmetic(count, rate):
    assert chance(*count, rate) == pytest.approx(exact_chance(*count, rate), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_what_can_not_fail_does_not_and_what_must_does(rate, expected):
    assert chance(3, 10, rate) == expected


@given(counts, doubts)
def test_the_bound_is_below_the_rate_that_was_seen(count, doubt):
    failures, devices = count
    assert 0 <= lower_bound(failures, devices, doubt) <= failures / devices


@given(counts, doubts)
def test_a_failure_raises_the_bound_and_a_success_lowers_it(count, doubt):
    failures, devices = count
    bound = lower_bound(failures, devices, doubt)
    assert lower_bound(failures + 1, devices + 1, doubt) > bound
    assert lower_bound(failures, devices + 1, doubt) < bound


@given(counts, doubts, doubts)
def test_more_confidence_claims_less(count, one, other):
    assume(abs(one - other) > 1e-9)
    assert lower_bound(*count, min(one, other)) <= lower_bound(*count, max(one, other))


def alarms(gate: CanaryGate, failures: int, devices: int) -> bool:
    canary = Canary(gate)
    canary.failed(failures, devices)
    return canary.alarmed


def false_alarms(gate: CanaryGate, devices: int) -> float:
    """How many rollouts alarm, when each device fails with just the probability that is allowed: exactly."""
    rate = gate.max_failure_rate / 100
    silent, alarmed = {0: 1.0}, 0.0
    for ended in range(1, devices + 1):
        following = dict.fromkeys(range(ended + 1), 0.0)
        for failures, share in silent.items():
            following[failures] += share * (1 - rate)
            if alarms(gate, failures + 1, ended):
                alarmed += share * rate
            else:
                following[failures + 1] += share * rate
        silent = following
    return alarmed


@pytest.mark.parametrize("confidence", [50.0, 95.0])
@pytest.mark.parametrize("allowed", [1.0, 5.0, 20.0])
def test_looked_at_after_every_device_it_still_is_right_as_often_as_it_promises(allowed, confidence):
    gate = CanaryGate(max_failure_rate=allowed, confidence=confidence)
    assert false_alarms(gate, devices=60) <= 1 - confidence / 100


def test_one_failure_alone_is_never_proof():
    assert not alarms(CanaryGate(max_failure_rate=0.0, confidence=50.0), 1, 1)


@pytest.mark.parametrize(("failures", "devices"), [(2, 5), (3, 8), (4, 13), (5, 19), (10, 57)])
def test_where_five_percent_are_allowed_so_many_failures_are_too_many(failures, devices):
    gate = CanaryGate(max_failure_rate=5.0, confidence=95.0)
    assert alarms(gate, failures, devices)
    assert not alarms(gate, failures, devices + 1)


def test_successes_after_an_alarm_do_not_appease_it():
    canary = Canary(CanaryGate(max_failure_rate=5.0, confidence=95.0))
    canary.failed(2, 4)
    bound = canary.bound
    canary.failed(3, 90)
    assert canary.alarmed
    assert (canary.bound, canary.failures, canary.devices) == (bound, 2, 4)
