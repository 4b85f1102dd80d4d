"""The Pico drivers on virtual boards: over the boot drive, and over PICOBOOT by USB/IP."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers import load_driver
from drivers.base import (
    BadImage,
    BootFailed,
    Category,
    ConnectionLost,
    DeviceError,
    FlashFailed,
    Link,
    PhaseTimeout,
    PortInUse,
    PortPermission,
    PortUnavailable,
    Region,
    Segment,
    WrongBoard,
)
from drivers.pico import PICO, PICO2, PICO_USB, PicoOptions, usb_devices, usb_session
from drivers.pico import uf2 as pico_uf2
from drivers.pico.app import AppPort
from drivers.pico.drive import BootDrive, parse_info
from drivers.pico.errors import translate_drive, translate_usb
from drivers.pico.picoboot import Command, Refused, Status
from drivers.virtual.client import Bench
from drivers.virtual.errors import BenchError
from drivers.virtual.pico import board as virtual_board
from drivers.virtual.pico import firmware
from drivers.virtual.pico.chips import CHIPS, FLASH_BASE
from drivers.virtual.pico.program import Behaviour
from drivers.virtual.spec import (
    BenchSpec,
    BitErrors,
    BoardSpec,
    LineDrop,
    Panics,
    PowerLoss,
    SilentLine,
    SlowErase,
    StuckInApp,
    WrongChip,
    WrongMd5,
)
from harness import backup as blocks
from harness.deadline import limit
from harness.store import Store
from tests.drivers.virtual.pico.conftest import NEEDS_MOUNTS, SECTOR, eventually, has_drive, in_loader, on_board, until

TYPES = ("pico", "pico2", "pico-usb", "pico2-usb")
NAMES = {"pico": "rp2040", "pico-usb": "rp2040", "pico2": "rp2350", "pico2-usb": "rp2350"}
SESSIONS = pytest.mark.parametrize("device_type", TYPES)
OverUsb = pytest.mark.parametrize("device_type", ["pico-usb", "pico2-usb"])
OverDrive = pytest.mark.parametrize("device_type", ["pico", "pico2"])


def ignore(_done: int, _total: int) -> None:
    pass


def app(device_type: str, version: str, **more: object) -> bytes:
    return firmware.build_app(CHIPS[device_type], "app", version, **more)


def link(bench: Bench, device_type: str, *, port: str = "pty", timeout_s: float = 30.0, **options: object) -> Link:
    ports = bench.boards["b"]
    over_usb = device_type.endswith("usb")
    return Link(
        getattr(ports, port) if port else "",
        115200,
        921600,
        mount_point="" if over_usb else ports.mount_point,
        usb=ports.usb if over_usb else "",
        connect_timeout_s=timeout_s,
        options=PicoOptions(**options),
    )


@pytest.fixture
def device_type() -> str:
    return "pico"


@pytest.fixture
def bench(tmp_path: Path, device_type: str) -> Iterator[Bench]:
    (tmp_path / "factory.bin").write_bytes(app(device_type, "1.0.0"))
    spec = BoardSpec(board_id="b", chip=device_type, factory=tmp_path / "factory.bin")
    with Bench.start(BenchSpec(state=tmp_path, boards=(spec,))) as running:
        yield running


@pytest.fixture
def opened(bench: Bench, device_type: str) -> Iterator[Callable]:
    sessions = []

    def begin(**more: object):
        sessions.append(load_driver(device_type).open(link(bench, device_type, **more), lambda _line: None))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.close()


@pytest.fixture
def session(opened):
    return opened()


def flash(tmp_path: Path) -> bytes:
    return (tmp_path / "b" / "flash.bin").read_bytes()


def heard(session, wanted: str, limit_s: float = 30.0) -> str:
    """What the console said until `wanted` came."""
    said = ""
    with limit(limit_s, "the console"):
        while wanted not in said:
            said += session.read_console(0.2).decode()
    return said


def segment(device_type: str, version: str, **more: object) -> Segment:
    return Segment(FLASH_BASE, app(device_type, version, **more), "app.uf2")


def test_a_twin_has_the_serial_number_that_is_expected_of_it(tmp_path: Path):
    board = BoardSpec(board_id="b", chip="pico2-usb", serial="7D8AF90FBA3BE005")
    with Bench.start(BenchSpec(state=tmp_path, boards=(board,))) as bench:
        session = load_driver("pico2-usb").open(link(bench, "pico2-usb"), lambda _line: None)
        try:
            assert session.connect().serial == "7D8AF90FBA3BE005"
        finally:
            session.close()


@SESSIONS
def test_every_board_is_identified_written_and_started(session, tmp_path: Path, device_type: str):
    driver = load_driver(device_type)
    identity = session.connect()
    assert driver.matches(device_type, identity)
    assert driver.matches(NAMES[device_type].upper(), identity)
    assert not driver.matches("rp2350" if identity.chip == "rp2040" else "rp2040", identity)
    assert (identity.flash_base, identity.flash_size) == (FLASH_BASE, len(flash(tmp_path)))
    assert identity.revision == {"pico": "B2", "pico-usb": "B2", "pico2": "", "pico2-usb": "A2"}[device_type]
    assert bool(identity.serial) == driver.capabilities.has_serial
    new = segment(device_type, "2.0.0")
    steps: list[tuple[int, int]] = []
    session.write([new], lambda *step: steps.append(step))
    assert steps[-1] == (len(new.data), len(new.data))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert flash(tmp_path)[: len(new.data)] == new.data
    session.reset()
    assert heard(session, "ready") == "app 2.0.0 ready\r\n"
    session.write_console(b"version\n")
    assert heard(session, "2.0.0")


@pytest.mark.parametrize(("device_type", "port"), [("pico", "url"), ("pico-usb", "url"), ("pico2", "pty")])
def test_a_running_application_is_asked_for_the_boot_loader_at_1200_baud(bench, opened, device_type: str, port: str):
    session = opened(port=port)
    for version in "2.0.0", "3.0.0":
        session.reset()  # the application runs: nothing to do
        session.write_console(b"version\n")
        heard(session, ".0.0")
        assert not has_drive(bench.boards["b"].mount_point)
        session.connect()
        session.write([segment(device_type, version)], ignore)
        session.reset()
        assert f"app {version} ready" in heard(session, "ready")


@OverUsb
def test_a_board_that_somebody_else_has_is_told(opened, device_type: str):
    opened().connect()
    with pytest.raises(PortUnavailable, match="another client has it"):
        opened(port="").connect()


@OverDrive
def test_a_board_in_its_boot_loader_needs_no_port(opened, device_type: str):
    opened().connect()
    opened(port="").connect()


@OverUsb
def test_what_is_read_is_what_is_in_flash(session, tmp_path: Path, device_type: str):
    session.connect()
    whole = flash(tmp_path)
    for region in Region(FLASH_BASE, 0x18000), Region(FLASH_BASE + 100, 300), Region(FLASH_BASE + len(whole) - 5, 5):
        start = region.address - FLASH_BASE
        assert session.read(region, ignore) == whole[start : start + region.size]
    assert session.holds(segment(device_type, "1.0.0")) is True
    assert session.holds(segment(device_type, "1.0.1")) is False
    assert session.installed_version(FLASH_BASE) == "1.0.0"
    assert session.installed_version(FLASH_BASE + 0x100000) is None


@OverUsb
def test_the_rest_of_a_sector_stays_as_it_was(session, tmp_path: Path, device_type: str):
    session.connect()
    before = flash(tmp_path)
    places = [(0x8010, os.urandom(20)), (0x8800, os.urandom(300)), (0x20FFE, os.urandom(0x1004))]
    session.write([Segment(FLASH_BASE + at, data) for at, data in places], ignore)
    after = bytearray(before)
    for at, data in places:
        after[at : at + len(data)] = data
    assert flash(tmp_path) == after


@OverUsb
def test_sectors_that_hold_their_bytes_already_are_not_erased(bench, session, device_type: str):
    session.connect()
    bench.set_faults("b", [SlowErase(fault="slow-erase", seconds=30)])
    began = time.monotonic()
    session.write([segment(device_type, "1.0.0")], ignore)
    assert time.monotonic() - began < 20


@OverUsb
def test_a_backup_of_all_the_flash_brings_back_every_byte(bench, session, tmp_path: Path, device_type: str):
    """As the harness does it: read all, write another image, restore the blocks that differ."""
    driver = load_driver(device_type)
    store = Store(tmp_path / "store")
    identity = session.connect()
    before = flash(tmp_path)
    grid = blocks.split([identity.flash], driver.hash_block)
    taken = blocks.take(session, driver.capabilities, grid, store, ignore)
    session.write([segment(device_type, "2.0.0"), Segment(FLASH_BASE + 0x100000, os.urandom(5000))], ignore)
    assert flash(tmp_path) != before
    written = blocks.restore(session, driver.capabilities, taken.blocks, store, ignore)
    assert flash(tmp_path) == before
    assert 0 < written < identity.flash_size
    session.reset()
    assert "app 1.0.0 ready" in heard(session, "ready")


@OverDrive
def test_the_old_image_is_copied_back_byte_for_byte(session, tmp_path: Path, device_type: str):
    before = flash(tmp_path)[:-SECTOR]
    for version in "2.0.0", "1.0.0":
        session.connect()
        session.write([segment(device_type, version)], ignore)
        session.reset()
        assert f"app {version} ready" in heard(session, "ready")
    end = -(-len(app(device_type, "1.0.0")) // SECTOR) * SECTOR
    assert flash(tmp_path)[:end] == before[:end]


@OverDrive
def test_over_the_drive_nothing_is_claimed_that_it_can_not_tell(session, device_type: str):
    driver = load_driver(device_type)
    capabilities = driver.capabilities
    claims = capabilities.can_read_back, capabilities.can_hash, capabilities.can_verify, capabilities.has_serial
    assert not any(claims)
    identity = session.connect()
    assert identity.serial == ""
    assert session.holds(segment(device_type, "1.0.0")) is None
    assert session.installed_version(FLASH_BASE) is None
    with pytest.raises(DeviceError, match="can not be read back"):
        session.read(Region(FLASH_BASE, 1), ignore)
    with pytest.raises(DeviceError, match="no digests"):
        session.digest(Region(FLASH_BASE, 1))
    assert (session.slow_down(), session.revert("1.0.0")) == (False, False)


@SESSIONS
def test_the_image_of_the_other_chip_is_refused_before_a_byte_is_written(session, tmp_path: Path, device_type: str):
    before = flash(tmp_path)
    session.connect()
    other = segment("pico2" if NAMES[device_type] == "rp2040" else "pico", "2.0.0")
    with pytest.raises(BadImage, match=f"the board is an {NAMES[device_type]}"):
        session.write([other], ignore)
    assert flash(tmp_path) == before


@SESSIONS
def test_what_does_not_fit_is_refused_since_addresses_wrap(session, tmp_path: Path, device_type: str):
    before = flash(tmp_path)
    identity = session.connect()
    with pytest.raises(BadImage, match="addresses wrap"):
        session.write([Segment(identity.flash.end - 256, bytes(257))], ignore)
    session.connect()
    with pytest.raises(BadImage, match="addresses wrap"):
        session.write([Segment(0, bytes(10))], ignore)
    assert flash(tmp_path) == before


@SESSIONS
def test_another_chip_on_the_port_is_told(bench, session, device_type: str):
    other = "rp2350" if NAMES[device_type] == "rp2040" else "rp2040"
    bench.set_faults("b", [WrongChip(fault="wrong-chip", chip=other)])
    until(lambda: has_drive(bench.boards["b"].mount_point))  # what is in flash is not for this chip
    identity = session.connect()
    assert identity.chip == other
    assert not load_driver(device_type).matches(device_type, identity)


@SESSIONS
def test_an_application_that_ignores_the_touch_leaves_the_flash_alone(bench, opened, tmp_path: Path, device_type: str):
    before = flash(tmp_path)
    bench.set_faults("b", [StuckInApp(fault="stuck-in-app")])
    with pytest.raises(ConnectionLost, match="although it was asked to at 1200 baud") as raised:
        opened(timeout_s=0.5).connect()
    assert "BOOTSEL" in raised.value.advice
    assert flash(tmp_path) == before
    bench.set_faults("b", [])
    opened().connect()


@SESSIONS
def test_without_a_port_a_hand_is_needed_and_asked_for(opened, device_type: str):
    with pytest.raises(ConnectionLost, match="no `port` of an application") as raised:
        opened(port="", timeout_s=0.2).connect()
    assert "BOOTSEL" in raised.value.advice


def test_an_adapters_port_is_a_console_and_is_never_touched(bench, opened):
    session = opened(port_is_adapter=True, timeout_s=0.3)
    with pytest.raises(ConnectionLost, match="is an adapter's"):
        session.connect()
    session.reset()
    assert "1.0.0 ready" in heard(session, "ready"), "the application still runs"


def written(device_type: str, old: bytes) -> int:
    """Bytes of 2.0.0 that are programmed: over the drive whole sectors, over USB what differs and is not erased."""
    new = app(device_type, "2.0.0")
    sectors = [
        (new[at : at + SECTOR].ljust(SECTOR, b"\xff"), old[at : at + SECTOR]) for at in range(0, len(new), SECTOR)
    ]
    if not device_type.endswith("usb"):
        return SECTOR * len(sectors)
    pages = [after[at : at + 256] for after, before in sectors if after != before for at in range(0, SECTOR, 256)]
    return 256 * sum(page != b"\xff" * 256 for page in pages)


@pytest.mark.parametrize(
    ("device_type", "at_byte"),
    [("pico", 300), ("pico", 9000), ("pico2", 1000), ("pico-usb", 300), ("pico2-usb", 9000)]
    + [(device_type, -300) for device_type in TYPES],
)
def test_power_that_is_lost_while_writing_leaves_a_board_that_the_next_attempt_finds(
    bench, session, tmp_path: Path, device_type: str, at_byte: int
):
    """The page that the ROM looks for is written last: without it, the board stays in its boot loader.

    A negative `at_byte` counts from the end.
    """
    old = flash(tmp_path)
    if at_byte < 0:
        at_byte += written(device_type, old)
    session.connect()
    bench.set_faults("b", [PowerLoss(fault="power-loss", at_byte=at_byte, off_s=0.3)])
    with pytest.raises((ConnectionLost, BootFailed)):
        session.write([segment(device_type, "2.0.0")], ignore)
        session.reset()
        heard(session, "ready")
    assert flash(tmp_path) != old
    until(lambda: has_drive(bench.boards["b"].mount_point))
    new = segment(device_type, "2.0.0")
    session.connect()
    session.write([new], ignore)
    assert flash(tmp_path)[: len(new.data)] == new.data
    session.reset()
    assert "2.0.0 ready" in heard(session, "ready")


@NEEDS_MOUNTS
@OverDrive
def test_a_copy_onto_a_mount_whose_board_loses_power_is_a_lost_connection_and_worth_another(
    bench, session, tmp_path: Path, device_type: str
):
    assert bench.boards["b"].drive == "mounted by FUSE"
    new = segment(device_type, "2.0.0")
    for at_byte in 300, written(device_type, flash(tmp_path)) - 1:
        session.connect()
        bench.set_faults("b", [PowerLoss(fault="power-loss", at_byte=at_byte, off_s=0.1)])
        with pytest.raises(ConnectionLost, match=os.strerror(errno.EIO)) as raised:
            session.write([new], ignore)
        assert (raised.value.category, raised.value.retryable) == (Category.CONNECTION, True)
        until(lambda: has_drive(bench.boards["b"].mount_point))
    session.connect()
    session.write([new], ignore)
    assert flash(tmp_path)[: len(new.data)] == new.data


@OverUsb
def test_a_cable_that_comes_loose_leaves_no_half_working_session_and_connect_mends_it(
    bench, session, tmp_path, device_type
):
    session.connect()
    session.close()
    bench.set_faults("b", [LineDrop(fault="line-drop", after_bytes=5000, times=1)])
    session.connect()
    with pytest.raises(ConnectionLost):
        session.write([segment(device_type, "2.0.0")], ignore)
    with pytest.raises(ConnectionLost, match="connect first"):
        session.read(Region(FLASH_BASE, 256), ignore)
    session.connect()
    session.write([segment(device_type, "2.0.0")], ignore)
    assert session.holds(segment(device_type, "2.0.0"))


@SESSIONS
def test_a_panic_is_told_from_a_start(session, device_type: str):
    session.connect()
    session.write([segment(device_type, "3.0.0", behaviour=Behaviour.PANIC)], ignore)
    session.reset()
    said = heard(session, "failed")
    assert load_driver(device_type).boot_failure(said) == "*** PANIC *** hardware check failed"


def test_firmware_that_does_not_suit_the_hardware_panics(bench, session):
    bench.set_faults("b", [Panics(fault="panics", versions=("2.0.0",))])
    session.connect()
    session.write([segment("pico", "2.0.0")], ignore)
    session.reset()
    assert "PANIC" in heard(session, "failed")


def test_a_silent_board_says_nothing_but_its_boot_loader_works(bench, session):
    bench.set_faults("b", [SilentLine(fault="silent")])
    session.connect()
    session.write([segment("pico", "2.0.0")], ignore)
    session.reset()
    assert session.read_console(0.5) == b""


def test_an_image_that_the_rom_does_not_start_is_told_by_the_drive_coming_back(session, tmp_path: Path):
    session.connect()
    session.write([Segment(FLASH_BASE, bytes(SECTOR))], ignore)
    session.reset()
    with pytest.raises(BootFailed, match="back in its boot loader"):
        heard(session, "ready")


def test_over_usb_too(bench, tmp_path: Path):
    session = PICO_USB.open(link(bench, "pico-usb"), lambda _line: None)
    try:
        session.connect()
        session.write([Segment(FLASH_BASE, bytes(SECTOR))], ignore)
        session.reset()
        with pytest.raises(BootFailed, match="back in its boot loader"):
            heard(session, "ready")
        session.connect()
    finally:
        session.close()


def test_a_drive_alone_can_not_start_the_application_but_its_usb_can(bench, opened):
    session = opened()
    session.connect()
    with pytest.raises(ConnectionLost, match="no command that starts the application"):
        session.reset()
    ports = bench.boards["b"]
    both = Link(ports.url, 115200, 921600, mount_point=ports.mount_point, usb=ports.usb)
    other = PICO.open(both, lambda _line: None)
    try:
        other.connect()
        other.reset()
        assert "app 1.0.0 ready" in heard(other, "ready")
        assert not has_drive(ports.mount_point)
    finally:
        other.close()


def test_a_board_that_has_left_before_a_slow_host_takes_its_acknowledgement_has_obeyed(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(virtual_board, "_SHORTEST_RESTART_S", 0.0)
    monkeypatch.setattr(usb_session, "_REBOOT_MS", 0)

    async def test(board) -> None:
        await in_loader(board)
        (port,) = {socket.getsockname()[1] for socket in board.usb._server.sockets}
        usb = Link("", 115200, 115200, usb=f"usbip://127.0.0.1:{port}/1-1", options=PicoOptions())
        session = PICO_USB.open(usb, lambda _line: None)
        await asyncio.to_thread(session.connect)
        await asyncio.to_thread(session.reset)
        await eventually(lambda: board._in_app)

    on_board(tmp_path, "pico-usb", test, contents=app("pico-usb", "1.0.0"))


@OverUsb
def test_a_session_that_ends_in_the_boot_loader_can_be_started_by_another(bench, opened, device_type: str):
    first = opened()
    first.connect()
    first.close()
    second = opened()
    second.reset()
    assert "app 1.0.0 ready" in heard(second, "ready")


@pytest.mark.parametrize("size", [1 << 20, 2 << 20, 8 << 20, 16 << 20])
def test_the_flash_size_is_found_over_usb_as_picotool_finds_it(tmp_path: Path, size: int):
    spec = BoardSpec(board_id="b", chip="pico", flash_size=size)
    with Bench.start(BenchSpec(state=tmp_path, boards=(spec,))) as bench:
        session = PICO_USB.open(link(bench, "pico-usb"), lambda _line: None)
        try:
            assert session.connect().flash_size == size
        finally:
            session.close()


def test_an_rp2350_that_was_told_of_its_flash_is_not_asked_in_vain_for_more(tmp_path: Path):
    """OTP's FLASH_DEVINFO: what lies beyond is refused, and does not wrap."""
    contents = app("pico2-usb", "1.0.0") + os.urandom(SECTOR)

    async def test(board) -> None:
        await in_loader(board)
        board._machine.flash_bounds = 2 << 20
        (port,) = {socket.getsockname()[1] for socket in board.usb._server.sockets}
        usb = Link("", 115200, 115200, usb=f"usbip://127.0.0.1:{port}/1-1", options=PicoOptions())
        session = load_driver("pico2-usb").open(usb, lambda _line: None)
        try:
            assert (await asyncio.to_thread(session.connect)).flash_size == 2 << 20
            region = Region(FLASH_BASE, len(contents))
            assert await asyncio.to_thread(session.read, region, ignore) == contents
        finally:
            await asyncio.to_thread(session.close)

    on_board(tmp_path, "pico2-usb", test, contents=contents)


