"""The STM32 driver on virtual boards: what the Protocol promises, on both faces, with each fault."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

import drivers
from drivers.base import (
    BadImage,
    ConnectionLost,
    DeviceError,
    FlashFailed,
    Identity,
    Link,
    PhaseTimeout,
    PortUnavailable,
    Region,
    Segment,
    WrongBoard,
)
from drivers.stm32 import STM32, Stm32Session
from drivers.stm32 import loader as stm32_loader
from drivers.stm32.lines import LineName, Stm32Options
from drivers.virtual.client import Bench
from drivers.virtual.errors import BenchError
from drivers.virtual.spec import (
    BenchSpec,
    BitErrors,
    BoardSpec,
    LineDrop,
    Panics,
    PowerLoss,
    SilentLine,
    SlowErase,
    Speed,
    StuckInApp,
    WrongChip,
    WrongMd5,
)
from drivers.virtual.stm32.firmware import build, factory_image
from harness import backup as blocks
from harness.deadline import limit
from harness.store import Store

CHIPS = ("stm32f103", "stm32f407", "stm32g071")
FACES = ("url", "pty")
BASE = 0x08000000
FLASH = {"stm32f103": 0x20000, "stm32f407": 0x80000, "stm32g071": 0x20000}
IMAGE = build("driven", "1.2.0", 0x5000 + 6)
OLD = os.urandom(0x4E00)  # what is in a flash that somebody used


def ignore(_done: int, _total: int) -> None:
    pass


class Lab:
    """A bench with one board of each chip, and sessions on its ports."""

    def __init__(self, bench: Bench, state: Path) -> None:
        self.bench = bench
        self.state = state
        self.lines: list[str] = []
        self._sessions: list[Stm32Session] = []

    def open(self, chip: str, face: str = "pty", timeout_s: float = 30.0, **link: object) -> Stm32Session:
        port = getattr(self.bench.boards[chip], face)
        more = {"flash_baudrate": 115200, "options": Stm32Options(), **link}
        session = STM32.open(Link(port, 115200, connect_timeout_s=timeout_s, **more), self.lines.append)
        self._sessions.append(session)
        return session

    def flash(self, chip: str) -> bytes:
        return (self.state / chip / "flash.bin").read_bytes()

    def put(self, chip: str, contents: bytes) -> None:
        """All that is in its flash from now on."""
        with (self.state / chip / "flash.bin").open("r+b") as cells:
            cells.write(contents.ljust(FLASH[chip], b"\xff"))

    def protect(self, chip: str, *, on: bool) -> None:
        """With stock stm32flash. It waits for half a second at most: on a busy machine it is started again."""
        command = ["stm32flash", "-m", "8n1", "-b", "115200", "-j" if on else "-k", self.bench.boards[chip].pty]
        for _ in range(5):
            subprocess.run(command, check=False, capture_output=True, timeout=60)
            if self.is_protected(chip) is on:
                return
        raise AssertionError(f"{chip}: {command} had no effect")

    def is_protected(self, chip: str) -> bool:
        return next((self.state / chip).glob("options-*.bin")).read_bytes()[0] == 0x00

    def close(self) -> None:
        for session in self._sessions:
            session.close()
        self._sessions.clear()
        self.lines.clear()


def lab_in(state: Path) -> Iterator[Lab]:
    boards = tuple(BoardSpec(board_id=chip, chip=chip, flash_size=FLASH[chip]) for chip in CHIPS)
    with Bench.start(BenchSpec(state=state, boards=boards)) as bench:
        yield Lab(bench, state)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    yield from lab_in(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    """One bench for all; each test finds boards as from the factory, without faults."""
    for chip in CHIPS:
        shared.put(chip, factory_image())
    yield shared
    shared.close()
    for chip in CHIPS:
        shared.bench.set_faults(chip, [])


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Lab]:
    """For a test that leaves marks on a board which outlast its flash."""
    for lab in lab_in(tmp_path):
        yield lab
        lab.close()


def console_of(session: Stm32Session, wanted: bytes) -> bytes:
    said = b""
    with limit(60, "the console"):
        while wanted not in said:
            said += session.read_console(1)
    return said


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("chip", CHIPS)
def test_every_chip_is_identified_written_verified_read_and_started(lab: Lab, chip: str, face: str):
    session = lab.open(chip, face)
    identity = session.connect()
    assert STM32.matches(chip, identity)
    assert identity.flash == Region(BASE, FLASH[chip])
    assert len(identity.serial) == 24
    seen: list[tuple[int, int]] = []
    segment = Segment(BASE, IMAGE)
    assert session.holds(segment) is False
    session.write([segment], lambda *step: seen.append(step))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (len(IMAGE), len(IMAGE))
    assert lab.flash(chip)[: len(IMAGE)] == IMAGE
    assert session.holds(segment) is True
    assert session.read(Region(BASE + 0x123, 0x4567), ignore) == IMAGE[0x123 : 0x123 + 0x4567]
    session.reset()
    said = console_of(session, b"\n").decode()
    assert f"driven 1.2.0 ready, uid={identity.serial}" in said
    session.write_console(b"version\n")
    assert b"1.2.0" in console_of(session, b"1.2.0")
    assert session.connect() == identity


@pytest.mark.parametrize(("chip", "revision"), [("stm32f103", "v2.2"), ("stm32f407", "v3.1"), ("stm32g071", "v3.1")])
def test_the_revision_is_the_boot_loaders_version(lab: Lab, chip: str, revision: str):
    assert lab.open(chip).connect().revision == revision


def test_the_serial_is_the_unique_id_in_the_order_of_its_addresses(tmp_path: Path):
    uid = "3e0040000f51383236323634"
    boards = tuple(BoardSpec(board_id=chip, chip=chip, serial=uid) for chip in CHIPS)
    with Bench.start(BenchSpec(state=tmp_path, boards=boards)) as bench:
        lab = Lab(bench, tmp_path)
        assert {lab.open(chip).connect().serial for chip in CHIPS} == {uid}
        lab.close()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"chip": "stm32f407", "flash_size": 0x10000}, "no stm32f407 with 65536 bytes of flash: 512 KiB or 1024 KiB"),
        ({"serial": "24:0a:c4:12:34:56"}, "no unique id"),
        ({"options": {"reset_line": "cts"}}, "no line 'cts'"),
        ({"options": {"reset_inverted": "yes"}}, "wiring"),
        ({"faults": (WrongMd5(fault="wrong-md5"),)}, "wrong-md5"),
        ({"faults": (WrongChip(fault="wrong-chip", chip="esp32"),)}, "no virtual board with chip 'esp32'"),
    ],
)
def test_a_board_that_there_is_not_is_refused_by_name(tmp_path: Path, changes: dict, why: str):
    spec = BoardSpec.model_validate({"board_id": "b", "chip": "stm32", **changes})
    with pytest.raises(BenchError, match=why):
        Bench.start(BenchSpec(state=tmp_path, boards=(spec,)))


@pytest.mark.parametrize(
    ("product", "wanted", "is_it"),
    [
        ("stm32f10x-medium", "stm32", True),
        ("stm32f10x-medium", "stm32f1", True),
        ("stm32f10x-medium", "STM32F103", True),
        ("stm32f10x-medium", "stm32f103c8t6", True),
        ("stm32f10x-medium", "stm32f10xxx", True),
        ("stm32f10x-medium", "0x410", True),
        ("stm32f10x-medium", "stm32f10x-medium", True),
        ("stm32f10x-medium", "stm32f105", False),
        ("stm32f10x-medium", "stm32f4", False),
        ("stm32f10x-medium", "0x413", False),
        ("stm32f10x-medium", "esp32", False),
        ("stm32f40x/41x", "stm32f407vgt6", True),
        ("stm32f40x/41x", "stm32f401", False),
        ("stm32g07x/08x", "stm32g071", True),
        ("nothing that this driver knows", "stm32", False),
    ],
)
def test_a_chip_is_meant_by_family_line_part_or_product_id(product: str, wanted: str, is_it: bool):
    assert STM32.matches(wanted, Identity(product, "v2.2", "", 0x10000, BASE)) is is_it


@pytest.mark.parametrize("face", FACES)
def test_only_the_sectors_of_a_write_are_erased_and_what_else_they_hold_is_kept(lab: Lab, face: str):
    """F407: 16, 16, 16, 16, 64, 128 KiB. The write touches the second to the fourth sector, and the fifth."""
    before = bytearray(os.urandom(FLASH["stm32f407"]))
    lab.put("stm32f407", before)
    session = lab.open("stm32f407", face)
    session.connect()
    data = os.urandom(0x9000)
    session.write([Segment(BASE + 0x7F00, data), Segment(BASE + 0x10F03, b"odd")], ignore)
    before[0x7F00 : 0x7F00 + len(data)] = data
    before[0x10F03:0x10F06] = b"odd"
    assert lab.flash("stm32f407") == before
    assert any("are kept" in line for line in lab.lines)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_backup_is_restored_to_the_last_byte(lab: Lab, chip: str, tmp_path: Path):
    """Through the harness's own blocks: on the grid of `hash_block`, cut at the flash's end."""
    lab.put(chip, OLD)
    before = lab.flash(chip)
    session, store = lab.open(chip), Store(tmp_path / "store")
    flash = session.connect().flash
    update = [Segment(BASE, IMAGE), Segment(BASE + 0x1FEFB, b"x" * 0x105)]
    grid = blocks.clip(blocks.split([segment.region for segment in update], STM32.hash_block), flash)
    taken = blocks.take(session, STM32.capabilities, grid, store, ignore)
    session.write(update, ignore)
    assert lab.flash(chip) != before
    blocks.restore(session, STM32.capabilities, taken.blocks, store, ignore)
    assert lab.flash(chip) == before


def test_every_block_of_a_backup_is_made_of_whole_sectors_on_every_part():
    from drivers.stm32.parts import PARTS

    for part in PARTS.values():
        layouts = {part.layout, part.usual_layout(part.largest_flash), *(switch.layout for switch in part.switches)}
        for layout in layouts:
            for size in (part.largest_flash, part.largest_flash // 2):
                sectors = layout.sectors(size)
                assert sectors[-1].end == BASE + layout.reach(size), part.name
                assert len({sector.number for sector in sectors}) == len(sectors)
                for sector in sectors:
                    assert sector.address // STM32.hash_block == (sector.end - 1) // STM32.hash_block, part.name


@pytest.mark.parametrize(
    ("product", "size", "address", "number"),
    [
        (0x410, 0x20000, 0x0801FC00, 127),
        (0x414, 0x80000, 0x0807F800, 255),
        (0x413, 0x100000, 0x08010000, 4),
        (0x413, 0x100000, 0x080E0000, 11),
        (0x419, 0x200000, 0x08100000, 12),  # the second bank begins with small sectors again
        (0x419, 0x200000, 0x08110000, 16),
        (0x419, 0x100000, 0x080E0000, 11),
        (0x452, 0x80000, 0x08060000, 7),
        (0x449, 0x100000, 0x08040000, 5),
        (0x451, 0x200000, 0x081C0000, 11),
        (0x447, 0x30000, 0x0802FF80, 1535),
        (0x497, 0x40000, 0x0803F800, 127),
    ],
)
def test_sectors_are_numbered_as_the_reference_manuals_do(product: int, size: int, address: int, number: int):
    from drivers.stm32.parts import PARTS

    sectors = PARTS[product].usual_layout(size).sectors(size)
    assert [sector.number for sector in sectors if sector.address == address] == [number]


def test_bytes_beyond_the_flash_are_refused_before_anything_is_erased(lab: Lab):
    session = lab.open("stm32g071")
    session.connect()
    before = lab.flash("stm32g071")
    with pytest.raises(BadImage, match="outside of this chip's flash"):
        session.write([Segment(BASE, IMAGE), Segment(BASE + 0x20000, b"over")], ignore)
    assert lab.flash("stm32g071") == before


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("chip", ["stm32f103", "stm32g071"])
def test_a_protected_chip_is_refused_by_name_and_its_protection_is_never_lifted(lab: Lab, chip: str, face: str):
    lab.protect(chip, on=True)
    before = lab.flash(chip)
    with pytest.raises(WrongBoard, match=r"readout protection \(RDP\) is active") as raised:
        lab.open(chip, face).connect()
    assert "not lifted" in raised.value.advice
    assert lab.flash(chip) == before
    assert lab.is_protected(chip)
    lab.close()
    lab.protect(chip, on=False)
    session = lab.open(chip, face)
    session.connect()
    session.write([Segment(BASE, IMAGE)], ignore)
    assert lab.flash(chip)[: len(IMAGE)] == IMAGE


def test_a_boot_loader_that_is_out_of_step_is_not_taken_for_a_protected_one():
    """It refuses everything; a protected one still tells who it is."""
    master, slave = os.openpty()
    ids = iter([b"\x79\x01\x04\x10\x79"] * 2)
    answers = {b"\x7f": b"\x79", b"\x00\xff": b"\x79\x04\x22\x00\x02\x11\x31\x79"}

    def answer() -> None:
        with contextlib.suppress(OSError):  # the far end was closed
            while asked := os.read(master, 64):
                os.write(master, next(ids, b"\x1f") if asked == b"\x02\xfd" else answers.get(asked, b"\x1f"))

    loader = threading.Thread(target=answer)
    loader.start()
    session = STM32.open(Link(os.ttyname(slave), 115200, 115200, options=Stm32Options()), lambda _line: None)
    with pytest.raises(ConnectionLost, match="refuses GET_ID"):
        session.connect()
    os.close(slave)
    loader.join()
    os.close(master)


def silent_beyond(board: int, flash_end: int) -> None:
    """An L43x's boot loader that refuses the size register, and goes down where there is no flash until RESET."""
    with contextlib.suppress(OSError):  # the far end was closed
        while asked := os.read(board, 64):
            if asked == b"\x7f":
                os.write(board, b"\x79")
            elif asked == b"\x00\xff":
                os.write(board, b"\x79\x05\x31\x00\x02\x11\x31\x44\x79")
            elif asked == b"\x02\xfd":
                os.write(board, b"\x79\x01\x04\x35\x79")
            elif asked == b"\x11\xee":
                os.write(board, b"\x79")
                address = int.from_bytes(os.read(board, 64)[:4], "big")
                if not BASE <= address < BASE + 0x40000:
                    os.write(board, b"\x1f")
                    continue
                os.write(board, b"\x79")
                size = os.read(board, 64)[0] + 1
                if address + size <= flash_end:
                    os.write(board, b"\x79" + b"\x5a" * size)
                else:
                    while os.read(board, 64) != b"\x7f":
                        pass
                    os.write(board, b"\x79")


