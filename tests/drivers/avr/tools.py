"""avr-gcc, avrdude and a raw port, as separate processes and without any code of ours in between."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import serial

from tests.tries import TRIES, tried

SKETCH = Path(__file__).parent / "sketch" / "sketch.c"
PROGRAMMERS = {"atmega328p": ("arduino", "m328p"), "atmega2560": ("wiring", "m2560")}
BAUD = 115200
PATIENCE_S = 30
TOO_LATE = "avrdude error: timeout"  # it goes on, and may shift what it reads by a byte without another word: status 0


def compile_sketch(folder: Path, mcu: str, banner: str) -> Path:
    """An Intel HEX file of the sketch, by avr-gcc."""
    elf = folder / f"{mcu}.elf"
    define = f'-DBANNER="{banner}"'
    run("avr-gcc", "-Os", "-Wall", "-Werror", f"-mmcu={mcu}", "-DF_CPU=16000000UL", define, "-o", elf, SKETCH)
    file = folder / f"{mcu}-{banner.replace(' ', '-')}.hex"
    run("avr-objcopy", "-O", "ihex", "-R", ".eeprom", elf, file)
    return file


def contents_of(file: Path) -> bytes:
    """The bytes that a HEX file puts into flash from 0 on, by avr-objcopy."""
    binary = file.with_suffix(".bin")
    run("avr-objcopy", "-I", "ihex", "-O", "binary", "--gap-fill", "0xff", file, binary)
    return binary.read_bytes()


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def avrdude(
    port: str, mcu: str, *operations: str, limit_s: float = 60, enough: Callable[[], bool] = lambda: False
) -> tuple[int | None, str]:
    """Stock avrdude's exit status and words; None where it had to be ended, as somebody at the bench would: at the
    limit, or when what is on the board is `enough`.
    """
    programmer, part = PROGRAMMERS.get(mcu, ("arduino", mcu))
    words = [word for operation in operations for word in ("-U", operation)]
    command = ["avrdude", "-c", programmer, "-p", part, "-P", port, "-b", str(BAUD), "-D", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + limit_s
    while time.monotonic() < end and not enough():
        with contextlib.suppress(subprocess.TimeoutExpired):
            output, _ = process.communicate(timeout=0.1)
            return process.returncode, output
    process.kill()
    output, _ = process.communicate()
    return None, output


def avrdude_in_step(
    port: str, mcu: str, *operations: str, says: str = "", enough: Callable[[], bool] = lambda: False
) -> tuple[int | None, str]:
    """As `avrdude`, started again up to where it succeeds (or says what is wanted, or has done enough): a busy machine
    makes it miss the one second of Optiboot, after which it never comes into step.
    """

    def is_right(ended: tuple[int | None, str]) -> bool:
        status, output = ended
        return enough() or (says in output if says else status == 0 and TOO_LATE not in output)

    return tried(lambda: avrdude(port, mcu, *operations, limit_s=20, enough=enough), is_right)


class Hand:
    """A hand at a pty: opening it presses RESET."""

    def __init__(self, pty: str) -> None:
        self.opened_at = time.monotonic()
        self.port = serial.Serial(pty, BAUD, timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.port.close()

    def ask(self, request: bytes, answer_size: int, timeout_s: float = 5) -> bytes:
        self.port.timeout = timeout_s
        self.port.write(request)
        return self.port.read(answer_size)

    def hears(self, text: bytes) -> bool:
        """Whether the board says this, sooner or later."""
        self.port.timeout = PATIENCE_S
        return self.port.read_until(text).endswith(text)


SYNC, IN_SYNC = b"0 ", b"\x14\x10"


def answers(pty: str, tries: int = TRIES) -> bool:
    """Whether Optiboot answers GET_SYNC after a reset; after another where a busy machine missed its one second."""
    return any(_answers_once(pty) for _ in range(tries))


def _answers_once(pty: str) -> bool:
    with Hand(pty) as hand:
        time.sleep(0.2)
        return hand.ask(SYNC, 2, 0.7) == IN_SYNC


def ready_after_s(pty: str, early_s: float, say: bytes = b"") -> float:
    """Seconds from RESET to the application's first words. They are more on a busy machine and never fewer, so it is
    pressed again, a few times, up to where they come within `early_s`.
    """
    seconds = []
    while len(seconds) < TRIES and min(seconds, default=early_s) >= early_s:
        with Hand(pty) as hand:
            time.sleep(0.2)
            hand.port.write(say)
            assert hand.hears(b" ready\r\n")
            seconds.append(time.monotonic() - hand.opened_at)
    return min(seconds)