@OverUsb
def test_a_write_that_was_cut_short_does_not_change_who_the_board_is(bench, opened, tmp_path: Path, device_type: str):
    """Its first sector is erased then, by which picotool would tell the size; also for another process."""
    session = opened()
    before = session.connect()
    bench.set_faults("b", [PowerLoss(fault="power-loss", at_byte=5000, off_s=0.2)])
    with pytest.raises(ConnectionLost):
        session.write([segment(device_type, "2.0.0")], ignore)
    assert flash(tmp_path)[:SECTOR] == b"\xff" * SECTOR
    until(lambda: has_drive(bench.boards["b"].mount_point))
    assert session.connect() == before
    session.close()
    assert opened().connect() == before


def test_a_session_that_ends_lets_the_drive_write_again(bench, tmp_path: Path):
    usb = PICO_USB.open(link(bench, "pico-usb"), lambda _line: None)
    usb.connect()
    usb.close()
    drive = PICO.open(link(bench, "pico"), lambda _line: None)
    try:
        drive.connect()
        drive.write([segment("pico", "2.0.0")], ignore)
    finally:
        drive.close()
    assert flash(tmp_path)[: len(app("pico", "2.0.0"))] == app("pico", "2.0.0")


def test_an_erased_flash_does_not_tell_its_size_so_the_options_say_it(tmp_path: Path):
    (tmp_path / "blank.bin").write_bytes(b"\xff" * SECTOR)
    spec = BoardSpec(board_id="b", chip="pico", flash_size=8 << 20, factory=tmp_path / "blank.bin")
    lines: list[str] = []
    with Bench.start(BenchSpec(state=tmp_path, boards=(spec,))) as bench:
        for options, size in ({}, 2 << 20), ({"flash_size": 8 << 20}, 8 << 20):
            session = PICO_USB.open(link(bench, "pico-usb", **options), lines.append)
            assert session.connect().flash_size == size
            session.close()
    assert any("its size can not be seen" in line for line in lines)


