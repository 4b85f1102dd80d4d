"""Boards are asked who they are, each by a process of its own: one that hangs holds up no other, and can be ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers.base import Identity
from harness.discovery.boards import Board
from harness.discovery.protocols import attempts
from harness.discovery.sighting import Sighting, Status, identity_key, mac_of, plain

_AT_ONCE = 4  # each takes a processor for a second, to start
_GRACE_S = 15.0  # beyond its own limits: starting, and giving the port back
_ROOT = Path(__file__).resolve().parents[2]  # where the packages are importable from


def ask(boards: Sequence[Board], seconds: float, lock_dir: Path | None = None) -> list[Board]:
    """The same boards, each with what it said of itself; `seconds` is the limit of each protocol that is tried."""
    return asyncio.run(_ask_all(boards, seconds, lock_dir))


async def _ask_all(boards: Sequence[Board], seconds: float, lock_dir: Path | None) -> list[Board]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def in_turn(board: Board) -> Board:
        async with turns:
            return await _ask(board, seconds, lock_dir)

    return list(await asyncio.gather(*(in_turn(board) for board in boards)))


async def _ask(board: Board, seconds: float, lock_dir: Path | None) -> Board:
    first = board[0]
    question = {
        "connection": {name: getattr(first.connection, name) for name in first.connection.__dataclass_fields__},
        "types": first.types,
        "chip": first.chip,
        "locks": sorted({place for sighting in board for place in sighting.locks}),
        "seconds": seconds,
        "lock_dir": str(lock_dir) if lock_dir else None,
    }
    limit_s = seconds * len(attempts(first.types, first.chip)) + _GRACE_S
    return _with(board, await _answer(json.dumps(question).encode(), limit_s))


async def _answer(question: bytes, limit_s: float) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "harness.discovery.prober",
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # ended with whatever tool it has started
    )
    try:
        said, complaints = await asyncio.wait_for(process.communicate(question), limit_s)
    except TimeoutError:
        return {"status": Status.NO_ANSWER, "remark": f"its driver did not come back within {limit_s:g} s"}
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        last = plain(complaints.decode("utf-8", "replace").strip().rpartition("\n")[2])
        return {"status": Status.NO_ANSWER, "remark": f"its driver ended with status {process.returncode}: {last}"}
    return answer


def _with(board: Board, answer: dict[str, Any]) -> Board:
    first = board[0]
    remarks = tuple(filter(None, [plain(str(answer.get("remark", "")), 200)]))
    if "identity" not in answer:
        status = Status(answer["status"])
        return (replace(first, status=status, remarks=(*first.remarks, *remarks)), *board[1:])
    identity = Identity(**answer["identity"])
    device_type = str(answer["device_type"])
    serial = mac_of(identity.serial) or identity.serial
    said = Sighting(
        source="probe",
        keys=first.keys | ({identity_key(serial, first.realm)} if serial else frozenset()),
        connection=replace(first.connection, flash_baudrate=answer.get("flash_baudrate")),
        types=(device_type,) if device_type else (),
        certain=bool(device_type),
        name=f"{identity.chip} {identity.revision}".strip(),
        chip=str(answer["chip"]),
        serial=serial,
        identity=identity,
        remarks=remarks,
    )
    return (said, *board)
