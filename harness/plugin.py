"""pytest's hooks and options of the harness: a table of contents, each hook calls a room of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import batchrun
from harness.batchrun import find_run
from harness.config import SITE_FILE
from harness.fixtures import backup, board_tests, console, device, port_lock, rollback, session, store
from harness.stopping import leave_signals_to_controller

__all__ = ["backup", "board_tests", "console", "device", "port_lock", "rollback", "session", "store"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("batch-flash", "updating fleets of boards (pytest BATCH.yaml)")
    group.addoption("--simulate", action="store_true", help="put a virtual twin in the place of every target")
    group.addoption("--dry-run", action="store_true", help="print what would be done to each device, and do nothing")
    group.addoption("--reflash", action="store_true", help="write images even where the board holds them already")
    group.addoption(
        "--resume", metavar="RUN", help="go on with a run that was cut short: its id, a part of it, or `last`"
    )
    group.addoption(
        "--take-back", action="store_true", help="with --resume: restore the boards that the run has updated"
    )
    group.addoption("--site-config", metavar="FILE", help=f"the site's settings (default: {SITE_FILE})")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Before xdist reads its options: whether there is a batch at all, and how many workers it may have."""
    if hasattr(config, "workerinput"):
        return
    run = batchrun.read_batch(config)
    if run is not None:
        from harness import session_options

        session_options.shape_session(config, run)


def pytest_configure(config: pytest.Config) -> None:
    workerinput: dict[str, object] | None = getattr(config, "workerinput", None)
    if workerinput is not None:
        batchrun.join(config, workerinput)
        if find_run(config):
            leave_signals_to_controller()
    run = find_run(config)
    if run is None:
        return
    for device_type in sorted({target.device_type for target in run.plan.devices}):
        config.addinivalue_line("markers", f"{device_type}: devices of this type")
    if workerinput is None:
        from harness import controller

        controller.register(config, run)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """As late as this, so that the hold is added after --lf and the like have chosen."""
    if hasattr(session.config, "workerinput") and find_run(session.config):
        from harness.holding import Holding

        session.config.pluginmanager.register(Holding(), "batch-flash-holding")


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and (hint := batchrun.unnamed_batches(config)):
        terminalreporter.write_line(hint, yellow=True)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Any:
    run = find_run(parent.config)
    if run is None or file_path.resolve() != run.batch_file:
        return None
    from harness.collect import batch_file

    return batch_file(parent, file_path)
