"""The HTML report: pytest-html's page with our summary, columns and details, through its hooks.

pytest-html makes a row when an item's last report arrives. Then neither the time scale of all rows nor the fate of a
dead worker's device is known, so the rows are made anew from the run's record just before the page is written: one for
each device, whether it was begun several times or sent no report at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, MutableSequence, Sequence
from html import escape
from typing import Any

import pytest

from harness.record import DeviceRecord, Outcome, RunRecord
from harness.report import page, timeline, words
from harness.report.acts import seconds_spent

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
    """A pytest plugin of the controller. `run` returns the record as it is now, `device_of` a node id's device.

    `complain` is told when the page could not be written.
    """

    def __init__(
        self,
        run: Callable[[], RunRecord],
        device_of: Callable[[str], DeviceRecord | None],
        complain: Callable[[pytest.Session, str], None],
    ) -> None:
        self._run = run
        self._device_of = device_of
        self._complain = complain
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
        """Takes the devices' rows out and puts them in again, one for each, in the batch's order."""
        tests = self._page.data["tests"]
        found: dict[str, list[str]] = {}
        for nodeid in tests:
            if device := self._device_of(nodeid):
                found.setdefault(device.device_id, []).append(nodeid)
        scale_s = timeline.scale(run.devices)
        for device in run.devices:
            nodeids = found.get(device.device_id, [])
            entries = [entry for nodeid in nodeids for entry in tests.pop(nodeid)]
            tests[nodeids[0] if nodeids else device.device_id] = [_one(entries, run, device, scale_s)]
        self._recount()

    def _recount(self) -> None:
        """pytest-html has counted items: a restored device's two, a dead worker's again, none of a run broken off."""
        rows = Counter(
            entry.get("result", "").lower() for entries in self._page.data["tests"].values() for entry in entries
        )
        for result, counted in self._page.outcomes.items():
            counted["value"] = rows[result]

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """pytest-html writes its page in there; a full disk must not take the terminal's summary along."""
        try:
            yield
        except OSError as error:
            self._complain(session, f"{session.config.option.htmlpath} was not written, or not wholly: {error}")


def _one(entries: Sequence[dict[str, Any]], run: RunRecord, device: DeviceRecord, scale_s: float) -> dict[str, Any]:
    """The device's row, in the place of all that its items left: what they printed stays."""
    told = [result for entry in entries if (result := entry.get("result")) not in (None, "Rerun")]
    is_pytests = told and device.outcome is not Outcome.RESTORED  # both of its items have passed
    result = told[-1] if is_pytests else _RESULTS[device.outcome]
    log = "\n".join(entry["log"] for entry in entries if entry["log"])
    return {"result": result, "log": log, **_row(run, device, scale_s)}


def _row(run: RunRecord, device: DeviceRecord, scale_s: float) -> dict[str, Any]:
    """What pytest-html's script needs of a row: its cells, its details, and the values to sort by."""
    seconds = seconds_spent(device) or 0
    return {
        "testId": escape(device.device_id),
        "device": device.device_id,
        "type": device.device_type,
        "identity": device.identity.serial if device.identity else "",
        "version": device.version_after or "",
        "attempts": len(device.attempts),
        "duration": f"{seconds * 1000:.0f} ms",
        "resultsTableRow": page.cells(run, device, scale_s),
        "extras": [
            {"name": words.OUTCOME_WORDS[device.outcome], "format_type": "html", "content": page.details(run, device)}
        ],
    }
