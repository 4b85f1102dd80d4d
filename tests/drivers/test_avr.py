"""The AVR driver on virtual boards: what the Protocol promises, with each fault, over RFC2217 and on a pty."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

import drivers
from drivers.avr import ARDUINO, AvrOptions, avrdude
from drivers.avr import errors as avr_errors
from drivers.base import (
    BadImage,
    ConnectionLost,
    DeviceError,
    Link,
    PhaseTimeout,
    PortInUse,
    PortPermission,
    PortUnavailable,
    Region,
    Segment,
    VerificationFailed,
    WrongBoard,
)
from drivers.virtual.avr import firmware
from drivers.virtual.client import Bench
from drivers.virtual.errors import BenchError
from drivers.virtual.spec import (
    BenchSpec,
    BitErrors,
    BoardSpec,
    LineDrop,
    Panics,
    PowerLoss,
    SilentLine,
    SlowErase,
    Speed,
    StuckInApp,
    WrongChip,
    WrongMd5,
)
from drivers.virtual.station import make_station
from harness.deadline import limit
from tests.drivers.avr.lab import Lab, console, ignore
from tests.drivers.avr.tools import compile_sketch, contents_of

NEW = firmware.build("demo", "1.2.0")
ALL_OF_AN_UNO = Region(0, 0x8000)
PATIENT = {"watchdog_s": 2}  # a busy machine lets avrdude, or this process, stand still for longer than the usual 1 s


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Path]]:
    state = tmp_path_factory.mktemp("bench")
    boards = (
        BoardSpec(board_id="uno", chip="uno", options=PATIENT),
        BoardSpec(board_id="uno8", chip="uno", options={**PATIENT, "bootloader": "optiboot-8.3"}),
        BoardSpec(board_id="nano", chip="nano", options=PATIENT),
        BoardSpec(board_id="oldnano", chip="nano", flash_baudrate=57600, options=PATIENT),
        BoardSpec(board_id="mega", chip="mega2560", options={"lock_bits": 0x3F}),
        BoardSpec(board_id="bare", chip="uno", options={**PATIENT, "lock_bits": 0x3F}),
        BoardSpec(board_id="frozen", chip="uno", options={**PATIENT, "lock_bits": 0x3B}),
    )
    with Bench.start(BenchSpec(state=state, boards=boards)) as running:
        yield running, state


@pytest.fixture
def lab(bench: tuple[Bench, Path]) -> Iterator[Lab]:
    lab = Lab(*bench)
    yield lab
    lab.close()


@pytest.mark.parametrize(("board", "face"), [("uno", "url"), ("uno8", "pty"), ("nano", "pty"), ("mega", "url")])
def test_every_board_is_identified_written_verified_read_and_started(lab: Lab, tmp_path: Path, board: str, face: str):
    session = lab.session(board, face=face)
    identity = session.connect()
    assert ARDUINO.matches(board.rstrip("8"), identity)
    assert identity.flash_size == len(lab.flash(board))
    file = compile_sketch(tmp_path, identity.chip, f"kiln 3.1.{len(face)} ready")
    segments = ARDUINO.parse(file.name, file.read_bytes(), 0)
    boot = lab.flash(board)[-identity.reserved :]
    session.write(segments, ignore)
    assert lab.flash(board).startswith(contents_of(file))
    assert lab.flash(board)[-identity.reserved :] == boot
    assert all(session.holds(segment) for segment in segments)
    assert session.read(Region(0x40, 0x1000), ignore) == lab.flash(board)[0x40:0x1040]
    session.reset()
    assert f"kiln 3.1.{len(face)} ready\r\n".encode() in console(session, b"ready\r\n")


@pytest.mark.parametrize(("chip", "watchdog_s"), [("uno", 3), ("nano", True), ("mega2560", 2)])
def test_a_watchdog_that_no_boot_loader_has_is_refused(tmp_path: Path, chip: str, watchdog_s: float):
    spec = BoardSpec(board_id="b", chip=chip, options={"watchdog_s": watchdog_s})
    with pytest.raises(BenchError, match="watchdog_s is one of"), make_station(spec, tmp_path, 0):
        pass


def test_the_driver_is_found_by_its_device_type():
    assert drivers.load_driver("arduino") is ARDUINO


@pytest.mark.parametrize("name", ["", "arduino", "uno", "Arduino Uno", "nano", "pro-mini", "ATmega328P", "m328p"])
def test_usual_names_of_an_uno_mean_its_chip(name: str):
    identity = ARDUINO.open(Link("/dev/null", 1, 1, chip=name), print)._part.identity
    assert ARDUINO.matches(name, identity)
    assert not ARDUINO.matches("mega2560", identity)
    assert not ARDUINO.matches("esp32", identity)


def test_a_name_that_nobody_knows_is_refused_with_those_that_are_known():
    with pytest.raises(DeviceError, match="esp32") as raised:
        ARDUINO.open(Link("/dev/null", 115200, 115200, chip="esp32"), print)
    assert "mega2560" in raised.value.advice


@pytest.mark.parametrize(
    ("chip", "options", "largest"),
    [
        ("uno", AvrOptions(), 32256),
        ("nano", AvrOptions(), 30720),
        ("mega2560", AvrOptions(), 253952),
        ("nano", AvrOptions(boot_size=512), 32256),
        ("mini", AvrOptions(), 28672),
    ],
)
def test_the_writable_flash_is_boards_txts_maximum_size(chip: str, options: AvrOptions, largest: int):
    part = ARDUINO.open(Link("/dev/null", 1, 1, chip=chip, options=options), print)._part
    assert part.identity.writable.size == largest
    assert part.identity.writable.size % ARDUINO.hash_block == 0
    assert ARDUINO.hash_block % ARDUINO.erase_block == 0


@pytest.mark.parametrize(
    ("chip", "boot_size", "reserved"), [("uno", None, 2048), ("mini", None, 4096), ("uno", 512, 512)]
)
def test_a_loader_with_57600_baud_is_the_old_one_of_2_kib_unless_somebody_knows_better(
    chip: str, boot_size: int | None, reserved: int
):
    link = Link("/dev/null", 115200, 57600, chip=chip, options=AvrOptions(boot_size=boot_size))
    assert ARDUINO.open(link, print)._part.identity.reserved == reserved


@pytest.mark.parametrize(("chip", "size"), [("uno", 8192), ("uno", 1536), ("mega2560", 512)])
def test_a_boot_section_that_no_fuses_choose_is_refused(chip: str, size: int):
    with pytest.raises(DeviceError, match=f"no boot section of {size} bytes"):
        ARDUINO.open(Link("/dev/null", 1, 1, chip=chip, options=AvrOptions(boot_size=size)), print)


def test_nothing_that_touches_the_boot_section_reaches_avrdude(lab: Lab):
    session = lab.session("bare", "uno")
    session.connect()
    before = lab.flash("bare")
    lab.lines.clear()
    for at, size in ((0, 33000), (0x7DFF, 2)):
        with pytest.raises(BadImage, match="must not be written"):
            session.write([Segment(at, bytes(size), "big.bin")], ignore)
        session.connect()
    assert not [line for line in lab.lines if "writing" in line]
    session.write([Segment(0x7D80, b"\x11" * 128)], ignore)
    assert lab.flash("bare") == before[:0x7D80] + b"\x11" * 128 + before[0x7E00:]


def test_a_full_backup_is_put_back_to_the_last_byte_and_the_boot_section_left_alone(lab: Lab):
    session = lab.session("bare", "uno")
    identity = session.connect()
    before = lab.flash("bare")
    kept = session.read(identity.flash, ignore)
    assert kept == before
    session.write([Segment(0, NEW), Segment(0x6000, b"\x00" * 0x1E00)], ignore)
    assert lab.flash("bare") != before
    session.connect()
    session.write([Segment(0, kept[: identity.writable.size], "backup")], ignore)
    assert lab.flash("bare") == before
    session.reset()
    assert console(session, b"ready")


def test_what_was_read_is_kept_until_the_flash_changes(lab: Lab):
    session = lab.session("uno")
    session.connect()
    session.read(Region(0, 512), ignore)
    runs = sum("initialized" in line for line in lab.lines)
    assert session.read(Region(512, 512), ignore) == lab.flash("uno")[512:1024]
    assert not session.holds(Segment(0, b"\x00" * 64))
    assert sum("initialized" in line for line in lab.lines) == runs
    session.write([Segment(512, b"\x42" * 512)], ignore)
    assert session.read(Region(512, 512), ignore) == b"\x42" * 512


def test_a_read_beyond_the_flash_is_an_error_never_a_short_read(lab: Lab):
    session = lab.session("uno")
    session.connect()
    with pytest.raises(DeviceError, match="ends at 0x8000"):
        session.read(Region(0x7F00, 0x200), ignore)


def test_progress_grows_to_the_total(lab: Lab):
    session = lab.session("uno")
    session.connect()
    seen: list[tuple[int, int]] = []
    session.write([Segment(0, NEW), Segment(0x4000, b"\x01" * 4096)], lambda *step: seen.append(step))
    assert {total for _, total in seen} == {len(NEW) + 4096}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len({done for done, _ in seen}) > 4
    assert seen[-1][0] == len(NEW) + 4096


def test_holds_tells_right_from_wrong_by_reading_back(lab: Lab):
    session = lab.session("uno")
    session.connect()
    session.write([Segment(0, NEW)], ignore)
    assert session.holds(Segment(0, NEW))
    assert session.holds(Segment(100, NEW[100:333]))
    assert not session.holds(Segment(0, NEW[:-1] + bytes([NEW[-1] ^ 1])))
    assert not session.holds(Segment(0x7FF0, bytes(100)))


def test_a_write_that_does_not_begin_at_zero_keeps_the_megas_first_page(lab: Lab):
    """Its boot loader erases from 0 on, whatever is written."""
    session = lab.session("mega", face="url")
    session.connect()
    session.write([Segment(0, firmware.build("demo", "1.1.0", 20000))], ignore)
    before = lab.flash("mega")
    session.write([Segment(0x4000, b"\x77" * 300), Segment(0x4800, b"\x78" * 256)], ignore)
    page = b"\x77" * 300 + b"\xff" * 212
    assert lab.flash("mega") == before[:0x4000] + page + before[0x4200:0x4800] + b"\x78" * 256 + before[0x4900:]


def test_where_the_megas_boot_loader_never_erases_nothing_is_changed(lab: Lab):
    session = lab.session("mega")
    session.connect()
    before = lab.flash("mega")
    with pytest.raises(BadImage, match="never erases"):
        session.write([Segment(0, b"\x0c" * 0x3C100)], ignore)
    assert lab.flash("mega") == before


def test_a_silent_board_is_a_lost_connection_in_time_and_its_port_is_free_afterwards(lab: Lab):
    lab.bench.set_faults("uno", [SilentLine(fault="silent")])
    session = lab.session("uno", face="url")
    begun = time.monotonic()
    with pytest.raises(ConnectionLost, match="does not answer"):
        session.connect()
    assert time.monotonic() - begun < 50, "avrdude alone takes 56 s"
    lab.bench.set_faults("uno", [])
    with serial.serial_for_url(lab.bench.boards["uno"].url) as port:
        assert port.is_open


def test_a_silent_mega_is_named_as_such_with_what_to_look_at(lab: Lab):
    lab.bench.set_faults("mega", [SilentLine(fault="silent")])
    session = lab.session("mega", connect_timeout_s=1)
    with pytest.raises(ConnectionLost, match="the boot loader does not answer") as caught:
        session.connect()
    assert "flash_baudrate" in caught.value.advice


def test_a_board_that_is_silent_once_is_reset_again(lab: Lab):
    lab.bench.set_faults("nano", [SilentLine(fault="silent", times=1)])
    session = ARDUINO.open(Link(lab.bench.boards["nano"].url, 115200, 115200, chip="nano"), lab.lines.append)
    try:
        # pyserial asserts DTR when it opens the port: that reset is the silent one, or the first of the driver's own
        assert session.connect().chip == "atmega328p"
    finally:
        session.close()


def carry(source: socket.socket, target: socket.socket, delay_s: float) -> None:
    with suppress(OSError):
        while data := source.recv(4096):
            time.sleep(delay_s)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def far_away(url: str, delay_s: float) -> Iterator[str]:
    """The same port, at the far end of a line that is so slow, both ways. For one connection."""
    host, port = url.removeprefix("rfc2217://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection((host, int(port))) as board:
        address = f"rfc2217://127.0.0.1:{server.getsockname()[1]}"

        def serve() -> None:
            with server.accept()[0] as driver:
                there = threading.Thread(target=carry, args=(driver, board, delay_s))
                there.start()
                carry(board, driver, delay_s)
                there.join()

        thread = threading.Thread(target=serve)
        thread.start()
        yield address
        thread.join()


def test_a_board_behind_a_slow_network_is_no_silent_one(lab: Lab):
    """Its answers to our GET_SYNCs come when avrdude is waiting for that to its own."""
    with far_away(lab.bench.boards["uno"].url, 0.15) as url:
        session = ARDUINO.open(Link(url, 115200, 115200, chip="uno"), lab.lines.append)
        try:
            assert session.connect().chip == "atmega328p"
        finally:
            session.close()
    assert "the boot loader does not answer" not in lab.lines


@pytest.mark.parametrize("face", ["url", "pty"])
def test_a_loader_with_a_rate_of_its_own_is_spoken_to_at_it_and_the_application_at_its(lab: Lab, face: str):
    link = Link(getattr(lab.bench.boards["oldnano"], face), 115200, 57600, chip="nano")
    session = ARDUINO.open(link, lab.lines.append)
    try:
        assert session.connect().chip == "atmega328p"
        session.write([Segment(0, NEW)], ignore)
        session.reset()
        assert b"demo 1.2.0" in console(session, b"ready\r\n")
    finally:
        session.close()


def test_a_board_that_ignores_its_reset_is_a_lost_connection(lab: Lab):
    lab.bench.set_faults("uno8", [StuckInApp(fault="stuck-in-app")])
    with pytest.raises(ConnectionLost):
        lab.session("uno8").connect()


@pytest.mark.parametrize("other", ["atmega168", "nano"])
def test_another_chip_is_never_written(lab: Lab, other: str):
    lab.bench.set_faults("uno8", [WrongChip(fault="wrong-chip", chip="atmega168")])
    session = lab.session("uno8", "uno" if other == "atmega168" else other)
    with pytest.raises(WrongBoard, match=r"1e9406 \(atmega168\), that of an atmega328p is 1e950f"):
        session.connect()
    with pytest.raises(ConnectionLost, match="connect first"):
        session.write([Segment(0, NEW)], ignore)


def test_a_328_without_the_p_is_a_part_of_its_own(lab: Lab):
    lab.bench.set_faults("uno8", [WrongChip(fault="wrong-chip", chip="atmega328")])
    with pytest.raises(WrongBoard, match=r"1e9514 \(atmega328\), that of an atmega328p is 1e950f"):
        lab.session("uno8", "uno").connect()
    session = lab.session("uno8", "ATmega328")
    identity = session.connect()
    assert (identity.chip, identity.writable.end) == ("atmega328", 0x7E00)
    assert ARDUINO.matches("m328", identity)
    assert not ARDUINO.matches("uno", identity)
    session.write([Segment(0, NEW)], ignore)
    assert session.holds(Segment(0, NEW))


def test_a_mega_on_the_port_of_an_uno_is_not_written(lab: Lab):
    """It speaks another protocol: nobody answers."""
    before = lab.flash("mega")
    with pytest.raises(DeviceError):
        lab.session("mega", "uno").connect()
    assert lab.flash("mega") == before


def test_a_line_that_drops_while_writing_leaves_no_half_working_session(lab: Lab):
    session = lab.session("bare", "uno", face="url")
    session.connect()
    session.close()
    lab.bench.set_faults("bare", [LineDrop(fault="line-drop", after_bytes=2000, times=1)])
    session.connect()
    with pytest.raises(ConnectionLost):
        session.write([Segment(0, NEW)], ignore)
    with pytest.raises(ConnectionLost, match="connect first"):
        session.holds(Segment(0, NEW))
    session.connect()
    session.write([Segment(0, NEW)], ignore)
    assert lab.flash("bare").startswith(NEW)


def test_a_power_loss_in_the_middle_of_a_write_is_an_error_and_the_old_contents_come_back(lab: Lab):
    session = lab.session("bare", "uno", face="url")
    identity = session.connect()
    before = session.read(identity.flash, ignore)
    changed = bytes(byte ^ 0x5A for byte in before[:4000])
    lab.bench.set_faults("bare", [PowerLoss(fault="power-loss", at_byte=1000, off_s=0.5)])
    with pytest.raises(DeviceError):
        session.write([Segment(0, changed)], ignore)
    assert lab.flash("bare")[:1000] == changed[:1000]
    assert lab.flash("bare")[1024:] == before[1024:]
    session.connect()
    session.write([Segment(0, before[: identity.writable.size])], ignore)
    assert lab.flash("bare") == before


def test_bit_errors_end_as_errors_never_as_wrong_bytes(lab: Lab):
    """STK500v1 has no checksums: what is read is read twice."""
    session = lab.session("uno")
    session.connect()
    lab.bench.set_faults("uno", [BitErrors(fault="bit-errors", rate=0.0001, times=1)])
    with suppress(VerificationFailed, ConnectionLost):
        assert session.read(ALL_OF_AN_UNO, ignore) == lab.flash("uno")
    session.connect()
    assert session.read(ALL_OF_AN_UNO, ignore) == lab.flash("uno")


def test_flash_that_does_not_take_what_is_written_fails_verification(lab: Lab):
    """Lock bits that keep SPM out of the application section: the boot loader says OK, and nothing happens."""
    session = lab.session("frozen", "uno")
    session.connect()
    before = lab.flash("frozen")
    with pytest.raises(VerificationFailed, match="mismatch"):
        session.write([Segment(0, NEW)], ignore)
    assert lab.flash("frozen") == before


def test_slow_erases_are_waited_for(lab: Lab):
    session = lab.session("uno")
    session.connect()
    lab.bench.set_faults("uno", [SlowErase(fault="slow-erase", seconds=1.5, times=2)])
    session.write([Segment(0, NEW)], ignore)
    assert lab.flash("uno").startswith(NEW)


def test_firmware_that_crashes_on_this_board_never_comes_to_its_banner(lab: Lab):
    session = lab.session("uno")
    session.connect()
    session.write([Segment(0, firmware.build("demo", "1.3.0"))], ignore)
    lab.bench.set_faults("uno", [Panics(fault="panics", versions=("1.3.0",))])
    session.reset()
    assert console(session, b"ready", 3.5) == b""
    lab.bench.set_faults("uno", [])
    assert b"demo 1.3.0 ready" in console(session, b"ready")


def test_the_console_is_heard_and_spoken_to(lab: Lab):
    session = lab.session("uno", face="url")
    session.connect()
    session.write([Segment(0, NEW)], ignore)
    session.reset()
    assert b"demo 1.2.0 ready\r\n" in console(session, b"ready\r\n")
    session.write_console(b"version\r")
    assert b"1.2.0\r\n" in console(session, b"\r\n")


def test_a_fault_that_no_avr_can_have_is_refused_by_name(lab: Lab):
    with pytest.raises(Exception, match="wrong-md5"):
        lab.bench.set_faults("uno", [WrongMd5(fault="wrong-md5")])


def test_a_port_that_is_not_there_says_so(tmp_path: Path):
    with pytest.raises(PortUnavailable, match="ttyACM7"):
        ARDUINO.open(Link(str(tmp_path / "ttyACM7"), 115200, 115200), print).connect()


def test_a_port_that_another_program_has_open_says_so(lab: Lab):
    with serial.Serial(lab.bench.boards["uno"].pty, exclusive=True), pytest.raises(PortUnavailable, match="lock"):
        lab.session("uno").connect()


def test_avrdude_that_is_not_installed_is_named_with_what_installs_it(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match="avrdude is not installed") as raised:
        lab.session("uno").connect()
    assert "sudo apt-get install avrdude" in raised.value.advice


def install_avrdude(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This one is found before Debian's."""
    (folder / "avrdude").write_text(f"#!/bin/bash\n{script}\n")
    (folder / "avrdude").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


