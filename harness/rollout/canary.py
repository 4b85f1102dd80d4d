"""Whether so many failures can still be chance: a confidence bound that may be looked at after every device. Pure.

Method: the exact one-sided lower limit of C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits
illustrated in the case of the binomial", Biometrika 26 (1934) 404-413: the rate at which this many failures or more
have a probability of 1 - confidence.

A limit at 95 % that is looked at after each of 200 devices, as a gate is, raises a false alarm in 19 % of the rollouts
whose true rate is the allowed one of 5 %, not in 5 %. So the k-th failure is given only the share 1 / (k (k - 1)) of
1 - confidence: all shares together are 1, so that by Bonferroni's inequality the confidence holds for all looks at
once. (Only a failure can raise the bound, so there is one look a failure. The k-th alarms when it is among the first m
devices, m fixed by k: when m devices have k failures, and of that the limit speaks.) The first failure has no share:
one alone is never proof.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, lgamma, log

from harness.rollout.policy import CanaryGate

_HALVINGS = 45  # of the interval from 0 to 1: far below what a report shows
_NEGLIGIBLE = 1e-17


def chance(failures: int, devices: int, rate: float) -> float:
    """The probability of this many failures or more among the devices when each fails with probability `rate`."""
    if failures <= 0 or rate >= 1:
        return 1.0
    if rate <= 0:
        return 0.0
    if failures > devices * rate:  # sum away from the mean, where terms only shrink
        return _tail(devices, failures, rate)
    return 1 - _tail(devices, devices - failures + 1, 1 - rate)


def _tail(devices: int, start: int, rate: float) -> float:
    """Sum of the binomial terms from `start`, which is above the mean, to `devices`."""
    if start > devices:
        return 0.0
    odds = rate / (1 - rate)
    term = exp(
        lgamma(devices + 1) - lgamma(start + 1) - lgamma(devices - start + 1)
        + start * log(rate) + (devices - start) * log(1 - rate)
    )  # fmt: skip
    total = term
    for count in range(start, devices):
        term *= odds * (devices - count) / (count + 1)
        total += term
        if term < total * _NEGLIGIBLE:
            break
    return total


@lru_cache(maxsize=4096)
def lower_bound(failures: int, devices: int, doubt: float) -> float:
    """Clopper and Pearson's lower limit of a failure rate, from 0 to 1, at the confidence 1 - `doubt`.

    Rounded down: it never claims more than is so.
    """
    low, high = 0.0, 1.0
    if failures == 0:
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if chance(failures, devices, middle) < doubt:
            low = middle
        else:
            high = middle
    return low


def _doubt(gate: CanaryGate, failures: int) -> float:
    """The share of 1 - confidence that the failure of this number may use up."""
    return (100 - gate.confidence) / 100 / (failures * (failures - 1)) if failures > 1 else 0.0


class Canary:
    """The highest bound that a rollout has shown so far; one that has alarmed is not appeased by later successes."""

    def __init__(self, gate: CanaryGate) -> None:
        self._gate = gate
        self.bound = 0.0
        """Percent; the failure rate is above it with the gate's confidence."""
        self.failures = 0
        self.devices = 0
        """The failures, and the devices that had ended, at that bound."""

    @property
    def alarmed(self) -> bool:
        return self.bound > self._gate.max_failure_rate

    def failed(self, failures: int, devices: int) -> None:
        """One more has failed: so many of so many that have ended."""
        bound = 100 * lower_bound(failures, devices, _doubt(self._gate, failures))
        if bound > self.bound:
            self.bound, self.failures, self.devices = bound, failures, devices

    def can_alarm(self, failures: int, devices: int) -> bool:
        """Whether it would if the devices that are left all failed: then so many of so many had."""
        return chance(failures, devices, self._gate.max_failure_rate / 100) < _doubt(self._gate, failures)
