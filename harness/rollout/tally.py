"""What has ended so far, as far as gates care. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from harness.rollout.canary import Canary
from harness.rollout.policy import CanaryGate


@dataclass(frozen=True)
class Result:
    """How one device's update ended, as far as gates care."""

    succeeded: bool
    """Updated, or unchanged because it was up to date."""
    restorable: bool = False
    """This run wrote it and it is on the new firmware now: a batch rollback takes it back."""
    verified: bool = True
    """Of a success: its flash was compared with the images."""
    flash_s: float | None = None
    """Seconds of writing; None where nothing was written."""
    verify_s: float | None = None
    error_kind: str | None = None
    """Category of the error, for the breaker."""
    ran: bool = True
    """False: a lab's fixture or mark skipped it; it counts in no gate."""


@dataclass(frozen=True)
class Extreme:
    """The slowest device so far, or the fastest."""

    seconds: float
    device_id: str


class Tally:
    """A running summary, so that each further result costs the same. Skipped devices are counted as such only."""

    def __init__(self, canary: CanaryGate | None) -> None:
        self.succeeded = 0
        self.failed = 0
        self.skipped = 0
        self.verified = 0
        self.unverified = ""
        """The first device that succeeded without having been compared with the images."""
        self.slowest_flash: Extreme | None = None
        self.fastest_flash: Extreme | None = None
        self.slowest_verification: Extreme | None = None
        self.canary = Canary(canary) if canary else None

    @property
    def counted(self) -> int:
        return self.succeeded + self.failed

    def add(self, device_id: str, result: Result) -> None:
        if not result.ran:
            self.skipped += 1
            return
        if result.succeeded:
            self._succeed(device_id, verified=result.verified)
        else:
            self._fail()
        self._time(device_id, result)

    def _succeed(self, device_id: str, *, verified: bool) -> None:
        self.succeeded += 1
        if verified:
            self.verified += 1
        else:
            self.unverified = self.unverified or device_id

    def _fail(self) -> None:
        self.failed += 1
        if self.canary:
            self.canary.failed(self.failed, self.counted)

    def _time(self, device_id: str, result: Result) -> None:
        if result.flash_s is not None:
            flash = Extreme(result.flash_s, device_id)
            self.slowest_flash = max(self.slowest_flash or flash, flash, key=_seconds)
            self.fastest_flash = min(self.fastest_flash or flash, flash, key=_seconds)
        if result.verify_s is not None:
            verification = Extreme(result.verify_s, device_id)
            self.slowest_verification = max(self.slowest_verification or verification, verification, key=_seconds)

    def words(self, total: int) -> str:
        """The devices that count and have ended: `7 of 10 devices, 3 failed`."""
        if not self.counted:
            return "no device that counts has ended"
        words = f"{self.succeeded} of {self.counted} device{'s' if self.counted != 1 else ''}"
        if self.failed:
            words += f", {self.failed} failed"
        left = total - self.skipped - self.counted
        return f"{words}, {left} not ended" if left else words


def _seconds(extreme: Extreme) -> float:
    return extreme.seconds
