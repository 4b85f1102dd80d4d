"""The boot loaders of the virtual AVRs as pure programs: their answers by the byte, and any bytes at all."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.virtual.avr import application, firmware
from drivers.virtual.avr.optiboot import SHORT_WATCHDOG_S, Optiboot
from drivers.virtual.avr.parts import MEGA, UNO, Loader
from drivers.virtual.avr.steps import ErasePage, Exit, Pause, Program, ProgramPage, Receive, Send, Step
from drivers.virtual.avr.stk500v2 import Stk500v2

FLASH = random.Random(1).randbytes(MEGA.flash_size)
MANY_STEPS = 100_000
OPTIBOOTS = {"4.4": UNO, "8.3": replace(UNO, loader=Loader.OPTIBOOT_8)}


def read(address: int, size: int) -> bytes:
    address %= len(FLASH)
    return (FLASH + FLASH[:0x200])[address : address + size]


def optiboot(version: str) -> Program:
    return Optiboot(OPTIBOOTS[version], read).run()


def stk500v2() -> Program:
    return Stk500v2(MEGA, read, read, lambda: 0x0F).run()


def told(program: Program, data: bytes) -> tuple[list[Step], Exit | None]:
    """What the program does with these bytes, and how it ends; None where it waits for more of them."""
    steps: list[Step] = []
    answer: int | None = None
    rest = list(data)
    try:
        for _ in range(MANY_STEPS):
            step = program.send(answer)
            answer = None
            if isinstance(step, Receive):
                if not rest:
                    return steps, None
                answer = rest.pop(0)
            else:
                steps.append(step)
    except StopIteration as end:
        return steps, end.value
    raise AssertionError("it never waits for a byte")


def said(steps: list[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Send))


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"0 ", b"\x14\x10"),  # GET_SYNC is not known: it is answered as everything unknown is
        (b"P ", b"\x14\x10"),
        (b"\x99 ", b"\x14\x10"),
        (b"A\x81 ", {"4.4": b"\x14\x04\x10", "8.3": b"\x14\x08\x10"}),
        (b"A\x82 ", {"4.4": b"\x14\x04\x10", "8.3": b"\x14\x03\x10"}),
        (b"A\x80 ", b"\x14\x03\x10"),
        (b"B" + bytes(20) + b" ", b"\x14\x10"),
        (b"E" + bytes(5) + b" ", b"\x14\x10"),
        (b"V\x50\x00\x00\x00 ", b"\x14\x00\x10"),  # a fuse
        (b"V\x58\x00\x00\x00 ", b"\x14\x00\x10"),  # the lock bits
        (b"u ", b"\x14\x1e\x95\x0f\x10"),
        (b"U\x10\x00 t\x00\x04F ", b"\x14\x10\x14" + FLASH[0x20:0x24] + b"\x10"),
        (b"U\x10\x00 t\x00\x04E ", b"\x14\x10\x14" + FLASH[0x20:0x24] + b"\x10"),
    ],
)
@pytest.mark.parametrize("version", ["4.4", "8.3"])
def test_optiboot_answers_as_its_source_says(version: str, request_: bytes, answer: bytes | dict[str, bytes]):
    steps, end = told(optiboot(version), request_)
    assert said(steps) == (answer if isinstance(answer, bytes) else answer[version])
    assert end is None


@pytest.mark.parametrize("version", ["4.4", "8.3"])
def test_a_page_is_erased_and_programmed_at_its_byte_address(version: str):
    page = bytes(range(128))
    steps, _ = told(optiboot(version), b"U\x40\x00 d\x00\x80F" + page + b" ")
    assert [step for step in steps if not isinstance(step, Send)] == [ErasePage(0x80), ProgramPage(0x80, page)]


def test_the_old_optiboot_has_erased_the_page_before_its_data_is_there():
    steps, _ = told(optiboot("4.4"), b"U\x40\x00 d\x00\x80F")
    assert ErasePage(0x80) in steps
    assert ErasePage(0x80) not in told(optiboot("8.3"), b"U\x40\x00 d\x00\x80F")[0]


def test_the_new_optiboot_ends_at_a_write_to_eeprom():
    steps, end = told(optiboot("8.3"), b"d\x00\x02E\x11\x22 ")
    assert not [step for step in steps if isinstance(step, ErasePage | ProgramPage)]
    assert end is Exit.WATCHDOG


@pytest.mark.parametrize("version", ["4.4", "8.3"])
def test_optiboot_out_of_step_falls_silent_until_its_watchdog_resets_it(version: str):
    steps, end = told(optiboot(version), b"0x")
    assert steps == [Pause(SHORT_WATCHDOG_S)]
    assert end is Exit.WATCHDOG


def frame(body: bytes, sequence: int = 1) -> bytes:
    whole = bytes([0x1B, sequence, len(body) >> 8, len(body) & 0xFF, 0x0E]) + body
    check = 0
    for byte in whole:
        check ^= byte
    return whole + bytes([check])


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"\x01", b"\x01\x00\x08AVRISP_2"),
        (b"\x03\x91", b"\x03\x00\x02"),
        (b"\x10" + bytes(11), b"\x10\x00"),
        (b"\x12" + bytes(6), b"\x12\xc0"),
        (b"\x1b\x04\x30\x00\x01\x00", b"\x1b\x00\x98\x00"),
        (b"\x1d\x04\x04\x00\x30\x00\x02\x00", b"\x1d\x00\x00\x30\x00\x01\x00"),
        (b"\x18\x01\x58\x08\x00\x00", b"\x18\x00\xd8\x00"),
        (b"\x1a\x01\x58\x00\x00\x00", b"\x1a\x00\x0f\x00"),
        (b"\x77", b"\x77\xc0"),
    ],
)
def test_the_megas_boot_loader_answers_as_its_source_says(body: bytes, answer: bytes):
    steps, _ = told(stk500v2(), frame(body, 7))
    assert said(steps) == frame(answer, 7)


def test_the_megas_boot_loader_reads_beyond_64_kib_by_extended_addresses():
    load = frame(b"\x06\x80\x01\x00\x08")
    steps, _ = told(stk500v2(), load + frame(b"\x14\x01\x00\x20"))
    assert said(steps)[len(frame(b"\x06\x00")) :] == frame(b"\x14\x00" + FLASH[0x20010:0x20110] + b"\x00")


def test_the_megas_boot_loader_erases_from_zero_on_and_never_near_itself():
    page = frame(b"\x13\x01\x00" + bytes(7) + bytes(256))
    steps, _ = told(stk500v2(), frame(b"\x06\x80\x00\x40\x00") + page * 3)
    assert [step for step in steps if not isinstance(step, Send)] == [
        ErasePage(0), ProgramPage(0x8000, bytes(256)), ErasePage(0x100), ProgramPage(0x8100, bytes(256)),
        ErasePage(0x200), ProgramPage(0x8200, bytes(256)),
    ]  # fmt: skip
    small = replace(MEGA, flash_size=0x4800)
    steps, _ = told(Stk500v2(small, read, read, lambda: 0x0F).run(), page * 12)
    assert [step.address for step in steps if isinstance(step, ErasePage)] == list(range(0, 0x800, 0x100))


@pytest.mark.parametrize("wrong", [b"\x1b\x01\x00\x01\x0f\x01\x15", b"\x1b\x01\x00\x01\x0e\x01\x00", b"\x00\x11"])
def test_what_is_no_message_is_ignored(wrong: bytes):
    steps, end = told(stk500v2(), wrong + frame(b"\x01"))
    assert said(steps) == frame(b"\x01\x00\x08AVRISP_2")
    assert end is None


def test_three_exclamation_marks_start_the_monitor_of_a_mega():
    steps, end = told(stk500v2(), b"!!!")
    assert b"Bootloader>" in said(steps)
    assert end is Exit.HUNG


STK = st.sampled_from([b"0 ", b"Q ", b"u ", b"U", b"d\x00\x80F", b"d\x00\x03E", b"t\x00\x00F ", b"V", b"B", b"A", b" "])
STREAM = st.lists(st.one_of(STK, st.binary(max_size=20)), max_size=20).map(b"".join)
MESSAGES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.builds(frame, st.binary(min_size=1, max_size=290), st.integers(0, 255)),
        st.builds(lambda op, rest: frame(bytes([op]) + rest), st.integers(0, 0x20), st.binary(max_size=20)),
        st.just(frame(b"\x13\x01\x00" + bytes(7) + bytes(256))),
    ),
    max_size=8,
).map(b"".join)


@settings(max_examples=200)
@given(data=STREAM, version=st.sampled_from(["4.4", "8.3"]))
def test_optiboot_survives_any_bytes(data: bytes, version: str):
    _, end = told(optiboot(version), data)
    assert end in (None, Exit.WATCHDOG)
    assert said(told(optiboot(version), b"0 ")[0]) == b"\x14\x10"


@settings(max_examples=200)
@given(data=MESSAGES)
def test_the_megas_boot_loader_survives_any_bytes(data: bytes):
    _, end = told(stk500v2(), data)
    assert end in (None, Exit.HUNG, Exit.START_APP)


@given(flash=st.one_of(st.binary(max_size=300), st.binary(max_size=80).map(lambda rest: b"\x0c\x94BENCHAPP" + rest)))
def test_any_flash_at_all_holds_an_application_or_none(flash: bytes):
    found = application.find(flash)
    assert found is None or found.banner


def test_firmware_of_the_bench_runs_whole_or_not_at_all():
    image = firmware.build("demo", "1.2.0")
    found = application.find(image.ljust(0x8000, b"\xff"))
    assert found is not None
    assert found.banner == b"demo 1.2.0 ready\r\n"
    assert found.version == "1.2.0"
    older = firmware.build("demo", "1.1.0")
    for half in (128, 3000, 5888):
        mixed = image[:half] + older[half:]
        assert application.find(mixed) is None


def test_the_demonstrations_files_are_always_the_same_and_fit_their_boards():
    first, again = dict(firmware.demo_files()), dict(firmware.demo_files())
    assert first == again
    assert set(first) == {
        "demo-arduino-1.1.0.factory.bin", "demo-arduino-1.2.0.hex",
        "demo-mega2560-1.1.0.factory.bin", "demo-mega2560-1.2.0.hex",
    }  # fmt: skip
