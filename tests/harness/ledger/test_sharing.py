"""Several runs write to one ledger at the same moment, each in a process of its own, and nothing is lost or refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

from harness.ledger import Ledger
from harness.record import Outcome, RunRecord
from tests.harness.ledger.test_ledger import as_kept, rolled_out

WRITERS = 5
RUNS_EACH = 4

_WRITER = """
import pickle, sys
from dataclasses import replace
from harness.ledger import Ledger

address, number, runs, record = sys.argv[1:]
run = pickle.loads(bytes.fromhex(record))
print("ready", flush=True)
sys.stdin.readline()  # all writers begin at once
for n in range(int(runs)):
    mine = replace(run, run_id=f"w{number}-{n}", started=run.started + 10 * n + int(number))
    ledger = Ledger(address)
    ledger.record(replace(mine, ended=None, devices=()))
    ledger.record(mine)
    new = ledger.update_quarantine(mine, after=2)
    for device_id in [entry.device_id for entry in new if entry.device_id == "ESP32_004"]:
        print(ledger.release(device_id, f"writer {number}", mine.started), flush=True)
"""

_RECORDER = """
import itertools, pickle, sys
from dataclasses import replace
from harness.ledger import Ledger

ledger, run = Ledger(sys.argv[1]), pickle.loads(bytes.fromhex(sys.argv[2]))
for n in itertools.count():
    ledger.record(replace(run, run_id=f"run-{n}"))
    print(f"run-{n}", flush=True)
"""


def write_at_once(address: str, run: RunRecord) -> None:
    """Each writer records its runs, as they begin and as they end; errors would stand on stderr."""
    command = [sys.executable, "-c", _WRITER, address]
    writers = [
        subprocess.Popen(
            [*command, str(n), str(RUNS_EACH), pickle.dumps(run).hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(WRITERS)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    said = [writer.communicate("go\n", timeout=120) for writer in _released(writers)]
    assert [error for _, error in said] == [""] * WRITERS
    assert "False" not in "".join(output for output, _ in said)


def _released(writers: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return writers


def written() -> set[str]:
    return {f"w{writer}-{n}" for writer in range(WRITERS) for n in range(RUNS_EACH)}


def test_runs_lose_nothing_to_each_other_in_a_ledger_that_the_first_of_them_makes(address: str, run: RunRecord):
    write_at_once(address, rolled_out(run))

    ledger = Ledger(address)
    assert {each.run_id for each in ledger.runs()} == written()
    for run_id in written():
        kept = ledger.run(run_id)
        assert kept is not None
        assert (kept.devices, kept.notes) == (as_kept(run).devices, rolled_out(run).notes)


def test_runs_of_this_version_that_find_an_earlier_ledger_upgrade_it_once_and_lose_nothing(
    first_version: Path, run: RunRecord
):
    write_at_once(str(first_version), run)

    ledger = Ledger(first_version)
    assert {each.run_id for each in ledger.runs()} == {run.run_id, *written()}
    assert ledger.run(run.run_id) == as_kept(run)


def test_runs_quarantine_a_device_once_and_agree_on_who_is_in(address: str, run: RunRecord):
    write_at_once(address, run)

    failed = {device.device_id for device in run.devices if device.outcome.failed}
    interrupted = {"ESP32_007"}
    assert {device.device_id for device in run.devices if device.outcome is Outcome.NOT_RUN} == {"ESP32_008"}
    assert Ledger(address).quarantined().keys() | {"ESP32_004"} == failed - interrupted


def test_a_writer_that_is_killed_leaves_all_that_it_had_recorded_and_holds_nobody_up(address: str, run: RunRecord):
    command = [sys.executable, "-c", _RECORDER, address, pickle.dumps(run).hex()]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    recorded = [writer.stdout.readline().strip() for _ in range(3)]
    writer.kill()  # in the middle of the next one
    recorded += writer.communicate()[0].split()

    ledger = Ledger(address)
    assert {each.run_id for each in ledger.runs()} >= set(recorded)
    assert all(len(kept.devices) == len(run.devices) for each in ledger.runs() if (kept := ledger.run(each.run_id)))
    ledger.record(run)
    assert ledger.run(run.run_id) == as_kept(run)
