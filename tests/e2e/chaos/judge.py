"""What must hold after a round. Each complaint is a sentence."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from drivers.base import PortUnavailable
from harness.journal import is_being_written
from harness.locks import PortLock
from harness.record import Outcome
from harness.run_reader import run_record
from harness.runs import RunFolder
from tests.e2e.chaos.fleet import Fleet
from tests.e2e.project import BOARDS

NEW = frozenset({Outcome.UPDATED, Outcome.UNCHANGED})
OLD = frozenset({Outcome.ROLLED_BACK, Outcome.UNTOUCHED, Outcome.NOT_RUN, Outcome.RESTORED})
_ANSWER_S = 5.0

Contents = Mapping[str, bytes]


def complaints(fleet: Fleet, run: RunFolder | None, before: Contents, wanted: Contents) -> Iterator[str]:
    """`run` is absent where the controller died before it had planned anything: then nothing may have changed."""
    outcomes = reported(run) if run else dict.fromkeys(BOARDS, Outcome.NOT_RUN)
    for board in BOARDS:
        yield from _of_flash(board, outcomes.get(board), fleet.flash(board), before[board], wanted[board])
    if run:
        yield from _of_ledger(fleet, run, outcomes)
        if any(is_being_written(path) for path in (run.run_journal, *map(run.journal, BOARDS))):
            yield "a journal is still held"
    for board in BOARDS:
        yield from _of_port(board, fleet.bench.boards[board].url)


def interim_complaints(fleet: Fleet, run: RunFolder, before: Contents, wanted: Contents) -> Iterator[str]:
    """Of what `batch-flash status` says between the blow and the resume; there it may not know, but not be wrong."""
    for device in run_record(run, run.load_plan(), is_live=False).devices:
        board, holds = device.device_id, fleet.flash(device.device_id)
        if (device.outcome in NEW and holds != wanted[board]) or (device.outcome in OLD and holds != before[board]):
            yield f"{board}: before the resume its status was {device.outcome}, which its flash was not"


def reported(run: RunFolder) -> dict[str, Outcome]:
    """What report.json says; nothing where there is none."""
    if not run.json.exists():
        return {}
    return {device["device_id"]: Outcome(device["outcome"]) for device in json.loads(run.json.read_text())["devices"]}


def _of_flash(board: str, outcome: Outcome | None, holds: bytes, before: bytes, wanted: bytes) -> Iterator[str]:
    if holds not in (before, wanted):
        yield f"{board}: its flash is neither the old nor the new one, and it is reported as {outcome}"
    elif outcome in NEW and holds != wanted:
        yield f"{board}: reported as {outcome}, but its flash is the old one"
    elif outcome in OLD and holds != before:
        yield f"{board}: reported as {outcome}, but its flash is the new one"
    elif outcome not in NEW | OLD:
        yield f"{board}: reported as {outcome} after all resumes"


def _of_ledger(fleet: Fleet, run: RunFolder, outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    kept = fleet.ledger.run(run.run_id)
    if kept is None:
        yield "the ledger does not know the run"
        return
    for device in kept.devices:
        if device.outcome is not outcomes.get(device.device_id):
            yield f"{device.device_id}: {device.outcome} in the ledger, {outcomes.get(device.device_id)} in report.json"


def _of_port(board: str, url: str) -> Iterator[str]:
    lock = PortLock(url, "chaos", board)
    try:
        with lock:
            lock.acquire(0)
    except PortUnavailable as error:
        yield f"{board}: its port's lock is held: {error}"
    if not _is_free(url):
        yield f"{board}: its port is still open"


def _is_free(url: str) -> bool:
    """A port that has a client hangs up on a second one; a free one begins to negotiate."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=_ANSWER_S) as connection:
        try:
            return bool(connection.recv(1))
        except (ConnectionResetError, TimeoutError):
            return False
