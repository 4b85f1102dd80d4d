"""The store keeps what it was given, says so when it can not, and never gives out anything else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Identity
from harness.store import Backup, Block, Store, StoreError, digest

IDENTITY = Identity("esp32", "v3.0", "24:0a:c4:00:00:01", 0x400000)


@given(content=st.binary(max_size=5000))
def test_what_was_put_comes_back(content, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    assert store.get(store.put(content)) == content


def test_a_damaged_block_is_refused_by_name(tmp_path: Path):
    store = Store(tmp_path)
    md5 = store.put(b"firmware")
    path = next(path for path in tmp_path.rglob(md5) if path.is_file())
    path.write_bytes(b"firmwarf")
    with pytest.raises(StoreError, match=f"block {md5} is damaged"):
        store.get(md5)


def test_a_missing_block_is_refused_by_name(tmp_path: Path):
    with pytest.raises(StoreError, match=f"block {digest(b'never put')} can not be read"):
        Store(tmp_path).get(digest(b"never put"))


def test_a_store_that_can_not_be_written_says_where(tmp_path: Path):
    (tmp_path / "blocks").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="can not be written"):
        Store(tmp_path).put(b"data")


def test_many_writers_of_one_block_leave_one_whole_block(tmp_path: Path):
    store = Store(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(store.put, [b"same" * 10000] * 40))
    assert len(names) == 1
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in files] == [40000]


def test_a_backup_is_found_again_with_its_bytes(tmp_path: Path):
    store = Store(tmp_path)
    blocks = [Block(address=at, size=4, md5=store.put(data)) for at, data in ((0, b"boot"), (8, b"app1"))]
    kept = Backup(run_id="r1", device_id="D", identity=IDENTITY, version="1.1.0", taken_at=1.5, blocks=tuple(blocks))
    store.save(kept)
    assert store.load("r1", "D") == kept
    assert store.content(kept) == b"boot\xff\xff\xff\xffapp1"
    assert store.load("r2", "D") is None
