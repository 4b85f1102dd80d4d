"""Stock stm32flash (on a pty) and stm32loader (over RFC2217), as separate processes, against boards of the bench."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial

from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec
from drivers.virtual.stm32.firmware import build, to_hex
from tests.drivers.virtual.conftest import board, flash_of
from tests.tries import tried

CHIPS = ("stm32f103", "stm32f407", "stm32g071")
NAMES = {"stm32f103": "STM32F10xxx Medium-density", "stm32f407": "STM32F40xxx/41xxx", "stm32g071": "STM32G07xxx/08xxx"}
FAMILIES = {"stm32f103": "F1", "stm32f407": "F4", "stm32g071": "G0"}
IMAGE = build("tool", "3.2.1", 9 * 1024 + 6)
LIMIT_S = 120

Ends = Callable[[int, str], bool]
"""Whether a tool that ended with this status and these words has done what it should."""


def well(status: int, _output: str) -> bool:
    return status == 0


def failing(words: str) -> Ends:
    return lambda status, output: status != 0 and words in output


class Lab:
    """A bench with one board of each chip, its state folder, and a file to write."""

    def __init__(self, bench: Bench, state: Path) -> None:
        self.bench = bench
        self.state = state
        self.file = state / "image.bin"
        self.file.write_bytes(IMAGE)

    def flash(self, chip: str) -> bytes:
        return flash_of(self.state, chip)

    def stm32flash(self, chip: str, *arguments: object, baud: int = 115200, ends: Ends = well) -> str:
        # -m 8n1: a pty carries no parity, and stm32flash checks that its settings were taken
        port = self.bench.boards[chip].pty
        command = ["stm32flash", "-m", "8n1", "-b", str(baud), *(str(argument) for argument in arguments), port]
        return finish(command, ends)

    def stm32loader(self, chip: str, *arguments: object, ends: Ends = well) -> str:
        script = Path(__file__).with_name("stm32loader_cli.py")
        command = [sys.executable, str(script), "-p", self.bench.boards[chip].url, "-f", FAMILIES[chip], "-n"]
        return finish([*command, *(str(argument) for argument in arguments)], ends)


def finish(command: list[str], ends: Ends) -> str:
    """What it said; started again where it ended in another way: stm32flash gives the board 0.5 s for an answer, and
    takes one that comes later, from a busy bench, for that to its next question.
    """

    def run() -> tuple[int, str]:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        return done.returncode, done.stdout + done.stderr

    status, output = tried(run, lambda ended: ends(*ended))
    assert ends(status, output), output
    return output


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    state = tmp_path_factory.mktemp("lab")
    with Bench.start(BenchSpec(state=state, boards=tuple(board(chip, chip) for chip in CHIPS))) as bench:
        yield Lab(bench, state)


@pytest.mark.parametrize("chip", CHIPS)
def test_stm32flash_recognises_the_chip_writes_verifies_reads_and_resets_it(lab: Lab, chip: str) -> None:
    assert f"({NAMES[chip]})" in lab.stm32flash(chip)
    output = lab.stm32flash(chip, "-w", lab.file, "-v", "-R")
    assert "(100.00%) Done." in output
    assert "Reset done." in output
    assert lab.flash(chip)[: len(IMAGE)] == IMAGE
    size = 0x4000 if chip == "stm32f407" else len(lab.flash(chip))
    lab.stm32flash(chip, "-S", f"0x08000000:{size}", "-r", lab.state / "read.bin")
    assert (lab.state / "read.bin").read_bytes() == lab.flash(chip)[:size]


def test_stm32flash_reads_every_byte_of_a_chip(lab: Lab) -> None:
    lab.stm32flash("stm32g071", "-r", lab.state / "read.bin")
    assert (lab.state / "read.bin").read_bytes() == lab.flash("stm32g071")


def test_stm32flash_reads_less_than_asked_for_without_a_word(lab: Lab) -> None:
    """A trap for whoever drives it: exit status 0, and a file that ends where its table says that the flash does."""
    lab.stm32flash("stm32g071", "-S", f"0x08000000:{0x40000}", "-r", lab.state / "read.bin")
    assert (lab.state / "read.bin").stat().st_size == 0x20000


def test_stm32flash_writes_intel_hex_and_starts_what_it_wrote(lab: Lab) -> None:
    (lab.state / "image.hex").write_bytes(to_hex(IMAGE, 0x08000000))
    output = lab.stm32flash("stm32f103", "-w", lab.state / "image.hex", "-v", "-g", "0x0")
    assert "Intel HEX" in output
    assert "Starting execution at address 0x08000000... done." in output
    assert lab.flash("stm32f103")[: len(IMAGE)] == IMAGE


@pytest.mark.parametrize("chip", CHIPS)
def test_stm32flash_erases_pages_and_the_whole_flash(lab: Lab, chip: str) -> None:
    (lab.state / "zeros.bin").write_bytes(bytes(0xC000))
    lab.stm32flash(chip, "-w", lab.state / "zeros.bin")
    page = {"stm32f103": 0x400, "stm32f407": 0x4000, "stm32g071": 0x800}[chip]
    lab.stm32flash(chip, "-o", "-s", 1, "-e", 1)
    assert lab.flash(chip)[:0xC000] == bytes(page) + b"\xff" * page + bytes(0xC000 - 2 * page)
    lab.stm32flash(chip, "-o")
    assert set(lab.flash(chip)) == {0xFF}


@pytest.mark.parametrize("baud", [9600, 57600])
def test_stm32flash_is_answered_at_its_rate(lab: Lab, baud: int) -> None:
    assert "Device ID    : 0x0410" in lab.stm32flash("stm32f103", baud=baud)


@pytest.mark.parametrize("chip", CHIPS)
def test_stm32flash_finds_a_protected_chip_unreadable_and_opens_it_empty(lab: Lab, chip: str) -> None:
    lab.stm32flash(chip, "-w", lab.file)
    before = lab.flash(chip)
    refused = failing("Got NACK")
    lab.stm32flash(chip, "-j", ends=lambda *end: well(*end) or refused(*end))  # where a try before has done it
    lab.stm32flash(chip, "-r", lab.state / "read.bin", ends=refused)
    assert (lab.state / "read.bin").read_bytes() == b"", "which is why nobody should take its file for a backup"
    lab.stm32flash(chip, "-w", lab.file, ends=refused)
    assert lab.flash(chip) == before
    lab.stm32flash(chip, "-k")
    assert set(lab.flash(chip)) == {0xFF}
    lab.stm32flash(chip, "-w", lab.file, "-v")


def test_stm32flash_lifts_write_protection(lab: Lab) -> None:
    assert "Done." in lab.stm32flash("stm32f103", "-u")
    lab.stm32flash("stm32f103", "-w", lab.file, "-v")


def test_an_application_runs_after_stm32flash_has_written_it(lab: Lab) -> None:
    lab.stm32flash("stm32f103", "-w", lab.file, "-v")
    said = b""
    for _ in range(10):  # what a board says before its host has set the port up is lost
        with serial.Serial(lab.bench.boards["stm32f103"].pty, 115200, timeout=2) as port:
            said = port.read_until(b"\n")
        if said:
            break
    assert said.startswith(b"tool 3.2.1 ready, uid=")


@pytest.mark.parametrize("chip", CHIPS)
def test_stm32loader_resets_the_chip_by_its_lines_writes_and_verifies(lab: Lab, chip: str) -> None:
    output = lab.stm32loader(chip, "-e", "-w", "-v", lab.file)
    assert "Verification OK" in output
    assert f"Flash size: {len(lab.flash(chip)) // 1024} KiB" in output
    assert "Device UID: " in output
    assert lab.flash(chip)[: len(IMAGE)] == IMAGE


def test_stm32loader_protects_a_chip_which_is_then_unreadable(lab: Lab) -> None:
    chip = "stm32f103"
    lab.stm32loader(chip, "-r", "-a", 0x08000000, "-l", 0x1234, lab.state / "read.bin")
    assert (lab.state / "read.bin").read_bytes() == lab.flash(chip)[:0x1234]
    lab.stm32loader(chip, "-x")
    lab.stm32loader(chip, "-r", "-a", 0x08000000, "-l", 256, lab.state / "protected.bin", ends=failing("NACK"))
    assert not (lab.state / "protected.bin").exists()
    lab.stm32flash(chip, "-k")


def test_stm32loader_erases_pages_by_numbers_that_no_chip_has(lab: Lab) -> None:
    """It divides the address itself, 0x08000000, by the page's size: a trap for whoever drives it."""
    before = lab.flash("stm32g071")
    lab.stm32loader("stm32g071", "-e", "-a", 0x08000000, "-l", 0x800, ends=failing("0 <= number <= 65535"))
    assert lab.flash("stm32g071") == before


