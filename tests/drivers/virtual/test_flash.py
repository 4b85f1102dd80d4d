from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.virtual import flash
from drivers.virtual.flash import SECTOR, NorFlash

SIZE = 1 << 18


@pytest.fixture
def cells(tmp_path: Path) -> NorFlash:
    flash.create(tmp_path / "flash.bin", SIZE, b"old")
    return NorFlash(tmp_path / "flash.bin")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(address=st.integers(0, 2 * SIZE), first=st.binary(max_size=600), second=st.binary(max_size=600))
def test_programming_only_clears_bits(cells: NorFlash, address: int, first: bytes, second: bytes) -> None:
    cells.erase_all()
    cells.program(address, first)
    cells.program(address, second)
    size = min(len(first), len(second))
    assert cells.read(address, size) == bytes(a & b for a, b in zip(first, second, strict=False))


def test_a_new_chip_holds_its_factory_contents_and_is_blank_behind_them(cells: NorFlash) -> None:
    assert cells.read(0, 3) == b"old"
    assert cells.read(3, SIZE - 3) == b"\xff" * (SIZE - 3)
    assert cells.path.stat().st_size == SIZE


def test_erasing_takes_whole_sectors_and_no_others(cells: NorFlash) -> None:
    cells.program(SECTOR - 1, bytes(SECTOR + 2))
    cells.erase(SECTOR, 1)
    assert cells.read(SECTOR, SECTOR) == b"\xff" * SECTOR
    assert cells.read(SECTOR - 1, 1) == b"\0"
    assert cells.read(2 * SECTOR, 1) == b"\0"


def test_addresses_wrap_at_the_chips_end(cells: NorFlash) -> None:
    cells.erase_all()
    cells.program(SIZE - 2, b"abcd")
    assert cells.read(0, 2) == b"cd"
    assert cells.read(SIZE - 2, 4) == b"abcd"


def test_contents_outlive_the_process_that_wrote_them(cells: NorFlash) -> None:
    cells.program(0x1000, b"kept")
    cells.close()
    again = NorFlash(cells.path)
    assert again.read(0x1000, 4) == b"kept"
    assert again.blank_sectors(0, SIZE) == SIZE // SECTOR - 2