def test_a_flash_that_is_smaller_than_the_options_say_is_refused(bench):
    session = PICO_USB.open(link(bench, "pico-usb", flash_size=4 << 20), lambda _line: None)
    with pytest.raises(WrongBoard, match="repeats itself beyond"):
        session.connect()
    session.close()


def test_a_second_copy_of_the_firmware_is_not_taken_for_the_flash_repeating_itself(bench, opened, tmp_path: Path):
    session = PICO_USB.open(link(bench, "pico-usb", flash_size=2 << 20), lambda _line: None)
    try:
        session.connect()
        copy = app("pico", "1.0.0")
        session.write([Segment(FLASH_BASE + (1 << 20), copy), Segment(FLASH_BASE + 0x80000, b"settings")], ignore)
        assert session.connect().flash_size == 2 << 20
    finally:
        session.close()


def test_the_option_without_the_block_for_e10_leaves_the_last_sector(tmp_path: Path):
    for wanted in True, False:
        with Bench.start(
            BenchSpec(state=tmp_path / str(wanted), boards=(BoardSpec(board_id="b", chip="pico2"),))
        ) as bench:
            session = PICO2.open(link(bench, "pico2", absolute_block=wanted), lambda _line: None)
            session.connect()
            session.write([segment("pico2", "2.0.0")], ignore)
            session.close()
        last = (tmp_path / str(wanted) / "b" / "flash.bin").read_bytes()[-256:]
        assert last == (b"\xef" if wanted else b"\xff") * 256