# Stock avrdude's words, made into those of 8.0: capital letters, no name before them, and not a word of a board that is
# ready and of the right signature.
AS_8_SPEAKS = r"""
exec /usr/bin/avrdude "$@" 2> >(exec sed -u >&2 -e '/initialized and ready/d' -e '/= 0x1e950f/d' \
    -e 's/= 0x\(..\)\(..\)\(..\) (.*/= \U\1 \2 \3 (ATmega168)/' -e 's/^avrdude \(error\|warning\|OS error\): /\u\1: /' \
    -e 's/^avrdude: \(.\)/\u\1/' -e 's/^avrdude done/Avrdude done/')
"""


def test_an_avrdude_of_8_is_understood(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install_avrdude(tmp_path, AS_8_SPEAKS, monkeypatch)
    session = lab.session("uno")
    session.connect()
    session.write([Segment(0, NEW)], ignore)
    assert session.holds(Segment(0, NEW))
    assert not [line for line in lab.lines if "initialized" in line or "avrdude" in line]
    frozen = lab.session("frozen", "uno")
    frozen.connect()
    lab.lines.clear()
    with pytest.raises(VerificationFailed, match="mismatch"):
        frozen.write([Segment(0, NEW)], ignore)
    assert sum(line.startswith("Writing |") for line in lab.lines) == 1, "it is no silent board: written once"
    lab.bench.set_faults("uno8", [WrongChip(fault="wrong-chip", chip="atmega168")])
    with pytest.raises(WrongBoard, match=r"1e9406 \(atmega168\)"):
        lab.session("uno8", "uno").connect()


# Stock avrdude that missed an answer, heard only when it had ended: as on a busy machine.
LATE = r"""
words=$(/usr/bin/avrdude "$@" 2>&1 | sed 's/^avrdude done/avrdude error: timeout\n&/')
(sleep 0.3; echo "$words" >&2) &
"""


def test_what_an_avrdude_read_that_had_missed_an_answer_is_no_backup(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    session = lab.session("mega")
    flash = session.connect().flash
    install_avrdude(tmp_path, LATE, monkeypatch)
    with pytest.raises(ConnectionLost, match="timeout"):
        session.read(flash, ignore)


def test_an_avrdude_that_falls_silent_is_ended(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    session = lab.session("uno", read_timeout_s=1)
    session.connect()
    before, begun = children(), time.monotonic()
    install_avrdude(tmp_path, "echo avrdude: reading flash memory ... >&2; exec sleep 60", monkeypatch)
    with pytest.raises(PhaseTimeout, match="said nothing for 1 s"):
        session.read(ALL_OF_AN_UNO, ignore)
    assert time.monotonic() - begun < 30, "whatever time the bytes would need"
    assert children() <= before


def test_an_avrdude_that_waits_for_its_first_answer_in_vain_is_a_lost_connection(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(avrdude, "READY_LIMIT_S", 0.3)
    install_avrdude(tmp_path, "echo -n Connecting to programmer: . >&2; exec sleep 60", monkeypatch)
    with pytest.raises(ConnectionLost, match="the boot loader does not answer"):
        lab.session("uno", connect_timeout_s=0).connect()


def test_an_avrdude_that_only_explains_its_options_has_done_nothing(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """That is how it ends, with status 0, when it does not know one of ours: -A came with 7.1."""
    install_avrdude(tmp_path, 'exec /usr/bin/avrdude -Z "$@"', monkeypatch)
    with pytest.raises(DeviceError, match="too old") as raised:
        lab.session("uno").connect()
    assert "7.1" in raised.value.advice


@pytest.mark.parametrize("whose", ["a person's", "the system's"])
def test_an_avrdude_that_was_told_to_take_another_chip_for_this_one_does_not_decide(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
):
    """In one of its configuration files, as the web advises for chips that it does not know."""
    file = tmp_path / ".avrduderc"
    file.write_text('part parent "m328p" id = "m328p"; signature = 0x1e 0x94 0x06; ;\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    if whose == "the system's":
        install_avrdude(tmp_path, f'exec /usr/bin/avrdude -C +{file} "$@"', monkeypatch)
    lab.bench.set_faults("uno8", [WrongChip(fault="wrong-chip", chip="atmega168")])
    with pytest.raises(WrongBoard, match=r"1e9406 \(atmega168\), that of an atmega328p is 1e950f"):
        lab.session("uno8", "uno").connect()


def children() -> set[int]:
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for file in listed for pid in file.read_text().split()}


def test_a_time_limit_ends_avrdude_and_leaves_nothing_half_alive(lab: Lab):
    session = lab.session("mega")
    session.connect()
    before, threads = children(), threading.active_count()
    with pytest.raises(PhaseTimeout), limit(0.4, "reading"):
        session.read(Region(0, 0x40000), ignore)
    assert children() <= before
    assert threading.active_count() <= threads
    with pytest.raises(ConnectionLost, match="connect first"):
        session.read(Region(0, 512), ignore)
    session.close()
    assert lab.session("mega").connect().chip == "atmega2560"


READING = """
import sys
from drivers.avr import ARDUINO
from drivers.base import Link, Region
session = ARDUINO.open(Link(sys.argv[1], 115200, 115200, chip="uno"), lambda line: print(line, flush=True))
session.connect()
session.read(Region(0, 0x8000), lambda done, total: None)
"""


def test_avrdude_ends_with_the_process_that_started_it(tmp_path: Path):
    """Left alone it would read its vanished terminal for ever."""
    board = BoardSpec(board_id="uno", chip="uno", speed=Speed.REALISTIC, options=PATIENT)
    with Bench.start(BenchSpec(state=tmp_path, boards=(board,))) as bench:
        command = [sys.executable, "-c", READING, bench.boards["uno"].pty]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            while "reading flash memory" not in worker.stdout.readline():
                assert worker.poll() is None
            (pid,) = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
            tool = os.pidfd_open(int(pid))
            worker.kill()
        try:
            assert select.select([tool], [], [], 30)[0], "it has not ended"
        finally:
            os.close(tool)


def test_a_boot_loader_has_one_rate(lab: Lab):
    session = lab.session("uno")
    assert session.flash_baudrate == 115200
    assert not session.slow_down()
    assert not session.revert(None)


HEX_LINE = st.builds(
    lambda body: f":{len(body):02X}000000{body.hex()}{-sum(bytes([len(body)]) + body) & 0xFF:02X}\n".encode(),
    st.binary(max_size=20),
)


@given(data=st.one_of(st.binary(max_size=200), st.lists(HEX_LINE, max_size=5).map(b"".join)))
def test_any_bytes_at_all_are_a_firmware_file_or_one_clear_error(data: bytes):
    for name in ("a.hex", "a.bin"):
        try:
            segments = ARDUINO.parse(name, data, 0)
            ARDUINO.inspect(segments)
        except BadImage:
            continue
        assert all(segment.data for segment in segments)


@given(
    pieces=st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=30)), max_size=4),
)
def test_a_hex_file_puts_every_byte_where_it_says(pieces: list[tuple[int, bytes]]):
    places: dict[int, int] = {}
    lines = []
    for slot, (at, data) in enumerate(pieces):
        address = slot * 0x100 + at
        places |= {address + index: byte for index, byte in enumerate(data)}
        body = bytes([len(data)]) + address.to_bytes(2, "big") + b"\0" + data
        lines.append(f":{body.hex()}{-sum(body) & 0xFF:02x}\n")
    lines.append(":00000001FF\n")
    if not places:
        return
    segments = ARDUINO.parse("a.hex", "".join(lines).encode(), None)
    found = {seg.address + index: byte for seg in segments for index, byte in enumerate(seg.data)}
    assert found == places


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.bin", b""),
        ("blank.bin", b"\xff" * 100),
        ("app.bin", b"\x7fELF" + bytes(100)),
        ("app.bin", b"UF2\nWQ]\x9e" + bytes(504)),
        ("app.bin", b":100000000C9434000C943E000C943E000C943E0082\n"),
        ("stm32.bin", bytes.fromhex("0050002009010008") + bytes(100)),
        ("esp.bin", bytes.fromhex("e9050220") + bytes(100)),
        ("wrong.hex", b":100000000C9434000C943E000C943E000C943E0083\n:00000001FF\n"),
        ("cut.hex", b":100000000C9434000C943E000C943E000C943E0082\n"),
        ("two.hex", 2 * b":100000000C9434000C943E000C943E000C943E0082\n:00000001FF\n"),
        ("eeprom.hex", b":0200000400817A\n:0100000001FE\n:00000001FF\n"),
        ("eeprom.hex", b":020000040081" + b"79\n:0100000001FE\n:00000001FF\n"),
    ],
)
def test_a_file_that_is_no_avr_firmware_is_refused(name: str, data: bytes):
    with pytest.raises(BadImage):
        ARDUINO.inspect(ARDUINO.parse(name, data, 0))