def test_a_boot_loader_that_goes_down_beyond_the_end_of_its_flash_is_asked_again_for_less(monkeypatch):
    monkeypatch.setattr(stm32_loader, "_SETTLED_S", 0.01)
    board, host = os.openpty()
    tty.setraw(host)
    serving = threading.Thread(target=silent_beyond, args=(board, BASE + 0x30000))
    serving.start()
    lines: list[str] = []
    session = STM32.open(Link(os.ttyname(host), 115200, 115200, options=Stm32Options()), lines.append)
    try:
        assert session.connect().flash_size == 0x30000
    finally:
        session.close()
        os.close(host)
        serving.join()
        os.close(board)
    assert sum("reset, and asked again" in line for line in lines) == 2  # once may be noise


@pytest.mark.parametrize("held", [OLD, b"\xff" * 0x1000], ids=["used", "blank"])
def test_a_write_protected_sector_is_a_clear_error_although_the_boot_loader_says_ack(own_lab: Lab, held: bytes):
    lab = own_lab
    lab.put("stm32f103", held)
    protect_first_pages(lab)
    session = lab.open("stm32f103")
    session.connect()
    before = lab.flash("stm32f103")
    with pytest.raises(FlashFailed, match="write-protected, or worn") as raised:
        session.write([Segment(BASE, IMAGE)], ignore)
    assert "stm32flash -u" in raised.value.advice
    assert lab.flash("stm32f103")[:0x1000] == before[:0x1000]


