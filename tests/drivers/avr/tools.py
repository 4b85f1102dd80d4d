"""avr-gcc, avrdude and a raw port, as separate processes and without any code of ours in between."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Self

import serial

SKETCH = Path(__file__).parent / "sketch" / "sketch.c"
PROGRAMMERS = {"atmega328p": ("arduino", "m328p"), "atmega2560": ("wiring", "m2560")}
BAUD = 115200


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


def avrdude(port: str, mcu: str, *operations: str, limit_s: float = 60) -> tuple[int | None, str]:
    """Stock avrdude's exit status and words; None where it had to be ended, as somebody at the bench would."""
    programmer, part = PROGRAMMERS.get(mcu, ("arduino", mcu))
    words = [word for operation in operations for word in ("-U", operation)]
    command = ["avrdude", "-c", programmer, "-p", part, "-P", port, "-b", str(BAUD), "-D", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        return None, output
    return process.returncode, output


class Hand:
    """A hand at a pty: opening it presses RESET."""

    def __init__(self, pty: str) -> None:
        self.port = serial.Serial(pty, BAUD, timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.port.close()

    def ask(self, request: bytes, answer_size: int, timeout_s: float = 5) -> bytes:
        self.port.timeout = timeout_s
        self.port.write(request)
        return self.port.read(answer_size)

    def hears(self, text: bytes, timeout_s: float = 8) -> bool:
        """Whether the board says this within the time."""
        said, end = b"", time.monotonic() + timeout_s
        self.port.timeout = 0.1
        while text not in said and time.monotonic() < end:
            said += self.port.read(200)
        return text in said


SYNC, IN_SYNC = b"0 ", b"\x14\x10"


def answers(pty: str) -> bool:
    """Whether Optiboot answers GET_SYNC after a reset."""
    with Hand(pty) as hand:
        time.sleep(0.2)
        return hand.ask(SYNC, 2, 0.7) == IN_SYNC
