"""The flasher stub on the wire. Its source decides: esp-flasher-stub, src/command_handler.c."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import pytest

from drivers.virtual.spec import PowerLoss
from tests.drivers.virtual.esp.test_rom import words
from tests.drivers.virtual.probe import SYNC, Probe, block, on_board, request, xor

DATA = bytes(range(256)) * 64  # 16 KiB
CHIPS = ("esp32", "esp32s3", "esp32c3", "esp8266")


@pytest.mark.parametrize("chip", CHIPS)
def test_what_greets_as_a_stub_is_run_as_one_and_syncs_with_value_zero(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        probe.send(request(0x08, SYNC))
        answers = [await probe.answer() for _ in range(8)]
        assert [(answer.op, answer.value, answer.ok) for answer in answers] == [(0x08, 0, True)] * 8

    on_board(tmp_path, chip, test)


def test_a_region_is_read_packet_by_packet_and_ends_with_its_digest(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        assert (await probe.ask(0xD2, words(0x10, 0x1800, 0x1000, 64))).ok
        received = b""
        for size in (0x1000, 0x800):
            packet = await probe.frame()
            assert len(packet) == size
            received += packet
            await probe.settle()
            assert not probe.heard, "the next packet waits for the acknowledgement"
            probe.send(b"\xc0" + struct.pack("<I", len(received)).replace(b"\xc0", b"\xdb\xdc") + b"\xc0")
        assert received == DATA[0x10:0x1810]
        assert await probe.frame() == hashlib.md5(received).digest()

    on_board(tmp_path, "esp32", test, contents=DATA)


def test_a_block_is_answered_before_it_is_programmed_and_failures_come_with_the_next_command(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        assert (await probe.ask(0x10, words(0x4000, 1, 0x4000, 0, 0))).ok
        assert (await probe.ask(0x11, block(b"no deflate", 0), xor(b"no deflate"))).ok
        assert (await probe.ask(0x0A, words(0x40001000))).status == b"\xc7\x00"
        assert (await probe.ask(0x0A, words(0x40001000))).ok

    on_board(tmp_path, "esp32", test)


@pytest.mark.parametrize("chip", CHIPS)
def test_compressed_writes_erase_only_what_they_cover(tmp_path: Path, chip: str) -> None:
    packed = zlib.compress(DATA)

    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        assert (await probe.ask(0x10, words(len(DATA), 1, 0x4000, 0x3000, 0))).ok
        assert (await probe.ask(0x11, block(packed, 0), xor(packed))).ok
        assert (await probe.ask(0x13, words(0x3000, len(DATA), 0, 0))).data == hashlib.md5(DATA).digest()
        assert probe.flash[0x2000:0x3000] == bytes(0x1000)
        assert probe.flash[0x7000:0x8000] == bytes(0x1000)
        assert (await probe.ask(0x12, words(1))).ok

    on_board(tmp_path, chip, test, contents=bytes(0x10000))


@pytest.mark.parametrize(
    ("op", "data", "check", "status"),
    [
        (0xD1, words(0x10, 0x1000), 0, b"\xc0\x00"),
        (0x02, words(0x1000, 1, 0x400, 4 << 20), 0, b"\xc4\x00"),
        (0x03, block(b"x", 0), xor(b"x"), b"\xc6\x00"),
        (0x11, block(b"x", 0), xor(b"x"), b"\xc6\x00"),
        (0x07, block(b"x", 0), xor(b"x"), b"\xc6\x00"),
        (0x13, words(0, 1), 0, b"\xc0\x00"),
        (0x13, words((4 << 20) - 1, 2, 0, 0), 0, b"\xc4\x00"),
        (0x0E, words(0, 4), 0, b"\xc3\x00"),
        (0x55, b"", 0, b"\xc3\x00"),
        (0x14, b"", 0, b"\xff\x00"),
        (0x08, b"short", 0, b"\xc0\x00"),
        (0x02, words(1, 2), 0, b"\xc0\x00"),
        (0x09, b"", 0, b"\xc8\x00"),
    ],
)
def test_what_the_stub_does_not_do_it_refuses_with_its_own_codes(
    tmp_path: Path, op: int, data: bytes, check: int, status: bytes
) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        answer = await probe.ask(op, data, check)
        assert (answer.op, answer.status, answer.data) == (op, status, b"")

    on_board(tmp_path, "esp32", test)


def test_a_wrong_checksum_is_refused_and_nothing_written(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        assert (await probe.ask(0x02, words(0x400, 1, 0x4000, 0, 0))).ok
        assert (await probe.ask(0x03, block(DATA[:0x400], 0), 0)).status == b"\xc1\x00"
        assert probe.flash[:0x400] == b"\xff" * 0x400

    on_board(tmp_path, "esp32", test)


def test_a_message_whose_length_is_not_true_is_refused(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        probe.send(request(0x0A, words(0x40001000), size=8))
        assert (await probe.answer()).status == b"\xc0\x00"
        probe.send(request(0x0A, words(0x40001000), direction=1))
        assert (await probe.answer()).status == b"\xc3\x00"

    on_board(tmp_path, "esp32", test)


def test_a_download_that_is_not_complete_can_not_be_ended(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        assert (await probe.ask(0x02, words(0x800, 2, 0x400, 0, 0))).ok
        assert (await probe.ask(0x03, block(DATA[:0x400], 0), xor(DATA[:0x400]))).ok
        assert (await probe.ask(0x04, words(1))).status == b"\xc0\x00"

    on_board(tmp_path, "esp32", test)


def test_the_rate_changes_after_the_answer_at_the_old_one(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        assert (await probe.ask(0x0F, words(460800, 115200))).ok
        probe.baud = 460800
        assert (await probe.ask(0x0A, words(0x40001000))).ok

    on_board(tmp_path, "esp32s3", test)


def test_an_erase_beyond_the_flash_wraps_as_the_flash_chip_does(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        assert (await probe.ask(0xD1, words((4 << 20) + 0x1000, 0x1000))).ok
        assert probe.flash[:0x3000] == bytes(0x1000) + b"\xff" * 0x1000 + bytes(0x1000)

    on_board(tmp_path, "esp32", test, contents=bytes(0x3000))


def test_the_whole_chip_is_erased(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        assert (await probe.ask(0xD0)).ok
        assert probe.flash == b"\xff" * (4 << 20)

    on_board(tmp_path, "esp32", test, contents=bytes(4 << 20))


@pytest.mark.parametrize("at_byte", [0, 1, 1000, 0x4000])
def test_power_is_lost_at_exactly_the_byte_that_was_asked_for(tmp_path: Path, at_byte: int) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_stub()
        assert (await probe.ask(0x02, words(0x8000, 2, 0x4000, 0x1000, 0))).ok
        assert (await probe.ask(0x03, block(DATA, 0), xor(DATA))).ok
        probe.send(request(0x0A, words(0x40001000)))
        await probe.settle()
        assert not probe.heard, "a board without power says nothing"
        assert probe.flash[0x1000 : 0x1000 + 0x4000] == DATA[:at_byte] + b"\xff" * (0x4000 - at_byte)
        probe.board.set_power(on=True)
        await probe.until(b"POWERON_RESET")

    on_board(tmp_path, "esp32", test, faults=[PowerLoss(fault="power-loss", at_byte=at_byte)])
