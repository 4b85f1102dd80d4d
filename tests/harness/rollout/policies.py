"""Arbitrary policies and results, for the properties of the rollout."""

from __future__ import annotations

from hypothesis import strategies as st

from harness.rollout.gates import Result
from harness.rollout.policy import Breaker, CanaryGate, Gates, Group, RolloutPolicy, WaveSize

percents = st.sampled_from([0.0, 10.0, 33.3, 50.0, 66.7, 80.0, 90.0, 100.0])
seconds = st.sampled_from([1.0, 5.0, 10.0])


def maybe(values):
    return st.none() | values


canaries = st.builds(
    CanaryGate, max_failure_rate=st.sampled_from([0.0, 5.0, 20.0]), confidence=st.sampled_from([50.0, 80.0, 95.0])
)
gates = st.builds(
    Gates,
    min_success_rate=maybe(percents),
    max_failure_rate=maybe(percents),
    require_verification=st.booleans(),
    max_flash_time=maybe(seconds),
    min_flash_time=maybe(seconds),
    max_verification_time=maybe(seconds),
    canary=maybe(canaries),
)
sizes = st.builds(WaveSize, devices=st.integers(1, 6)) | st.builds(
    WaveSize, percent=st.sampled_from([0.5, 10.0, 33.3, 50.0, 100.0])
)
results = st.builds(
    Result,
    succeeded=st.booleans(),
    restorable=st.booleans(),
    verified=st.booleans(),
    flash_s=maybe(st.sampled_from([0.5, 3.0, 7.0, 20.0])),
    verify_s=maybe(st.sampled_from([0.5, 3.0, 20.0])),
    error_kind=st.sampled_from([None, "connection", "timeout"]),
    ran=st.sampled_from([True, True, True, False]),
)
good = Result(succeeded=True, restorable=True)
bad = Result(succeeded=False, error_kind="connection")
likely_results = st.sampled_from([good, good, good, bad]) | results
"""As of a real fleet: results that are all arbitrary would seldom reach a second wave, or trip a breaker."""


@st.composite
def fates(draw, device_ids, policy):
    """What will become of each device; sometimes a whole group is in trouble."""
    found = {device_id: draw(likely_results) for device_id in device_ids}
    if policy.groups and draw(st.booleans()):
        found |= dict.fromkeys(policy.groups[0].devices, bad)
    return found


def groups(device_ids):
    """They may overlap, be empty, and name devices that are not in the rollout."""
    members = st.permutations([*device_ids, "stranger"]).flatmap(
        lambda order: st.integers(0, len(order)).map(lambda count: tuple(order[:count]))
    )
    group = st.tuples(maybe(st.integers(1, 3)), members)
    return st.lists(group, max_size=3).map(_named)


def _named(found):
    return tuple(
        Group(name=f"hub-{at}", max_concurrent=limit, devices=devices) for at, (limit, devices) in enumerate(found)
    )


def policies(device_ids):
    return st.builds(
        RolloutPolicy,
        max_concurrent=st.integers(1, 5),
        waves=st.lists(sizes, max_size=4).map(tuple),
        success_threshold=maybe(percents),
        soak_s=st.sampled_from([0.0, 0.0, 30.0]),
        approve=st.sampled_from([False, False, True]),
        approval_timeout_s=st.just(100.0),
        gates=st.just(Gates()) | gates,
        stop_early=st.booleans(),
        restore=st.booleans(),
        groups=groups(device_ids),
        breaker=maybe(st.builds(Breaker, failures=st.integers(1, 3), pause_s=st.sampled_from([0.0, 20.0]))),
    )