def protect_first_pages(lab: Lab) -> None:
    """With a hand on the protocol: neither tool can write-protect."""
    with serial.serial_for_url(lab.bench.boards["stm32f103"].url, 115200, parity="E", timeout=30) as port:
        for dtr, rts in ((True, False), (False, False)):
            port.rts = rts
            port.dtr = dtr
        for frame, answer in ((b"\x7f", 1), (b"\x63\x9c", 1), (b"\x00\x00\x00", 1)):
            port.write(frame)
            assert port.read(answer) == b"\x79"


def test_a_lost_line_leaves_no_half_working_session_and_connect_mends_it(lab: Lab):
    lab.bench.set_faults("stm32f103", [LineDrop(fault="line-drop", after_bytes=4_000, times=1)])
    session = lab.open("stm32f103", "url")
    session.connect()
    with pytest.raises(ConnectionLost):
        session.write([Segment(BASE, IMAGE)], ignore)
    with pytest.raises(ConnectionLost, match="connect first"):
        session.read(Region(BASE, 4), ignore)
    session.connect()
    session.write([Segment(BASE, IMAGE)], ignore)
    assert lab.flash("stm32f103")[: len(IMAGE)] == IMAGE


def test_a_read_that_ends_early_is_an_error_and_never_a_short_backup(lab: Lab):
    lab.bench.set_faults("stm32f103", [LineDrop(fault="line-drop", after_bytes=2_000, times=1)])
    session = lab.open("stm32f103")
    session.connect()
    with pytest.raises(ConnectionLost):
        session.read(Region(BASE, 0x20000), ignore)


