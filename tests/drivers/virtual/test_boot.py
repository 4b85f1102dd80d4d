"""What a board says when it boots what is in its flash, and what it does when that can not run."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from drivers.virtual.esp import firmware
from drivers.virtual.esp.chips import CHIPS
from drivers.virtual.esp.partitions import APP, DATA, Partition, make_table
from drivers.virtual.esp.virtual_app import Behaviour
from drivers.virtual.spec import Panics
from tests.drivers.virtual.probe import Probe, on_board

LATER = ("esp32", "esp32s3", "esp32c3")


def image(chip: str, **changes: bytes) -> bytes:
    """The flash of a board with firmware "demo" 1.2.0, with bytes changed at addresses ("at_8000")."""
    contents = bytearray(firmware.merged_image(chip, "demo", "1.2.0"))
    for where, data in changes.items():
        at = int(where.removeprefix("at_"), 16)
        contents[at : at + len(data)] = data
    return bytes(contents)


def boots(folder: Path, chip: str, contents: bytes, *lines: str, baud: int | None = None) -> None:
    """The board says these lines, in this order, after power-on; heard at its boot log's rate, or another."""

    async def test(probe: Probe) -> None:
        probe.baud = baud or probe.chip.boot_baud
        probe.board.set_power(on=True)
        for line in lines:
            await probe.until(line.encode())

    on_board(folder, chip, test, contents=contents)


@pytest.mark.parametrize("chip", LATER)
def test_a_good_image_starts_and_says_who_it_is(tmp_path: Path, chip: str) -> None:
    boots(
        tmp_path,
        chip,
        image(chip),
        CHIPS[chip].rom_banner,
        "rst:0x1 (POWERON",
        "SPI_FAST_FLASH_BOOT",
        "mode:DIO, clock div:",
        "entry 0x40",
        "boot: ESP-IDF",
        " 2 factory          factory app      00 00 00010000 00100000",
        "boot: Loaded app from partition at offset 0x10000",
        "cpu_start: Project name:     demo\r\n",
        "cpu_start: App version:      1.2.0\r\n",
        "demo 1.2.0 ready, mac=24:0a:c4:01:02:03\r\n",
    )


def test_an_esp8266_prints_its_boot_log_at_74880_baud_and_its_application_at_115200(tmp_path: Path) -> None:
    boots(
        tmp_path,
        "esp8266",
        image("esp8266"),
        "ets Jan  8 2013,rst cause:1, boot mode:(3,6)",
        "load 0x3ffe8000, len 4376, room 16 \r\ntail 8\r\nchksum 0x",
        "load 0x40100000, len 24576, room 16 \r\ntail 0\r\nchksum 0x",
        "csum 0x",
    )
    boots(tmp_path, "esp8266", image("esp8266"), "App version:      1.2.0\r\n", "demo 1.2.0 ready", baud=115200)


