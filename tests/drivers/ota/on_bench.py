"""A driver of boards on the network, and such a board, for the tests of both protocols."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import drivers
from drivers.base import ConnectionLost, Link, NetworkFailed, PhaseTimeout, Segment, Session
from drivers.virtual.client import Bench
from drivers.virtual.esp import firmware
from drivers.virtual.spec import BenchSpec, BoardSpec, Fault

OLD, NEW = "1.1.0", "1.2.0"
MAC = "24:0a:c4:12:34:56"
PASSWORD = "correct horse battery"
PASSWORD_VARIABLE = "TEST_OTA_PASSWORD"
STATUS = {"version_path": "/version", "restart_s": 0.5}


def image(version: str = NEW, chip: str = "esp32", **more: Any) -> Segment:
    return Segment(0, firmware.build_app(chip, "demo", version, **more), f"demo-{version}.bin")


def ignore(_done: int, _total: int) -> None:
    pass


@dataclass
class OnBench:
    """One board on a bench of its own, and what is known of it."""

    folder: Path
    bench: Bench
    device_type: str
    options: dict[str, Any]
    lines: list[str] = field(default_factory=list)

    @property
    def driver(self) -> Any:
        return drivers.load_driver(self.device_type)

    @property
    def port(self) -> str:
        return self.bench.boards["board"].connection["port"]

    def link(self, **more: Any) -> Link:
        settings: dict[str, Any] = {"connect_timeout_s": 20.0, "read_timeout_s": 20.0, "untouched": True, **more}
        options = self.driver.options.model_validate(self.options)
        return Link(self.port, 115200, 115200, chip=self.device_type, options=options, **settings)

    @contextmanager
    def session(self, **more: Any) -> Iterator[Session]:
        session = self.driver.open(self.link(**more), self.lines.append)
        try:
            yield session
        finally:
            session.close()

    def slot(self, number: int, size: int) -> bytes:
        return (self.folder / "board" / f"slot{number}.bin").read_bytes()[:size]

    def faults(self, *faults: Fault) -> None:
        self.bench.set_faults("board", faults)

    def what_runs(self) -> str:
        """The board's own word, by a session of its own; the board may be restarting."""
        other = OnBench(self.folder, self.bench, self.device_type, {**self.options, **STATUS})
        with other.session() as session:
            end = time.monotonic() + 30
            while True:
                try:
                    session.connect()
                    return session.installed_version(0) or ""
                except (NetworkFailed, ConnectionLost, PhaseTimeout):
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.05)

    def comes_to_run(self, version: str) -> bool:
        """Once it has restarted, which it does a moment after its OK."""
        end = time.monotonic() + 30
        while self.what_runs() != version:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True


@contextmanager
def on_bench(
    folder: Path,
    device_type: str,
    options: dict[str, Any] | None = None,
    *,
    board: dict[str, Any] | None = None,
    chip: str = "esp32",
    faults: tuple[Fault, ...] = (),
    shared: bool = True,
) -> Iterator[OnBench]:
    """A board that runs OLD. `board`: its own options; `shared`: it has the target's, too."""
    options = {**STATUS} if options is None else options
    factory = folder / "factory.bin"
    factory.write_bytes(firmware.build_app(chip, "demo", OLD))
    spec = BoardSpec(
        board_id="board",
        chip=device_type,
        mac=MAC,
        factory=factory,
        faults=faults,
        options={**(options if shared else {}), **(board or {})},
    )
    with Bench.start(BenchSpec(state=folder, boards=(spec,))) as bench:
        yield OnBench(folder, bench, device_type, options)


def console_until(session: Session, pattern: str, timeout_s: float = 30.0) -> str:
    """What the session gives to read until the pattern is in it; all of it when it never is."""
    text, end = "", time.monotonic() + timeout_s
    while not re.search(pattern, text) and time.monotonic() < end:
        text += session.read_console(0.2).decode()
    return text


def everything_said(error: BaseException, lines: list[str]) -> str:
    """All that a report or a log could show of an error and its causes."""
    said = [*lines, *traceback.format_exception(error)]
    seen: list[BaseException] = []
    while error is not None:
        assert error not in seen, "an error is its own cause"
        seen.append(error)
        said += [str(error), repr(error), repr(error.args), repr(getattr(error, "advice", ""))]
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return "\n".join(said)
