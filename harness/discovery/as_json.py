"""Found boards in the words of `GET /api/devices/discover`: that answer's keys, and what else is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from harness.discovery.sighting import Found


def as_json(found: Iterable[Found]) -> dict[str, Any]:
    """`device_type` is null where nobody knows; `candidates` then says what it may be. Sizes in bytes."""
    return {"success": True, "devices": [_device(board) for board in found]}


def _device(board: Found) -> dict[str, Any]:
    return {
        "device_id": board.device_id,
        "device_type": board.device_type or None,
        "connection_info": board.connection.info,
        "status": str(board.status),
        "certain": board.certain,
        "candidates": list(board.candidates),
        "name": board.name,
        "chip": board.chip or None,
        "serial": board.serial or None,
        "identity": asdict(board.identity) if board.identity else None,
        "others": [
            {"device_type": way.device_type or None, "connection_info": way.connection.info} for way in board.others
        ],
        "sources": list(board.sources),
        "remarks": list(board.remarks),
    }