def test_at_the_wrong_rate_the_boot_log_is_garbage(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        probe.board.set_power(on=True)
        assert b"ets Jan" not in await probe.until(b"ready")

    on_board(tmp_path, "esp8266", test, contents=image("esp8266"))


def test_blank_flash_is_reported_and_tried_again_by_the_watchdog(tmp_path: Path) -> None:
    again = "rst:0x10 (RTCWDT_RTC_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\ninvalid header: 0xffffffff"
    boots(tmp_path, "esp32", b"", "POWERON_RESET", "invalid header: 0xffffffff\r\n" * 8, again, again)


@pytest.mark.parametrize("chip", ["esp32s3", "esp32c3"])
def test_blank_flash_of_the_later_chips_is_too(tmp_path: Path, chip: str) -> None:
    boots(tmp_path, chip, b"", "invalid header: 0xffffffff", "rst:0x7 (TG0WDT_SYS_RST)", "invalid header: 0xffffffff")


def test_blank_flash_of_an_esp8266_ends_in_its_watchdog(tmp_path: Path) -> None:
    boots(tmp_path, "esp8266", b"", "flash read err, ets_unpack_flash_code", "ets_main.c", "rst cause:4", "wdt reset")


def test_another_word_in_the_boot_loaders_place_is_shown(tmp_path: Path) -> None:
    boots(tmp_path, "esp32", image("esp32", at_1000=b"\x30\xf5\xa0\x88"), "invalid header: 0x88a0f530")


@pytest.mark.parametrize(
    ("chip", "at", "place"),
    [("esp32", "at_1100", "ets_main.c 384"), ("esp32s3", "at_100", "ets_loader.c 78"), ("esp8266", "at_200", "")],
)
def test_a_damaged_boot_image_fails_the_roms_checksum(tmp_path: Path, chip: str, at: str, place: str) -> None:
    boots(tmp_path, chip, image(chip, **{at: b"\x5a"}), "csum err", place or "ets_main.c")


def test_a_boot_loader_for_another_chip_does_not_start(tmp_path: Path) -> None:
    other = firmware.build_bootloader("esp32c3", "1.2.0")
    boots(tmp_path, "esp32", image("esp32", at_1000=other), "load:0x3fcd5820", "RTCWDT_RTC_RESET")


def test_an_appended_digest_that_is_wrong_is_reported_by_the_later_roms_which_go_on(tmp_path: Path) -> None:
    boot_loader = firmware.build_bootloader("esp32c3", "1.2.0")
    digest_at = f"at_{len(boot_loader) - 1:x}"
    lines = ("SHA-256 comparison failed:", "Attempting to boot anyway...", "demo 1.2.0 ready")
    boots(tmp_path, "esp32c3", image("esp32c3", **{digest_at: b"\x99"}), *lines)


NO_APP = ("boot: Factory app partition is not bootable", "boot: No bootable app partitions in the partition table")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"at_10000": b"\xff"}, "esp_image: image at 0x10000 has invalid magic byte (nothing flashed here?)"),
        ({"at_1000c": b"\x05"}, "boot_comm: mismatch chip ID, expected 0, found 5"),
        ({"at_20000": b"\x01\x02\x03"}, "esp_image: Checksum failed. Calculated 0x"),
        ({"at_10008": b"\x00"}, "esp_image: Image hash failed - image is corrupt"),
        ({"at_1001c": b"\xf0\xff\xff\x00"}, "esp_image: Image length"),
        ({"at_1001c": b"\xf1\xff\xff\xff"}, "esp_image: unaligned segment length"),
    ],
    ids=["magic", "chip", "checksum", "hash", "length", "segment"],
)
def test_a_broken_application_is_refused_by_the_boot_loader(
    tmp_path: Path, changes: dict[str, bytes], reason: str
) -> None:
    boots(tmp_path, "esp32", image("esp32", **changes), reason, *NO_APP, "rst:0x3 (SW_RESET)", reason)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"\xff" * 0xC00, "flash_parts: No MD5 found in partition table"),
        (b"\x00" * 0xC00, "flash_parts: partition 0 invalid magic number 0x0"),
        (firmware.build_partition_table()[:40] + b"\x01" + firmware.build_partition_table()[41:], "Incorrect MD5"),
        (make_table([Partition(APP, 0, 0x10000, 0x7F0000, "huge")]), "exceeds flash chip size 0x400000"),
    ],
    ids=["blank", "zeros", "changed", "too large"],
)
def test_a_broken_partition_table_is_refused(tmp_path: Path, table: bytes, reason: str) -> None:
    contents = image("esp32", at_8000=table)
    boots(tmp_path, "esp32", contents, reason, "boot: load partition table error!", "rst:0x3 (SW_RESET)")


def ota_board(*selected: tuple[int, int], second: bytes | None = None) -> bytes:
    """Two OTA slots with versions 1.0.0 and 2.0.0, and the given (sequence, state) entries in the OTA data."""
    table = make_table(
        [
            Partition(DATA, 0x00, 0xD000, 0x2000, "otadata"),
            Partition(APP, 0x10, 0x10000, 0x100000, "ota_0"),
            Partition(APP, 0x11, 0x110000, 0x100000, "ota_1"),
        ]
    )
    contents = bytearray(image("esp32", at_8000=table).ljust(0x200000, b"\xff"))
    for copy, (sequence, state) in enumerate(selected):
        word = struct.pack("<I", sequence)
        entry = word + b"\xff" * 20 + struct.pack("<II", state, zlib.crc32(word, 0xFFFFFFFF))
        contents[0xD000 + copy * 0x1000 :][: len(entry)] = entry
        contents[0xD000 + copy * 0x1000 : 0xD000 + copy * 0x1000 + len(entry)] = entry
    for at, app in (
        (0x10000, firmware.build_app("esp32", "demo", "1.0.0")),
        (0x110000, firmware.build_app("esp32", "demo", "2.0.0") if second is None else second),
    ):
        contents[at : at + len(app)] = app
    return bytes(contents)


