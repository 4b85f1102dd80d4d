"""The driver against the boot loaders' real code, on a simulated CPU that runs a real sketch: no board of ours."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from drivers.avr import ARDUINO, AvrSession
from drivers.base import Link, Segment
from tests.drivers.avr import simulated
from tests.drivers.avr.tools import avrdude, compile_sketch, contents_of

UNO, MEGA = "atmega328p", "atmega2560"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tools")
    return simulated.build_simulator(folder), simulated.build_optiboot(folder)


def ignore(_done: int, _total: int) -> None:
    pass


def opened(pty: str, chip: str) -> AvrSession:
    return ARDUINO.open(Link(pty, 115200, 115200, chip=chip), lambda _line: None)


def said(session: AvrSession, wanted: bytes) -> bytes:
    heard, end = b"", time.monotonic() + 10
    while wanted not in heard and time.monotonic() < end:
        heard += session.read_console(0.2)
    return heard


def test_optiboots_own_code_is_identified_written_and_verified_and_the_sketch_runs(tools, tmp_path: Path):
    simulator, loader = tools
    flash = tmp_path / "flash.bin"
    flash.write_bytes(simulated.flash_with(loader, 0x8000))
    boot = flash.read_bytes()[0x7E00:]
    sketch = compile_sketch(tmp_path, UNO, "kiln 4.5.6 ready")
    segments = ARDUINO.parse(sketch.name, sketch.read_bytes(), None)
    with simulated.running(simulator, UNO, 0x7E00, flash) as board:
        session = opened(board.pty, "uno")
        assert session.connect().chip == UNO
        assert not session.holds(segments[0])
        session.connect()
        session.write(segments, ignore)
        assert session.holds(segments[0])
        session.reset()
        assert said(session, b"ready\r\n") == b"kiln 4.5.6 ready\r\n"
        session.write_console(b"echo")
        assert said(session, b"echo") == b"echo"
        session.close()
    assert flash.read_bytes().startswith(contents_of(sketch))
    assert flash.read_bytes()[0x7E00:] == boot


def test_the_megas_own_code_erases_its_first_page_whichever_is_written(tools, tmp_path: Path):
    """Which is why the driver writes a Mega from 0 on, and never in part."""
    simulator, _ = tools
    flash = tmp_path / "flash.bin"
    flash.write_bytes(simulated.flash_with(simulated.MEGA_LOADER, 0x40000, b"\x0c" * 0x400))
    page = tmp_path / "page.hex"
    page.write_text(":10800000000102030405060708090A0B0C0D0E0FF8\n:00000001FF\n")
    with simulated.running(simulator, MEGA, 0x3E000, flash) as board:
        status, output = avrdude(board.pty, MEGA, f"flash:w:{page}:i")
        assert status == 0, output
    assert flash.read_bytes()[:0x100] == b"\xff" * 0x100
    assert flash.read_bytes()[0x100:0x400] == b"\x0c" * 0x300


def test_the_megas_own_code_is_identified_and_compared(tools, tmp_path: Path):
    simulator, _ = tools
    flash = tmp_path / "flash.bin"
    sketch = contents_of(compile_sketch(tmp_path, MEGA, "loom 7.8.9 ready"))
    flash.write_bytes(simulated.flash_with(simulated.MEGA_LOADER, 0x40000, sketch))
    with simulated.running(simulator, MEGA, 0x3E000, flash) as board:
        session = opened(board.pty, "mega2560")
        assert session.connect().flash_size == 0x40000
        assert session.holds(Segment(0, sketch))
        assert not session.holds(Segment(0x10, b"\x00" * 16))
        session.reset()
        assert said(session, b"ready\r\n") == b"loom 7.8.9 ready\r\n"
        session.close()
