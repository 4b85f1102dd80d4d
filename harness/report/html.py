"""The HTML report: pytest-html's page with our summary, columns and details, through its hooks.

pytest-html makes a row when an item's last report arrives. Then neither the time scale of all rows nor the fate of a
dead worker's device is known, so the rows are made anew from the run's record just before the page is written; a device
that sent no report at all gets its row there too.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from html import escape
from typing import Any

import pytest

from harness.record import DeviceRecord, Outcome, RunRecord
from harness.report import page, timeline, words

_RESULTS = {
    Outcome.UPDATED: "Passed",
    Outcome.UNCHANGED: "Passed",
    Outcome.ROLLED_BACK: "Failed",
    Outcome.UNTOUCHED: "Failed",
    Outcome.RESTORED: "Skipped",
    Outcome.EMERGENCY: "Failed",
    Outcome.RUNNING: "Error",
    Outcome.NOT_RUN: "Skipped",
}
"""The words that pytest-html's script filters and sorts by."""


class HtmlReport:
    """A pytest plugin of the controller. `run` returns the record as it is now, `device_of` a node id's device."""

    def __init__(self, run: Callable[[], RunRecord], device_of: Callable[[str], DeviceRecord | None]) -> None:
        self._run = run
        self._device_of = device_of
        self._page: Any = None  # pytest-html's ReportData

    def pytest_configure(self, config: pytest.Config) -> None:
        """Must run before pytest-html's own, which reads the style sheets."""
        config.option.css = [*config.option.css, str(page.CSS)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_report_title(self, report: Any) -> None:
        report.title = words.printable(self._run().batch_name)
        self._page = report

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: MutableSequence[str]) -> None:
        cells[:] = page.HEADER

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: MutableSequence[str]) -> None:
        """The right number of cells, the first as pytest-html made it: its script takes the row's result from there."""
        if cells:
            blank = ["<td></td>"] * (len(page.HEADER) - 3)
            cells[:] = [cells[0], f'<td class="col-device">{escape(report.nodeid)}</td>', *blank, cells[2]]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_html(self, report: pytest.TestReport, data: MutableSequence[str]) -> None:
        """Our details tell a device's failure; what the item printed stays, and a failure that its journal missed."""
        device = self._device_of(report.nodeid)
        if device is None:
            return
        if not report.sections:
            data[:] = data[:1] if report.longreprtext and device.error is None else []
        elif report.longreprtext and device.error is not None:
            del data[0]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: MutableSequence[str]) -> None:
        run = self._run()
        if self._page is not None:
            self._fill_rows(run)
        prefix.append(page.summary(run))

    def _fill_rows(self, run: RunRecord) -> None:
        """Takes the devices' rows out and puts them in again, in the batch's order."""
        tests = self._page.data["tests"]
        nodeids = {device.device_id: nodeid for nodeid in tests if (device := self._device_of(nodeid))}
        scale_s = timeline.scale(run.devices)
        for device in run.devices:
            nodeid = nodeids.get(device.device_id, device.device_id)
            entries = tests.pop(nodeid, None) or [self._count(device)]
            entries[0].update(_row(run, device, scale_s))
            tests[nodeid] = entries

    def _count(self, device: DeviceRecord) -> dict[str, Any]:
        """A row for a device of which pytest has heard nothing: its run was broken off."""
        result = _RESULTS[device.outcome]
        self._page.outcomes = result  # a setter that counts
        return {"result": result, "log": ""}


def _row(run: RunRecord, device: DeviceRecord, scale_s: float) -> dict[str, Any]:
    """What pytest-html's script needs of a row: its cells, its details, and the values to sort by."""
    seconds = device.seconds or 0
    return {
        "testId": escape(device.device_id),
        "device": device.device_id,
        "type": device.device_type,
        "identity": device.identity.serial if device.identity else "",
        "version": device.version_after or "",
        "attempts": len(device.attempts),
        "duration": f"{seconds * 1000:.0f} ms",
        "resultsTableRow": page.cells(device, scale_s),
        "extras": [
            {"name": words.OUTCOME_WORDS[device.outcome], "format_type": "html", "content": page.details(run, device)}
        ],
    }