@OverUsb
def test_an_erase_that_another_session_was_cut_in_is_waited_for(bench, opened, tmp_path: Path, device_type: str):
    """Where it is not, the boot loader acknowledges it to the next session, and is one answer behind from then on."""
    first, second = opened(), opened()
    first.connect()
    bench.set_faults("b", [SlowErase(fault="slow-erase", seconds=5)])
    with pytest.raises(PhaseTimeout), limit(2.5, "writing"):
        first.write([Segment(FLASH_BASE + SECTOR, bytes(SECTOR))], ignore)
    second.connect()
    assert second.read(Region(FLASH_BASE + SECTOR, SECTOR), ignore) == b"\xff" * SECTOR
    assert flash(tmp_path)[SECTOR : 2 * SECTOR] == b"\xff" * SECTOR


@pytest.mark.parametrize(("device_type", "absolute_block"), [("pico", True), ("pico2", False)])
def test_a_copy_that_was_cut_short_leaves_nothing_of_itself_in_the_next_file(
    bench, opened, tmp_path: Path, device_type: str, absolute_block
):
    """The ROMs would take another file of as many blocks for the rest of it."""
    session = opened(absolute_block=absolute_block)
    session.connect()
    old, new = app(device_type, "1.0.0"), app(device_type, "2.0.0")
    family = pico_uf2.Family.RP2040 if device_type == "pico" else pico_uf2.Family.RP2350_ARM_S
    cut = pico_uf2.build([Segment(FLASH_BASE, new)], family, absolute_block=False)[: 40 * 512]
    (Path(bench.boards["b"].mount_point) / "OTHER.UF2").write_bytes(cut)
    until(lambda: flash(tmp_path)[SECTOR : 3 * SECTOR] == new[SECTOR : 3 * SECTOR])
    session.write([Segment(FLASH_BASE, old)], ignore)
    assert flash(tmp_path)[: len(old)] == old


