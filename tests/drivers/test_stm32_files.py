"""Firmware files: what a build makes becomes segments in flash, and what can not start is refused."""

from __future__ import annotations

import contextlib
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.base import BadImage, Link, Segment
from drivers.stm32 import STM32
from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec, BoardSpec
from drivers.virtual.stm32.firmware import build, demo_files, to_hex
from harness.deadline import limit

BASE = 0x08000000
DATA_AT = 0x08004000

# A real, small firmware: vector table, code, a constant, initialised data that is loaded behind the code, and .bss.
SOURCE = """
    .syntax unified
    .cpu cortex-m0
    .thumb
    .section .vectors, "a"
    .word 0x20002000
    .word reset
    .section .text, "ax"
    .global reset
    .thumb_func
reset:
    b reset
    .section .rodata, "a"
    .asciz "BENCHAPP assembled 4.5.6"
    .section .data, "aw"
    .ascii "initial data"
    .section .bss, "aw", %nobits
    .space 64
"""
SCRIPT = """
MEMORY { FLASH (rx) : ORIGIN = 0x08000000, LENGTH = 64K
         RAM (rwx)  : ORIGIN = 0x20000000, LENGTH = 8K }
ENTRY(reset)
SECTIONS {
    .vectors : { KEEP(*(.vectors)) } > FLASH
    .text : { *(.text) *(.rodata) } > FLASH
    .data : { *(.data) } > RAM AT> FLASH
    .bss : { *(.bss) } > RAM
}
"""


