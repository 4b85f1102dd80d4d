"""What was backed up can be restored, byte for byte, and nothing is read or written that need not be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Capabilities, Region, Segment, VerificationFailed
from harness import backup
from harness.store import Store
from tests.harness.memory_board import BLOCK, SIZE, FailAt, MemoryBoard, MemorySession

CAN_HASH = Capabilities(can_read_back=True, can_hash=True, can_reset=True)
CAN_READ = Capabilities(can_read_back=True, can_hash=False, can_reset=True)
WHOLE = backup.split([Region(0, SIZE)], BLOCK)

blocks_of_flash = st.lists(st.sampled_from([b"\xff", b"\0", b"a", b"b", b"c"]), min_size=16, max_size=16).map(
    lambda fills: b"".join(fill * BLOCK for fill in fills)
)
regions = st.lists(st.builds(Region, st.integers(0, SIZE - 1), st.integers(1, SIZE)), min_size=1, max_size=4)


def ignore(_done: int, _total: int) -> None:
    pass


def connected(board: MemoryBoard) -> MemorySession:
    session = MemorySession(board, CAN_HASH)
    session.connect()
    return session


@pytest.mark.parametrize("capabilities", [CAN_HASH, CAN_READ])
@given(before=blocks_of_flash, after=blocks_of_flash)
def test_whatever_happened_to_the_flash_a_restore_brings_it_back(capabilities, before, after, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    board = MemoryBoard(bytearray(before))
    taken = backup.take(connected(board), capabilities, WHOLE, store, ignore)
    board.flash[:] = after
    written = backup.restore(connected(board), capabilities, taken.blocks, store, ignore)
    assert bytes(board.flash) == before
    changed = sum(before[at : at + BLOCK] != after[at : at + BLOCK] for at in range(0, SIZE, BLOCK))
    assert written == changed * BLOCK


@given(regions)
def test_split_covers_every_byte_once_on_the_grid(wanted):
    pieces = backup.split(wanted, BLOCK)
    assert all(piece.address % BLOCK == 0 and piece.size == BLOCK for piece in pieces)
    assert len({piece.address for piece in pieces}) == len(pieces)
    for region in wanted:
        assert any(piece.address <= region.address < piece.end for piece in pieces)
        assert any(piece.address < region.end <= piece.end for piece in pieces)


@given(regions, regions.map(lambda several: several[0]))
def test_what_is_read_lies_inside_of_the_flash_and_covers_what_is_wanted_of_it(wanted, flash):
    pieces = backup.clip(backup.split(wanted, BLOCK), flash)
    assert all(flash.address <= piece.address < piece.end <= flash.end for piece in pieces)
    for region in wanted:
        inside = [at for at in (region.address, region.end - 1) if flash.address <= at < flash.end]
        assert all(any(piece.address <= at < piece.end for piece in pieces) for at in inside)


def test_a_flash_that_does_not_begin_at_0_and_ends_in_the_middle_of_a_block_is_read_from_end_to_end():
    flash = Region(0x0800_0000, BLOCK + 100)
    assert backup.clip(backup.split([flash], BLOCK), flash) == (
        Region(0x0800_0000, BLOCK),
        Region(0x0800_0000 + BLOCK, 100),
    )


def test_blocks_that_the_store_has_are_not_read_from_the_board(tmp_path: Path):
    store = Store(tmp_path)
    backup.take(connected(MemoryBoard(bytearray(b"x" * SIZE))), CAN_HASH, WHOLE, store, ignore)
    board = MemoryBoard(bytearray(b"x" * SIZE))
    assert backup.take(connected(board), CAN_HASH, WHOLE, store, ignore).read_bytes == 0
    assert "read" not in board.operations


def test_an_erased_flash_is_never_read(tmp_path: Path):
    board = MemoryBoard()
    taken = backup.take(connected(board), CAN_HASH, WHOLE, Store(tmp_path), ignore)
    assert taken.read_bytes == 0
    assert Store(tmp_path).has(taken.blocks[0].md5)


def test_an_image_that_was_flashed_once_is_found_by_the_next_backup(tmp_path: Path):
    store = Store(tmp_path)
    image = Segment(BLOCK, b"firmware" * 700)
    backup.remember(image, BLOCK, store)
    board = MemoryBoard()
    board.flash[image.address : image.region.end] = image.data
    assert backup.take(connected(board), CAN_HASH, WHOLE, store, ignore).read_bytes == 0


def test_a_board_whose_digest_lies_is_not_backed_up(tmp_path: Path):
    class Liar(MemorySession):
        def digest(self, region: Region) -> str:
            return "0" * 32

    session = Liar(MemoryBoard(), CAN_HASH)
    session.connect()
    with pytest.raises(VerificationFailed, match="not what the board hashed"):
        backup.take(session, CAN_HASH, WHOLE, Store(tmp_path), ignore)


def test_a_restore_that_the_board_does_not_confirm_fails(tmp_path: Path):
    store = Store(tmp_path)
    board = MemoryBoard(bytearray(b"o" * SIZE))
    taken = backup.take(connected(board), CAN_HASH, WHOLE, store, ignore)
    board.flash[:BLOCK] = b"n" * BLOCK

    class ForgetsWrites(MemorySession):
        def write(self, segments, progress) -> None:
            pass

    session = ForgetsWrites(board, CAN_HASH)
    session.connect()
    with pytest.raises(VerificationFailed, match="1 restored blocks differ from the backup, at 0x0"):
        backup.restore(session, CAN_HASH, taken.blocks, store, ignore)


def test_a_restore_that_is_cut_short_goes_on_where_it_stopped(tmp_path: Path):
    store = Store(tmp_path)
    board = MemoryBoard(bytearray(b"o" * SIZE))
    taken = backup.take(connected(board), CAN_HASH, WHOLE, store, ignore)
    board.flash[:] = b"n" * SIZE
    board.fail = FailAt("write", 5)
    with pytest.raises(Exception, match="refused"):
        backup.restore(connected(board), CAN_HASH, taken.blocks, store, ignore)
    assert backup.restore(connected(board), CAN_HASH, taken.blocks, store, ignore) == SIZE - 4 * BLOCK
    assert bytes(board.flash) == b"o" * SIZE