def test_a_time_limit_leaves_no_half_working_session(bench, session):
    usb = PICO_USB.open(link(bench, "pico-usb"), lambda _line: None)
    try:
        usb.connect()
        bench.set_faults("b", [SlowErase(fault="slow-erase", seconds=5)])
        with pytest.raises(PhaseTimeout), limit(0.5, "writing"):
            usb.write([segment("pico", "2.0.0")], ignore)
        with pytest.raises(ConnectionLost, match="connect first"):
            usb.read(Region(FLASH_BASE, 256), ignore)
        bench.set_faults("b", [])
        usb.connect()
    finally:
        usb.close()


def test_faults_that_usb_does_not_have_are_refused_by_name(bench):
    for fault in BitErrors(fault="bit-errors", rate=0.1), WrongMd5(fault="wrong-md5"):
        with pytest.raises(BenchError, match=fault.fault):
            bench.set_faults("b", [fault])


def test_a_twin_offers_the_kinds_of_connection_that_its_target_names(tmp_path: Path):
    spec = BoardSpec(board_id="b", chip="pico", mount_point="/media/RPI-RP2", port="/dev/ttyACM0")
    with Bench.start(BenchSpec(state=tmp_path, boards=(spec,))) as bench:
        assert set(filter(None, bench.boards["b"].connection)) == {"port", "mount_point", "usb"}
        assert bench.boards["b"].usb == ""
        assert bench.boards["b"].url
        assert bench.boards["b"].mount_point


