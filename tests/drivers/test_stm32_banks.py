"""STM32 parts with two banks: by which number the boot loader erases what, and what happens where it means another."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.base import BadImage, FlashFailed, Link, Region, Segment, WrongBoard
from drivers.stm32 import STM32, Stm32Session, protocol
from drivers.stm32.lines import Stm32Options
from drivers.stm32.loader import Loader
from drivers.stm32.parts import PARTS, Part
from drivers.stm32.protocol import LoaderError
from drivers.stm32.sectors import Layout, Sector, doubts
from drivers.stm32.writing import Held, put_back, write_segments
from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec, BoardSpec

BASE = 0x08000000
K = 1024
ACK = b"\x79"
OPTIONS = bytes.fromhex("AAE1FFDE").ljust(0x18, b"\0") + bytes.fromhex("7F00000000000000" * 2)
"""Of a G0B1 as delivered, with BOOT0's pin: two banks, in their places; no page write-protected (RM0444, 3.4)."""


def ignore(_done: int, _total: int) -> None:
    pass


def layouts(part: Part, size: int) -> set[Layout]:
    return {part.usual_layout(size), *(switch.layout for switch in part.switches if size <= switch.largest)}


@pytest.mark.parametrize(
    ("product", "size", "address", "number"),
    [
        (0x467, 512 * K, 0x08040000, 256),
        (0x467, 256 * K, 0x08020000, 256),
        (0x467, 256 * K, 0x0803F800, 319),
        (0x467, 128 * K, 0x0801F800, 63),  # one bank
        (0x415, 1024 * K, 0x08080000, 256),
        (0x415, 512 * K, 0x08040000, 256),
        (0x415, 512 * K, 0x0807F800, 383),
        (0x461, 256 * K, 0x08020000, 256),
        (0x470, 2048 * K, 0x08100000, 256),
        (0x470, 1024 * K, 0x08080000, 256),
        (0x469, 512 * K, 0x08040000, 128),
        (0x469, 256 * K, 0x0801F800, 63),  # the last: the second bank is at 0x08040000 whatever the size
        (0x469, 128 * K, 0x0800F800, 31),
    ],
)
def test_a_second_banks_pages_have_the_numbers_and_places_of_the_reference_manuals(
    product: int, size: int, address: int, number: int
):
    sectors = PARTS[product].usual_layout(size).sectors(size)
    assert [sector.number for sector in sectors if sector.address == address] == [number]
    assert sectors[-1].number >= number


@pytest.mark.parametrize(("product", "size"), [(0x467, 512 * K), (0x415, 512 * K), (0x461, 256 * K), (0x470, 1024 * K)])
def test_where_an_option_makes_one_bank_its_pages_are_counted_through(product: int, size: int):
    switch = next(switch for switch in PARTS[product].switches if size <= switch.largest)
    sectors = switch.layout.sectors(size)
    assert [sector.number for sector in sectors] == list(range(len(sectors)))
    assert not doubts(sectors)


@given(part=st.sampled_from(list(PARTS.values())), share=st.sampled_from([1, 2, 4]))
def test_the_sectors_of_every_part_cover_its_flash_and_no_two_share_a_number(part: Part, share: int):
    size = part.largest_flash // share
    for layout in layouts(part, size):
        sectors = layout.sectors(size)
        ends = [BASE, *(sector.end for sector in sectors)]
        assert [sector.address for sector in sectors] == ends[:-1]
        assert ends[-1] == BASE + layout.reach(size)
        numbers = [sector.number for sector in sectors]
        assert numbers == sorted(set(numbers))
        for sector, doubt in doubts(sectors).items():
            assert doubt.others
            assert sector not in doubt.others


Means = Callable[[Sequence[Sector], int], Sector | None]


def by_the_manual(sectors: Sequence[Sector], number: int) -> Sector | None:
    return next((sector for sector in sectors if sector.number == number), None)


def counted_through(sectors: Sequence[Sector], number: int) -> Sector | None:
    return sectors[number] if number < len(sectors) else None