def test_bit_errors_end_in_an_error_or_in_the_right_backup(lab: Lab):
    """Nothing that AN3155 sends has a checksum: what is read once may be wrong without anybody's knowing."""
    lab.put("stm32f103", OLD)
    session, region = lab.open("stm32f103"), Region(BASE, 0x1000)
    session.connect()
    lab.bench.set_faults("stm32f103", [BitErrors(fault="bit-errors", rate=0.001, times=30)])
    errors = 0
    for _ in range(20):
        try:
            assert session.read(region, ignore) == OLD[:0x1000]
        except DeviceError as error:
            errors += error.retryable
            with contextlib.suppress(ConnectionLost):
                session.connect()
    assert errors < 20


def test_bit_errors_end_as_errors_that_are_worth_another_try(lab: Lab):
    session = lab.open("stm32f103")
    session.connect()
    lab.bench.set_faults("stm32f103", [BitErrors(fault="bit-errors", rate=0.002)])
    with pytest.raises(DeviceError) as raised:
        for _ in range(5):
            session.write([Segment(BASE, IMAGE)], ignore)
            if not session.holds(Segment(BASE, IMAGE)):
                raise ConnectionLost("found by comparing")
    assert raised.value.retryable
    lab.bench.set_faults("stm32f103", [])
    session.connect()
    session.write([Segment(BASE, IMAGE)], ignore)
    assert lab.flash("stm32f103")[: len(IMAGE)] == IMAGE