def test_a_twin_has_the_flash_that_its_target_tells_the_driver_of(tmp_path: Path):
    spec = BoardSpec(board_id="b", chip="pico-usb", options={"flash_size": 8 << 20})
    with Bench.start(BenchSpec(state=tmp_path, boards=(spec,))):
        assert len(flash(tmp_path)) == 8 << 20
    wrong = BoardSpec(board_id="c", chip="pico", flash_size=3 << 20)
    with pytest.raises(BenchError, match="there is no flash chip of 3145728 bytes"):
        Bench.start(BenchSpec(state=tmp_path, boards=(wrong,)))


@pytest.mark.parametrize("size", [0, 1000, 3 << 20, 32 << 20])
def test_a_size_that_no_flash_has_is_refused(size: int):
    with pytest.raises(ValueError, match="power of two"):
        PicoOptions(flash_size=size)


def test_a_port_whose_device_is_there_is_told_from_one_of_which_nothing_is_known(tmp_path: Path):
    """A board whose application runs has no boot drive: the one that is there is another board's."""
    port, classes = tmp_path / "ttyACM7", tmp_path / "class"
    (classes / "ttyACM7" / "device").mkdir(parents=True)
    known = AppPort(Link(str(port), 115200, 115200), lambda _line: None, classes)
    assert not known.is_plugged_in
    port.touch()
    assert known.is_plugged_in
    (tmp_path / "by-id").symlink_to(port)
    assert AppPort(Link(str(tmp_path / "by-id"), 115200, 115200), lambda _line: None, classes).is_plugged_in
    for url in "", "rfc2217://127.0.0.1:1", str(tmp_path / "class"):
        assert not AppPort(Link(url, 115200, 115200), lambda _line: None, classes).is_plugged_in


