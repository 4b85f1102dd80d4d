"""The ESP driver on virtual boards: what the Protocol promises, and each trap of esptool's API that it steps around."""

from __future__ import annotations

import inspect
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

import drivers
from drivers.base import (
    BadImage,
    ConnectionLost,
    DeviceError,
    Identity,
    Link,
    PhaseTimeout,
    PortUnavailable,
    Region,
    Segment,
    WrongBoard,
)
from drivers.esp import ESP32, EspSession
from drivers.esp.log import esptool
from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec, BitErrors, BoardSpec, LineDrop, SilentLine, WrongMd5
from harness.deadline import limit
from tests.harness.esp_images import app_image

CHIPS = ("esp32", "esp32s3", "esp32c3", "esp8266")
MAC = "24:0a:c4:12:34:56"
DATA = os.urandom(0x3000) + b"\xc0\xdb\xdc\xdd" * 0x400  # what SLIP has to escape, too


def ignore(_done: int, _total: int) -> None:
    pass


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    boards = tuple(BoardSpec(board_id=chip, chip=chip, mac=MAC) for chip in CHIPS)
    with Bench.start(BenchSpec(state=tmp_path, boards=boards)) as running:
        yield running


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def session(bench: Bench, lines: list[str]) -> Iterator[EspSession]:
    opened = ESP32.open(Link(bench.boards["esp32"].url, 115200, 921600), lines.append)
    yield opened
    opened.close()


def flash_file(tmp_path: Path, board: str = "esp32") -> bytes:
    return (tmp_path / board / "flash.bin").read_bytes()


@pytest.mark.parametrize("chip", CHIPS)
def test_every_chip_is_identified_written_verified_read_and_started(bench: Bench, tmp_path: Path, chip: str):
    driver = drivers.load_driver(chip)
    session = driver.open(Link(bench.boards[chip].url, 115200, 460800), lambda _line: None)
    try:
        identity = session.connect()
        assert driver.matches(chip, identity)
        assert identity.serial == MAC
        assert identity.flash_size == len(flash_file(tmp_path, chip))
        region = Region(0x200000, len(DATA))
        session.write([Segment(region.address, DATA)], ignore)
        assert flash_file(tmp_path, chip)[region.address : region.end] == DATA
        assert session.read(region, ignore) == DATA
        assert session.digest(region) == esptool.cmds.hashlib.md5(DATA).hexdigest()
        session.reset()
        said = b""
        with limit(60, "the boot log"):
            while not driver.reported_version(said.decode("utf-8", "replace")) and b"0.0.0" not in said:
                said += session.read_console(1)
    finally:
        session.close()


OTHER_CHIPS = {
    "esp32s2": "v1.0",
    "esp32c2": "v1.2",
    "esp32c5": "v1.0",
    "esp32c6": "v0.2",
    "esp32h2": "v0.1",
    "esp32p4": "v1.3",
}


@pytest.fixture(scope="module")
def other_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    boards = tuple(BoardSpec(board_id=chip, chip=chip, mac=MAC) for chip in OTHER_CHIPS)
    with Bench.start(BenchSpec(state=tmp_path_factory.mktemp("others"), boards=boards)) as running:
        yield running


@pytest.mark.parametrize("chip", OTHER_CHIPS)
def test_each_relative_is_identified_and_written(other_bench: Bench, chip: str):
    driver = drivers.load_driver(chip)
    session = driver.open(Link(other_bench.boards[chip].pty, 115200, 460800), lambda _line: None)
    try:
        identity = session.connect()
        assert driver.matches(chip, identity)
        assert (identity.revision, identity.serial) == (OTHER_CHIPS[chip], MAC)
        assert session.installed_version(0x10000) == "0.0.0"
        session.write([Segment(0x200000, DATA)], ignore)
        assert session.holds(Segment(0x200000, DATA))
    finally:
        session.close()


def test_a_boot_loader_image_is_written_as_it_is(session: EspSession, tmp_path: Path):
    """esptool patches flash mode, frequency and size into it, unless it is told to keep them."""
    session.connect()
    image = session.read(Region(0x1000, 0x4000), ignore)
    patched = image[:2] + b"\x02\x10" + image[4:]
    session.write([Segment(0x1000, patched)], ignore)
    assert flash_file(tmp_path)[0x1000:0x5000] == patched


