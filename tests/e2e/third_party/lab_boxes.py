"""A third party's families, found by entry points alone: boxes whose flash is a file in a folder.

`filebox` can be read back, `filebox-blind` can not, `filebox-slots` has two slots and a probation. A firmware is
`FW <version>` and anything after it; one with `BAD` in it does not run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from drivers.base import (
    BadImage,
    Capabilities,
    Identity,
    ImageFacts,
    Interface,
    Link,
    Log,
    Options,
    PortUnavailable,
    Progress,
    Region,
    Segment,
    TypeDefaults,
)
from drivers.files import raw

BASE, SIZE, BLOCK = 0x1000, 0x4000, 0x100
VERSION = re.compile(rb"FW (\S+)\n")


class BoxOptions(Options):
    colour: str = Field(default="black", pattern="^(black|white)$")


class BoxSession:
    flash_baudrate = 0

    def __init__(self, driver: BoxDriver, link: Link, log: Log) -> None:
        self._driver = driver
        self._folder = Path(link.port)
        self._console = b""
        self._pending = False  # the other slot is to run
        log(f"a {link.options.colour} box")  # type: ignore[attr-defined]

    def _state(self, **changes: Any) -> dict[str, Any]:
        """`running` is the slot that runs, `good` the one that is confirmed."""
        path = self._folder / "state.json"
        state = json.loads(path.read_text()) if path.exists() else {"running": "flash", "good": "flash"}
        if changes:
            path.write_text(json.dumps(state | changes))
        return state | changes

    def _file(self, slot: str) -> Path:
        return self._folder / f"{slot}.bin"

    @property
    def _target(self) -> str:
        if not self._driver.capabilities.has_slots:
            return "flash"
        return "other" if self._state()["running"] == "flash" else "flash"

    def connect(self) -> Identity:
        if not self._folder.is_dir():
            raise PortUnavailable(f"{self._folder} is not there")
        return Identity("filebox", "v1", self._folder.name, SIZE, flash_base=BASE)

    def digest(self, region: Region) -> str:
        raise AssertionError("no box hashes")

    def _contents(self, slot: str) -> bytes:
        return self._file(slot).read_bytes() if self._file(slot).exists() else b"\xff" * SIZE

    def read(self, region: Region, progress: Progress) -> bytes:
        assert self._driver.capabilities.can_read_back
        return self._contents("flash")[region.address - BASE : region.end - BASE]

    def holds(self, segment: Segment) -> bool | None:
        if self._driver.capabilities.has_slots:
            self._pending = self._contents(self._target).startswith(segment.data)
            return self._pending
        if not self._driver.capabilities.can_read_back:
            return None
        return self.read(segment.region, lambda _done, _total: None) == segment.data

    def installed_version(self, address: int) -> str | None:
        return self._version(self._state()["running"])

    def _version(self, slot: str) -> str | None:
        found = VERSION.match(self._contents(slot))
        return found[1].decode() if found else None

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        for segment in segments:
            cells = bytearray(self._contents(self._target))
            start, end = segment.address - BASE, -(-segment.region.end // BLOCK) * BLOCK - BASE
            cells[start:end] = segment.data.ljust(end - start, b"\xff")
            self._file(self._target).write_bytes(bytes(cells))
            self._pending = self._driver.capabilities.has_slots
            progress(len(segment.data), len(segment.data))

    def reset(self) -> None:
        state = self._state()
        if self._pending:
            state, self._pending = self._state(running=self._target), False
        cells = self._contents(state["running"])
        self._console = b"panic\n" if b"BAD" in cells else f"version {self._version(state['running'])}\n".encode()

    def confirm(self) -> None:
        self._state(good=self._state()["running"])

    def revert(self, version: str | None) -> bool:
        state = self._state()
        if self._version(state["good"]) != version:
            return False
        self._pending = False
        self._state(running=state["good"])
        return True

    def read_console(self, timeout_s: float) -> bytes:
        said, self._console = self._console, b""
        return said

    def write_console(self, data: bytes) -> None:
        self._console += data

    def slow_down(self) -> bool:
        return False

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class BoxDriver:
    device_type: str
    capabilities: Capabilities
    interface: Interface = Interface.SERIAL
    defaults: TypeDefaults = TypeDefaults(flash_address=BASE, flash_base=BASE)  # noqa: RUF009
    options: type[Options] = BoxOptions
    erase_block: int = BLOCK
    hash_block: int = 0x1000

    def open(self, link: Link, log: Log) -> BoxSession:
        return BoxSession(self, link, log)

    def parse(self, name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
        return raw(name, data, address)

    def inspect(self, segments: Sequence[Segment]) -> ImageFacts:
        found = VERSION.match(segments[0].data)
        if not found:
            raise BadImage(f"{segments[0].name}: no firmware of a box")
        return ImageFacts(version=found[1].decode())

    def matches(self, wanted: str, identity: Identity) -> bool:
        return wanted.startswith(identity.chip)

    def reported_version(self, console: str) -> str | None:
        return None

    def boot_failure(self, console: str) -> str | None:
        return "panic" if "panic" in console else None


FILEBOX = BoxDriver("filebox", Capabilities(can_read_back=True, can_hash=False, can_reset=True))
_BLIND = replace(FILEBOX.capabilities, can_read_back=False, can_verify=False, has_serial=False)
BLIND = BoxDriver("filebox-blind", _BLIND)
SLOTS = BoxDriver("filebox-slots", replace(_BLIND, has_slots=True, can_verify=True))