def drive_of(
    folder: Path, text: str = "UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n"
) -> Path:
    (folder / "INFO_UF2.TXT").write_bytes(text.encode())
    return folder


def test_a_drive_that_stays_has_ignored_the_file(tmp_path: Path):
    """A plain folder takes everything and never leaves."""
    with pytest.raises(FlashFailed, match="still there") as raised:
        BootDrive(str(drive_of(tmp_path)), lambda _line: None, leaves_within_s=0.3).copy(
            b"UF2\n" * 128, lambda _done: None
        )
    assert "BOOTSEL" in raised.value.advice


def test_a_drive_that_is_full_says_so(tmp_path: Path):
    (drive_of(tmp_path) / "FIRMWARE.UF2").symlink_to("/dev/full")
    session = PICO.open(Link("", 115200, 921600, mount_point=str(tmp_path)), lambda _line: None)
    session.connect()
    with pytest.raises(FlashFailed, match="No space left"):
        session.write([segment("pico", "1")], ignore)


def test_a_drive_that_leaves_in_the_middle_is_a_lost_connection(tmp_path: Path):
    drive = BootDrive(str(drive_of(tmp_path)), lambda _line: None)
    with pytest.raises(ConnectionLost, match="in the middle"):
        drive.copy(bytes(200_000), lambda _done: (tmp_path / "INFO_UF2.TXT").unlink())