def one_bit(at_byte: int) -> BitErrors:
    """One bit flips in the byte of this number, from now on: the gap to the first error on this board's wire, and that
    it is the lowest bit, follow from its name (`Faults`, docs/bench.md).
    """
    rate = 1 - (1 - random.Random("stm32f103").random()) ** (1 / (at_byte - 0.5))
    return BitErrors(fault="bit-errors", rate=rate, times=1)


ONE_PAGE = Segment(BASE, IMAGE[:0x400])  # 43 BC, ACK, 3 bytes, ACK: erased; 31 CE, ACK, 5 bytes, ACK, 258 bytes, …


@pytest.mark.parametrize(
    ("at_byte", "what"),
    [
        (1, "ERASE"),
        (9, "WRITE_MEMORY"),
        (12, "the address 0x08000000 for writing"),
        (100, "to write 256 bytes at 0x08000000"),
    ],
)
def test_a_frame_that_noise_has_spoilt_is_sent_again(lab: Lab, at_byte: int, what: str):
    session = lab.open("stm32f103")
    session.connect()
    lab.bench.set_faults("stm32f103", [one_bit(at_byte)])
    session.write([ONE_PAGE], ignore)
    assert lab.flash("stm32f103")[:0x400] == ONE_PAGE.data
    assert [line for line in lab.lines if "sent again" in line] == [
        f"the boot loader refuses {what}: noise on the line; sent again"
    ]


@pytest.mark.parametrize(("at_byte", "error"), [(5, FlashFailed), (17, ConnectionLost)], ids=["pages", "count of data"])
def test_what_may_have_begun_or_is_out_of_step_ends_the_attempt(lab: Lab, at_byte: int, error: type[DeviceError]):
    """A list of pages; a count that is one too low: the checksum is left over, and the first byte of each command."""
    session = lab.open("stm32f103")
    session.connect()
    before = lab.flash("stm32f103")
    lab.bench.set_faults("stm32f103", [one_bit(at_byte)])
    with pytest.raises(error, match="the boot loader refuses") as raised:
        session.write([ONE_PAGE], ignore)
    assert raised.value.retryable
    assert lab.flash("stm32f103")[0x400:] == before[0x400:]
    session.connect()
    session.write([ONE_PAGE], ignore)
    assert lab.flash("stm32f103")[:0x400] == ONE_PAGE.data


