"""The controller's side of a run: it starts it, steers it, and at the end says what became of each board."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from harness import batchrun, dry_run, history
from harness.batchrun import BatchRun, Started
from harness.exit_status import is_good, is_taken_back
from harness.heartbeat import Heartbeat
from harness.holding import take_off
from harness.item import device_id_of, is_restore, node_id, update_id
from harness.item_reports import ending_in, properties, skipped_report, teardown_of
from harness.ledger import LedgerError
from harness.live import LiveView
from harness.plan import Plan
from harness.record import DeviceRecord, Outcome, RunRecord
from harness.report import json_report, junit, words
from harness.report.conclusion import how_to_go_on, is_unfinished
from harness.report.html import HtmlReport
from harness.report.terminal import print_summary
from harness.run_state import RunState
from harness.safekeeping import can_not_be_taken_back
from harness.scheduler import DeviceScheduling
from harness.session_options import MAXFAIL, NOTES, only_shows
from harness.steering import Steering
from harness.stopping import StopRequests, held_back
from harness.store import Store

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController


_POLL_S = 0.2
_UNTOLD = "its item ended without a word of it: has a hook of the lab taken its place?"


def register(config: pytest.Config, run: BatchRun) -> None:
    """Start the run and take part in the session; for a dry run or --collect-only, touch nothing."""
    if config.option.dry_run:
        config.pluginmanager.register(dry_run.DryRun(run.plan), "batch-flash-dry-run")
    elif not only_shows(config.option):
        started = batchrun.start(config)
        if not config.option.htmlpath:
            config.option.htmlpath = str(started.run.folder.html)
            config.option.self_contained_html = True
        state = RunState(started.run, started.log)
        controller = Controller(config, started, state)
        config.pluginmanager.register(controller, "batch-flash-controller")
        html = HtmlReport(state.record, lambda nodeid: _device_of(state, nodeid), controller.complain)
        config.pluginmanager.register(html, "batch-flash-html")


def _how_resumed(run: BatchRun) -> str:
    if run.taken_back_by:
        return " (to be taken back)"
    return " (resumed, as it was planned)" if run.resumed else ""


def _boards(plan: Plan) -> str:
    """`3 boards, 2 of them virtual`: nobody may take a run that updates real ones for a rehearsal."""
    virtual = sum(device.virtual is not None for device in plan.devices)
    if virtual == len(plan.devices):
        return words.plural(virtual, "virtual board")
    return words.plural(len(plan.devices), "board") + (f", {virtual} of them virtual," if virtual else "")


def _device_of(state: RunState, nodeid: str) -> DeviceRecord | None:
    device_id = device_id_of(nodeid)
    return state.device(device_id) if device_id else None


def _is_working(node: WorkerController) -> bool:
    """Whether a worker's session goes on: it closes its channel, which stays open when the process has died."""
    return node.gateway.hasreceiver() and not node.channel.isclosed()


