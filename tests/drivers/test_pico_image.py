"""What an image says of itself is read from it: the chips that start it, its name and its version."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.base import BadImage, ImageFacts, Segment
from drivers.pico import PICO, PICO2_USB
from drivers.pico import image as pico_image
from drivers.virtual.pico import firmware
from drivers.virtual.pico.chips import CHIPS, FLASH_BASE


@pytest.mark.parametrize(("chip", "name"), [("pico", "rp2040"), ("pico2", "rp2350")])
def test_chip_name_and_version_are_read(chip: str, name: str):
    app = firmware.build_app(CHIPS[chip], "blink", "v2.5.0-rc1")
    assert PICO.inspect([Segment(FLASH_BASE, app)]) == ImageFacts(name, "blink", "v2.5.0-rc1")
    assert PICO2_USB.inspect([Segment(FLASH_BASE, app)]).chip == name


def test_the_checksum_is_the_one_of_the_catalogue():
    assert pico_image.crc32_mpeg2(b"123456789") == 0x0376E6E7


def test_an_image_that_nothing_would_start_is_refused():
    app = bytearray(firmware.build_app(CHIPS["pico"], "blink", "1"))
    app[10] ^= 1
    with pytest.raises(BadImage, match="neither a second stage"):
        PICO.inspect([Segment(FLASH_BASE, bytes(app))])


def test_data_for_another_place_is_no_program():
    assert PICO.inspect([Segment(FLASH_BASE + 0x100000, b"data" * 100)]) == ImageFacts()


def test_an_image_for_both_chips_is_for_neither_alone():
    app = bytearray(firmware.build_app(CHIPS["pico"], "both", "1"))
    app[0x1C0 : 0x1C0 + 20] = struct.pack("<5I", 0xFFFFDED3, 0x10210142, 0x1FF, 0, 0xAB123579)
    assert PICO.inspect([Segment(FLASH_BASE, bytes(app))]) == ImageFacts(None, "both", "1")


def test_riscv_and_partition_tables_are_known():
    riscv = struct.pack("<5I", 0xFFFFDED3, 0x11010142, 0x1FF, 0, 0xAB123579)
    assert pico_image.startable(bytes(64) + riscv) == pico_image.Startable(rp2040=False, rp2350=True, riscv=True)
    table = struct.pack("<5I", 0xFFFFDED3, 0x0000020A, 0x2FF, 0, 0xAB123579)
    assert pico_image.startable(bytes(64) + table).chips == ("rp2350",)
    wrong_chip = struct.pack("<5I", 0xFFFFDED3, 0x00010142, 0x1FF, 0, 0xAB123579)
    assert pico_image.startable(bytes(64) + wrong_chip).chips == ()


def test_texts_in_ram_are_found_where_they_are_copied_from():
    """.data is copied at the start: its addresses are mapped back by the table in the header."""
    image = bytearray(0x600)
    base = FLASH_BASE
    image[0x200:0x214] = struct.pack("<5I", 0x7188EBF2, base + 0x220, base + 0x224, base + 0x300, 0xE71AA390)
    image[0x220:0x224] = struct.pack("<I", 0x20000010)
    image[0x300:0x310] = struct.pack("<4I", base + 0x400, 0x20000000, 0x20000100, 0)
    image[0x410:0x41C] = struct.pack("<HHII", 6, 0x5052, 0x11A9BC3A, 0x20000040)
    image[0x440:0x446] = b"3.1.4\0"
    read = pico_image.from_segments([Segment(base, bytes(image))])
    assert pico_image.describe(read, base).version == "3.1.4"


@settings(max_examples=200, deadline=None)
@given(
    junk=st.lists(st.tuples(st.integers(0, 0x500), st.binary(min_size=1, max_size=40)), max_size=8),
    words=st.lists(st.integers(0, 2**32 - 1), min_size=3, max_size=3),
)
def test_no_bytes_at_all_crash_the_description(junk: list[tuple[int, bytes]], words: list[int]):
    image = bytearray(firmware.build_app(CHIPS["pico"], "x", "1", code_size=0x400))
    image[0x200:0x214] = struct.pack("<5I", 0x7188EBF2, *words, 0xE71AA390)
    for at, data in junk:
        image[at : at + len(data)] = data
    said = pico_image.describe(pico_image.from_segments([Segment(FLASH_BASE, bytes(image))]), FLASH_BASE)
    assert said.version is None or isinstance(said.version, str)
    assert isinstance(pico_image.startable(bytes(image)).chips, tuple)