@pytest.mark.parametrize("face", FACES)
def test_a_silent_board_is_a_lost_connection_and_its_port_is_free_afterwards(lab: Lab, face: str):
    lab.bench.set_faults("stm32f103", [SilentLine(fault="silent")])
    with pytest.raises(ConnectionLost, match="no boot loader") as raised:
        lab.open("stm32f103", face, timeout_s=0.5).connect()
    assert "BOOT0" in raised.value.advice
    with serial.serial_for_url(getattr(lab.bench.boards["stm32f103"], face)) as port:
        assert port.is_open


def test_a_board_that_is_stuck_in_its_application_is_not_mistaken_for_a_boot_loader(lab: Lab):
    lab.bench.set_faults("stm32f103", [StuckInApp(fault="stuck-in-app")])
    with pytest.raises(ConnectionLost, match="no boot loader answers after a reset"):
        lab.open("stm32f103", "url", timeout_s=0.5).connect()


@pytest.mark.parametrize(("chip", "sectors", "size"), [("stm32f407", 1, 6), ("stm32f103", 4, 3 * 1024 + 6)])
def test_an_erase_that_takes_long_is_waited_for(lab: Lab, chip: str, sectors: int, size: int):
    """A sector, or each of the pages that one command erases."""
    session = lab.open(chip)
    session.connect()
    lab.bench.set_faults(chip, [SlowErase(fault="slow-erase", seconds=2.0, times=sectors)])
    began = time.monotonic()
    session.write([Segment(BASE, b"slowly".rjust(size, b"."))], ignore)
    assert time.monotonic() - began >= 2.0 * sectors
    assert lab.flash(chip)[size - 6 : size] == b"slowly"


@pytest.mark.parametrize("chip", CHIPS)
def test_power_lost_in_a_write_is_mended_by_the_next_one(lab: Lab, chip: str):
    session = lab.open(chip)
    session.connect()
    lab.bench.set_faults(chip, [PowerLoss(fault="power-loss", at_byte=0x1001, off_s=0.1)])
    with pytest.raises(ConnectionLost):
        session.write([Segment(BASE, IMAGE)], ignore)
    assert lab.flash(chip)[:0x1001] == IMAGE[:0x1001]
    assert lab.flash(chip)[0x1001:0x1100] == b"\xff" * 0xFF
    session.connect()
    session.write([Segment(BASE, IMAGE)], ignore)
    assert lab.flash(chip)[: len(IMAGE)] == IMAGE


def test_another_chip_on_the_port_says_so(lab: Lab):
    lab.bench.set_faults("stm32g071", [WrongChip(fault="wrong-chip", chip="stm32f103")])
    identity = lab.open("stm32g071").connect()
    assert not STM32.matches("stm32g071", identity)
    assert STM32.matches("stm32f103", identity)


def test_firmware_that_crashes_is_seen_to_crash(lab: Lab):
    session = lab.open("stm32g071")
    session.connect()
    lab.bench.set_faults("stm32g071", [Panics(fault="panics", versions=("1.2.0",))])
    session.write([Segment(BASE, IMAGE)], ignore)
    session.reset()
    said = console_of(session, b"Halting system").decode()
    assert "1.2.0" in said
    assert "HARD FAULT" in (STM32.boot_failure(said) or "")


@pytest.mark.parametrize("face", FACES)
def test_where_a_rate_is_too_fast_for_the_boot_loader_it_is_asked_at_one_that_is_not(lab: Lab, face: str):
    session = lab.open("stm32f103", face, flash_baudrate=921600)
    session.connect()
    assert session.flash_baudrate == 115200
    assert "921600 baud is more than this boot loader measures: on with 115200" in lab.lines