def test_stm32loader_is_not_answered_without_parity(lab: Lab) -> None:
    output = lab.stm32loader("stm32f103", "-P", "none", "-e", ends=failing(""))
    assert "NACK" in output or "no ack" in output


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"reset_line": "rts", "boot0_line": "dtr"}, ("-s",)),
        ({"reset_inverted": True}, ("-R",)),
        ({"boot0_inverted": True}, ("-B",)),
    ],
)
def test_the_wiring_of_a_board_is_what_stm32loaders_flags_mean(tmp_path: Path, options: dict, flags: tuple) -> None:
    spec = BenchSpec(state=tmp_path, boards=(board("stm32f103", "stm32f103", options=options),))
    with Bench.start(spec) as bench:
        lab = Lab(bench, tmp_path)
        assert "Verification OK" in lab.stm32loader("stm32f103", *flags, "-e", "-w", "-v", lab.file)
        assert lab.flash("stm32f103")[: len(IMAGE)] == IMAGE


def test_with_the_wrong_line_on_boot0_the_boot_loader_is_never_reached(tmp_path: Path) -> None:
    spec = BenchSpec(state=tmp_path, boards=(board("stm32f103", "stm32f103", options={"boot0_line": "none"}),))
    with Bench.start(spec) as bench:
        Lab(bench, tmp_path).stm32loader("stm32f103", ends=failing(""))
