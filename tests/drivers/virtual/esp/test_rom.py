"""The mask ROM's loader on the wire: what it answers, and what it refuses as the chip does."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import pytest

from tests.drivers.virtual.probe import SYNC, Probe, block, on_board, request, xor

CHIPS = ("esp32", "esp32s3", "esp32c3", "esp8266")
LATER = ("esp32", "esp32s3", "esp32c3")
OK = b"\0\0"
DATA = bytes(range(256)) * 4


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def begin(probe: Probe, *values: int) -> bytes:
    """The parameters of FLASH_BEGIN: one word more on the later chips."""
    return words(*values, *([0] if probe.chip.rom_begin_words == 5 else []))


async def attach(probe: Probe) -> None:
    await probe.enter_loader()
    if probe.chip.name != "esp8266":
        assert (await probe.ask(0x0D, words(0, 0))).ok


@pytest.mark.parametrize("chip", CHIPS)
def test_a_sync_is_answered_eight_times_with_a_value_that_is_not_zero(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        answer = await probe.enter_loader()
        assert (answer.op, answer.value, answer.status) == (0x08, 0x20120707, OK)
        assert answer.whole
        await probe.settle()
        assert not probe.heard, "eight answers, no more"

    on_board(tmp_path, chip, test)


@pytest.mark.parametrize("baud", [9600, 74880, 115200, 230400, 921600])
def test_the_rate_is_taken_from_the_sync(tmp_path: Path, baud: int) -> None:
    async def test(probe: Probe) -> None:
        probe.baud = baud
        assert (await probe.enter_loader()).ok
        divider = await probe.ask(0x0A, words(probe.chip.uart_divider_register))
        assert divider.value * baud == pytest.approx(40_000_000, rel=0.03)

    on_board(tmp_path, "esp32", test)


def test_what_is_sent_at_another_rate_arrives_as_garbage(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        probe.baud = 57600
        probe.send(request(0x0A, words(0x40001000)))
        await probe.settle()
        assert not probe.heard
        probe.baud = 115200
        assert (await probe.ask(0x0A, words(0x40001000))).value == probe.chip.magic

    on_board(tmp_path, "esp32", test)


@pytest.mark.parametrize("chip", CHIPS)
def test_each_rom_shows_its_magic_value_and_its_mac(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert (await probe.ask(0x0A, words(0x40001000))).value == probe.chip.magic
        register = {"esp32": 0x3FF5A004, "esp32s3": 0x60007044, "esp32c3": 0x60008844, "esp8266": 0x3FF0005C}[chip]
        expected = 0x240AC4 if chip == "esp8266" else 0xC4010203
        assert (await probe.ask(0x0A, words(register))).value == expected

    on_board(tmp_path, chip, test)


@pytest.mark.parametrize(
    ("chip", "op"),
    [("esp8266", op) for op in (0x0B, 0x0D, 0x0E, 0x0F, 0x10, 0x11, 0x12, 0x13, 0x14)]
    + [("esp32", 0x14)]
    + [(chip, op) for chip in CHIPS for op in (0x00, 0x01, 0x0C, 0x1F, 0xD0, 0xD2, 0xFF)],
)
def test_a_command_that_a_rom_lacks_is_refused_as_the_last_one_that_it_had(tmp_path: Path, chip: str, op: int) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert (await probe.ask(0x0A, words(0x40001000))).ok
        answer = await probe.ask(op)
        assert (answer.op, answer.status) == (0x0A, b"\x01\x05")

    on_board(tmp_path, chip, test)


def test_after_a_sync_such_a_refusal_comes_eight_times_too(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        probe.send(request(0x14))
        assert [(await probe.answer()).status for _ in range(8)] == [b"\x01\x05"] * 8

    on_board(tmp_path, "esp32", test)


@pytest.mark.parametrize("chip", ["esp32s3", "esp32c3"])
def test_the_security_info_names_the_chip(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        answer = await probe.ask(0x14)
        assert answer.ok
        assert len(answer.data) == 20
        assert struct.unpack_from("<I", answer.data, 12)[0] == probe.chip.image_chip_id

    on_board(tmp_path, chip, test)


def test_before_the_sync_the_loader_says_nothing(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        probe.board.set_power(on=True)
        probe.board.press(boot=True)
        await probe.until(b"waiting for download\r\n")
        probe.send(request(0x0A, words(0x40001000)))
        await probe.settle()
        assert not probe.heard

    on_board(tmp_path, "esp32", test)


@pytest.mark.parametrize("chip", CHIPS)
def test_blocks_are_written_to_flash_that_was_erased_before(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await attach(probe)
        assert (await probe.ask(0x02, begin(probe, 0x1000, 2, 0x400, 0x2000))).ok
        for sequence in range(2):
            assert (await probe.ask(0x03, block(DATA, sequence), xor(DATA))).ok
        assert probe.flash[0x2000:0x2800] == DATA * 2
        assert probe.flash[0x2800:0x3000] == b"\xff" * 0x800, "erased, not written"
        assert probe.flash[0x1000:0x2000] == bytes(0x1000)

    on_board(tmp_path, chip, test, contents=bytes(0x10000))


@pytest.mark.parametrize(
    ("data", "check", "status"),
    [
        (block(DATA, 0), xor(DATA) ^ 1, b"\x01\x07"),
        (block(DATA, 1), xor(DATA), b"\x01\x06"),
        (block(DATA, 0)[:-1], xor(DATA[:-1]), b"\x01\x05"),
        (block(DATA * 2, 0), xor(DATA * 2), b"\x01\x05"),
        (b"short", 0, b"\x01\x05"),
    ],
    ids=["checksum", "sequence", "length", "block size", "no header"],
)
def test_a_wrong_block_is_refused_and_not_written(tmp_path: Path, data: bytes, check: int, status: bytes) -> None:
    async def test(probe: Probe) -> None:
        await attach(probe)
        assert (await probe.ask(0x02, begin(probe, 0x1000, 4, 0x400, 0))).ok
        answer = await probe.ask(0x03, data, check)
        assert (answer.op, answer.status) == (0x03, status)
        assert probe.flash[:0x1000] == b"\xff" * 0x1000

    on_board(tmp_path, "esp32", test)


def test_the_rom_reads_back_what_it_wrote_and_reports_bits_that_stayed_cleared(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await attach(probe)
        assert (await probe.ask(0x02, begin(probe, 0, 1, 0x400, 0x1000))).ok  # erase nothing
        assert (await probe.ask(0x03, block(DATA, 0), xor(DATA))).status == b"\x01\x08"

    on_board(tmp_path, "esp32", test, contents=b"\xff" * 0x1001 + b"\xfe")


def test_compressed_blocks_are_unpacked(tmp_path: Path) -> None:
    packed = zlib.compress(DATA * 8)

    async def test(probe: Probe) -> None:
        await attach(probe)
        assert (await probe.ask(0x10, begin(probe, 0x2000, 1, 0x400, 0x4000))).ok
        assert (await probe.ask(0x11, block(packed, 0), xor(packed))).ok
        assert probe.flash[0x4000:0x6000] == DATA * 8

    on_board(tmp_path, "esp32c3", test)


def test_what_is_no_deflate_stream_is_refused(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await attach(probe)
        assert (await probe.ask(0x10, begin(probe, 0x1000, 1, 0x400, 0))).ok
        assert (await probe.ask(0x11, block(b"nonsense", 0), xor(b"nonsense"))).status == b"\x01\x0b"

    on_board(tmp_path, "esp32", test)


def test_a_stream_that_unpacks_to_more_than_was_announced_is_refused(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(1 << 20))

    async def test(probe: Probe) -> None:
        await attach(probe)
        assert (await probe.ask(0x10, begin(probe, 0x1000, 2, 0x4000, 0))).ok
        assert (await probe.ask(0x11, block(bomb, 0), xor(bomb))).status == b"\x01\x0b"
        assert probe.flash[0x1000] == 0xFF

    on_board(tmp_path, "esp32", test)


@pytest.mark.parametrize("chip", LATER)
def test_the_digest_is_sent_as_32_characters(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await attach(probe)
        answer = await probe.ask(0x13, words(0x10, 0x1234, 0, 0))
        assert answer.data.decode() == hashlib.md5(probe.flash[0x10 : 0x10 + 0x1234]).hexdigest()

    on_board(tmp_path, chip, test, contents=DATA * 8)


def test_a_slow_read_gives_64_bytes_at_most(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await attach(probe)
        assert (await probe.ask(0x0E, words(0x100, 64))).data == DATA[:64]
        assert (await probe.ask(0x0E, words(0x100, 3))).data == DATA[:3] + bytes(61)
        assert (await probe.ask(0x0E, words(0x100, 65))).status == b"\x01\x0a"

    on_board(tmp_path, "esp32", test, contents=DATA)


@pytest.mark.parametrize("chip", LATER)
def test_flash_that_is_not_attached_is_not_there(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert (await probe.ask(0x02, begin(probe, 0x1000, 1, 0x400, 0))).status == b"\x01\x06"
        assert (await probe.ask(0x0E, words(0, 4))).status == b"\x01\x09"

    on_board(tmp_path, chip, test, contents=DATA)


def test_beyond_the_configured_size_flash_is_refused(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await attach(probe)
        assert (await probe.ask(0x0B, words(0, 1 << 20, 0x10000, 0x1000, 0x100, 0xFFFF))).ok
        assert (await probe.ask(0x02, begin(probe, 0x1000, 1, 0x400, 1 << 20))).status == b"\x01\x06"
        assert (await probe.ask(0x02, begin(probe, 0x1000, 1, 0x400, (1 << 20) - 0x1000))).ok

    on_board(tmp_path, "esp32", test)


def test_the_esp8266_erases_the_first_blocks_sectors_twice_over(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await attach(probe)
        assert (await probe.ask(0x02, words(2 * 0x1000, 0, 0x400, 0x1000))).ok
        assert probe.flash[0x1000:0x5000] == b"\xff" * 0x4000, "four sectors, where two were asked for"
        assert probe.flash[0x5000] == 0

    on_board(tmp_path, "esp8266", test, contents=bytes(0x20000))


@pytest.mark.parametrize("chip", CHIPS)
def test_ram_can_be_written_word_by_word_under_a_mask(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert (await probe.ask(0x09, words(probe.ram, 0x11223344, 0xFFFFFFFF, 0))).ok
        assert (await probe.ask(0x09, words(probe.ram, 0xAABBCCDD, 0x0000FF00, 0))).ok
        assert (await probe.ask(0x0A, words(probe.ram))).value == 0x1122CC44

    on_board(tmp_path, chip, test)


def test_efuses_and_rom_can_not_be_written(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        for address in (0x40001000, 0x3FF5A004):
            before = (await probe.ask(0x0A, words(address))).value
            assert (await probe.ask(0x09, words(address, 0, 0xFFFFFFFF, 0))).ok
            assert (await probe.ask(0x0A, words(address))).value == before

    on_board(tmp_path, "esp32", test)


def test_an_address_where_nothing_is_stops_the_chip_until_its_watchdog(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        probe.send(request(0x0A, words(0x7FFFFFF0)))
        assert b"Fatal exception (3)" in await probe.until(b"depc=")
        assert b"RTCWDT_RTC_RESET" in await probe.until(b"waiting for download")
        probe.heard.clear()
        await probe.settle()
        assert (await probe.ask(0x08, SYNC)).ok

    on_board(tmp_path, "esp32", test)


def test_a_program_is_loaded_only_where_ram_is(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert (await probe.ask(0x05, words(0x100, 1, 0x1800, 0x400D0000))).status == b"\x01\x05"
        assert (await probe.ask(0x07, block(DATA, 0), xor(DATA))).status == b"\x01\x06"

    on_board(tmp_path, "esp32", test)


def test_a_program_block_beyond_what_was_announced_is_refused(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert (await probe.ask(0x05, words(8, 1, 0x1800, probe.ram))).ok
        assert (await probe.ask(0x07, block(DATA, 0), xor(DATA))).status == b"\x01\x05"
        assert (await probe.ask(0x07, block(b"12345678", 0), 0)).status == b"\x01\x07"
        assert (await probe.ask(0x07, block(b"12345678", 0), xor(b"12345678"))).ok

    on_board(tmp_path, "esp32", test)


def test_unknown_code_that_is_jumped_to_stays_silent_until_a_reset(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert (await probe.ask(0x05, words(8, 1, 0x1800, probe.ram))).ok
        assert (await probe.ask(0x07, block(b"whatever", 0), xor(b"whatever"))).ok
        assert (await probe.ask(0x06, words(0, probe.ram))).ok
        probe.send(request(0x08, SYNC) * 3)
        await probe.settle()
        assert not probe.heard
        assert (await probe.enter_loader()).ok

    on_board(tmp_path, "esp32", test)


def test_the_baud_rate_changes_after_the_answer(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        # esptool sends the ESP32's rate times the error of the crystal that the ROM measured.
        count = (await probe.ask(0x0A, words(0x3FF5F06C))).value >> 7
        fast_clock = (await probe.ask(0x0A, words(0x3FF5A010))).value & 0xFF
        measured = count * 15625 * fast_clock / 40
        assert (await probe.ask(0x0F, words(int(921600 * measured / 40_000_000), 0))).ok
        probe.baud = 921600
        assert (await probe.ask(0x0A, words(0x40001000))).ok

    on_board(tmp_path, "esp32", test)


@pytest.mark.parametrize(("flag", "reason"), [(0, b"SW_RESET"), (1, b"configsip")], ids=["reboot", "run"])
def test_the_end_of_a_download_leaves_the_loader(tmp_path: Path, flag: int, reason: bytes) -> None:
    async def test(probe: Probe) -> None:
        await attach(probe)
        assert (await probe.ask(0x02, begin(probe, 0, 0, 0x400, 0))).ok
        assert (await probe.ask(0x04, words(flag))).ok
        await probe.until(reason if flag == 0 else b"invalid header")

    on_board(tmp_path, "esp32", test)
