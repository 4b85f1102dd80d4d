"""Whether what the board prints after a reset proves that the wanted firmware runs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from drivers.base import BootFailed, Driver
from harness.console import Console
from harness.snapshot import DevicePlan

_OTHER_STARTED = (
    "Other firmware than what was written has started. Where a board has several slots for it (OTA), its boot loader "
    "starts the one that its data name: write those data with the batch's `images`, too; or the version is wrong there."
)
_GONE_BACK = "The board runs what it had, or the batch's version is not the one that the new firmware tells."


@dataclass(frozen=True)
class Wanted:
    """What must be seen within `within_s` seconds, and must still hold `settle_s` seconds after."""

    version: str | None
    patterns: tuple[str, ...]
    reject: tuple[str, ...]
    within_s: float
    settle_s: float

    @classmethod
    def from_plan(cls, plan: DevicePlan) -> Wanted:
        expect = plan.expect
        return cls(
            version=plan.version if expect.require_version else None,
            patterns=expect.patterns,
            reject=expect.reject,
            within_s=expect.version_within,
            settle_s=expect.settle,
        )

    @classmethod
    def previous(cls, plan: DevicePlan, version: str | None) -> Wanted:
        """The old firmware: its version where it was known; the batch's patterns are the new one's."""
        return cls(version, (), (), plan.expect.version_within, plan.expect.settle)

    @classmethod
    def anything_from(cls, plan: DevicePlan, version: str | None) -> Wanted:
        """The old firmware, where its start is the only proof: its version, or at least a word of it."""
        return cls(version, () if version else (r"\S",), (), plan.expect.version_within, plan.expect.settle)


def reported(console: str, driver: Driver, wanted: Wanted) -> str | None:
    """The version that the board names: in the family's own way, or the wanted one standing alone in its output."""
    version = driver.reported_version(console)
    if version is None and wanted.version and re.search(_alone(wanted.version), console):
        return wanted.version
    return version


def _alone(version: str) -> str:
    """Also as "v1.2.0" and at a sentence's end, but neither in "1.2.0-rc1" nor in "11.2.0"."""
    return rf"(?<![\w.])v?{re.escape(version)}(?![.+-]?\w)"


def refusal(console: str, driver: Driver, wanted: Wanted) -> str | None:
    """Why this can not become a good boot any more, None while it still can. Pure."""
    failure = driver.boot_failure(console)
    if failure:
        return f"the firmware does not run: {failure}"
    for pattern in wanted.reject:
        found = re.search(pattern, console, re.MULTILINE)
        if found:
            return f"the console shows {found[0]!r}, which the batch rejects"
    other = _other_version(console, driver, wanted)
    return f"the board reports version {other}, not {wanted.version}" if other else None


def _other_version(console: str, driver: Driver, wanted: Wanted) -> str | None:
    version = reported(console, driver, wanted)
    return version if wanted.version and version != wanted.version else None


def missing(console: str, driver: Driver, wanted: Wanted) -> tuple[str, ...]:
    """What has not been seen yet. Pure."""
    absent = [
        f"the pattern {pattern!r}" for pattern in wanted.patterns if not re.search(pattern, console, re.MULTILINE)
    ]
    if wanted.version and reported(console, driver, wanted) is None:
        absent.insert(0, f"version {wanted.version}")
    return tuple(absent)


def watch(console: Console, driver: Driver, wanted: Wanted) -> str | None:
    """Read the console until the boot is proven; the version that was reported.

    Raises `BootFailed` as soon as the firmware is seen to fail, or when something is still missing at the end.
    A firmware that names its version and then panics is not good, hence the time to settle.
    """
    console.wait_until(
        lambda text: bool(refusal(text, driver, wanted)) or not missing(text, driver, wanted), wanted.within_s
    )
    _prove(console, driver, wanted)
    console.wait_until(lambda text: bool(refusal(text, driver, wanted)), wanted.settle_s)
    _prove(console, driver, wanted)
    return reported(console.text, driver, wanted)


def _prove(console: Console, driver: Driver, wanted: Wanted) -> None:
    why = refusal(console.text, driver, wanted)
    if why:
        other = _GONE_BACK if driver.capabilities.has_slots else _OTHER_STARTED
        raise BootFailed(why, advice=other if _other_version(console.text, driver, wanted) else None)
    absent = missing(console.text, driver, wanted)
    if absent:
        said = "it printed nothing" if not console.text.strip() else f"its last line: {_last_line(console.text)}"
        raise BootFailed(f"{' and '.join(absent)} did not appear within {wanted.within_s:g} s; {said}")


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip()
