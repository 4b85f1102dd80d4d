"""Stock avrdude, as a separate process, against the virtual Arduinos' ptys: what people do, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec, BoardSpec
from tests.drivers.avr.tools import Hand, answers, avrdude, avrdude_in_step, compile_sketch, contents_of, ready_after_s

OTHER_SIGNATURE = "expected signature for ATmega168 is 1E 94 06"
UNO, MEGA = "atmega328p", "atmega2560"
BOARDS = {
    "uno": BoardSpec(board_id="uno", chip="uno"),
    "uno8": BoardSpec(board_id="uno8", chip="arduino", options={"bootloader": "optiboot-8.3"}),
    "nano": BoardSpec(board_id="nano", chip="nano"),
    "mega": BoardSpec(board_id="mega", chip="mega2560"),
    "bare": BoardSpec(board_id="bare", chip="uno", options={"lock_bits": 0x3F}),
    "bare8": BoardSpec(board_id="bare8", chip="uno", options={"lock_bits": 0x3F, "bootloader": "optiboot-8.3"}),
    "eeprom4": BoardSpec(board_id="eeprom4", chip="atmega328p"),
    "eeprom8": BoardSpec(board_id="eeprom8", chip="uno", options={"bootloader": "optiboot-8.3"}),
}


class Lab:
    def __init__(self, bench: Bench, state: Path) -> None:
        self.bench = bench
        self.state = state

    def pty(self, board: str) -> str:
        return self.bench.boards[board].pty

    def flash(self, board: str) -> bytes:
        return (self.state / board / "flash.bin").read_bytes()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    state = tmp_path_factory.mktemp("lab")
    with Bench.start(BenchSpec(state=state, boards=tuple(BOARDS.values()))) as bench:
        yield Lab(bench, state)


@pytest.mark.parametrize(
    ("board", "mcu", "boot"),
    [("uno", UNO, 0x7E00), ("uno8", UNO, 0x7E00), ("nano", UNO, 0x7800), ("mega", MEGA, 0x3E000)],
)
def test_a_compiled_sketch_is_written_verified_read_back_and_runs(
    lab: Lab, tmp_path: Path, board: str, mcu: str, boot: int
):
    sketch = compile_sketch(tmp_path, mcu, "greenhouse 2.3.4 ready")
    before = lab.flash(board)
    read = tmp_path / "read.bin"
    status, output = avrdude_in_step(lab.pty(board), mcu, f"flash:w:{sketch}:i", f"flash:r:{read}:r")
    assert status == 0, output
    wanted = contents_of(sketch)
    assert lab.flash(board)[: len(wanted)] == wanted
    assert lab.flash(board)[boot:] == before[boot:]
    assert read.read_bytes() == lab.flash(board)
    with Hand(lab.pty(board)) as hand:
        assert hand.hears(b"greenhouse 2.3.4 ready\r\n")


@pytest.mark.parametrize("board", ["uno", "uno8"])
def test_another_part_is_told_apart_by_its_signature(lab: Lab, board: str):
    before = lab.flash(board)
    status, output = avrdude_in_step(lab.pty(board), "m168", "flash:w:0x00,0x00:m", says=OTHER_SIGNATURE)
    assert status == 1
    assert OTHER_SIGNATURE in output
    assert lab.flash(board) == before


def test_optiboot_answers_fuses_and_lock_bits_with_zero(lab: Lab):
    status, output = avrdude_in_step(lab.pty("uno"), UNO, "lfuse:r:-:h", "lock:r:-:h")
    assert status == 0, output
    assert output.count("0x0\n") == 2


def test_the_megas_boot_loader_reads_the_true_fuses(lab: Lab):
    status, output = avrdude_in_step(lab.pty("mega"), MEGA, "lfuse:r:-:h", "hfuse:r:-:h")
    assert status == 0, output
    assert "0xff\n0xd8\n" in "".join(line + "\n" for line in output.splitlines() if line.startswith("0x"))


@pytest.mark.parametrize("board", ["bare", "bare8"])
def test_a_raw_file_that_is_too_large_destroys_an_unprotected_board(lab: Lab, tmp_path: Path, board: str):
    assert answers(lab.pty(board))
    loader = lab.flash(board)[0x7E00:]
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(range(250)) * 132)
    status, output = avrdude_in_step(
        lab.pty(board), UNO, f"flash:w:{large}:r", enough=lambda: lab.flash(board)[0x7E00:] != loader
    )
    assert status != 0
    assert "32768 bytes flash" in output or "33000" in output, "avrdude took it"
    assert not answers(lab.pty(board), tries=1)
    assert lab.flash(board)[0x7E00:] != lab.flash("uno")[0x7E00:]


def test_lock_bits_keep_the_boot_loader_of_a_protected_board(lab: Lab, tmp_path: Path):
    before = lab.flash("uno")
    full = tmp_path / "full.bin"
    full.write_bytes(b"\x55" * 0x8000)
    status, output = avrdude_in_step(lab.pty("uno"), UNO, f"flash:w:{full}:r", says="mismatch")
    assert status == 1
    assert "mismatch" in output
    assert lab.flash("uno")[0x7E00:] == before[0x7E00:]
    assert lab.flash("uno")[:0x7E00] == b"\x55" * 0x7E00
    assert answers(lab.pty("uno"))


def test_the_old_optiboot_writes_eeprom_data_into_the_flash(lab: Lab):
    status, output = avrdude_in_step(lab.pty("eeprom4"), UNO, "eeprom:w:0x11,0x22,0x33,0x44:m")
    assert status == 0, output
    assert lab.flash("eeprom4")[:4] == b"\x11\x22\x33\x44"
    assert (lab.state / "eeprom4" / "eeprom.bin").read_bytes() == b"\xff" * 1024


def test_the_new_optiboot_refuses_eeprom_data_by_falling_silent(lab: Lab):
    before = lab.flash("eeprom8")
    status, _output = avrdude(lab.pty("eeprom8"), UNO, "eeprom:w:0x11,0x22:m", limit_s=2.5)
    assert status != 0
    assert lab.flash("eeprom8") == before


def test_the_mega_keeps_its_eeprom_in_a_file_of_its_own(lab: Lab):
    before = lab.flash("mega")
    status, output = avrdude_in_step(lab.pty("mega"), MEGA, "eeprom:w:0x11,0x22,0x33:m")
    assert status == 0, output
    assert (lab.state / "mega" / "eeprom.bin").read_bytes()[:4] == b"\x11\x22\x33\xff"
    assert lab.flash("mega") == before


def test_the_mega_erases_its_first_page_whichever_is_written(lab: Lab, tmp_path: Path):
    """As its boot loader's own code does on a simulated CPU."""
    first = tmp_path / "first.bin"
    first.write_bytes(b"\x0c" * 1024)
    assert avrdude_in_step(lab.pty("mega"), MEGA, f"flash:w:{first}:r")[0] == 0
    page = tmp_path / "page.hex"
    page.write_text(":10800000000102030405060708090A0B0C0D0E0FF8\n:00000001FF\n")
    avrdude_in_step(lab.pty("mega"), MEGA, f"flash:w:{page}:i")
    assert lab.flash("mega")[:0x100] == b"\xff" * 0x100
    assert lab.flash("mega")[0x100:0x400] == b"\x0c" * 0x300
    assert lab.flash("mega")[0x8000:0x8010] == bytes(range(16))


@pytest.mark.parametrize("board", ["uno8", "nano"])
def test_the_boot_loader_waits_for_one_second_and_starts_the_application(lab: Lab, board: str):
    assert 1 <= ready_after_s(lab.pty(board), 2.5) < 2.5


def test_out_of_step_with_its_host_optiboot_gives_up_at_once(lab: Lab):
    assert ready_after_s(lab.pty("nano"), 0.9, say=b"0x") < 0.9
