"""The controller's side of a run: it starts it, follows the journals, and at the end says what became of each board."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from drivers.base import Category
from harness import batchrun, dry_run
from harness.batchrun import BatchRun
from harness.item import ENDING_PROPERTY, device_id_of, node_id
from harness.ledger import Ledger, LedgerError
from harness.live import LiveView
from harness.record import DeviceRecord, ErrorRecord, Outcome, RunRecord
from harness.report import json_report, junit
from harness.report.html import HtmlReport
from harness.report.terminal import print_summary
from harness.run_state import RunState
from harness.scheduler import DeviceScheduling, take_hold_off
from harness.stopping import StopRequests

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController


_NEEDED = {"pytest-xdist": "xdist", "pytest-html": "html"}
_POLL_S = 0.2
_MAXFAIL = pytest.StashKey[int]()  # failed devices after which no further one is started; 0: no such limit


def shape_session(config: pytest.Config, run: BatchRun) -> None:
    """Set pytest's own options as the batch needs them, before the plugins that they belong to read them."""
    missing = [name for name, plugin in _NEEDED.items() if not config.pluginmanager.has_plugin(plugin)]
    if missing:
        raise pytest.UsageError(f"a batch needs {' and '.join(missing)}, which this session has not loaded")
    option = config.option
    if option.collectonly or option.dry_run:
        option.numprocesses, option.dist, option.tx = 0, "no", []
        return
    if option.dist not in ("no", "load"):
        raise pytest.UsageError(f"--dist {option.dist}: a batch has a scheduler of its own; leave the option out")
    if getattr(option, "usepdb", False):
        raise pytest.UsageError("--pdb: a batch runs in worker processes, where there is no terminal")
    # -x and --maxfail are ours to keep: xdist asks its scheduler for more items after it has ended the workers.
    config.stash[_MAXFAIL], option.maxfail = option.maxfail or 0, 0
    limit = min(run.plan.rollout.max_concurrent, len(run.plan.devices))
    # A hard crash in this very process would leave no report: even one device at a time gets a worker.
    asked = option.numprocesses if option.numprocesses is not None else 1
    option.numprocesses = limit if asked in ("auto", "logical") else max(1, min(int(asked), limit))


def register(config: pytest.Config, run: BatchRun) -> None:
    """Start the run and take part in the session; for a dry run or --collect-only, touch nothing."""
    if config.option.dry_run:
        config.pluginmanager.register(dry_run.DryRun(run.plan), "batch-flash-dry-run")
    elif not config.option.collectonly:
        started = batchrun.start(config)
        if not config.option.htmlpath:
            config.option.htmlpath = str(started.folder.html)
            config.option.self_contained_html = True
        state = RunState(started)
        controller = Controller(config, started, state, config.stash[_MAXFAIL])
        controller.enter_in_ledger()
        config.pluginmanager.register(controller, "batch-flash-controller")
        config.pluginmanager.register(
            HtmlReport(state.record, lambda nodeid: _device_of(state, nodeid)), "batch-flash-html"
        )


def _device_of(state: RunState, nodeid: str) -> DeviceRecord | None:
    device_id = device_id_of(nodeid)
    return state.device(device_id) if device_id else None


def _properties(device: DeviceRecord) -> Iterator[tuple[str, object]]:
    yield "outcome", str(device.outcome)
    yield "port", device.port
    if device.identity:
        yield from ((name, str(value)) for name, value in vars(device.identity).items())
    yield "version_before", device.version_before or ""
    yield "version_after", device.version_after or ""
    yield "attempts", len(device.attempts)


def _setup_failed(report: pytest.TestReport) -> dict[str, object]:
    """The ending of an item whose fixtures failed (a lab's conftest, a damaged snapshot): nothing was begun."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash else report.longreprtext.strip().splitlines()[-1]
    advice = "Nothing was written. The fixture's traceback is in the terminal's output."
    error = ErrorRecord(Category.OTHER, "SetupFailed", f"a fixture failed: {message}", advice)
    return {"outcome": str(Outcome.UNTOUCHED), "error": error.as_json()}


def _skipped(report: pytest.TestReport) -> dict[str, object]:
    """The ending of an item that a lab's fixture or mark has skipped."""
    why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return {"outcome": str(Outcome.NOT_RUN), "error": None, "reason": why}