def always_of_the_first_bank(sectors: Sequence[Sector], number: int) -> Sector | None:
    return sectors[number % (len(sectors) // 2)]


def none_beyond_the_first_bank(sectors: Sequence[Sector], number: int) -> Sector | None:
    return sectors[number] if number < len(sectors) // 2 else None


class CountingLoader:
    """A port with a boot loader at its far end that reads, writes and erases: which sector a number means, is its own
    business. The flash takes a double word once, as those of G0 and L4 do.
    """

    baudrate = 115200
    timeout: float | None = None

    def __init__(self, flash: bytes, sectors: Sequence[Sector], means: Means) -> None:
        self.flash = bytearray(flash)
        self._sectors = sectors
        self._means = means
        self._at = 0
        self.connect()

    def connect(self, frames: int = 1 << 30) -> None:
        """As after a reset; the line is lost behind so many frames, before the answer to the last one."""
        self._frames_left = frames
        self._answers = b""
        self._takes = self._command

    def read(self, size: int) -> bytes:
        data, self._answers = self._answers[:size], self._answers[size:]
        return data

    def write(self, frame: bytes) -> None:
        self._frames_left -= 1
        if self._frames_left >= 0:
            self._answers += ACK
            self._takes(frame)
        if self._frames_left <= 0:
            self._answers = b""

    def reset_input_buffer(self) -> None:
        pass

    def _command(self, frame: bytes) -> None:
        then = {0x11: self._length, 0x31: self._data, 0x44: self._pages}[frame[0]]
        self._takes = then if frame[0] == 0x44 else lambda address: self._address(address, then)

    def _address(self, frame: bytes, then: Callable[[bytes], None]) -> None:
        self._at = int.from_bytes(frame[:4], "big") - BASE
        self._takes = then

    def _length(self, frame: bytes) -> None:
        self._answers += self.flash[self._at : self._at + frame[0] + 1]
        self._takes = self._command

    def _data(self, frame: bytes) -> None:
        for at in range(0, frame[0] + 1, 8):
            cells = slice(self._at + at, self._at + at + 8)
            if self.flash[cells] == b"\xff" * 8:
                self.flash[cells] = frame[1 + at : 1 + at + 8]
        self._takes = self._command

    def _pages(self, frame: bytes) -> None:
        for at in range(2, len(frame) - 1, 2):
            sector = self._means(self._sectors, int.from_bytes(frame[at : at + 2], "big"))
            if sector:
                region = Region(sector.address - BASE, sector.region.size)
                self.flash[region.address : region.end] = b"\xff" * region.size
        self._takes = self._command


@st.composite
def banked_chips(draw: st.DrawFn) -> tuple[Part, tuple[Sector, ...], bytes]:
    """A part whose second bank may be counted in several ways, and what its flash holds: used and blank pages."""
    part, size = draw(st.sampled_from([(0x467, 256 * K), (0x415, 512 * K), (0x470, 1024 * K)]))
    layout = PARTS[part].usual_layout(size)
    sectors = layout.sectors(size)
    flash = bytearray(random.Random(draw(st.integers(0, 9))).randbytes(size))
    half = len(sectors) // 2
    for index in draw(st.lists(st.sampled_from([*range(4), *range(half, half + 4)]), unique=True)):
        region = sectors[index].region
        flash[region.address - BASE : region.end - BASE] = b"\xff" * region.size
    return PARTS[part], sectors, bytes(flash)


@settings(max_examples=60, deadline=None)
@given(
    chip=banked_chips(),
    means=st.sampled_from([by_the_manual, counted_through, always_of_the_first_bank, none_beyond_the_first_bank]),
    starts=st.tuples(st.integers(0, 0x1800), st.integers(0, 0x1800)),
    sizes=st.tuples(st.integers(0, 0x1800), st.integers(1, 0x1800)),
)
def test_whatever_a_boot_loader_means_by_a_number_the_flash_is_written_right_or_as_it_was(
    chip: tuple[Part, tuple[Sector, ...], bytes], means: Means, starts: tuple[int, int], sizes: tuple[int, int]
):
    """The harm would be another part's pages: a boot loader before the application, the settings behind it."""
    part, sectors, before = chip
    offsets = starts[0], sectors[len(sectors) // 2].address - BASE + starts[1]
    segments = [Segment(BASE + at, b"new" * size) for at, size in zip(offsets, sizes, strict=True) if size]
    port = CountingLoader(before, sectors, means)
    client = client_of(port)
    wanted = bytearray(before)
    for segment in segments:
        wanted[segment.address - BASE : segment.region.end - BASE] = segment.data
    steps: list[int] = []
    try:
        write_segments(client, no_pause(part), sectors, segments, lambda done, _: steps.append(done), [].append, {})
    except FlashFailed:
        assert means not in (by_the_manual, counted_through)
        wanted = bytearray(before)
    else:
        assert steps == sorted(steps)
        assert steps[-1] == sum(len(segment.data) for segment in segments)
    assert port.flash == wanted


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(1, 500))
def test_a_trial_that_a_lost_line_cuts_short_is_undone_as_soon_as_the_board_answers_again(frames: int):
    part = no_pause(PARTS[0x467])
    sectors = part.usual_layout(256 * K).sectors(256 * K)
    before = random.Random(1).randbytes(256 * K)
    segments = [Segment(BASE + 128 * K + 0x123, b"new" * 0x300)]
    port = CountingLoader(before, sectors, always_of_the_first_bank)
    held: Held = {}
    port.connect(frames)
    with pytest.raises((LoaderError, FlashFailed)):
        write_segments(client_of(port), part, sectors, segments, ignore, [].append, held)
    port.connect()
    put_back(client_of(port), part, held)
    assert port.flash == before
    assert not held


def client_of(port: CountingLoader) -> Loader:
    client = Loader(port, [].append)  # type: ignore[arg-type]
    client.abilities = protocol.Abilities(0x31, frozenset({protocol.Command.EXTENDED_ERASE}))
    return client


def no_pause(part: Part) -> Part:
    from dataclasses import replace

    return replace(part, erase_pause_s=part.erase_pause_s and 1e-6)


class Board:
    """A G0B1 of 256 KiB on a bench, with option bytes of its own."""

    def __init__(self, bench: Bench, state: Path) -> None:
        self.lines: list[str] = []
        link = Link(bench.boards["g0b1"].url, 115200, 115200, options=Stm32Options())
        self.session: Stm32Session = STM32.open(link, self.lines.append)
        self._flash = state / "g0b1" / "flash.bin"

    @property
    def flash(self) -> bytes:
        return self._flash.read_bytes()


@pytest.fixture
def board(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Board]:
    folder = tmp_path / "g0b1"
    folder.mkdir()
    (folder / "flash.bin").write_bytes(random.Random(7).randbytes(256 * K))
    options = bytearray(OPTIONS.ljust(0x80, b"\0"))
    options[2] = getattr(request, "param", options[2])
    (folder / "options-stm32g0b1.bin").write_bytes(options)
    spec = BoardSpec(board_id="g0b1", chip="stm32g0b1", flash_size=256 * K)
    with Bench.start(BenchSpec(state=tmp_path, boards=(spec,))) as bench:
        found = Board(bench, tmp_path)
        yield found
        found.session.close()


@pytest.mark.parametrize("board", [0xFF, 0xDF], ids=["two banks", "one bank"], indirect=True)
def test_a_g0b1_is_written_over_both_banks_and_goes_back_to_the_last_byte(board: Board):
    """Its boot loader erases only the first of the pages that a command names in the second bank."""
    before = board.flash
    assert board.session.connect().flash == Region(BASE, 256 * K)
    part = slice(0x1F123, 0x21456)
    for data in (bytes(reversed(before[part])), before[part]):
        board.session.write([Segment(BASE + part.start, data)], ignore)
        assert board.flash == before[: part.start] + data + before[part.stop :]


@pytest.mark.parametrize("board", [0xEF], indirect=True)
def test_swapped_banks_are_refused_before_anything_is_erased(board: Board):
    before = board.flash
    with pytest.raises(WrongBoard, match="nSWAP_BANK is 0") as raised:
        board.session.connect()
    assert "Nothing was written" in raised.value.advice
    assert board.flash == before


def test_what_lies_behind_a_hole_in_the_flash_is_refused():
    """A G474 of 256 KiB: its second bank is at 0x08040000."""
    from drivers.stm32.sectors import patches

    sectors = PARTS[0x469].usual_layout(256 * K).sectors(256 * K)
    assert patches(sectors, [Segment(BASE + 0x1FFFF, b"x")])
    for address in (BASE + 0x20000, BASE + 0x40000):
        with pytest.raises(BadImage, match="outside of this chip's flash, 0x08000000 to 0x08020000"):
            patches(sectors, [Segment(address, b"x")])
