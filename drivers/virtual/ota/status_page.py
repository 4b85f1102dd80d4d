"""The page on which the bench's own firmware says what it is. Real applications have one of their own making."""

from __future__ import annotations

import json

from drivers.virtual.ota.espressif import EspressifBoard
from drivers.virtual.ota.ports import Serve
from drivers.virtual.ota.web import Answer, Request, server

DEFAULT_PATH = "/version"


def contents(board: EspressifBoard) -> str:
    """Name, version, chip and MAC, and the MD5 of the running image where the chip can tell (ESP.getSketchMD5)."""
    mac = ":".join(f"{byte:02x}" for byte in board.mac)
    page = {"name": board.project, "version": board.version, "chip": board.chip.name, "mac": mac}
    if board.running is not None and board.running.md5:
        page["md5"] = board.running.md5
    return json.dumps(page)


def answer(board: EspressifBoard) -> Answer:
    """The page."""
    return Answer(200, contents(board), "application/json")


def at(path: str, board: EspressifBoard) -> Serve:
    """A web server with this page alone."""

    async def handle(request: Request) -> Answer:
        await request.drain()
        if request.method != "GET" or request.path != path:
            return Answer(404, f"Not found: {request.path}")
        return answer(board)

    return server(handle)