class Controller:
    """Hooks of the controller's session."""

    def __init__(self, config: pytest.Config, run: BatchRun, state: RunState, maxfail: int) -> None:
        self._config = config
        self._run = run
        self._state = state
        self._maxfail = maxfail
        self._failures = 0
        self._nodes: list[WorkerController] = []
        self._unwritten: list[str] = []
        self._scheduling = DeviceScheduling()
        self._stop_requests = StopRequests(self._stop)
        self._live: LiveView | None = None

    # xdist

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        batchrun.describe_to_worker(self._run, node.workerinput)
        self._nodes.append(node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_auto_num_workers(self) -> int:
        return min(self._run.plan.rollout.max_concurrent, len(self._run.plan.devices))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self) -> DeviceScheduling:
        return self._scheduling

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        take_hold_off(ids)
        self._state.choose(frozenset(device_id for nodeid in ids if (device_id := device_id_of(nodeid))))

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        device_id = device_id_of(crashitem)
        where = self._state.where(device_id) if device_id else ""
        device = self._state.crashed(device_id) if device_id else None
        if device is None:
            return
        # As a "call": under xdist's "???" neither pytest-html nor JUnit would show the device.
        report.when = "call"
        advice = device.error.advice if device.error else ""
        report.longrepr = f"{device_id}: its worker process died {where}. {advice}"

    # Being stopped

    def pytest_sessionstart(self) -> None:
        self._stop_requests.listen()

    def _stop(self, by: str) -> None:
        """The first Ctrl-C or SIGTERM; in the signal's handler."""
        self._start_no_more(by, "; again: stop at once")

    def _start_no_more(self, why: str, hint: str = "") -> None:
        self._state.interrupted = self._state.interrupted or f"the run was stopped by {why}"
        self._scheduling.halt()
        self._say(f"{why}: no further device is started, running ones go on to their end{hint}")

    def _say(self, line: str) -> None:
        if self._live is not None:
            self._live.say(line)

    def _count_failure(self) -> None:
        self._failures += 1
        if self._failures == self._maxfail:
            self._start_no_more("-x" if self._maxfail == 1 else f"--maxfail={self._maxfail}")

    def _let_running_devices_end(self) -> None:
        """A fault of this process must cut no write: xdist is about to end its workers, which need it for nothing."""
        limits = [device.limits for device in self._run.plan.devices]
        deadline = time.monotonic() + max(limit.device_s + limit.rollback_s for limit in limits)
        self._say("an internal error: no further device is started; waiting for those that are being worked on")
        while self._is_working() and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _is_working(self) -> bool:
        alive = {node.gateway.id for node in self._nodes if not node.channel.isclosed()}
        return any(device.worker in alive for device in self._state.record().with_outcome(Outcome.RUNNING))

    # The items' reports

    def pytest_runtest_logstart(self) -> None:
        if self._live is None:
            self._live = self._start_live_view()

    def _start_live_view(self) -> LiveView:
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        reporter._show_progress_info = False  # its percentage would be written into ours
        writer = self._config.get_terminal_writer()
        journals = {d.device_id: self._run.folder.journal(d.device_id) for d in self._state.record().devices}
        live = LiveView(journals, len(journals), writer._file, writer.hasmarkup)
        live.start()
        return live

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """The live view tells it; pytest only counts."""
        if device_id_of(report.nodeid) is None or (report.when != "call" and report.passed):
            return None
        return ("error" if report.when == "setup" and report.failed else report.outcome), "", report.outcome.upper()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None]:
        device_id = device_id_of(report.nodeid)
        if device_id:
            self._take_ending(device_id, report)
        if device_id and report.failed:
            self._count_failure()
        yield
        if self._state.has_crashed(device_id) and report.when == "call":
            self._log_teardown(report)

    def _take_ending(self, device_id: str, report: pytest.TestReport) -> None:
        """Keep what the item said, and put in its place what pytest's own JUnit report should tell of the device."""
        for name, value in report.user_properties:
            if name == ENDING_PROPERTY and isinstance(value, dict):
                self._state.said(device_id, value)
        if report.when == "setup" and not report.passed:
            self._state.said(device_id, _setup_failed(report) if report.failed else _skipped(report))
        device = self._state.device(device_id)
        if report.when != "setup" and device:  # JUnit's writer takes the last of them
            report.user_properties = list(_properties(device))

    def _log_teardown(self, report: pytest.TestReport) -> None:
        """pytest-html's row of an item is made from its teardown, which a dead worker never sends."""
        teardown = pytest.TestReport(
            nodeid=report.nodeid,
            location=report.location,
            keywords={},
            outcome="passed",
            longrepr=None,
            when="teardown",
        )
        if hasattr(report, "node"):
            teardown.node = report.node  # type: ignore[attr-defined]  # else JUnit counts a second, green case
        self._config.hook.pytest_runtest_logreport(report=teardown)

    # The end

    def pytest_keyboard_interrupt(self) -> None:
        """The second one; the first is `_stop`'s."""
        self._state.interrupted = self._state.interrupted or "the run was interrupted"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.INTERNAL_ERROR:
            self._let_running_devices_end()
        self._stop_requests.restore()
        if self._live is not None:
            self._live.stop()
        if self._stop_requests.asked and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        self._state.end()
        record = self._state.record()
        for device in record.with_outcome(Outcome.NOT_RUN):
            if not self._state.has_spoken(device.device_id):
                self._log_not_run(device)
        self._write_reports(session, record)
        self._stop_bench()
        self._leave_failures_to_our_summary()
        if session.exitstatus == pytest.ExitCode.INTERNAL_ERROR:  # after which pytest itself sums nothing up
            self.pytest_terminal_summary(self._config.pluginmanager.getplugin("terminalreporter"))

    def _leave_failures_to_our_summary(self) -> None:
        """It tells each failed device's story; pytest's own sections are for what else went wrong (a conftest, say)."""
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        failed = [report for kind in ("failed", "error") for report in reporter.stats.get(kind, [])]
        if all(report.when == "call" and device_id_of(report.nodeid) for report in failed):
            self._config.option.tbstyle = "no"

    def _log_not_run(self, device: DeviceRecord) -> None:
        """A device that never started would vanish from pytest's own counts."""
        nodeid = node_id(self._run.batch_file, self._config.rootpath, device.device_id)
        location = (str(self._run.batch_file), 0, device.device_id)
        skipped = pytest.TestReport(
            nodeid=nodeid,
            location=location,
            keywords={},
            outcome="skipped",
            longrepr=(str(self._run.batch_file), 0, f"Skipped: {device.reason}"),
            when="setup",
        )
        self._config.hook.pytest_runtest_logreport(report=skipped)
        self._log_teardown(skipped)

    def enter_in_ledger(self) -> None:
        """Before anything is touched: the history knows of the run even if this process is killed."""
        try:
            Ledger(self._run.plan.ledger).record(self._state.record())
        except LedgerError as error:
            self._stop_bench()
            raise pytest.UsageError(str(error)) from error

    def _write_reports(self, session: pytest.Session, record: RunRecord) -> None:
        """Each for itself: one that can not be written (a full disk) must not take the others along."""
        folder = self._run.folder
        writers: dict[str, Callable[[], None]] = {
            str(folder.json): lambda: json_report.write(record, folder.json),
            str(folder.junit): lambda: junit.write(record, folder.junit),
            "ledger": lambda: Ledger(self._run.plan.ledger).record(record),
        }
        for name, write in writers.items():
            try:
                write()
            except (OSError, LedgerError) as error:
                self._unwritten.append(f"{name} was not written: {error}")
        if self._unwritten and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED  # whoever waits for the report must not see a success

    def _stop_bench(self) -> None:
        if self._run.bench is not None:
            self._run.bench.stop()

    def pytest_report_header(self) -> list[str]:
        plan = self._run.plan
        boards = "virtual boards" if any(device.virtual for device in plan.devices) else "boards"
        workers = self._config.option.numprocesses
        return [
            f"batch: {plan.batch_name}: {len(plan.devices)} {boards} to {plan.version}, {workers} at once",
            f"run: {self._run.folder.run_id}",
        ]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        folder = self._run.folder
        terminalreporter.section("reports")
        for path in (self._config.option.htmlpath, folder.junit, folder.json):
            terminalreporter.write_line(str(path))
        for complaint in self._unwritten:
            terminalreporter.write_line(complaint, red=True, bold=True)
        print_summary(self._state.record(), lambda text, markup: terminalreporter.write_line(text, **markup))

    def pytest_unconfigure(self) -> None:
        self._stop_bench()
