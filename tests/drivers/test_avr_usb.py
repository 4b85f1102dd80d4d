"""The driver on virtual Leonardos: touches, each fault, what a broken write leaves, and where the board is on USB."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import serial

from drivers.avr import ARDUINO
from drivers.avr import files as avr_files
from drivers.avr.usb_place import UsbPlace
from drivers.base import (
    BadImage,
    ConnectionLost,
    DeviceError,
    Link,
    PortUnavailable,
    Region,
    Segment,
    VerificationFailed,
    WrongBoard,
)
from drivers.virtual.avr import firmware
from drivers.virtual.client import Bench
from drivers.virtual.spec import (
    BenchSpec,
    BitErrors,
    BoardSpec,
    LineDrop,
    Panics,
    PowerLoss,
    SilentLine,
    SlowErase,
    StuckInApp,
    WrongChip,
    WrongMd5,
)
from tests.drivers.avr.lab import Lab, console, ignore

BOOT = 0x7000
NEW = firmware.build("demo", "1.2.0")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Path]]:
    state = tmp_path_factory.mktemp("bench")
    boards = tuple(
        BoardSpec(board_id=name, chip="leonardo", options=options)
        for name, options in (("leonardo1", {}), ("leonardo2", {}), ("leonardo3", {}), ("frozen", {"lock_bits": 0x2B}))
    )
    with Bench.start(BenchSpec(state=state, boards=boards)) as running:
        yield running, state


@pytest.fixture
def lab(bench: tuple[Bench, Path]) -> Iterator[Lab]:
    lab = Lab(*bench)
    yield lab
    lab.close()


@pytest.mark.parametrize("face", ["url", "pty"])
def test_a_leonardo_is_identified_saved_written_verified_and_started_and_put_back(lab: Lab, face: str):
    session = lab.session("leonardo1", face=face)
    identity = session.connect()
    assert ARDUINO.matches("Arduino Leonardo", identity)
    assert ARDUINO.matches("micro", identity)
    assert identity.writable.size == 28672
    before = lab.flash("leonardo1")
    assert session.read(identity.flash, ignore) == before
    new = firmware.build("demo", f"4.5.{len(face)}", 9000)
    steps: list[tuple[int, int]] = []
    session.write([Segment(0, new)], lambda *step: steps.append(step))
    assert steps == sorted(steps)
    assert steps[-1] == (len(new), len(new))
    assert lab.flash("leonardo1").startswith(new)
    assert lab.flash("leonardo1")[BOOT:] == before[BOOT:]
    assert session.holds(Segment(0, new))
    assert not session.holds(Segment(0, before[:512]))
    session.reset()
    assert f"demo 4.5.{len(face)} ready\r\n".encode() in console(session, b"ready\r\n")
    session.write_console(b"version\r")
    assert f"4.5.{len(face)}\r\n".encode() in console(session, b"\r\n")
    session.connect()
    session.write([Segment(0, before[:BOOT], "backup")], ignore)
    assert lab.flash("leonardo1") == before


def test_a_reset_of_a_running_application_starts_it_anew(lab: Lab):
    session = lab.session("leonardo2", face="url")
    session.reset()
    assert b" ready\r\n" in console(session, b"ready\r\n")
    session.reset()
    assert b" ready\r\n" in console(session, b"ready\r\n")


def test_nothing_that_touches_the_boot_section_reaches_avrdude(lab: Lab):
    session = lab.session("leonardo2")
    session.connect()
    before = lab.flash("leonardo2")
    with pytest.raises(BadImage, match="begins at 0x7000 and must not be written"):
        session.write([Segment(BOOT - 1, b"\x11\x22")], ignore)
    assert lab.flash("leonardo2") == before


def test_a_board_in_its_boot_loader_needs_no_touch(lab: Lab):
    touch_until_in_boot_loader(lab.bench.boards["leonardo2"].url)
    assert lab.session("leonardo2").connect().chip == "atmega32u4"


def touch_until_in_boot_loader(url: str) -> None:
    for _ in range(20):
        with serial.serial_for_url(url, 1200) as port:
            port.dtr = False
        time.sleep(0.3)  # its watchdog's 0.12 s, in which DTR would call the reset off: then it is touched again
        with serial.serial_for_url(url, 57600, timeout=1) as port:
            port.write(b"S")
            if port.read(7) == b"CATERIN":
                return
    raise AssertionError("it stays in its application")


def test_an_application_waits_for_its_own_port_to_be_opened_not_the_boot_loaders(lab: Lab):
    """Also where the bench stood still, and is told both at once: that the loader is over, that its port is closed."""
    url = lab.bench.boards["leonardo2"].url
    touch_until_in_boot_loader(url)
    with serial.serial_for_url(url, 57600, timeout=30) as port:
        port.write(b"E")
        assert port.read(1) == b"\r"
        os.kill(lab.bench._process.pid, signal.SIGSTOP)
        time.sleep(0.6)
    os.kill(lab.bench._process.pid, signal.SIGCONT)
    assert b" ready\r\n" in console(lab.session("leonardo2", face="url"), b"ready\r\n")


def test_a_line_that_drops_in_a_block_leaves_a_boot_loader_that_is_found_again(lab: Lab):
    session = lab.session("leonardo3", face="url")
    session.connect()
    before = lab.flash("leonardo3")
    lab.bench.set_faults("leonardo3", [LineDrop(fault="line-drop", after_bytes=1500, times=2)])
    with pytest.raises(ConnectionLost):
        session.write([Segment(0, NEW)], ignore)
    assert lab.flash("leonardo3")[:128] == b"\xff" * 128, "it would start half of an application"
    with pytest.raises(ConnectionLost, match="connect first"):
        session.holds(Segment(0, NEW))
    lab.bench.set_faults("leonardo3", [])
    session.connect()
    session.write([Segment(0, before[:BOOT])], ignore)
    assert lab.flash("leonardo3") == before


def test_a_power_loss_in_the_middle_of_a_write_is_mended_without_a_hand_at_reset(lab: Lab):
    session = lab.session("leonardo3")
    session.connect()
    before = lab.flash("leonardo3")
    lab.bench.set_faults("leonardo3", [PowerLoss(fault="power-loss", at_byte=2000, off_s=0.5)])
    with pytest.raises(DeviceError):
        session.write([Segment(0, NEW)], ignore)
    assert lab.flash("leonardo3") not in (before, NEW + before[len(NEW) :])
    session.connect()
    session.write([Segment(0, before[:BOOT])], ignore)
    assert lab.flash("leonardo3") == before


def test_firmware_that_hangs_never_comes_to_its_banner_and_can_be_replaced(lab: Lab):
    session = lab.session("leonardo2")
    session.connect()
    before = lab.flash("leonardo2")
    lab.bench.set_faults("leonardo2", [Panics(fault="panics", versions=("1.2.0",))])
    session.write([Segment(0, NEW)], ignore)
    session.reset()
    assert console(session, b"ready", 1.0) == b""
    session.connect()
    session.write([Segment(0, before[:BOOT])], ignore)
    assert lab.flash("leonardo2") == before


def test_a_silent_board_is_a_lost_connection(lab: Lab):
    lab.bench.set_faults("leonardo1", [SilentLine(fault="silent")])
    with pytest.raises(ConnectionLost):
        lab.session("leonardo1", connect_timeout_s=1).connect()


def test_a_board_that_ignores_its_touch_is_a_lost_connection_and_one_that_does_once_is_touched_again(lab: Lab):
    lab.bench.set_faults("leonardo2", [StuckInApp(fault="stuck-in-app", times=1)])
    assert lab.session("leonardo2").connect().chip == "atmega32u4"
    lab.bench.set_faults("leonardo1", [StuckInApp(fault="stuck-in-app")])
    with pytest.raises(ConnectionLost):
        lab.session("leonardo1", connect_timeout_s=1).connect()


def test_another_chip_is_never_written(lab: Lab):
    lab.bench.set_faults("leonardo1", [WrongChip(fault="wrong-chip", chip="atmega16u4")])
    session = lab.session("leonardo1")
    with pytest.raises(WrongBoard, match="1e9488"):
        session.connect()
    with pytest.raises(ConnectionLost, match="connect first"):
        session.write([Segment(0, NEW)], ignore)


def test_bit_errors_end_as_errors_never_as_wrong_bytes(lab: Lab):
    session = lab.session("leonardo2")
    lab.bench.set_faults("leonardo2", [BitErrors(fault="bit-errors", rate=0.0001, times=1)])
    with suppress(VerificationFailed, ConnectionLost, WrongBoard):
        session.connect()
    identity = session.connect()
    assert session.read(identity.flash, ignore) == lab.flash("leonardo2")


def test_flash_that_does_not_take_what_is_written_fails_verification(lab: Lab):
    session = lab.session("frozen", "leonardo")
    session.connect()
    before = lab.flash("frozen")
    with pytest.raises(VerificationFailed, match="mismatch"):
        session.write([Segment(0, NEW)], ignore)
    assert lab.flash("frozen") == before
    lab.lines.clear()
    session.connect()
    of_loader = [line for line in lab.lines if line.startswith("the boot loader")]
    assert not of_loader or "in the middle" not in of_loader[0], "avrdude had ended it"


def test_slow_erases_are_waited_for(lab: Lab):
    session = lab.session("leonardo2")
    session.connect()
    lab.bench.set_faults("leonardo2", [SlowErase(fault="slow-erase", seconds=1.0, times=1)])
    session.write([Segment(0x4000, b"\x42" * 512)], ignore)
    assert session.read(Region(0x4000, 512), ignore) == b"\x42" * 512 == lab.flash("leonardo2")[0x4000:0x4200]


@pytest.mark.parametrize("fault", [WrongMd5(fault="wrong-md5"), WrongChip(fault="wrong-chip", chip="uno")])
def test_a_fault_that_it_can_not_have_is_refused_by_name(lab: Lab, fault: object):
    with pytest.raises(Exception, match=r"wrong-md5|another kind of port"):
        lab.bench.set_faults("leonardo1", [fault])


def test_a_port_that_is_not_there_or_in_use_says_so(lab: Lab, tmp_path: Path):
    with pytest.raises(PortUnavailable, match="ttyACM7"):
        ARDUINO.open(Link(str(tmp_path / "ttyACM7"), 115200, 115200, chip="micro"), print).connect()
    with serial.Serial(lab.bench.boards["leonardo1"].pty, exclusive=True), pytest.raises(PortUnavailable, match="lock"):
        lab.session("leonardo1").connect()


def test_the_first_page_is_erased_first_and_written_last():
    pages = {0: b"\x01" * 128, 128: b"\x02" * 128, 0x400: b"\x03" * 128}
    assert avr_files.in_safe_order(pages, 128) == [
        {0: b"\xff" * 128}, {128: b"\x02" * 128, 0x400: b"\x03" * 128}, {0: b"\x01" * 128},
    ]  # fmt: skip
    assert avr_files.in_safe_order({128: b"\x02" * 128}, 128) == [{128: b"\x02" * 128}]
    assert avr_files.in_safe_order({0: b"\x02" * 128}, 128) == [{0: b"\x02" * 128}]


@dataclass
class Port:
    device: str
    location: str | None
    pid: int | None


def test_a_board_is_found_again_at_its_place_on_usb_under_whatever_name(tmp_path: Path):
    name = tmp_path / "by-path"
    application, other = Port(str(tmp_path / "ttyACM0"), "1-2.1:1.0", 0x8036), Port("/dev/ttyACM5", "1-2.2:1.0", 0x8036)
    loader = Port("/dev/ttyACM6", "1-2.1:1.0", 0x0036)
    listed = [other, application]
    name.symlink_to(application.device)
    place = UsbPlace(str(name), lambda: listed)
    first = place.look()
    assert first is not None
    assert first.device == application.device
    listed.remove(application)
    assert place.look() is None
    listed.append(loader)
    second = place.look()
    assert second is not None
    assert second.device == "/dev/ttyACM6"
    assert second.number != first.number


@pytest.mark.parametrize("name", ["rfc2217://127.0.0.1:4000", "/dev/pts/77"])
def test_what_is_not_on_usb_has_no_place_there(name: str):
    place = UsbPlace(name, lambda: [Port("/dev/pts/77", None, None), Port("/dev/ttyS0", None, None)])
    assert place.look() is None
    assert not place.is_known
