"""Between pytest's reports of items and the records of devices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drivers.base import Category
from harness.item import ENDING_PROPERTY
from harness.record import SETUP_FAILED, DeviceRecord, ErrorRecord, Outcome


def ending_in(report: pytest.TestReport) -> dict[str, object] | None:
    """What an item's report says of its device's end; None for one that says nothing of it."""
    for name, value in report.user_properties:
        if name == ENDING_PROPERTY and isinstance(value, dict):
            return value
    if report.when == "setup" and report.failed:
        return _setup_failed(report)
    return _skipped(report) if report.when == "setup" and report.skipped else None


def _setup_failed(report: pytest.TestReport) -> dict[str, object]:
    """The ending of an item whose fixtures failed (a lab's conftest, a damaged snapshot): nothing was begun."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash else report.longreprtext.strip().splitlines()[-1]
    advice = "Nothing was written. The fixture's traceback is in the terminal's output."
    error = ErrorRecord(Category.OTHER, SETUP_FAILED, f"a fixture failed: {message}", advice)
    return {"outcome": str(Outcome.UNTOUCHED), "error": error.as_json()}


def _skipped(report: pytest.TestReport) -> dict[str, object]:
    """The ending of an item that a lab's fixture or mark has skipped."""
    why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return {"outcome": str(Outcome.NOT_RUN), "error": None, "reason": why.removeprefix("Skipped: ")}


def properties(device: DeviceRecord) -> Iterator[tuple[str, object]]:
    """What pytest's own JUnit report tells of a device."""
    yield "outcome", str(device.outcome)
    yield "port", device.port
    if device.identity:
        yield from ((name, str(value)) for name, value in vars(device.identity).items())
    yield "version_before", device.version_before or ""
    yield "version_after", device.version_after or ""
    yield "attempts", len(device.attempts)


def skipped_report(nodeid: str, batch_file: str, device: DeviceRecord) -> pytest.TestReport:
    """The report of a device that never started; it would vanish from pytest's own counts."""
    return pytest.TestReport(
        nodeid=nodeid,
        location=(batch_file, 0, device.device_id),
        keywords={},
        outcome="skipped",
        longrepr=(batch_file, 0, f"Skipped: {device.reason}"),
        when="setup",
    )


def teardown_of(report: pytest.TestReport) -> pytest.TestReport:
    """pytest-html makes an item's row from its teardown, which a dead worker never sends."""
    teardown = pytest.TestReport(
        nodeid=report.nodeid, location=report.location, keywords={}, outcome="passed", longrepr=None, when="teardown"
    )
    if hasattr(report, "node"):
        teardown.node = report.node  # type: ignore[attr-defined]  # else JUnit counts a second, green case
    return teardown