def test_rates_fall_to_the_lowest_and_no_further(lab: Lab):
    session = lab.open("stm32f103")
    rates = [session.flash_baudrate]
    while session.slow_down():
        rates.append(session.flash_baudrate)
    assert rates == [115200, 57600, 38400, 19200, 9600]
    session.connect()
    assert session.read(Region(BASE, 64), ignore) == lab.flash("stm32f103")[:64]


GO = "> 21 de"


@contextlib.contextmanager
def blank_board(state: Path, chip: str) -> Iterator[Lab]:
    (state / "blank.bin").write_bytes(b"")
    spec = BoardSpec(board_id="new", chip=chip, factory=state / "blank.bin")
    with Bench.start(BenchSpec(state=state, boards=(spec,))) as bench:
        lab = Lab(bench, state)
        yield lab
        lab.close()


@pytest.mark.parametrize("face", FACES)
def test_a_blank_chip_starts_what_was_written_although_it_takes_itself_for_blank(tmp_path: Path, face: str):
    with blank_board(tmp_path, "stm32g071") as lab:
        session = lab.open("new", face, trace=True)
        for _ in range(2):
            session.connect()
            session.write([Segment(BASE, IMAGE)], ignore)
            session.reset()
            assert b"driven 1.2.0 ready" in console_of(session, b"\n")
        assert GO in lab.lines
        assert any("power it off and on" in line for line in lab.lines)


@pytest.mark.parametrize("chip", ["stm32f103", "stm32g071"])
def test_what_does_not_take_itself_for_blank_any_more_or_never_does_is_reset(tmp_path: Path, chip: str):
    """GO is not as good a start: vectors and peripherals stay as the boot loader has them."""
    with blank_board(tmp_path, chip) as lab:
        session = lab.open("new", "url", trace=True)
        session.connect()
        session.write([Segment(BASE, IMAGE)], ignore)
        for on in (False, True):
            lab.bench.power("new", on=on)
        session.connect()
        session.reset()
        assert b"driven 1.2.0 ready" in console_of(session, b"\n")
        assert GO not in lab.lines


def test_the_application_is_started_at_its_own_rate(lab: Lab):
    session = lab.open("stm32f103", "url", flash_baudrate=57600)
    session.connect()
    session.reset()
    assert b"factory 0.0.0 ready" in console_of(session, b"\n")


def test_without_lines_the_application_is_started_with_go(lab: Lab):
    options = Stm32Options(reset_line=LineName.NONE, boot0_line=LineName.NONE)
    session = lab.open("stm32f407", "pty", options=options)
    session.connect()
    session.reset()
    assert b"factory 0.0.0 ready" in console_of(session, b"\n")


def test_without_lines_somebody_has_time_to_press_the_buttons(lab: Lab):
    """The boot loader was synchronised before, and nobody reset it: it answers the second knock, with a NACK."""
    options = Stm32Options(reset_line=LineName.NONE, boot0_line=LineName.NONE)
    url = lab.bench.boards["stm32f103"].url
    with serial.serial_for_url(url, 115200, parity="E", timeout=30) as port:
        port.rts = False
        port.dtr = True
        port.dtr = False
        port.write(b"\x7f")
        assert port.read(1) == b"\x79"
    session = lab.open("stm32f103", "url", options=options)
    assert STM32.matches("stm32f103", session.connect())
    assert session.read(Region(BASE, 0x100), ignore) == lab.flash("stm32f103")[:0x100]
    assert "no boot loader answers: set BOOT0 to 1 and press RESET" in lab.lines


def test_wiring_of_other_boards_is_followed(tmp_path: Path):
    wirings = (
        {"reset_inverted": True, "boot0_inverted": True},
        {"reset_line": "rts", "boot0_line": "dtr", "boot0_inverted": True},
    )
    boards = tuple(
        BoardSpec(board_id=f"wired{number}", chip="stm32", options=wiring) for number, wiring in enumerate(wirings)
    )
    with Bench.start(BenchSpec(state=tmp_path, boards=boards)) as bench:
        lab = Lab(bench, tmp_path)
        for spec in boards:
            session = lab.open(spec.board_id, "url", options=Stm32Options.model_validate(dict(spec.options)))
            session.connect()
            session.reset()
            assert b"factory 0.0.0 ready" in console_of(session, b"\n")
            session.close()