@pytest.mark.parametrize(
    ("contents", "version"),
    [
        (ota_board(), "1.0.0"),
        (ota_board((1, 2)), "1.0.0"),
        (ota_board((1, 2), (2, 2)), "2.0.0"),
        (ota_board((3, 2), (2, 2)), "1.0.0"),
        (ota_board((1, 2), (2, 3)), "1.0.0"),
        (ota_board((1, 2), (2, 2), second=b"\xff" * 64), "1.0.0"),
    ],
    ids=["no data", "first", "newest", "wraps", "invalid state", "falls back"],
)
def test_the_ota_data_choose_the_slot(tmp_path: Path, contents: bytes, version: str) -> None:
    boots(tmp_path, "esp32", contents, f"demo {version} ready")


def test_firmware_that_aborts_reboots_for_ever(tmp_path: Path) -> None:
    app = firmware.build_app("esp32", "demo", "1.3.0", behaviour=Behaviour.ABORT)
    loop = ("App version:      1.3.0", "abort() was called", "Rebooting...", "rst:0xc (SW_CPU_RESET)")
    boots(tmp_path, "esp32", image("esp32", at_10000=app), *loop, *loop)


@pytest.mark.parametrize(
    ("chip", "cause", "again"),
    [
        ("esp32", "Guru Meditation Error: Core  0 panic'ed (LoadProhibited)", "rst:0xc (SW_CPU_RESET)"),
        ("esp32c3", "Guru Meditation Error: Core  0 panic'ed (Load access fault)", "rst:0xc (RTC_SW_CPU_RST)"),
        ("esp8266", "Fatal exception 28(LoadProhibitedCause):", "rst cause:2"),
    ],
)
def test_firmware_that_does_not_suit_the_board_crashes_for_ever_and_other_versions_run(
    tmp_path: Path, chip: str, cause: str, again: str
) -> None:
    bad = Panics(fault="panics", versions=("1.2.0", "1.3.0"))

    async def test(probe: Probe) -> None:
        probe.board.set_power(on=True)
        for _ in range(2):
            await probe.until(b"App version:      1.2.0")
            await probe.until(cause.encode())
            probe.baud = probe.chip.boot_baud
            await probe.until(again.encode())
            probe.baud = 115200
        assert b"ready" not in probe.heard
        probe.board.set_faults([bad.model_copy(update={"versions": ("1.1.0",)})])
        await probe.until(b"demo 1.2.0 ready")

    on_board(tmp_path, chip, test, contents=image(chip), faults=[bad])


def test_an_esp8266_whose_code_is_incomplete_crashes_although_the_rom_found_nothing_wrong(tmp_path: Path) -> None:
    contents = image("esp8266", at_20000=b"\xff" * 0x1000)
    boots(tmp_path, "esp8266", contents, "Exception (0):", baud=115200)


def test_an_application_without_a_description_is_unknown_code_and_silent(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        probe.board.set_power(on=True)
        await probe.until(b"Disabling RNG early entropy source...\r\n")
        await probe.settle()
        assert not probe.heard

    app = bytearray(firmware.build_app("esp32", "demo", "1.2.0"))
    app[0x20] ^= 0x01  # the description's magic word, in one bit …
    app[0x21] ^= 0x01  # … and one more, so that the checksum is right as before
    del app[-32:]
    app[23] = 0  # no digest appended
    on_board(tmp_path, "esp32", test, contents=image("esp32", at_10000=bytes(app)))


def test_the_application_answers_on_its_console(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        probe.board.set_power(on=True)
        await probe.until(b"ready, mac=24:0a:c4:01:02:03\r\n")
        probe.send(b"ver")
        probe.send(b"sion\r\nhello\n")
        await probe.until(b"1.2.0\r\nhello?\r\n")
        probe.send(b"reboot\n")
        await probe.until(b"rst:0x3 (SW_RESET)")

    on_board(tmp_path, "esp32", test, contents=image("esp32"))


def test_a_loader_that_was_never_synced_leaves_no_trace_in_the_application(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        probe.board.set_power(on=True)
        probe.board.press(boot=True)
        await probe.until(b"waiting for download")
        probe.board.press(boot=False)
        await probe.until(b"ready, ")
        probe.baud = 9600
        probe.send(b"\nversion\n" * 4)
        await probe.settle()
        probe.baud = 115200
        probe.send(b"\nversion\n")
        await probe.until(b"1.2.0\r\n")

    on_board(tmp_path, "esp32", test, contents=image("esp32"))