class Controller:
    """Hooks of the controller's session."""

    def __init__(self, config: pytest.Config, started: Started, state: RunState) -> None:
        """Raises `pytest.UsageError` where the history can not be written: then nothing is begun."""
        self._config = config
        self._run = started.run
        self._log = started.log
        self._state = state
        self._maxfail: int = config.stash[MAXFAIL]
        self._failures = 0
        self._since = started.run.clock()
        self._nodes: list[WorkerController] = []
        self._alive: set[str] = set()  # the workers that are up, or coming up
        self._dead_workers = 0
        self._node_of: dict[str, object] = {}
        self._unwritten: list[str] = []
        self._unsaid: list[str] = []
        self._live: LiveView | None = None
        self._stop_requests = StopRequests(self._stop)
        self._quarantined = self._enter_in_ledger()
        self._steering = Steering(started.run, state, started.log, self._quarantined, self._say, self._on_beat)
        self._scheduler = DeviceScheduling(self._steering)
        self._heartbeat = Heartbeat(self._beat)

    def _enter_in_ledger(self) -> dict[str, str]:
        """Before anything is touched: the history knows of the run even if this process is killed."""
        try:
            quarantined = history.enter(self._run.plan, self._state.record())
            self._run.folder.become_latest()  # a run that could not start must not stand before the last one's reports
        except (LedgerError, OSError) as error:
            self._stop_bench()
            raise pytest.UsageError(str(error)) from error
        return quarantined

    # xdist

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        batchrun.describe_to_worker(self._run, node.workerinput)
        self._nodes.append(node)
        self._alive.add(node.gateway.id)
        self._heartbeat.start()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController, error: object | None) -> None:
        """One that died is replaced, and xdist sees to it; those that end of themselves may leave nobody behind."""
        self._alive.discard(node.gateway.id)
        if error is not None:
            self._count_dead_worker()
        elif not self._alive:
            self._scheduler.has_workers = False

    def _count_dead_worker(self) -> None:
        """At the limit xdist ends the other workers too, after what they are at."""
        from xdist.dsession import get_default_max_worker_restart

        self._dead_workers += 1
        limit = get_default_max_worker_restart(self._config)
        if limit is not None and self._dead_workers == limit + 1:
            processes = "a worker process" if limit == 0 else f"{self._dead_workers} worker processes"
            self._start_no_more(f"the death of {processes} (--max-worker-restart {limit})")

    def _beat(self) -> None:
        """On the heartbeat's thread: `DeviceScheduling.remove_pending_tests_from_node` is called for it, on ours."""
        self._nodes[0].putevent(("unscheduled", {"node": self._nodes[0], "indices": ()}))

    def _on_beat(self) -> None:
        self._heartbeat.heard()
        if self._unsaid and self._steering.begun:
            self._show_live()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_auto_num_workers(self) -> int:
        return min(self._run.plan.rollout.max_concurrent, len(self._run.plan.devices))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self) -> DeviceScheduling:
        return self._scheduler

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: WorkerController, ids: Sequence[str]) -> None:
        take_off(ids)
        if not self._scheduler.accepts(ids):
            worker = node.gateway.id
            self._say(
                f"{worker} has collected other devices, or in another order, than the first worker: it is not used"
            )

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: DeviceScheduling) -> None:
        device_id = device_id_of(crashitem)
        if device_id is None:
            return
        self._steering.died(device_id)
        where = self._state.where(device_id)
        # As a "call": under xdist's "???" neither pytest-html nor JUnit would show the device.
        report.when = "call"
        if self._steering.may_run_again(device_id):
            report.outcome = "rerun"  # type: ignore[assignment]  # pytest-html's and pytest-rerunfailures' word
            report.longrepr = f"{device_id}: its worker process died {where}; a new one goes on from the journal"
            self._say(report.longrepr)
        else:
            device = self._state.crashed(device_id)
            advice = device.error.advice if device and device.error else ""
            report.longrepr = f"{device_id}: its worker process died {where}. {advice}"
        sched.mark_test_pending(crashitem)

    # Being stopped

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionstart(self) -> Generator[None]:
        """Around xdist's, which starts the workers."""
        self._stop_requests.listen()
        with held_back():
            return (yield)

    def _stop(self, by: str) -> None:
        """The first Ctrl-C or SIGTERM; in the signal's handler, which must not write to the journal."""
        self._state.interrupted = self._state.interrupted or f"the run was stopped by {by}"
        self._steering.stop_asked = self._state.interrupted
        self._say(f"{by}: no further device is started, running ones go on to their end; again: stop at once")

    def _start_no_more(self, why: str) -> None:
        self._state.interrupted = self._state.interrupted or f"the run was stopped by {why}"
        self._steering.halt(self._state.interrupted)
        self._say(f"{why}: no further device is started, running ones go on to their end")

    def _say(self, line: str) -> None:
        if self._live is not None:
            self._live.say(line)
        else:
            self._unsaid.append(line)

    def _count_failure(self) -> None:
        self._failures += 1
        if self._failures == self._maxfail:
            self._start_no_more("-x" if self._maxfail == 1 else f"--maxfail={self._maxfail}")

    def _let_running_devices_end(self) -> None:
        """A fault of this process must cut no write: xdist is about to end its workers, which need it for nothing.

        Nor that of a device which was sent to its worker a moment ago, and of which no journal tells yet.
        """
        limits = [device.limits for device in self._run.plan.devices]
        deadline = time.monotonic() + max(limit.device_s + limit.rollback_s for limit in limits)
        self._say("an internal error: no further device is started; waiting for those that are being worked on")
        at_work = [node for node in self._nodes if hasattr(node, "channel")]  # xdist had come as far as to start it
        for node in at_work:
            node.shutdown()
        while any(map(_is_working, at_work)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    # The items' reports

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if device_id := device_id_of(nodeid):
            self._state.begins(device_id)
        self._show_live()

    def _show_live(self) -> None:
        """Only once the first worker is up: until then, xdist says how far they are."""
        if self._live is None:
            self._live = self._start_live_view()
        while self._unsaid:
            self._live.say(self._unsaid.pop(0))

    def _start_live_view(self) -> LiveView:
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        reporter._show_progress_info = False  # its percentage would be written into ours
        workers: Any = self._config.pluginmanager.getplugin("terminaldistreporter")
        workers._isatty = False  # and so would xdist's line of workers that come up after the first
        writer = self._config.get_terminal_writer()
        journals = {d.device_id: self._run.folder.journal(d.device_id) for d in self._state.record().devices}
        live = LiveView(journals, len(journals), writer._file, writer.hasmarkup, self._run.clock, self._since)
        live.start()
        return live

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """The live view tells it; pytest only counts."""
        if device_id_of(report.nodeid) is None or (report.when != "call" and report.passed):
            return None
        word = "restored" if is_restore(report.nodeid) and report.passed else report.outcome
        return ("error" if report.when == "setup" and report.failed else word), "", word.upper()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None]:
        device_id = device_id_of(report.nodeid)
        if device_id:
            self._take_ending(device_id, report)
        if device_id and report.failed:
            self._count_failure()
        yield
        if self._state.has_crashed(device_id) and report.when == "call" and report.failed:
            self._config.hook.pytest_runtest_logreport(report=teardown_of(report))

    def _take_ending(self, device_id: str, report: pytest.TestReport) -> None:
        """Keep what the item said, and put in its place what pytest's own JUnit report should tell of the device."""
        ending = ending_in(report)
        if ending is not None:
            self._state.said(device_id, ending)
        device = self._state.device(device_id)
        if report.when != "setup" and device:  # JUnit's writer takes the last of them
            report.user_properties = list(properties(device))
        node: object = getattr(report, "node", None)
        if node is not None:
            # pytest's JUnit writer has a case per worker: the one that died would leave an empty one.
            report.node = self._node_of.setdefault(device_id, node)  # type: ignore[attr-defined]

    # The end

    def pytest_keyboard_interrupt(self) -> None:
        """The second one; the first is `_stop`'s."""
        self._state.interrupted = self._state.interrupted or "the run was interrupted"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.INTERNAL_ERROR:
            self._let_running_devices_end()
        self._stop_requests.restore()
        self._end_workers()
        self._state.interrupted = self._state.interrupted or self._what_cut_it_short(session)
        if self._state.interrupted:  # by the second signal, say, before anybody had heard of the first
            self._steering.halt(self._state.interrupted)
        self._heartbeat.stop()
        if self._live is not None:
            self._live.stop()
        if left := len(self._steering.left_out):
            whom = "1 device that is still open was" if left == 1 else f"{left} devices that are still open were"
            self._state.interrupted = self._state.interrupted or f"{whom} not chosen when the run was resumed"
        self._steering.write_state()
        self._state.end(self._why_open)
        record = self._state.record()
        for device in record.with_outcome(Outcome.NOT_RUN):
            if not self._state.has_spoken(device.device_id):
                self._log_not_run(device)
        session.exitstatus = self._exit_status(session, record)
        self._write_reports(session, record)
        self._log.close()
        self._stop_bench()
        self._count_each_board_once(record)
        self._leave_failures_to_our_summary()
        if session.exitstatus == pytest.ExitCode.INTERNAL_ERROR:  # after which pytest itself sums nothing up
            self.pytest_terminal_summary(self._config.pluginmanager.getplugin("terminalreporter"))

    def _end_workers(self) -> None:
        """xdist does this too, but later: what they do in the time that it gives them is to be in the reports."""
        manager = getattr(self._config.pluginmanager.getplugin("dsession"), "nodemanager", None)
        if manager is not None:
            manager.teardown_nodes()

    def _what_cut_it_short(self, session: pytest.Session) -> str:
        """Beside signals and orders, which are known; empty where every device had its turn."""
        if session.exitstatus == pytest.ExitCode.INTERNAL_ERROR:
            return "the run was ended by an internal error"
        if self._steering.finished:
            return ""
        return "no worker process was left" if self._steering.begun else "the run ended before its first device"

    def _why_open(self, device_id: str) -> str:
        return self._steering.reason(device_id) or self._state.interrupted or _UNTOLD

    def _exit_status(self, session: pytest.Session, record: RunRecord) -> int:
        """Ours where all went its way: xdist and pytest count failed items, a gate may allow some."""
        if session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return session.exitstatus
        if self._stop_requests.asked or self._steering.cancelled:
            return pytest.ExitCode.INTERRUPTED
        if self._run.taken_back_by:
            good = is_taken_back(record)
        else:
            good = is_good(record, self._run.plan.rollout.exit_on, complete=self._is_complete(record))
        return pytest.ExitCode.OK if good and not self._others_failed() else pytest.ExitCode.TESTS_FAILED

    def _is_complete(self, record: RunRecord) -> bool:
        untold = any(device.reason == _UNTOLD for device in record.with_outcome(Outcome.NOT_RUN))
        return self._steering.finished and not self._steering.left_out and not untold

    def _others_failed(self) -> bool:
        """Whether something failed that is no device's item: a conftest, a module that stands beside the batch."""
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        reports = [report for kind in ("failed", "error") for report in reporter.stats.get(kind, [])]
        return any(device_id_of(report.nodeid) is None for report in reports)

    def _count_each_board_once(self, record: RunRecord) -> None:
        """In pytest's last line: one that was taken back is not among those that passed, although its update did."""
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        restoring = {device.device_id for device in record.devices if device.restoring}
        if passed := reporter.stats.get("passed"):
            passed[:] = [report for report in passed if device_id_of(report.nodeid) not in restoring]

    def _leave_failures_to_our_summary(self) -> None:
        """It tells each failed device's story; pytest's own sections are for what else went wrong (a conftest, say)."""
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        failed = [report for kind in ("failed", "error") for report in reporter.stats.get(kind, [])]
        if all(report.when == "call" and device_id_of(report.nodeid) for report in failed):
            self._config.option.tbstyle = "no"

    def _log_not_run(self, device: DeviceRecord) -> None:
        """A device that never started would vanish from pytest's own counts."""
        nodeid = node_id(self._run.batch_file, self._config.rootpath, device.device_id)
        skipped = skipped_report(nodeid, str(self._run.batch_file), device)
        self._config.hook.pytest_runtest_logreport(report=skipped)
        self._config.hook.pytest_runtest_logreport(report=teardown_of(skipped))

    def _write_reports(self, session: pytest.Session, record: RunRecord) -> None:
        """Each for itself: one that can not be written (a full disk) must not take the others along."""
        folder = self._run.folder
        writers: dict[str, Callable[[], None]] = {
            "ledger": lambda: self._close_ledger(record),
            str(folder.junit): lambda: junit.write(record, folder.junit),
            str(folder.json): lambda: json_report.write(record, folder.json),  # the last: `status` looks for it
        }
        for name, write in writers.items():
            try:
                write()
            except (OSError, LedgerError) as error:
                self._unwritten.append(f"{name} was not written: {error}")
        if self._log.fault:
            self._unwritten.append(self._log.fault)
        self._fail_if_unwritten(session)

    def _fail_if_unwritten(self, session: pytest.Session) -> None:
        """Whoever waits for the report must not see a success."""
        if self._unwritten and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def complain(self, session: pytest.Session, what: str) -> None:
        """A report could not be written."""
        self._unwritten.append(what)
        self._fail_if_unwritten(session)

    def _close_ledger(self, record: RunRecord) -> None:
        self._unsaid += history.close(self._run.plan, record, self._steering.killers)

    def _stop_bench(self) -> None:
        if self._run.bench is not None:
            self._run.bench.stop()

    def pytest_report_header(self) -> list[str]:
        plan = self._run.plan
        workers = self._config.option.numprocesses
        return [
            f"batch: {plan.batch_name}: {_boards(plan)} to {plan.version}, {workers} at once",
            f"run: {self._run.folder.run_id}{_how_resumed(self._run)}",
            *self._config.stash[NOTES],
            *(
                f"{device.device_id}: left half-written by run {device.left_by}, whose backup of it stands"
                for device in plan.devices
                if device.left_by
            ),
            *(f"{device_id}: {why}" for device_id, why in self._quarantined.items() if device_id in self._devices()),
            *self._without_a_way_back(),
        ]

    def _without_a_way_back(self) -> Iterator[str]:
        plan = self._run.plan
        store = Store(plan.store_dir)
        wanted = [device for device in plan.devices if device.rollback and device.backup]
        if names := [device.device_id for device in wanted if can_not_be_taken_back(device, store)]:
            yield (
                f"WARNING: {words.together(names)} can not be taken back: what they run can not be read, "
                "and no earlier firmware is known; give `previous_firmware`"
            )

    def _devices(self) -> frozenset[str]:
        return frozenset(device.device_id for device in self._run.plan.devices)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        folder = self._run.folder
        terminalreporter.section("reports")
        for path in (self._config.option.htmlpath, folder.junit, folder.json):
            terminalreporter.write_line(str(path))
        for complaint in self._unwritten:
            terminalreporter.write_line(complaint, red=True, bold=True)
        for line in self._unsaid:
            terminalreporter.write_line(line, yellow=True)
        record = self._state.record()
        print_summary(record, lambda text, markup: terminalreporter.write_line(text, **markup))
        if not record.emergencies and is_unfinished(record, restores=self._run.plan.rollout.restore):  # those say it
            terminalreporter.write_line(how_to_go_on(record), bold=True)

    def pytest_unconfigure(self) -> None:
        self._stop_bench()
        self._let_lf_find_restores()

    def _let_lf_find_restores(self) -> None:
        """By their devices: --lf finds no item that takes an update back, and would choose all devices in its place."""
        cache = getattr(self._config, "cache", None)  # -p no:cacheprovider
        failed: dict[str, bool] = cache.get("cache/lastfailed", {}) if cache else {}
        if cache and any(map(is_restore, failed)):
            cache.set("cache/lastfailed", {update_id(nodeid): True for nodeid in failed})