@pytest.mark.parametrize("text", ["", "Board-ID: SAMD21G18A-Feather-v0\n", "\0\xff garbage"])
def test_the_drive_of_another_boot_loader_is_refused(tmp_path: Path, text: str):
    drive_of(tmp_path, text or " ")
    session = PICO.open(Link("", 115200, 921600, mount_point=str(tmp_path)), lambda _line: None)
    with pytest.raises(WrongBoard, match="no boot ROM"):
        session.connect()
    assert [entry.name for entry in tmp_path.iterdir()] == ["INFO_UF2.TXT"]


def test_info_is_read_with_either_line_ending():
    for end in "\n", "\r\n":
        found = parse_info(f"UF2 Bootloader v2.0{end}Model: Raspberry Pi RP2{end}Board-ID: RPI-RP2{end}")
        assert (found.chip, found.revision) == ("rp2040", "B1")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, FlashFailed),
        (errno.EROFS, PortPermission),
        (errno.EACCES, PortPermission),
        (errno.EIO, ConnectionLost),
        (errno.ENODEV, ConnectionLost),
        (errno.ESTALE, ConnectionLost),
    ],
)
def test_the_systems_errors_get_their_category_and_an_advice(number: int, kind: type[DeviceError]):
    error = translate_drive(OSError(number, os.strerror(number)), "copy")
    assert type(error) is kind
    assert error.advice
    assert os.strerror(number) in error.message


def test_pyusbs_errors_get_their_category_and_an_advice():
    core = usb_devices.usb_core().core
    for number, kind in (
        (errno.EACCES, PortPermission),
        (errno.EBUSY, PortInUse),
        (errno.ENODEV, ConnectionLost),
        (errno.EPIPE, ConnectionLost),
    ):
        assert type(translate_usb(core.USBError("x", None, number), "read")) is kind
    assert type(translate_usb(core.USBTimeoutError("x", None, errno.ETIMEDOUT), "read")) is ConnectionLost
    for status in Status:
        assert isinstance(translate_usb(Refused(Command.READ, status), "read"), DeviceError)


def test_what_is_missing_in_the_batch_is_named():
    with pytest.raises(PortUnavailable, match="mount_point"):
        PICO.open(Link("", 115200, 921600), lambda _line: None)
    with pytest.raises(PortUnavailable, match="usb"):
        PICO_USB.open(Link("", 115200, 921600), lambda _line: None)


@pytest.mark.parametrize("usb", ["usbip://", "usbip://host", "usbip://host:0/1-1", "usbip://host:x/1-1"])
def test_an_address_that_is_none_is_told(usb: str):
    session = PICO_USB.open(Link("", 115200, 921600, usb=usb, connect_timeout_s=0.1), lambda _line: None)
    with pytest.raises(PortUnavailable, match=r"usbip://host:port/busid"):
        session.connect()


def test_a_board_that_is_not_on_this_machines_buses_is_not_found(device_type: str):
    session = PICO_USB.open(Link("", 115200, 921600, usb="7-1.2", connect_timeout_s=0.1), lambda _line: None)
    with pytest.raises(ConnectionLost, match="was not there"):
        session.connect()


@pytest.mark.parametrize(
    ("console", "version", "failure"),
    [
        ("MicroPython v1.24.1 on 2024-11-29; Raspberry Pi Pico with RP2040\r\n", "1.24.1", None),
        ("Adafruit CircuitPython 9.2.1 on 2024-11-20; Raspberry Pi Pico 2 with rp2350a\r\n", "9.2.1", None),
        ("MicroPython v1.24", None, None),
        ("app 1.2.0 ready\r\n", None, None),
        ("\n*** PANIC ***\n\nOut of memory\n", None, "*** PANIC *** Out of memory"),
        ('assertion "x > 0" failed: file "main.c", line 7\n', None, "assertion"),
    ],
)
def test_boot_output_is_read_as_a_person_would(console: str, version: str | None, failure: str | None):
    assert PICO.reported_version(console) == version
    said = PICO.boot_failure(console)
    assert said is None if failure is None else failure in said
