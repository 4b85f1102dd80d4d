"""Reading what a board holds into the store, and writing it back: only blocks that differ cross the line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from drivers.base import Capabilities, Progress, Region, Segment, Session, VerificationFailed
from harness.store import Block, Store, digest

ERASED = b"\xff"
MAX_SEGMENT = 0x100000  # bytes that are restored in one write; bounds what a retry repeats


@dataclass(frozen=True)
class Taken:
    """The blocks of a backup, and how many bytes had to be read from the board for it."""

    blocks: tuple[Block, ...]
    read_bytes: int


def split(regions: Iterable[Region], block_size: int) -> tuple[Region, ...]:
    """The regions' blocks on the grid of `block_size` bytes; overlapping regions share a block. Pure."""
    starts = {
        address
        for region in regions
        for address in range(region.address // block_size * block_size, region.end, block_size)
    }
    return tuple(Region(start, block_size) for start in sorted(starts))


def clip(blocks: Iterable[Region], flash: Region) -> tuple[Region, ...]:
    """The blocks cut at the flash's ends, which may lie in the middle of one. Pure."""
    cut = ((max(block.address, flash.address), min(block.end, flash.end)) for block in blocks)
    return tuple(Region(start, end - start) for start, end in cut if start < end)


def take(
    session: Session, capabilities: Capabilities, regions: Sequence[Region], store: Store, progress: Progress
) -> Taken:
    """Every region's bytes into the store; those that the board's digest finds there are not read."""
    total = sum(region.size for region in regions)
    blocks: list[Block] = []
    done = read_bytes = 0
    for region in regions:
        known = session.digest(region) if capabilities.can_hash else None
        if known is not None and _have(store, known, region.size):
            md5 = known
        else:
            md5 = _read(session, region, known, store)
            read_bytes += region.size
        blocks.append(Block(address=region.address, size=region.size, md5=md5))
        done += region.size
        progress(done, total)
    return Taken(tuple(blocks), read_bytes)


def _have(store: Store, md5: str, size: int) -> bool:
    """Whether the block is in the store; an erased one always is, since nobody needs to read it."""
    if store.has(md5):
        return True
    erased = ERASED * size
    return digest(erased) == md5 and store.put(erased) == md5


def _read(session: Session, region: Region, expected: str | None, store: Store) -> str:
    data = session.read(region, lambda _done, _total: None)
    if len(data) != region.size:
        raise VerificationFailed(f"read {len(data)} bytes at {region.address:#x} instead of {region.size}")
    md5 = store.put(data)
    if expected is not None and md5 != expected:
        raise VerificationFailed(f"what was read at {region.address:#x} is not what the board hashed there")
    return md5


def differing(session: Session, capabilities: Capabilities, blocks: Sequence[Block]) -> tuple[Block, ...]:
    """The blocks that the board does not hold (all of them, where neither hash nor read-back can tell)."""
    return tuple(block for block in blocks if _current(session, capabilities, block.region) != block.md5)


def _current(session: Session, capabilities: Capabilities, region: Region) -> str | None:
    if capabilities.can_hash:
        return session.digest(region)
    if capabilities.can_read_back:
        return digest(session.read(region, lambda _done, _total: None))
    return None


def segments(blocks: Sequence[Block], store: Store) -> Iterator[Segment]:
    """The blocks' bytes from the store, neighbours joined."""
    address, data = 0, b""
    for block in sorted(blocks, key=lambda block: block.address):
        if data and (block.address != address + len(data) or len(data) >= MAX_SEGMENT):
            yield Segment(address, data, "backup")
            data = b""
        if not data:
            address = block.address
        data += store.get(block.md5)
    if data:
        yield Segment(address, data, "backup")


def restore(
    session: Session, capabilities: Capabilities, blocks: Sequence[Block], store: Store, progress: Progress
) -> int:
    """Make the board hold the blocks again, and verify it; the number of bytes written.

    Raises `VerificationFailed` when the board's own digests say that it does not hold them.
    """
    wrong = differing(session, capabilities, blocks)
    written = list(segments(wrong, store))
    if written:
        session.write(written, progress)
    if not (capabilities.can_hash or capabilities.can_read_back):
        return sum(len(segment.data) for segment in written)
    still_wrong = differing(session, capabilities, wrong)
    if still_wrong:
        places = ", ".join(f"{block.address:#x}" for block in still_wrong[:4])
        raise VerificationFailed(f"{len(still_wrong)} restored blocks differ from the backup, at {places}")
    return sum(len(segment.data) for segment in written)


def remember(image: Segment, block_size: int, store: Store) -> None:
    """Keep an image's blocks as they stand in an otherwise erased flash: a later backup finds them by digest."""
    for block in split([image.region], block_size):
        offset = block.address - image.address
        piece = image.data[max(offset, 0) : offset + block.size]
        before = max(-offset, 0)
        store.put(ERASED * before + piece + ERASED * (block.size - before - len(piece)))