def test_only_keywords_that_esptool_knows_are_passed_to_it():
    """It swallows the others: `compress=False`, say, compresses."""
    source = inspect.getsource(EspSession)
    call = source[source.index("esptool.write_flash(") :]
    passed = set(re.findall(r"(\w+)=", call[: call.index("\n            )")]))
    assert passed
    assert passed <= set(inspect.signature(esptool.write_flash).parameters) - {"kwargs"}


def test_progress_grows_over_all_segments_to_the_total(session: EspSession):
    session.connect()
    seen: list[tuple[int, int]] = []
    session.write([Segment(0x100000, DATA), Segment(0x180000, DATA)], lambda *step: seen.append(step))
    assert [total for _, total in seen] == [2 * len(DATA)] * len(seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == 2 * len(DATA)


def test_a_read_over_many_pieces_is_whole(session: EspSession, tmp_path: Path):
    session.connect()
    assert session.read(Region(0, 0x48000), ignore) == flash_file(tmp_path)[:0x48000]


def test_esptools_words_arrive_as_plain_lines(session: EspSession, lines: list[str]):
    session.connect()
    assert any("Stub flasher running" in line for line in lines)
    assert not [line for line in lines if re.search(r"\[/?(?:dim|bold|yellow|red)", line) or "\x1b" in line]


def test_the_version_of_the_installed_firmware_is_read(session: EspSession):
    session.connect()
    assert session.installed_version(0x10000) == "0.0.0"
    assert session.installed_version(0x300000) is None


def test_a_lost_line_leaves_no_half_working_session_and_connect_mends_it(bench: Bench, session: EspSession, tmp_path):
    bench.set_faults("esp32", [LineDrop(fault="line-drop", after_bytes=40_000, times=1)])
    session.connect()
    with pytest.raises(ConnectionLost):
        session.write([Segment(0x100000, os.urandom(0x10000))], ignore)
    with pytest.raises(ConnectionLost, match="connect first"):
        session.digest(Region(0, 0x1000))
    session.connect()
    assert session._esp.IS_STUB, "a reconnect inside esptool would leave the slow ROM loader"
    session.write([Segment(0x100000, DATA)], ignore)
    assert flash_file(tmp_path)[0x100000 : 0x100000 + len(DATA)] == DATA


def test_a_line_that_is_lost_on_the_way_into_the_loader_is_taken_up_again(bench: Bench, session: EspSession):
    """As a chip's own USB port is: the loader comes back as another device."""
    bench.set_faults("esp32", [LineDrop(fault="line-drop", after_bytes=20, times=1)])
    assert session.connect().serial == MAC


def test_without_the_stub_all_of_a_large_flash_is_there(bench: Bench, tmp_path: Path, monkeypatch):
    """As on an ESP32-C3 with Secure Boot, which esptool leaves on its ROM's loader: that takes each flash for 4 MB."""
    monkeypatch.setattr(esptool, "run_stub", lambda esp: esp)
    session = drivers.load_driver("esp32s3").open(Link(bench.boards["esp32s3"].pty, 115200, 460800), lambda _line: None)
    try:
        assert session.connect().flash_size == 8 << 20
        held = flash_file(tmp_path, "esp32s3")[0x700000:0x710000]
        assert session.digest(Region(0x700000, 0x10000)) == esptool.cmds.hashlib.md5(held).hexdigest()
    finally:
        session.close()


def test_that_a_port_cannot_reset_its_board_is_in_each_boards_log(bench: Bench):
    for chip in ("esp32", "esp8266"):
        lines: list[str] = []
        session = drivers.load_driver(chip).open(Link(bench.boards[chip].pty, 115200, 460800), lines.append)
        session.connect()
        session.close()
        assert any("Chip was NOT reset" in line for line in lines)


def test_bit_errors_end_as_errors_never_as_wrong_bytes(bench: Bench, session: EspSession):
    session.connect()
    session.write([Segment(0x100000, DATA)], ignore)
    bench.set_faults("esp32", [BitErrors(fault="bit-errors", rate=0.001)])
    for _ in range(3):
        try:
            assert session.read(Region(0x100000, len(DATA)), ignore) == DATA
        except DeviceError:
            break
    bench.set_faults("esp32", [])


def test_a_digest_that_lies_fails_the_write(bench: Bench, session: EspSession):
    session.connect()
    bench.set_faults("esp32", [WrongMd5(fault="wrong-md5")])
    with pytest.raises(DeviceError) as raised:
        session.write([Segment(0x100000, DATA)], ignore)
    assert raised.value.category == "verification"


def test_a_silent_board_is_a_lost_connection_and_its_port_is_free_afterwards(bench: Bench, session: EspSession):
    bench.set_faults("esp32", [SilentLine(fault="silent")])
    with pytest.raises(ConnectionLost):
        session.connect()
    session.close()
    with serial.serial_for_url(bench.boards["esp32"].url) as port:
        assert port.is_open


def test_the_port_is_closed_whatever_ended_the_session(bench: Bench):
    for fault in (SilentLine(fault="silent"), None):
        bench.set_faults("esp32", [fault] if fault else [])
        session = ESP32.open(Link(bench.boards["esp32"].pty, 115200, 921600), lambda _line: None)
        with pytest.raises(PhaseTimeout), limit(0.2, "connect"):
            session.connect()
        session.close()
        serial.Serial(bench.boards["esp32"].pty, exclusive=True).close()


def test_a_port_that_is_not_there_says_so(tmp_path: Path):
    session = ESP32.open(Link(str(tmp_path / "ttyUSB7"), 115200, 921600), lambda _line: None)
    with pytest.raises(PortUnavailable, match="ttyUSB7"):
        session.connect()
    session.close()


def test_a_port_that_another_program_has_open_says_so(bench: Bench):
    pty = bench.boards["esp32"].pty
    with serial.Serial(pty, exclusive=True):
        session = ESP32.open(Link(pty, 115200, 921600), lambda _line: None)
        with pytest.raises(PortUnavailable, match="exclusively lock"):
            session.connect()
        session.close()


def test_a_board_is_started_again_although_the_session_broke(bench: Bench, session: EspSession):
    session.connect()
    bench.set_faults("esp32", [WrongMd5(fault="wrong-md5")])
    with pytest.raises(DeviceError):
        session.write([Segment(0x100000, DATA)], ignore)
    session.reset()
    said = b""
    with limit(60, "the boot log"):
        while b"App version" not in said:
            said += session.read_console(1)


def test_after_a_time_limit_the_session_is_as_unusable_as_after_an_error(bench: Bench, session: EspSession):
    session.connect()
    bench.set_faults("esp32", [SilentLine(fault="silent")])
    bench.power("esp32", on=False)
    with pytest.raises(PhaseTimeout), limit(0.3, "hashing"):
        session.digest(Region(0, 0x1000))
    with pytest.raises(ConnectionLost, match="connect first"):
        session.digest(Region(0, 0x1000))


def test_rates_fall_to_the_lowest_and_no_further(session: EspSession):
    rates = [session.flash_baudrate]
    while session.slow_down():
        rates.append(session.flash_baudrate)
    assert rates == [921600, 460800, 230400, 115200]
    session.connect()


def test_settings_of_the_folder_that_a_run_starts_in_change_nothing(tmp_path: Path):
    (tmp_path / "setup.cfg").write_text("[esptool]\ntimeout = 77\n")
    code = "from drivers.esp.log import esptool; print(esptool.loader.DEFAULT_TIMEOUT)"
    environment = {key: value for key, value in os.environ.items() if key != "ESPTOOL_CFGFILE"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == 3.0


@pytest.mark.parametrize(
    ("chip", "revision", "header", "said"),
    [
        ("esp32", "v3.1", (0, 0, 0xFFFF), ""),
        ("esp32", "v1.0", (3, 300, 399), "app.bin needs a chip of revision from v3.0 to v3.99, this one is v1.0"),
        ("esp32", "v3.1", (3, 300, 399), ""),
        ("esp32", "v1.1", (0, 300, 0xFFFF), "app.bin needs a chip of revision v3.0 or higher, this one is v1.1"),
        ("esp32p4", "v3.0", (0, 0, 199), "app.bin needs a chip of revision from v0.0 to v1.99, this one is v3.0"),
        ("esp32", "v1.1", (3, 0, 0), "app.bin needs a chip of revision 3 or higher, this one is v1.1"),
        ("esp32c3", "v0.4", (3, 0, 0xFFFF), ""),
        ("esp32c3", "v0.2", (3, 0, 0xFFFF), "app.bin needs a chip of revision 3 or higher, this one is v0.2"),
        ("esp8266", "", (9, 900, 901), ""),
    ],
)
def test_an_image_for_other_revisions_of_the_chip_is_refused(chip, revision, header, said):
    """esptool does so at the boot loader's address only: an application would be written, and not be started."""
    image = bytearray(app_image(chip))
    image[14:19] = struct.pack("<BHH", *header)
    identity = Identity(chip, revision, MAC, 4 << 20)
    assert drivers.load_driver(chip).refusal(Segment(0x10000, bytes(image), "app.bin"), identity) == said
    assert drivers.load_driver(chip).refusal(Segment(0x10000, bytes(image[:18]), "app.bin"), identity) == ""
    assert drivers.load_driver(chip).refusal(Segment(0x8000, b"\xaa\x50" * 16, "table.bin"), identity) == ""


def test_protected_chips_are_refused_before_anything_is_uploaded():
    class Protected:
        secure_download_mode = True

    with pytest.raises(WrongBoard, match="Secure Download Mode"):
        EspSession._refuse_protected(Protected())


def test_an_nvs_partition_may_lie_where_the_application_usually_does():
    """As in the partition tables of ESP-Matter and RainMaker, whose applications start at 0x20000."""
    for state in (0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFC):
        page = state.to_bytes(4, "little") + b"\xff" * 0xFFC
        ESP32.inspect([Segment(0x10000, page, "nvs.bin")])
        with pytest.raises(BadImage, match=r"nvs\.bin: no firmware for esp32"):
            ESP32.inspect([Segment(0x1000, page, "nvs.bin")])


@pytest.mark.parametrize(
    ("console", "version", "failure"),
    [
        ("I (312) cpu_start: App version:      1.2.0\n", "1.2.0", None),
        ("I (255) app_init: App version:      v2.0-dirty\n", "v2.0-dirty", None),
        ("I (255) app_init: App version:      v2.0", None, None),  # its line has not ended
        ("rst:0x1 (POWERON_RESET),boot:0x13\nentry 0x400805f0\n", None, None),
        ("invalid header: 0xffffffff\ninvalid header: 0xffffffff\n", None, "invalid header: 0xffffffff"),
        ("Guru Meditation Error: Core  0 panic'ed (LoadProhibited). \n", None, "Guru Meditation Error: Core  0"),
        ("E (88) boot: No bootable app partitions in the partition table\n", None, "No bootable app partitions"),
        ("rst:0x1 (POWERON_RESET)\nrst:0x8 (TG1WDT_SYS_RESET)\n", None, "the board resets itself: rst:0x8"),
        (" ets Jan  8 2013,rst cause:2, boot mode:(3,6)\n", None, None),
        (" ets Jan  8 2013,rst cause:4, boot mode:(3,6)\n", None, "the board resets itself"),
        ("rst:0x1 (POWERON_RESET)\nrst:0xc (SW_CPU_RESET)\n", None, None),
        ("rst:0x1 (POWERON_RESET)\n" + "rst:0xc (SW_CPU_RESET)\n" * 3, None, "the board resets itself: rst:0xc"),
        ("rst:0xf (RTCWDT_BROWN_OUT_RESET)\n", None, "the board resets itself: rst:0xf"),
        ("E BOD: Brownout detector was triggered\nrst:0x3 (RTC_SW_SYS_RST)\n", None, "Brownout detector"),
        ("assert failed: app_main main.c:12 (ready)\n", None, "assert failed: app_main"),
        ("***ERROR*** A stack overflow in task main has been detected.\n", None, "A stack overflow in task main"),
        ("Exception (28):\nepc1=0x40201f2b\n", None, "Exception (28):"),
        ("boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\nwaiting for download\n", None, "waits for a download"),
        ("boot:0x4 (DOWNLOAD(USB/UART0))\nSaved PC:0x40800548\nwaiting for download\n", None, "waits for a download"),
        ("boot:0x16 (DOWNLOAD(USB/UART0))\nSaved PC:0x40800548\nSPIWP:0xee\nmode:DIO, clock div:2\n", None, None),
        (" ets Jan  8 2013,rst cause:2, boot mode:(1,6)\n", None, "waits for a download"),
        ("rst:0x1 (POWERON),boot:0xd (SPI_FAST_FLASH_BOOT)\nI (900) ota: waiting for download\n", None, None),
        ("E (88) esp_image: Checksum failed. Calculated 0x59 read 0xd0\n", None, "esp_image: Checksum failed"),
        ("flash read err, 1000\nets_main.c 371 \n", None, "flash read err, 1000"),
        ("E (2100) dht: Checksum failed, invalid data received from sensor\n", None, None),
        ("W (2100) w25q: flash read error\nE (2101) http: Exception (404): not found\n", None, None),
    ],
)
def test_boot_output_is_read_as_a_person_would(console, version, failure):
    assert ESP32.reported_version(console) == version
    said = ESP32.boot_failure(console)
    assert said is None if failure is None else failure in said
