"""The driver against the boot loaders' real code, on a simulated CPU that runs a real sketch: no board of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.avr import ARDUINO, AvrSession
from drivers.base import ConnectionLost, Link, Segment
from tests.drivers.avr import simulated
from tests.drivers.avr.lab import console, ignore
from tests.drivers.avr.tools import avrdude, compile_sketch, contents_of

UNO, MEGA = "atmega328p", "atmega2560"
OLD_SIZE, NEW_SIZE, CUT_AT = 0x700, 0x800, 0x400


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tools")
    return simulated.build_simulator(folder), simulated.build_optiboot(folder)


def opened(pty: str, chip: str, baud: int = 115200) -> AvrSession:
    return ARDUINO.open(Link(pty, 115200, baud, chip=chip), lambda _line: None)


@pytest.mark.parametrize(("loader", "chip", "baud"), [("optiboot", "uno", 115200), ("atmegaboot", "nano", 57600)])
def test_a_loaders_own_code_is_written_verified_and_has_its_old_firmware_back_after_a_power_cut(
    tools, tmp_path: Path, loader: str, chip: str, baud: int
):
    simulator, optiboot = tools
    old = contents_of(compile_sketch(tmp_path, UNO, "kiln 4.5.5 ready")).ljust(OLD_SIZE, b"\x55")
    new = contents_of(compile_sketch(tmp_path, UNO, "kiln 4.5.6 ready")).ljust(NEW_SIZE, b"\xaa")
    flash = tmp_path / "flash.bin"
    flash.write_bytes(simulated.flash_with(optiboot if loader == "optiboot" else simulated.ATMEGABOOT, 0x8000, old))
    before = flash.read_bytes()
    with simulated.running(simulator, UNO, 0x7E00 if loader == "optiboot" else 0x7800, flash, CUT_AT) as board:
        session = opened(board.pty, chip, baud)
        boot = session.connect().writable.end
        with pytest.raises(ConnectionLost):
            session.write([Segment(0, new)], ignore)
        session.connect()
        session.write([Segment(0, before[:NEW_SIZE])], ignore)
        assert session.holds(Segment(0, old))
        session.reset()
        assert console(session, b"ready\r\n") == b"kiln 4.5.5 ready\r\n"
        session.connect()
        session.write([Segment(0, new)], ignore)
        session.reset()
        assert console(session, b"ready\r\n") == b"kiln 4.5.6 ready\r\n"
        session.write_console(b"echo")
        assert console(session, b"echo") == b"echo"
        session.close()
    assert flash.read_bytes() == new + before[NEW_SIZE:]
    assert before[boot - 1] == 0xFF != before[boot], "there the boot loader begins"


def test_all_of_an_unos_flash_is_read_with_its_boot_section(tools, tmp_path: Path):
    simulator, loader = tools
    flash = tmp_path / "flash.bin"
    flash.write_bytes(simulated.flash_with(loader, 0x8000, bytes(range(256)) * 100))
    with simulated.running(simulator, UNO, 0x7E00, flash) as board:
        session = opened(board.pty, "uno")
        assert session.read(session.connect().flash, ignore) == flash.read_bytes()
        session.close()


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
        assert console(session, b"ready\r\n") == b"loom 7.8.9 ready\r\n"
        session.close()