# What avrdude 7.1 says.
@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("avrdude OS error: cannot open port /dev/ttyACM0: Permission denied\n", PortPermission),
        ("avrdude OS error: cannot open port /dev/ttyACM0: Device or resource busy\n", PortInUse),
        ("avrdude warning: attempt 1 of 10: not in sync: resp=0x00\n", ConnectionLost),
        ("avrdude error: programmer is not responding\n", ConnectionLost),
        ("avrdude error: programmer is out of sync\n", ConnectionLost),
        ("avrdude error: protocol expects sync byte 0x14 but got 0x0c\n", ConnectionLost),
        ("avrdude stk500v2_ReceiveMessage() error: timeout\n", ConnectionLost),
        (
            "avrdude: verification mismatch, first encountered at addr 0x0000\n         device 0x0c != input\n",
            VerificationFailed,
        ),
        ("avrdude error: expected signature for ATmega168 is 1E 94 06\n", WrongBoard),
        ("Error: flash verification mismatch\n", VerificationFailed),  # 8.0
        ("Error: programmer is not responding\n", ConnectionLost),
        ("Error: expected signature for ATmega168 is 1E 94 06\n", WrongBoard),
        ("avrdude: something that nobody has seen yet\n\navrdude done.  Thank you.\n", DeviceError),
    ],
)
def test_avrdudes_words_are_told_in_the_drivers_categories(output: str, kind: type[DeviceError]):
    error = avr_errors.from_output(output, "write")
    assert type(error) is kind
    assert error.message.startswith("write: ")


def test_avrdude_itself_says_those_words(tmp_path: Path):
    """Stock avrdude, on ports that do not work."""
    closed = tmp_path / "port"
    closed.touch()
    for port, kind in (
        (tmp_path / "none", PortUnavailable),
        (closed, DeviceError),
        ("net:127.0.0.1:1", PortUnavailable),
    ):
        command = ["avrdude", "-c", "arduino", "-p", "m328p", "-P", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert isinstance(avr_errors.from_output(done.stderr, "x"), kind), done.stderr