def test_without_parity_no_boot_loader_is_found_although_it_acknowledges(lab: Lab):
    options = Stm32Options.model_validate({"parity": "none"})
    with pytest.raises(ConnectionLost, match="no boot loader"):
        lab.open("stm32f103", "url", timeout_s=0.5, options=options).connect()


def test_one_line_can_not_drive_both_pins():
    with pytest.raises(ValueError, match="both dtr"):
        Stm32Options.model_validate({"boot0_line": "dtr"})


def test_after_a_time_limit_the_session_is_as_unusable_as_after_an_error(lab: Lab):
    session = lab.open("stm32f407", "url")
    session.connect()
    lab.bench.set_faults("stm32f407", [SlowErase(fault="slow-erase", seconds=5.0, times=1)])
    with pytest.raises(PhaseTimeout), limit(0.5, "writing"):
        session.write([Segment(BASE, IMAGE)], ignore)
    with pytest.raises(ConnectionLost, match="connect first"):
        session.read(Region(BASE, 4), ignore)
    session.connect()
    session.write([Segment(BASE, IMAGE)], ignore)
    assert lab.flash("stm32f407")[: len(IMAGE)] == IMAGE


def test_a_board_is_started_again_although_the_session_broke(lab: Lab):
    session = lab.open("stm32f103", "url")
    session.connect()
    session.close()
    lab.bench.set_faults("stm32f103", [LineDrop(fault="line-drop", after_bytes=300, times=1)])
    session.connect()
    with pytest.raises(ConnectionLost):
        session.read(Region(BASE, 0x20000), ignore)
    session.reset()
    assert b"factory 0.0.0 ready" in console_of(session, b"\n")


@pytest.mark.parametrize("port", ["ttyUSB7", "rfc2217://127.0.0.1:9"])
def test_a_port_that_is_not_there_says_so(tmp_path: Path, port: str):
    name = port if "://" in port else str(tmp_path / port)
    session = STM32.open(Link(name, 115200, 115200, options=Stm32Options()), lambda _line: None)
    with pytest.raises(PortUnavailable):
        session.connect()
    session.close()


def test_a_port_that_another_program_has_open_says_so(lab: Lab):
    session = lab.open("stm32f103")
    with (
        serial.Serial(lab.bench.boards["stm32f103"].pty, exclusive=True),
        pytest.raises(PortUnavailable, match="exclusively lock"),
    ):
        session.connect()


def test_at_realistic_speed_a_board_takes_the_time_of_its_datasheet(tmp_path: Path):
    spec = BoardSpec(board_id="real", chip="stm32f103", speed=Speed.REALISTIC)
    with Bench.start(BenchSpec(state=tmp_path, boards=(spec,))) as bench:
        lab = Lab(bench, tmp_path)
        session = lab.open("real")
        session.connect()
        began = time.monotonic()
        session.write([Segment(BASE, IMAGE[:0x1000])], ignore)
        wire_s = 0x1000 * 10 / 115200
        assert time.monotonic() - began > wire_s + 4 * 0.02 + 0x800 * 52.5e-6
        lab.close()


def test_every_packet_is_in_the_log_of_a_trace(lab: Lab):
    lab.open("stm32f103", trace=True).connect()
    assert "> 7f" in lab.lines
    assert "< 79" in lab.lines


@pytest.mark.parametrize(
    ("console", "failure"),
    [
        ("*** Booting Zephyr OS build v3.7.0 ***\r\napp 1.2.0\r\n", None),
        ("E: ***** HARD FAULT *****\r\nE:   Fault escalation\r\n", "HARD FAULT"),
        ("[00:00:00.010] <err> os: >>> ZEPHYR FATAL ERROR 4: Kernel panic on CPU 0\n", "ZEPHYR FATAL ERROR 4"),
        ("++ MbedOS Fault Handler ++\n\nFaultType: HardFault\n", "MbedOS Fault Handler"),
        ("E: Unable to find bootable image\n", "Unable to find bootable image"),
    ],
)
def test_boot_output_is_read_as_a_person_would(console: str, failure: str | None):
    assert STM32.reported_version(console) is None, "the system's version is not the application's"
    said = STM32.boot_failure(console)
    assert said is None if failure is None else failure in said


def test_the_family_is_found_by_its_device_type():
    assert drivers.load_driver("stm32") is STM32
    assert "stm32" in drivers.device_types()
