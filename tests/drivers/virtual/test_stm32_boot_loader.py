"""The boot loader of each chip, as AN3155, AN2606 and the reference manuals say."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from drivers.virtual.spec import PowerLoss
from drivers.virtual.stm32.firmware import build
from tests.drivers.virtual.stm32_probe import (
    ACK,
    BASE,
    NACK,
    UID,
    Probe,
    address,
    block,
    on_board,
    op,
    page_list,
    with_xor,
)

CHIPS = ("stm32f103", "stm32f407", "stm32g071")
ERASED = b"\xff"


@pytest.mark.parametrize("chip", CHIPS)
def test_one_0x7f_after_a_reset_is_acknowledged_and_a_second_one_never(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        assert await probe.enter_loader() == ACK
        probe.send(b"\x7f")
        assert await probe.silent(), "it is the first byte of a command"
        assert await probe.answer(b"\x7f") == NACK, "and the next one is not its complement"
        assert await probe.answer(op(0x00)) == ACK, "after which it is in step again"

    on_board(tmp_path, chip, test)


def test_whatever_comes_before_the_0x7f_leaves_it_deaf_until_the_next_reset(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.reset(boot0=True)
        probe.send(b"\x00\x7f\x7f")
        assert await probe.silent()
        assert await probe.enter_loader() == ACK

    on_board(tmp_path, "stm32f103", test)


@pytest.mark.parametrize(("baud", "answered"), [(1200, True), (9600, True), (115200, True), (230400, False)])
def test_the_rate_is_measured_up_to_what_the_application_note_promises(
    tmp_path: Path, baud: int, answered: bool
) -> None:
    async def test(probe: Probe) -> None:
        probe.baud = baud
        await probe.reset(boot0=True)
        probe.send(b"\x7f")
        assert (not await probe.silent()) == answered

    on_board(tmp_path, "stm32f103", test)


def test_without_parity_the_0x7f_gets_through_and_nothing_else(tmp_path: Path) -> None:
    """Its parity bit is a 1, as the stop bit of 8N1 is; the same holds for the ACK that comes back."""

    async def test(probe: Probe) -> None:
        probe.parity = "N"
        assert await probe.enter_loader() == ACK
        assert await probe.answer(op(0x00)) == NACK

    on_board(tmp_path, "stm32f103", test)


@pytest.mark.parametrize(
    ("chip", "version", "erase", "product"),
    [("stm32f103", 0x22, 0x43, 0x410), ("stm32f407", 0x31, 0x44, 0x413), ("stm32g071", 0x31, 0x44, 0x460)],
)
def test_it_says_what_it_is_and_what_it_can(tmp_path: Path, chip: str, version: int, erase: int, product: int) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        commands = bytes([0, 1, 2, 0x11, 0x21, 0x31, erase, 0x63, 0x73, 0x82, 0x92])
        assert await probe.answer(op(0x00)) == ACK
        assert await probe.take(14) == bytes([11, version]) + commands + ACK
        assert await probe.answer(op(0x01)) == ACK
        assert await probe.take(4) == bytes([version, 0, 0]) + ACK
        assert await probe.answer(op(0x02)) == ACK
        assert await probe.take(4) == struct.pack(">BH", 1, product) + ACK

    on_board(tmp_path, chip, test)


@pytest.mark.parametrize("chip", CHIPS)
def test_commands_that_it_does_not_have_are_refused(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        other_erase = 0x43 if probe.chip.extended_erase else 0x44
        for code in (0x03, 0x32, 0x45, 0xA1, 0xFF, other_erase):
            assert await probe.answer(op(code)) == NACK
        assert await probe.answer(b"\x11\x11") == NACK, "no complement"

    on_board(tmp_path, chip, test)


@pytest.mark.parametrize("chip", CHIPS)
def test_flash_is_written_and_read_in_blocks_of_up_to_256_bytes(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert await probe.erase(0) == ACK * 2
        assert await probe.write(BASE, bytes(range(256))) == ACK * 3
        assert await probe.write(BASE + 0x100, b"tail") == ACK * 3
        assert await probe.read(BASE, 256) == bytes(range(256))
        assert await probe.read(BASE + 0xFF, 6) == b"\xfftail\xff"
        assert await probe.read(BASE + 0x101, 1) == b"a"

    on_board(tmp_path, chip, test)


@pytest.mark.parametrize("chip", CHIPS)
def test_what_a_checksum_does_not_fit_is_refused_and_does_nothing(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        before = probe.flash
        assert await probe.ask(op(0x31), address(BASE)[:-1] + b"\x55") == ACK + NACK
        assert await probe.ask(op(0x31), address(BASE), block(b"abcd")[:-1] + b"\x55") == ACK * 2 + NACK
        assert await probe.ask(op(0x11), address(BASE), b"\x03\x03") == ACK * 2 + NACK
        erase = (op(0x44), page_list(0)) if probe.chip.extended_erase else (op(0x43), with_xor(b"\0\0"))
        assert await probe.ask(erase[0], erase[1][:-1] + b"\x55") == ACK + NACK
        assert probe.flash == before

    on_board(tmp_path, chip, test)


@pytest.mark.parametrize("chip", CHIPS)
def test_addresses_outside_are_refused_and_so_is_the_ram_that_it_lives_in(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        end = BASE + len(probe.flash)
        outside = (0, end, BASE - 4, 0x20000000, probe.chip.loader_ram.end - 4, probe.chip.ram.end, 0x40000000)
        for at in outside:
            for code in (0x11, 0x31, 0x21):
                assert await probe.ask(op(code), address(at)) == ACK + NACK, hex(at)
        assert await probe.write(probe.chip.loader_ram.end, b"RAM!") == ACK * 3
        assert await probe.read(probe.chip.loader_ram.end, 4) == b"RAM!"
        assert await probe.ask(op(0x11), address(end - 4), op(7)) == ACK * 2 + NACK, "it ends in between"
        assert await probe.ask(op(0x31), address(end - 4), block(bytes(8))) == ACK * 2 + NACK
        assert await probe.ask(op(0x31), address(BASE + 2)) == ACK + NACK, "no word"

    on_board(tmp_path, chip, test)


@pytest.mark.parametrize(("chip", "unit"), [("stm32f103", 2), ("stm32f407", 4), ("stm32g071", 8)])
def test_a_write_that_ends_within_a_programming_unit_is_filled_up_as_erased(
    tmp_path: Path, chip: str, unit: int
) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert await probe.write(BASE, b"abcde") == ACK * 3
        assert probe.flash[: 5 + -5 % unit] == b"abcde" + ERASED * (-5 % unit)

    on_board(tmp_path, chip, test, contents=b"")


def test_an_f1_takes_no_half_word_that_is_not_erased_but_for_zero(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert await probe.write(BASE, b"\x12\x34\xff\xff\x56\x78\x9a\xbc") == ACK * 3
        assert await probe.write(BASE, b"\x10\x30\xde\xf0\x00\x00\x9a\xbc") == ACK * 3, "errors are not reported"
        assert probe.flash[:8] == b"\x12\x34\xde\xf0\x00\x00\x9a\xbc"

    on_board(tmp_path, "stm32f103", test, contents=b"")


def test_an_f4_clears_bits_and_sets_none(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert await probe.write(BASE, b"\x0f\xf0\x33\xff") == ACK * 3
        assert await probe.write(BASE, b"\x33\x33\x33\x33") == ACK * 3
        assert probe.flash[:4] == b"\x03\x30\x33\x33"

    on_board(tmp_path, "stm32f407", test, contents=b"")


def test_a_g0_programs_a_double_word_once(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert await probe.write(BASE, b"once    " + ERASED * 4) == ACK * 3
        assert await probe.write(BASE, b"\0nce    " + b"twice   ") == ACK * 3
        assert probe.flash[:16] == b"once    twice   "
        assert await probe.write(BASE, bytes(8)) == ACK * 3
        assert probe.flash[:16] == bytes(8) + b"twice   "

    on_board(tmp_path, "stm32g071", test, contents=b"")


@pytest.mark.parametrize(
    ("chip", "page", "start", "size"),
    [("stm32f103", 3, 0xC00, 0x400), ("stm32f407", 4, 0x10000, 0x10000), ("stm32f407", 6, 0x40000, 0x20000),
     ("stm32g071", 3, 0x1800, 0x800)],
)  # fmt: skip
def test_a_page_is_erased_and_nothing_around_it(tmp_path: Path, chip: str, page: int, start: int, size: int) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert await probe.erase(page) == ACK * 2
        assert probe.flash[start : start + size] == ERASED * size
        assert probe.flash.count(ERASED) == size

    on_board(tmp_path, chip, test, contents=bytes(0x80000 if chip == "stm32f407" else 0x10000))


@pytest.mark.parametrize("chip", CHIPS)
def test_the_whole_flash_is_erased_by_one_number_and_pages_beyond_it_are_passed_over(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        before = probe.flash
        assert await probe.erase(0xFE) == ACK * 2
        assert probe.flash == before
        everything = b"\xff\xff\x00" if probe.chip.extended_erase else b"\xff\x00"
        assert await probe.ask(op(0x44 if probe.chip.extended_erase else 0x43), everything) == ACK * 2
        assert set(probe.flash) == {0xFF}

    on_board(tmp_path, chip, test)


def test_erasing_by_banks_is_refused_where_there_are_none(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        before = probe.flash
        for special in (0xFFFE, 0xFFFD, 0xFFF0):
            assert await probe.ask(op(0x44), with_xor(struct.pack(">H", special))) == ACK + NACK
        assert probe.flash == before

    on_board(tmp_path, "stm32g071", test)


@pytest.mark.parametrize("chip", CHIPS)
def test_readout_protection_leaves_identity_alone_and_its_end_erases_everything(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        before = probe.flash
        assert await probe.answer(op(0x82)) == ACK
        assert await probe.take(1) == ACK
        assert await probe.answer(b"\x7f") == ACK, "it was reset, with BOOT0 still high"
        erase = 0x44 if probe.chip.extended_erase else 0x43
        for code in (0x11, 0x21, 0x31, erase, 0x63, 0x73, 0x82):
            assert await probe.answer(op(code)) == NACK, hex(code)
        assert await probe.answer(op(0x02)) == ACK
        await probe.take(4)
        assert probe.flash == before
        assert await probe.enter_loader() == ACK
        assert await probe.answer(op(0x11)) == NACK, "a reset does not lift it"
        assert await probe.ask(op(0x92)) == ACK
        assert await probe.take(1) == ACK
        assert set(probe.flash) == {0xFF}
        assert await probe.enter_loader() == ACK
        assert await probe.read(BASE, 4) == ERASED * 4

    on_board(tmp_path, chip, test)


@pytest.mark.parametrize(
    ("chip", "codes", "held", "free"),
    [("stm32f103", b"\x01", (4, 7), (3, 8)), ("stm32f407", b"\x01\x02", (1, 2), (0, 3)),
     ("stm32g071", b"\x01\x02", (1, 2), (0, 3))],
)  # fmt: skip
def test_write_protected_pages_stay_as_they_are_and_nobody_is_told(
    tmp_path: Path, chip: str, codes: bytes, held: tuple[int, int], free: tuple[int, int]
) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        bounds = probe.chip.sector_bounds(len(probe.flash))
        assert await probe.ask(op(0x63), block(codes)) == ACK * 2
        assert await probe.answer(b"\x7f") == ACK, "it was reset"
        for page in (*held, *free):
            assert await probe.erase(page) == ACK * 2
        for page in held:
            assert set(probe.flash[slice(*bounds[page])]) == {0}
        for page in free:
            assert set(probe.flash[slice(*bounds[page])]) == {0xFF}
        assert await probe.ask(op(0x73)) == ACK
        assert await probe.take(1) == ACK
        assert await probe.answer(b"\x7f") == ACK
        assert await probe.erase(held[0]) == ACK * 2
        assert set(probe.flash[slice(*bounds[held[0]])]) == {0xFF}

    on_board(tmp_path, chip, test, contents=bytes(0x20000 if chip == "stm32f407" else 0x10000))


@pytest.mark.parametrize(
    ("chip", "uid", "size"),
    [
        ("stm32f103", 0x1FFFF7E8, 0x1FFFF7E0),
        ("stm32f407", 0x1FFF7A10, 0x1FFF7A22),
        ("stm32g071", 0x1FFF7590, 0x1FFF75E0),
    ],
)
def test_unique_id_and_flash_size_are_in_the_system_memory(tmp_path: Path, chip: str, uid: int, size: int) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        if chip == "stm32f407":
            assert await probe.ask(op(0x11), address(uid)) == ACK + NACK, "only as an aligned block"
            block_at = uid & ~0xFF
            found = await probe.read(block_at, 256)
        else:
            block_at = size
            found = (await probe.read(size, 2)).ljust(uid - size if uid > size else 0, b"\0")
            assert await probe.read(uid, 12) == UID
        if chip == "stm32f407":
            assert found[uid - block_at :][:12] == UID
        assert struct.unpack_from("<H", found, size - block_at)[0] * 1024 == len(probe.flash)

    on_board(tmp_path, chip, test)


def test_option_bytes_can_be_read_and_writing_them_resets_the_chip(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert await probe.read(0x1FFFF800, 16) == bytes.fromhex("A55A" + "FF00" * 7)
        protected = bytes.fromhex("00FF" + "FF00" * 7)
        assert await probe.write(0x1FFFF800, protected) == ACK * 3
        assert await probe.answer(b"\x7f") == ACK
        assert await probe.answer(op(0x11)) == NACK, "no key, no reading"

    on_board(tmp_path, "stm32f103", test)


@pytest.mark.parametrize("chip", CHIPS)
def test_go_starts_the_application_and_a_reset_too(tmp_path: Path, chip: str) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        probe.parity = "N"
        probe.board.wire.from_host(op(0x21), 115200, "E")
        assert await probe.take(1) == ACK
        probe.board.wire.from_host(address(BASE), 115200, "E")
        assert await probe.take(1) == ACK
        assert b"app 2.0.1 ready" in await probe.until(b"\n")
        await probe.reset(boot0=False)
        assert b"app 2.0.1 ready" in await probe.until(b"\n")
        probe.send(b"version\r\n")
        assert await probe.until(b"\n") == b"2.0.1\r\n"

    on_board(tmp_path, chip, test, contents=build("app", "2.0.1"))


def test_an_application_elsewhere_in_flash_is_started_by_go(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        assert await probe.ask(op(0x21), address(BASE + 0x4000)) == ACK * 2
        probe.parity = "N"
        assert b"second 2.0.0 ready" in await probe.until(b"\n")

    contents = build("first", "1.0.0", 0x4000) + build("second", "2.0.0", 0x1000, at=BASE + 0x4000)
    on_board(tmp_path, "stm32g071", test, contents=contents)


def test_a_g0_that_was_empty_at_power_on_goes_into_its_boot_loader_until_the_next_power_on(tmp_path: Path) -> None:
    async def test(probe: Probe) -> None:
        await probe.reset(boot0=False)
        assert await probe.answer(b"\x7f") == ACK
        image = build("app", "2.0.1", 0x400)
        for at in range(0, len(image), 256):
            assert await probe.write(BASE + at, image[at : at + 256]) == ACK * 3
        await probe.reset(boot0=False)
        assert await probe.answer(b"\x7f") == ACK
        probe.board.set_power(on=False)
        probe.board.set_power(on=True)
        probe.parity = "N"
        assert b"app 2.0.1 ready" in await probe.until(b"\n")

    on_board(tmp_path, "stm32g071", test, contents=b"")


def test_in_the_middle_of_a_write_a_0x7f_is_a_byte_of_its_data(tmp_path: Path) -> None:
    """Which is why a tool that was interrupted gets no answer before the next reset."""

    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        before = probe.flash
        assert await probe.ask(op(0x31), address(BASE)) == ACK * 2
        probe.send(b"\xff" + b"\x7f" * 255)
        assert await probe.silent()
        assert await probe.enter_loader() == ACK
        assert probe.flash == before

    on_board(tmp_path, "stm32f103", test)


@pytest.mark.parametrize(
    "spoilt",
    ["blank", "stack", "even", "outside", "half"],
)
def test_what_can_not_start_stays_silent(tmp_path: Path, spoilt: str) -> None:
    image = bytearray(build("app", "2.0.1"))
    if spoilt == "blank":
        image = bytearray(b"")
    elif spoilt == "stack":
        image[0:4] = struct.pack("<I", 0x30000000)
    elif spoilt == "even":
        image[4] &= 0xFE
    elif spoilt == "outside":
        image[4:8] = struct.pack("<I", 0x09000001)
    else:
        image[0x3000:] = ERASED * (len(image) - 0x3000)

    async def test(probe: Probe) -> None:
        probe.parity = "N"
        await probe.reset(boot0=False)
        with pytest.raises(TimeoutError):
            async with _patience(0.2):
                await probe.until(b"2.0.1")
        probe.parity = "E"
        assert await probe.enter_loader() == ACK

    on_board(tmp_path, "stm32f103", test, contents=bytes(image))


def _patience(seconds: float):
    import asyncio

    return asyncio.timeout(seconds)


def test_a_program_in_ram_that_resets_the_chip_does_so(tmp_path: Path) -> None:
    """What stm32flash sends for -R: a vector table and four instructions that write AIRCR."""

    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        at = 0x20001000
        code = struct.pack("<II", 0x20002000, at + 9) + bytes.fromhex("01490 24a0a60fee7".replace(" ", ""))
        assert await probe.write(at, code + struct.pack("<II", 0xE000ED0C, 0x05FA0004)) == ACK * 3
        assert await probe.ask(op(0x21), address(at)) == ACK * 2
        await probe.settle()
        assert await probe.answer(b"\x7f") == ACK, "BOOT0 is still high"

    on_board(tmp_path, "stm32f103", test)


@pytest.mark.parametrize("at_byte", [0, 1, 301])
def test_power_lost_in_a_write_leaves_exactly_what_was_programmed(tmp_path: Path, at_byte: int) -> None:
    async def test(probe: Probe) -> None:
        await probe.enter_loader()
        data = bytes(range(1, 241))
        probe.send(op(0x31))
        for at in (BASE, BASE + 240):
            if await probe.take(1) != ACK:
                break
            assert await probe.answer(address(at)) == ACK
            probe.send(block(data) + op(0x31))
            await probe.settle()
            if not probe.heard:
                break
            assert await probe.take(1) == ACK
        assert probe.flash[:480] == (data * 2)[:at_byte].ljust(480, b"\xff")

    faults = (PowerLoss(fault="power-loss", at_byte=at_byte),)
    on_board(tmp_path, "stm32f103", test, faults=faults, contents=b"")
