from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.virtual import flash
from drivers.virtual.esp.chips import CHIPS, ESP32
from drivers.virtual.esp.spi import FlashChip, Instruction, SpiController, flash_id
from drivers.virtual.flash import NorFlash

SIZE = 1 << 20
ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


@pytest.fixture
def cells(tmp_path: Path) -> NorFlash:
    flash.create(tmp_path / "flash.bin", SIZE, bytes(range(256)) * 32)
    return NorFlash(tmp_path / "flash.bin")


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_the_flash_id_is_read_through_the_registers(chip, cells: NorFlash) -> None:
    layout = chip.spi
    controller = SpiController(layout, FlashChip(cells))
    controller.attached = True
    if layout.miso_length is not None:
        controller.write(layout.base + layout.miso_length, 23)
    else:
        controller.write(layout.base + layout.user1, 23 << 8)
    controller.write(layout.base + layout.user, 1 << 31 | 1 << 28)
    controller.write(layout.base + layout.user2, 7 << 28 | Instruction.READ_ID)
    controller.write(layout.base, 1 << 18)
    assert controller.read(layout.base + layout.w0).to_bytes(4, "little")[:3] == flash_id(SIZE)
    assert controller.read(layout.base) == 0, "the command is done"


def test_a_chip_that_is_not_attached_leaves_the_bus_floating(cells: NorFlash) -> None:
    layout = ESP32.spi
    controller = SpiController(layout, FlashChip(cells))
    controller.write(layout.base + layout.miso_length, 23)
    controller.write(layout.base + layout.user, 1 << 31 | 1 << 28)
    controller.write(layout.base + layout.user2, Instruction.READ_ID)
    controller.write(layout.base, 1 << 18)
    assert controller.read(layout.base + layout.w0) == 0xFFFFFF


def test_nothing_is_written_without_write_enable(cells: NorFlash) -> None:
    chip = FlashChip(cells)
    chip.transact(Instruction.SECTOR_ERASE, 0, b"")
    chip.transact(Instruction.PAGE_PROGRAM, 0x10000, b"\0")
    assert cells.read(0, 256) == bytes(range(256))
    assert cells.read(0x10000, 1) == b"\xff"


def test_write_enable_lasts_for_one_instruction(cells: NorFlash) -> None:
    chip = FlashChip(cells)
    chip.transact(Instruction.WRITE_ENABLE, 0, b"")
    assert chip.transact(Instruction.READ_STATUS_1, 0, b"")[0] & 2
    chip.transact(Instruction.SECTOR_ERASE, 0, b"")
    chip.transact(Instruction.SECTOR_ERASE, 0x1000, b"")
    assert cells.read(0, 0x1000) == b"\xff" * 0x1000
    assert cells.read(0x1000, 4) == bytes(range(4))


def test_a_page_program_wraps_inside_of_its_page(cells: NorFlash) -> None:
    chip = FlashChip(cells)
    chip.transact(Instruction.WRITE_ENABLE, 0, b"")
    chip.transact(Instruction.PAGE_PROGRAM, 0x100FE, b"abcd")
    assert cells.read(0x100FE, 2) == b"ab"
    assert cells.read(0x10000, 2) == b"cd"


def test_the_parameter_table_begins_with_its_signature_and_states_the_size(cells: NorFlash) -> None:
    chip = FlashChip(cells)
    assert chip.transact(Instruction.READ_SFDP, 0, b"").startswith(b"SFDP")
    assert chip.transact(Instruction.READ_SFDP, 0x84, b"")[:4] == (SIZE * 8 - 1).to_bytes(4, "little")


@ANY
@given(writes=st.lists(st.tuples(st.integers(0, 63).map(lambda n: 4 * n), st.integers(0, 2**32 - 1)), max_size=40))
def test_any_writes_to_the_registers_are_survived(cells: NorFlash, writes: list[tuple[int, int]]) -> None:
    for chip in CHIPS.values():
        controller = SpiController(chip.spi, FlashChip(cells))
        controller.attached = True
        for offset, value in writes:
            controller.write(chip.spi.base + offset, value)
            assert 0 <= controller.read(chip.spi.base + offset) < 2**32


@ANY
@given(opcode=st.integers(0, 255), address=st.integers(0, 2**24 - 1), sent=st.binary(max_size=64))
def test_the_flash_chip_answers_any_opcode(cells: NorFlash, opcode: int, address: int, sent: bytes) -> None:
    assert len(FlashChip(cells).transact(opcode, address, sent)) >= 64
