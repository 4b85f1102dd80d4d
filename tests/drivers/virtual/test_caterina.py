"""Caterina as a pure program, and stock avrdude on a whole virtual Leonardo, with the touch that people do by hand."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.virtual.avr import firmware
from drivers.virtual.avr.caterina import EXIT_S, WINDOW_S, Caterina
from drivers.virtual.avr.parts import LEONARDO
from drivers.virtual.avr.steps import (
    Countdown,
    DropPacket,
    ErasePage,
    Exit,
    ProgramPage,
    Receive,
    ReceiveInTime,
    Send,
    Step,
    WriteEeprom,
)
from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec, BoardSpec

FLASH = random.Random(5).randbytes(LEONARDO.flash_size)
MANY_STEPS = 300_000
PATIENCE_S = 30
RATE_OF_A_TOUCH = b"\xff\xfa\x2c\x01\x00\x00\x04\xb0\xff\xf0"  # RFC 2217: SET-BAUDRATE 1200
DTR_ON, DTR_OFF = b"\xff\xfa\x2c\x05\x08\xff\xf0", b"\xff\xfa\x2c\x05\x09\xff\xf0"  # SET-CONTROL


def read(address: int, size: int) -> bytes:
    address %= len(FLASH)
    return (FLASH + FLASH[:0x200])[address : address + size]


def told(data: bytes) -> tuple[list[Step], Exit | None]:
    """What it does with these bytes, each packet as long as its command; None where it waits for more."""
    program = Caterina(LEONARDO, read, read, lambda: 0xEF).run()
    steps: list[Step] = []
    answer: int | None = None
    rest = list(data)
    try:
        for _ in range(MANY_STEPS):
            step = program.send(answer)
            answer = None
            if isinstance(step, Receive | ReceiveInTime):
                if not rest:
                    return steps, None
                answer = rest.pop(0)
            else:
                steps.append(step)
    except StopIteration as end:
        return steps, end.value
    raise AssertionError("it never waits for a byte")


def said(data: bytes) -> bytes:
    return b"".join(step.data for step in told(data)[0] if isinstance(step, Send))


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"\x1b", b""),
        (b"S", b"CATERIN"),
        (b"V", b"10"),
        (b"v", b"?"),
        (b"p", b"S"),
        (b"a", b"Y"),
        (b"b", b"Y\x00\x80"),
        (b"t", b"\x44\x00"),
        (b"T\x44", b"\r"),
        (b"P", b"\r"),
        (b"L", b"\r"),
        (b"E", b"\r"),
        (b"s", b"\x87\x95\x1e"),
        (b"r", b"\xef"),
        (b"F", b"\xff"),
        (b"N", b"\xd8"),
        (b"Q", b"\xcb"),
        (b"l\xff", b"??"),  # built without it; a host's packet of both bytes loses the second one
        (b"H\x00", b"??"),
        (b"A\x00\x08R", b"\r" + FLASH[0x11:0x0F:-1]),
        (b"A\x00\x10g\x00\x04F", b"\r" + FLASH[0x20:0x24]),
        (b"A\x00\x10g\x00\x04Eg\x00\x01E", b"\r" + FLASH[0x10:0x15]),
        (b"A\x3f\xffg\x00\x04F", b"\r" + FLASH[-2:] + FLASH[:2]),
        (b"g\x00\x04X", b"?"),
        (b"B\x00\x04X", b"?"),
        (b"0", b"?"),
    ],
)
def test_it_answers_as_its_source_says(request_: bytes, answer: bytes):
    assert said(request_) == answer


def test_a_block_erases_its_page_and_writes_it_when_it_is_whole():
    page = bytes(range(128))
    steps, _ = told(b"A\x01\x00B\x00\x80F" + page)
    assert [step for step in steps if isinstance(step, ErasePage | ProgramPage)] == [
        ErasePage(0x200), ProgramPage(0x200, page),
    ]  # fmt: skip
    steps, end = told(b"A\x01\x00B\x00\x80F" + page[:-1])
    assert [step for step in steps if isinstance(step, ErasePage | ProgramPage)] == [ErasePage(0x200)]
    assert end is None


def test_eeprom_is_written_byte_by_byte_at_the_address_as_it_was_said():
    assert [step for step in told(b"A\x00\x05B\x00\x02E\x11\x22")[0] if isinstance(step, WriteEeprom)] == [
        WriteEeprom(5, 0x11), WriteEeprom(6, 0x22),
    ]  # fmt: skip


def test_a_chip_erase_leaves_the_boot_section_alone():
    erased = [step.address for step in told(b"e")[0] if isinstance(step, ErasePage)]
    assert erased == list(range(0, 0x7000, 0x80))


def test_only_blocks_wind_up_its_timer_and_the_exit_nearly_runs_it_down():
    def timers(data: bytes) -> list[float]:
        return [step.seconds for step in told(data)[0] if isinstance(step, Countdown)]

    assert timers(b"SVsPA\x00\x00") == [WINDOW_S]
    assert timers(b"g\x00\x02F") == [WINDOW_S] * 3
    assert timers(b"E") == [WINDOW_S, EXIT_S]


def test_one_command_is_taken_from_a_packet():
    assert told(b"S")[0][-1] == DropPacket()
    assert DropPacket() not in told(b"\x1b")[0]


COMMANDS = st.sampled_from(
    [b"S", b"A\x00\x10", b"g\x00\x80F", b"B\x00\x80F", b"B\x00\x03E", b"e", b"E", b"m", b"C\x01"]
)


@settings(max_examples=200, deadline=None)
@given(data=st.lists(st.one_of(COMMANDS, st.binary(max_size=20)), max_size=15).map(b"".join))
def test_it_survives_any_bytes(data: bytes):
    steps, end = told(data)
    assert end is None
    assert all(step.address < LEONARDO.boot_start for step in steps if isinstance(step, ErasePage) and b"A" not in data)


class Lab:
    def __init__(self, bench: Bench, state: Path) -> None:
        self.bench = bench
        self.state = state

    def pty(self, board: str) -> str:
        return self.bench.boards[board].pty

    def flash(self, board: str) -> bytes:
        return (self.state / board / "flash.bin").read_bytes()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    state = tmp_path_factory.mktemp("lab")
    blank = state / "blank.bin"
    blank.write_bytes(b"\xff" * 0x100)
    boards = (
        BoardSpec(board_id="leonardo", chip="leonardo"),
        BoardSpec(board_id="micro", chip="micro"),
        BoardSpec(board_id="blank", chip="atmega32u4", factory=blank),
    )
    with Bench.start(BenchSpec(state=state, boards=boards)) as bench:
        yield Lab(bench, state)


def touch(name: str) -> float:
    """As the Arduino IDE does it; again where a busy bench heard it while an earlier avrdude's session was not over, or
    when the port was open again. The moment at which the one that worked began (monotonic).
    """
    for _ in range(5):
        time.sleep(EXIT_S + 0.3)
        begun = time.monotonic()
        serial.serial_for_url(name, baudrate=1200).close()
        time.sleep(0.5)
        with serial.serial_for_url(name, 57600, timeout=2) as port:
            port.write(b"S")
            if port.read(7) == b"CATERIN":
                return begun
    raise AssertionError("it does not come into its boot loader")


def avrdude(port: str, *operations: str, part: str = "m32u4") -> tuple[int, str]:
    words = [word for operation in operations for word in ("-U", operation)]
    command = ["avrdude", "-c", "avr109", "-p", part, "-P", port, "-b", "57600", "-D", "-A", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def hears(name: str, text: bytes) -> bool:
    with serial.serial_for_url(name, 115200, timeout=PATIENCE_S) as port:
        return port.read_until(text).endswith(text)


def test_stock_avrdude_writes_verifies_and_reads_after_a_touch_and_the_application_starts(lab: Lab, tmp_path: Path):
    before = lab.flash("leonardo")
    image, back = tmp_path / "new.bin", tmp_path / "back.bin"
    image.write_bytes(firmware.build("demo", "3.2.1"))
    touch(lab.pty("leonardo"))
    status, output = avrdude(lab.pty("leonardo"), f"flash:w:{image}:r", f"flash:r:{back}:r")
    assert status == 0, output
    assert "bytes of flash verified" in output
    assert lab.flash("leonardo").startswith(image.read_bytes())
    assert lab.flash("leonardo")[0x7000:] == before[0x7000:]
    assert back.read_bytes() == lab.flash("leonardo")
    assert hears(lab.pty("leonardo"), b"demo 3.2.1 ready\r\n")


def test_another_part_is_told_apart_by_its_signature(lab: Lab):
    before = lab.flash("micro")
    touch(lab.pty("micro"))
    status, output = avrdude(lab.pty("micro"), "flash:w:0,0:m", part="m328p")
    assert status == 1
    assert "expected signature for ATmega328P is 1E 95 0F" in output
    assert lab.flash("micro") == before


def test_its_fuses_and_eeprom_are_the_true_ones(lab: Lab):
    touch(lab.pty("micro"))
    status, output = avrdude(lab.pty("micro"), "hfuse:r:-:h", "eeprom:w:0x11,0x22:m")
    assert status == 0, output
    assert "0xd8" in output
    assert (lab.state / "micro" / "eeprom.bin").read_bytes()[:3] == b"\x11\x22\xff"


def test_a_blank_board_stays_in_its_boot_loader(lab: Lab):
    for _ in range(2):
        status, output = avrdude(lab.pty("blank"))
        assert status == 0, output
        time.sleep(EXIT_S + 0.3)


@pytest.mark.parametrize("face", ["pty", "url"])
def test_without_a_touch_the_application_runs_and_after_one_for_eight_seconds_the_boot_loader(lab: Lab, face: str):
    name = getattr(lab.bench.boards["micro"], face)
    assert face == "url" or hears(name, b"ready\r\n")
    touched = touch(name)
    assert hears(name, b"ready\r\n")
    assert WINDOW_S <= time.monotonic() - touched < WINDOW_S + PATIENCE_S


def test_a_port_that_is_opened_again_too_soon_calls_the_touch_off(lab: Lab):
    """In one piece, since its watchdog runs out after 120 ms: pyserial needs most of them between two commands."""
    host, _, number = lab.bench.boards["leonardo"].url.removeprefix("rfc2217://").partition(":")
    with socket.create_connection((host, int(number)), timeout=PATIENCE_S) as port:
        port.sendall(RATE_OF_A_TOUCH + DTR_ON + DTR_OFF + DTR_ON)
        time.sleep(0.4)
        port.sendall(b"Shello\n")
        heard = b""
        while b"hello?\r\n" not in heard and b"CATERIN" not in heard:
            heard += port.recv(1000)
    assert b"CATERIN" not in heard
