"""UF2 files are read strictly, and built so that both boot ROMs take them as they are meant."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.base import BadImage, Segment
from drivers.pico import PICO, PICO2
from drivers.pico import uf2 as pico_uf2
from drivers.pico.image import startable
from drivers.pico.uf2 import Family
from drivers.virtual.pico import firmware
from drivers.virtual.pico.chips import CHIPS, FLASH_BASE
from tests.drivers.virtual.pico.conftest import (
    ABSOLUTE,
    FAMILY,
    PAGE,
    RP2040,
    RP2350_ARM_S,
    SECTOR,
    pages_of,
    uf2,
    uf2_block,
    uf2conv,
)

DATA = os.urandom(3 * PAGE)
GOOD = uf2(pages_of(DATA))


def refused(data: bytes) -> str:
    with pytest.raises(BadImage) as raised:
        PICO.parse("app.uf2", data, None)
    return raised.value.message


@pytest.mark.parametrize(("chip", "family"), [("pico", "RP2040"), ("pico2", "RP2350_ARM_S")])
def test_what_uf2conv_makes_of_an_image_is_the_image(tmp_path: Path, chip: str, family: str):
    app = firmware.build_app(CHIPS[chip], "blink", "1.0.0")
    (tmp_path / "app.bin").write_bytes(app)
    uf2conv(tmp_path / "app.bin", tmp_path / "app.uf2", family)
    (segment,) = PICO.parse("app.uf2", (tmp_path / "app.uf2").read_bytes(), None)
    assert (segment.address, segment.data, segment.name) == (FLASH_BASE, app, "app.uf2")


def test_a_file_that_is_just_bytes_goes_where_the_flash_begins():
    assert PICO.parse("app.bin", DATA, PICO.defaults.flash_address) == (Segment(FLASH_BASE, DATA, "app.bin"),)


@pytest.mark.parametrize(
    ("name", "data"), [("app.elf", b"x" * 300), ("app", b"\x7fELF" + bytes(300)), ("app.hex", b":00")]
)
def test_other_formats_are_not_taken_for_plain_bytes(name: str, data: bytes):
    with pytest.raises(BadImage, match="neither a UF2 file nor plain bytes"):
        PICO.parse(name, data, FLASH_BASE)


def test_a_uf2_file_is_known_by_its_contents_whatever_its_name():
    assert PICO.parse("app.bin", GOOD, 0x1234)[0].address == FLASH_BASE


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no block"),
        (GOOD[:-1], "cut short"),
        (GOOD[:512] + b"\0" * 512 + GOOD[1024:], "damaged: block 1"),
        (GOOD[:1024], "incomplete: 2 of 3 blocks"),
        (uf2(pages_of(DATA), 0x0B0B0B0B), "made for another chip"),
        (uf2_block(0, 1, FLASH_BASE, DATA[:PAGE], flags=0), "no family"),
        (uf2_block(0, 1, FLASH_BASE, DATA[:PAGE], flags=0x2001), "not for the main flash"),
        (uf2_block(0, 1, FLASH_BASE, DATA[:PAGE], flags=0x3000), "not for the main flash"),
        (uf2_block(0, 1, FLASH_BASE, DATA[:PAGE], payload=476), "476 bytes"),
        (uf2_block(0, 1, FLASH_BASE + 1, DATA[:PAGE]), "no multiple"),
        (uf2_block(0, 1, 0x2000_0000, DATA[:PAGE]), "not flash"),
        (uf2_block(0, 1, FLASH_BASE + (16 << 20), DATA[:PAGE]), "not flash"),
        (uf2_block(0, 0, FLASH_BASE, DATA[:PAGE]), "beyond the 0"),
        (uf2_block(3, 1, FLASH_BASE, DATA[:PAGE]), "block 3 is beyond the 1"),
        (uf2_block(0, 2, FLASH_BASE, DATA[:PAGE]) + uf2_block(1, 3, FLASH_BASE + PAGE, DATA[:PAGE]), "do not agree"),
        (
            uf2_block(0, 2, FLASH_BASE, DATA[:PAGE]) + uf2_block(1, 2, FLASH_BASE, DATA[PAGE : 2 * PAGE]),
            "different bytes at 0x10000000",
        ),
        (GOOD + uf2_block(1, 3, FLASH_BASE + 8 * PAGE, DATA[:PAGE]), "two blocks have the number 1"),
        (GOOD + uf2(pages_of(DATA), RP2350_ARM_S), "several families"),
    ],
)
def test_what_a_boot_rom_would_ignore_or_write_wrongly_is_refused(data: bytes, why: str):
    assert why in refused(data)


def test_a_block_that_comes_twice_does_no_harm():
    assert PICO.parse("app.uf2", GOOD + GOOD[512:1024], None)[0].data == DATA


@pytest.mark.parametrize("flags", [0x2000, 0xA000])
def test_picotools_block_for_rp2350_e10_is_no_part_of_the_image(flags: int):
    app = firmware.build_app(CHIPS["pico2"], "x", "1")
    e10 = uf2_block(0, 2, 0x10FFFF00, b"\xef" * PAGE, ABSOLUTE, flags)
    (segment,) = PICO2.parse("app.uf2", e10 + uf2(pages_of(app), RP2350_ARM_S), None)
    assert segment.address == FLASH_BASE
    assert segment.data.startswith(app)


def test_a_gap_makes_two_segments():
    pages = pages_of(DATA[:PAGE]) | pages_of(DATA[PAGE:], FLASH_BASE + 4 * SECTOR)
    assert [segment.address for segment in PICO.parse("app.uf2", uf2(pages), None)] == [
        FLASH_BASE,
        FLASH_BASE + 4 * SECTOR,
    ]


@pytest.mark.parametrize(("chip", "other"), [("pico", RP2350_ARM_S), ("pico2", RP2040)])
def test_a_family_that_contradicts_the_contents_is_refused(chip: str, other: int):
    app = firmware.build_app(CHIPS[chip], "x", "1")
    with pytest.raises(BadImage, match="names the family"):
        PICO.parse("app.uf2", uf2(pages_of(app), other), None)


SEGMENTS = st.lists(st.tuples(st.integers(0, 20 * SECTOR), st.binary(min_size=1, max_size=3 * SECTOR)), min_size=1)


@settings(max_examples=60, deadline=None)
@given(pieces=SEGMENTS)
def test_what_is_built_is_whole_sectors_whose_groups_are_sectors(pieces: list[tuple[int, bytes]]):
    """Then RP2040's ROM, which erases by the block's number, erases what it writes."""
    segments = [Segment(FLASH_BASE + at, data) for at, data in pieces]
    data = pico_uf2.build(segments, Family.RP2040, absolute_block=False)[512:]
    blocks = [struct.unpack_from("<8I", data, at) for at in range(0, len(data), 512)]
    assert len(blocks) % 16 == 0
    assert sorted(number for *_, number, _, _ in blocks) == list(range(len(blocks)))
    for _, _, _, address, size, number, count, family in blocks:
        assert (size, count, family) == (PAGE, len(blocks), RP2040)
        assert address % SECTOR == number % 16 * PAGE
    sectors = pico_uf2.laid_out(segments)
    parsed = pico_uf2.parse("x", data).segments
    assert b"".join(segment.data for segment in parsed) == b"".join(sectors.values())


@settings(max_examples=60, deadline=None)
@given(pieces=SEGMENTS)
def test_the_layout_holds_the_segments_and_is_erased_elsewhere(pieces: list[tuple[int, bytes]]):
    memory = bytearray(b"\xff" * 32 * SECTOR)
    for at, data in pieces:
        memory[at : at + len(data)] = data
    for address, sector in pico_uf2.laid_out([Segment(FLASH_BASE + at, data) for at, data in pieces]).items():
        assert sector == memory[address - FLASH_BASE :][:SECTOR]


@pytest.mark.parametrize(("chip", "family"), [("pico", Family.RP2040), ("pico2", Family.RP2350_ARM_S)])
def test_the_sector_that_the_rom_starts_from_is_erased_first_and_finished_last(chip: str, family: Family):
    app = firmware.build_app(CHIPS[chip], "x", "1")
    data = pico_uf2.build([Segment(FLASH_BASE, app)], family, absolute_block=False)[512:]
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    order = [struct.unpack_from("<I", block, 12)[0] - FLASH_BASE for block in blocks]
    assert order[0] < SECTOR
    assert order[1:-15] == list(range(SECTOR, len(order) * PAGE, PAGE))
    assert sorted(order) == list(range(0, len(order) * PAGE, PAGE))
    flash = bytearray(b"\xff" * SECTOR)
    for address, block in zip(order, blocks, strict=True):
        assert not startable(bytes(flash)).chips, "before the last page, the ROM finds nothing to start"
        if address < SECTOR:
            flash[address : address + PAGE] = block[32 : 32 + PAGE]
    assert startable(bytes(flash)).chips


def test_the_block_for_rp2350_e10_comes_first_where_it_is_wanted():
    with_it = pico_uf2.build([Segment(FLASH_BASE, DATA)], Family.RP2350_ARM_S, absolute_block=True)
    without = pico_uf2.build([Segment(FLASH_BASE, DATA)], Family.RP2350_ARM_S, absolute_block=False)
    assert with_it[512:] == without
    assert struct.unpack_from("<6I", with_it, 8) == (0xA000, 0x10FFFF00, 256, 0, 2, ABSOLUTE)
    assert with_it[32:292] == b"\xef" * 256 + struct.pack("<I", 0x9957E304)


@st.composite
def almost_uf2(draw: st.DrawFn) -> bytes:
    """Blocks with some fields that make sense."""
    word = st.one_of(st.integers(0, 8), st.integers(0, 2**32 - 1))
    blocks = draw(st.lists(st.tuples(*(word,) * 6, st.binary(max_size=64)), max_size=5))
    return b"".join(
        uf2_block(number, count, address, data, family, flags | draw(st.sampled_from([0, 0x2000])), size)
        for number, count, address, family, flags, size, data in blocks
    )


@settings(max_examples=200, deadline=None)
@given(data=st.one_of(st.binary(max_size=1100), almost_uf2(), almost_uf2().map(lambda data: data + b"UF2\n")))
def test_no_bytes_at_all_crash_the_parser(data: bytes):
    for name in ("x.uf2", "x.bin"):
        try:
            segments = PICO.parse(name, data, FLASH_BASE)
            PICO.inspect(segments)
        except BadImage:
            continue
        assert segments


def test_the_families_are_told_apart():
    assert {chip.name: FAMILY[chip.name] for chip in CHIPS.values()} == {"rp2040": RP2040, "rp2350": RP2350_ARM_S}
