"""A pytest run with the HTML report alone: its items end as a told run's devices did, in a process of their own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

from harness.record import Outcome, RunRecord

_CONFTEST = """
import pickle
from pathlib import Path

from harness.report.html import HtmlReport

RUN = pickle.loads(Path(__file__).with_name("run.pickle").read_bytes())
DEVICES = {device.device_id: device for device in RUN.devices}


def device_of(nodeid):
    return DEVICES.get(nodeid.rpartition("[")[2].rstrip("]"))


def complain(session, what):
    raise AssertionError(what)


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(HtmlReport(lambda: RUN, device_of, complain))


def pytest_handlecrashitem(crashitem, report, sched):
    report.when = "call"
    if device_of(crashitem).device_id in {dying_once!r}:
        report.outcome = "rerun"
        report.longrepr = "its worker died; a new one goes on"
        sched.mark_test_pending(crashitem)
"""

_ITEMS = """
import os

import pytest
from conftest import DEVICES

IDS = {ids!r}


@pytest.mark.parametrize("device_id", IDS)
def test_flash(device_id):
    if device_id in {broken!r}:
        raise RuntimeError("a fixture of the lab's own is broken")
    if device_id in {dying!r} and not os.path.exists(device_id):
        open(device_id, "w").close()
        os._exit(9)
    if DEVICES[device_id].outcome.failed:
        pytest.fail(f"{{device_id}} did not make it", pytrace=False)


if {restored!r}:

    @pytest.mark.parametrize("device_id", {restored!r})
    def test_restore(device_id):
        assert DEVICES[device_id].outcome == "restored"
"""


def write_page(
    folder: Path,
    run: RunRecord,
    *arguments: str,
    dying: tuple[str, ...] = (),
    dying_once: tuple[str, ...] = (),
    broken: tuple[str, ...] = (),
) -> Path:
    """The report that pytest-html writes with our hooks. Devices that did not run are items only where `broken`."""
    ran = [device.device_id for device in run.devices if device.outcome is not Outcome.NOT_RUN]
    restored = [device.device_id for device in run.with_outcome(Outcome.RESTORED)]
    items = _ITEMS.format(ids=[*ran, *broken], dying=dying + dying_once, broken=broken, restored=restored)
    (folder / "run.pickle").write_bytes(pickle.dumps(run))
    (folder / "conftest.py").write_text(_CONFTEST.replace("{dying_once!r}", repr(dying_once)))
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_fleet.py").write_text(items)
    page = folder / "report.html"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", f"--html={page}", "--self-contained-html", *arguments],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert page.exists(), result.stdout
    return page
