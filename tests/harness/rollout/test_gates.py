"""Gates are judged as early as their outcome is certain, and never otherwise than at the end."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.rollout.gates import Result, judge
from harness.rollout.policy import CanaryGate, Gates
from harness.rollout.state import Unit, Verdict
from tests.harness.rollout.policies import gates, maybe, percents, results

OK = Result(succeeded=True)
BAD = Result(succeeded=False)
SKIPPED = Result(succeeded=False, ran=False)


def named(found):
    return {f"d{number}": result for number, result in enumerate(found)}


def only(asked: Gates, found, total: int | None = None, success_threshold: float | None = None):
    (gate,) = judge(asked, success_threshold, named(found), len(found) if total is None else total)
    return gate


def test_of_10_devices_with_80_percent_wanted_the_third_failure_decides():
    asked = Gates(min_success_rate=80)
    assert only(asked, [BAD, BAD], 10).verdict is Verdict.OPEN
    gate = only(asked, [BAD, BAD, BAD], 10)
    assert gate.verdict is Verdict.FAILED
    assert (gate.figure, gate.limit, gate.unit) == (0.0, 80, Unit.PERCENT)


def test_of_10_devices_with_80_percent_wanted_the_eighth_success_decides():
    asked = Gates(min_success_rate=80)
    assert only(asked, [OK] * 7, 10).verdict is Verdict.OPEN
    assert only(asked, [OK] * 8, 10).verdict is Verdict.PASSED


def test_the_figure_is_what_it_is_now_and_the_detail_says_it_in_words():
    gate = only(Gates(min_success_rate=50), [OK] * 7 + [BAD] * 3)
    assert (gate.figure, gate.detail) == (70.0, "7 of 10 devices, 3 failed")
    gate = only(Gates(max_failure_rate=50), [OK] * 3 + [BAD], 10)
    assert (gate.figure, gate.detail) == (25.0, "3 of 4 devices, 1 failed, 6 not ended")


def test_a_rate_that_is_met_exactly_is_met():
    assert only(Gates(min_success_rate=80), [OK] * 8 + [BAD] * 2).verdict is Verdict.PASSED
    assert only(Gates(max_failure_rate=20), [OK] * 8 + [BAD] * 2).verdict is Verdict.PASSED
    assert only(Gates(min_success_rate=66.7), [OK] * 667 + [BAD] * 333).verdict is Verdict.PASSED


def test_a_success_threshold_is_a_gate_of_that_name():
    gate = only(Gates(), [BAD], 1, success_threshold=90)
    assert (gate.name, gate.verdict) == ("success_threshold", Verdict.FAILED)


def test_a_device_that_the_lab_skips_counts_in_no_gate():
    assert only(Gates(min_success_rate=100), [OK, SKIPPED]).verdict is Verdict.PASSED
    assert only(Gates(min_success_rate=100), [OK, SKIPPED], 3).verdict is Verdict.OPEN


@pytest.mark.parametrize("asked", [Gates(min_success_rate=0), Gates(max_failure_rate=100)])
def test_a_rate_of_no_devices_stays_open(asked):
    gate = only(asked, [SKIPPED, SKIPPED])
    assert (gate.verdict, gate.figure) == (Verdict.OPEN, None)


def test_verification_fails_at_the_first_success_that_was_not_compared():
    asked = Gates(require_verification=True)
    gate = only(asked, [OK, Result(succeeded=True, verified=False)], 5)
    assert (gate.verdict, gate.figure, gate.limit, gate.unit) == (Verdict.FAILED, 1, 2, Unit.DEVICES)
    assert gate.detail == "not verified: d1"
    assert only(asked, [OK, Result(succeeded=False, verified=False)]).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("asked", "good", "violating", "detail"),
    [
        (
            Gates(max_flash_time=120),
            Result(succeeded=True, flash_s=120),
            Result(succeeded=True, flash_s=121),
            "slowest: d1",
        ),
        (Gates(min_flash_time=5), Result(succeeded=True, flash_s=5), Result(succeeded=True, flash_s=4), "fastest: d1"),
        (
            Gates(max_verification_time=30),
            Result(succeeded=True, verify_s=30),
            Result(succeeded=False, verify_s=31),
            "slowest: d1",
        ),
    ],
)
def test_a_time_is_that_of_each_device_and_the_worst_one_is_named(asked, good, violating, detail):
    assert only(asked, [good, good], 3).verdict is Verdict.OPEN
    assert only(asked, [good, good]).verdict is Verdict.PASSED
    gate = only(asked, [good, violating], 3)
    assert (gate.verdict, gate.detail, gate.unit) == (Verdict.FAILED, detail, Unit.SECONDS)
    assert gate.figure == (violating.flash_s or violating.verify_s)


@pytest.mark.parametrize(
    ("asked", "detail"),
    [
        (Gates(max_flash_time=1), "nothing was written"),
        (Gates(min_flash_time=1), "nothing was written"),
        (Gates(max_verification_time=1), "nothing was verified"),
        (Gates(require_verification=True), "nothing was written"),
    ],
)
@pytest.mark.parametrize("found", [[], [SKIPPED], [BAD]])
def test_with_nothing_to_measure_such_a_gate_passes_and_says_so(asked, detail, found):
    gate = only(asked, found)
    assert (gate.verdict, gate.figure, gate.detail) == (Verdict.PASSED, None, detail)
    assert only(asked, found, len(found) + 1).verdict is Verdict.OPEN


def test_a_canary_says_how_high_the_failure_rate_is_at_least():
    asked = Gates(canary=CanaryGate(max_failure_rate=5, confidence=95))
    assert only(asked, [OK, BAD, OK, OK], 20).verdict is Verdict.OPEN
    gate = only(asked, [OK, BAD, OK, BAD], 20)
    assert (gate.verdict, gate.limit, gate.unit) == (Verdict.FAILED, 5, Unit.PERCENT)
    assert gate.figure == pytest.approx(6.76, abs=0.01)
    assert gate.detail == "2 of 4 devices failed"


def test_a_wave_too_small_for_a_canary_to_alarm_passes_it_from_the_start():
    asked = Gates(canary=CanaryGate(max_failure_rate=5, confidence=95))
    assert only(asked, [], 1).verdict is Verdict.PASSED


# Brute force: every way in which the other devices may end

ENDINGS = (
    Result(succeeded=True, flash_s=3.0, verify_s=1.0),
    Result(succeeded=True, verified=False, flash_s=100.0),
    Result(succeeded=False, verify_s=100.0, flash_s=0.1),
    BAD,
    SKIPPED,
)


@given(gates, maybe(percents), st.lists(results | st.sampled_from(ENDINGS), max_size=4), st.integers(0, 3))
def test_a_verdict_comes_as_early_as_it_is_certain_and_no_earlier(asked, threshold, found, left):
    now = judge(asked, threshold, named(found), len(found) + left)
    ends = [
        judge(asked, threshold, named([*found, *rest]), len(found) + left) for rest in product(ENDINGS, repeat=left)
    ]
    for at, gate in enumerate(now):
        verdicts = {end[at].verdict for end in ends}
        expected = verdicts.pop() if len(verdicts) == 1 else Verdict.OPEN
        assert gate.verdict is expected


@given(gates, maybe(percents), st.lists(results, max_size=12), st.data())
def test_no_order_of_results_takes_a_verdict_back(asked, threshold, found, data):
    total = len(found) + data.draw(st.integers(0, 3))
    known = {}
    for count in range(len(found) + 1):
        for gate in judge(asked, threshold, named(found[:count]), total):
            assert known.get(gate.name, Verdict.OPEN) in (Verdict.OPEN, gate.verdict)
            known[gate.name] = gate.verdict


@given(gates, maybe(percents), st.lists(results, min_size=1, max_size=12), st.integers(0, 5))
def test_devices_that_will_not_run_after_all_take_no_verdict_back(asked, threshold, found, dropped):
    before = judge(asked, threshold, named(found), len(found) + dropped)
    after = judge(asked, threshold, named(found), len(found))
    assert all(b.verdict in (Verdict.OPEN, a.verdict) for b, a in zip(before, after, strict=True))


@given(gates.filter(lambda asked: asked.canary is None), st.lists(results, max_size=12), st.randoms())
def test_the_order_of_the_results_changes_no_verdict(asked, found, random):
    """But for the canary's: two failures of the first three are a sign that two of the last three are not."""
    shuffled = list(named(found).items())
    random.shuffle(shuffled)
    ends = judge(asked, None, dict(shuffled), len(found))
    assert [g.verdict for g in ends] == [g.verdict for g in judge(asked, None, named(found), len(found))]


@given(gates, st.lists(results, max_size=12))
def test_at_the_end_only_rates_of_nothing_are_open(asked, found):
    has_counted = any(result.ran for result in found)
    for gate in judge(asked, None, named(found), len(found)):
        is_rate = gate.name in ("min_success_rate", "max_failure_rate")
        assert (gate.verdict is Verdict.OPEN) == (is_rate and not has_counted)