def run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a build leaves behind: firmware.elf, .bin and .hex."""
    folder = tmp_path_factory.mktemp("build")
    (folder / "firmware.s").write_text(SOURCE)
    (folder / "firmware.ld").write_text(SCRIPT)
    run(folder, "arm-none-eabi-as", "-o", "firmware.o", "firmware.s")
    run(folder, "arm-none-eabi-ld", "-T", "firmware.ld", "-o", "firmware.elf", "firmware.o")
    for form, name in (("binary", "bin"), ("ihex", "hex")):
        run(folder, "arm-none-eabi-objcopy", "-O", form, "firmware.elf", f"firmware.{name}")
    return folder


def parsed(folder: Path, name: str) -> tuple[Segment, ...]:
    return STM32.parse(name, (folder / name).read_bytes(), BASE)


def test_elf_hex_and_bin_of_one_build_are_the_same_bytes_in_flash(built: Path):
    segments = {name: parsed(built, f"firmware.{name}") for name in ("bin", "hex", "elf")}
    for found in segments.values():
        STM32.inspect(found)
        assert [segment.address for segment in found] == [BASE]
    data = {found[0].data.rstrip(b"\xff\0") for found in segments.values()}
    assert len(data) == 1
    (contents,) = data
    assert contents.endswith(b"initial data"), ".data lies behind the code, not in RAM"


def test_a_real_elf_runs_on_a_board(built: Path, tmp_path: Path):
    with Bench.start(BenchSpec(state=tmp_path, boards=(BoardSpec(board_id="b", chip="stm32g071"),))) as bench:
        session = STM32.open(Link(bench.boards["b"].pty, 115200, 115200, connect_timeout_s=30), lambda _line: None)
        try:
            session.connect()
            session.write(parsed(built, "firmware.elf"), lambda _done, _total: None)
            session.reset()
            said = b""
            with limit(60, "the console"):
                while b"\n" not in said:
                    said += session.read_console(1)
        finally:
            session.close()
    assert b"assembled 4.5.6 ready" in said


def test_a_bin_goes_where_it_is_told():
    assert STM32.parse("app.bin", b"\x01\x02", 0x08010000) == (Segment(0x08010000, b"\x01\x02", "app.bin"),)
    with pytest.raises(BadImage, match="no address"):
        STM32.parse("app.bin", b"\x01\x02", None)
    with pytest.raises(BadImage, match="empty"):
        STM32.parse("app.bin", b"", BASE)


def test_pieces_far_apart_stay_apart_and_padding_is_filled():
    lines = to_hex(b"boot", BASE).split(b"\r\n")[:-3] + to_hex(b"near", BASE + 0x100).split(b"\r\n")[:-3]
    text = b"\n".join(lines + to_hex(b"far", DATA_AT).split(b"\r\n"))
    found = STM32.parse("app.hex", text, None)
    assert [(segment.address, segment.data) for segment in found] == [
        (BASE, b"boot" + b"\xff" * 0xFC + b"near"),
        (DATA_AT, b"far"),
    ]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("app.hex", b"", "is empty"),
        ("app.hex", b":00000001FF\n", "nothing for the flash"),
        ("app.hex", b":0400000001020304F3\n", "no Intel HEX"),
        ("app.hex", b"\xff\xfe", "no Intel HEX"),
        ("app.hex", to_hex(b"\x00" * 16, BASE).partition(b":00000001FF")[0], "cut short"),
        ("app.hex", to_hex(b"\x00" * 16, 0x1FFFF800), "no flash"),
        ("app.hex", to_hex(b"ab", BASE).replace(b":00000001FF", b"") + to_hex(b"cd", BASE), "Intel HEX"),
        ("app.bin", to_hex(b"abcd", BASE), "holds Intel HEX"),
        ("app.elf", b"\x7fELF", "no ELF"),
        ("app.elf", b"", "no ELF"),
        ("app.uf2", b"UF2\n", "UF2"),
        ("app.s19", b"S0", "S-record"),
        ("app.dfu", b"DfuSe", "DfuSe"),
    ],
)
def test_what_is_no_firmware_for_the_flash_is_refused(name: str, data: bytes, why: str):
    with pytest.raises(BadImage, match=why):
        STM32.parse(name, data, BASE)


def test_the_headers_of_an_elf_that_its_linker_has_put_before_the_flash_are_left_out():
    """GNU ld with pages of 64 KiB: "LOAD off 0x0 paddr 0x07ff0000", of which the flash begins 0x10000 bytes later."""
    code = struct.pack("<II", 0x20002000, BASE + 9) + b"code"
    header = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, BASE + 9, 52, 0, 0x05000000, 52, 32, 1, 40, 0, 0)
    size = 0x10000 + len(code)
    segment = struct.pack("<8I", 1, 0, BASE - 0x10000, BASE - 0x10000, size, size, 5, 0x10000)
    elf = (header + segment).ljust(0x10000, b"\0") + code
    assert STM32.parse("app.elf", elf, None) == (Segment(BASE, code, "app.elf"),)


def test_an_elf_for_another_processor_is_refused():
    host = Path("/bin/true").read_bytes()
    with pytest.raises(BadImage, match="not for an ARM Cortex-M"):
        STM32.parse("true.elf", host, BASE)


def vectors(stack: int, start: int) -> tuple[Segment, ...]:
    return (Segment(BASE, struct.pack("<II", stack, start) + bytes(16)),)


@pytest.mark.parametrize(
    ("stack", "start"),
    [
        (0x20005000, 0x080001C1),  # F103: the stack begins at the end of RAM
        (0x20020000, 0x08000189),
        (0x10010000, 0x080001AD),  # F4's CCM
        (0x20002000, 0x000001C1),  # linked to where the flash is seen after a reset
        (0x20050000, 0x00200201),  # F7, through its ITCM
    ],
)
def test_a_vector_table_that_starts_is_accepted(stack: int, start: int):
    STM32.inspect(vectors(stack, start))


@pytest.mark.parametrize(
    ("stack", "start", "why"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF, "no vector table"),
        (0x00000000, 0x00000000, "no vector table"),
        (0x20000000, 0x080001C1, "no address in RAM"),
        (0x08005000, 0x080001C1, "no address in RAM"),
        (0x20005002, 0x080001C1, "no address in RAM"),
        (0x20005000, 0x080001C0, "even"),
        (0x20005000, 0x20000101, "outside of the flash"),
        (0x20005000, 0xFFFFFFFF, "outside of the flash"),
    ],
)
def test_a_vector_table_that_can_not_start_is_refused(stack: int, start: int, why: str):
    with pytest.raises(BadImage, match=why):
        STM32.inspect(vectors(stack, start))


def test_only_what_the_chip_starts_needs_a_vector_table():
    STM32.inspect((Segment(0x08010000, b"settings"),))
    with pytest.raises(BadImage, match="no vector table"):
        STM32.inspect((Segment(0x08010000, b"settings"), Segment(BASE, b"short")))


def test_the_demonstrations_files_are_good_and_always_the_same():
    files = dict(demo_files())
    assert files == dict(demo_files())
    assert sorted(files) == [
        "demo-stm32-1.1.0.factory.bin",
        "demo-stm32-1.2.0.bin",
        "demo-stm32-1.2.0.hex",
        "demo-stm32-1.3.0-noboot.bin",
    ]
    for name, data in files.items():
        STM32.inspect(STM32.parse(name, data, BASE))
    (from_hex,) = STM32.parse("demo-stm32-1.2.0.hex", files["demo-stm32-1.2.0.hex"], None)
    assert from_hex.data == files["demo-stm32-1.2.0.bin"]


NAMES = st.sampled_from(["a.hex", "a.elf", "a.bin", "a.axf", "a", "a.uf2"])
REAL = st.sampled_from([to_hex(build("x", "1.0.0", 0x800), BASE), b"\x7fELF\x01\x01\x01" + bytes(200)])


@settings(max_examples=300)
@given(name=NAMES, data=st.binary(max_size=400), address=st.one_of(st.none(), st.integers(0, 2**32)))
def test_no_bytes_at_all_crash_a_parser(name: str, data: bytes, address: int | None):
    check(name, data, address)


@settings(max_examples=300)
@given(real=REAL, at=st.integers(0, 300), junk=st.binary(min_size=1, max_size=20))
def test_no_spoilt_file_crashes_a_parser(real: bytes, at: int, junk: bytes):
    check("a.elf" if real.startswith(b"\x7f") else "a.hex", real[:at] + junk + real[at + len(junk) :], BASE)


@settings(max_examples=200)
@given(at=st.integers(0, 0x180), junk=st.binary(min_size=1, max_size=6))
def test_no_spoilt_elf_of_a_real_build_crashes_the_parser(built: Path, at: int, junk: bytes):
    real = (built / "firmware.elf").read_bytes()
    check("a.elf", real[:at] + junk + real[at + len(junk) :], BASE)


def check(name: str, data: bytes, address: int | None) -> None:
    """Whatever is no BadImage fails the test."""
    with contextlib.suppress(BadImage):
        segments = STM32.parse(name, data, address)
        assert segments
        STM32.inspect(segments)
