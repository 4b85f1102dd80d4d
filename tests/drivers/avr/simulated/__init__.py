"""The real boot loaders, on a simulated CPU: Optiboot compiled from Debian's arduino-core-avr, and its binaries of the
Mega's and of the old Nano's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from intelhex import IntelHex

from tests.drivers.avr.tools import run

_LOADERS = Path("/usr/share/arduino/hardware/arduino/avr/bootloaders")
MEGA_LOADER = _LOADERS / "stk500v2" / "stk500boot_v2_mega2560.hex"
ATMEGABOOT = _LOADERS / "atmega" / "ATmegaBOOT_168_atmega328.hex"


@dataclass(frozen=True)
class Simulated:
    """A running board: its pty, and the file that holds its flash once it has ended."""

    pty: str
    flash: Path


def build_simulator(folder: Path) -> Path:
    program = folder / "board"
    run("gcc", "-O2", "-w", "-o", program, Path(__file__).with_name("board.c"), "-lsimavr", "-lelf", "-lutil")
    return program


def build_optiboot(folder: Path) -> Path:
    """Optiboot 4.4 for the ATmega328P. Without its LED: Debian's compiler makes more than 512 bytes of it else. With a
    watchdog of two seconds: on a busy machine avrdude or the driver may stand still for one.
    """
    elf, file, source = folder / "optiboot.elf", folder / "optiboot.hex", folder / "optiboot.c"
    stock = _LOADERS / "optiboot"
    source.write_text((stock / "optiboot.c").read_text().replace("Config(WATCHDOG_1S)", "Config(WATCHDOG_2S)"))
    sections = ["-Wl,--section-start=.text=0x7e00", "-Wl,--section-start=.version=0x7ffe", "-Wl,--relax"]
    options = ["-Os", "-w", "-fno-inline-small-functions", "-fno-split-wide-types", "-mshort-calls", "-nostartfiles"]
    defines = ["-DF_CPU=16000000L", "-DBAUD_RATE=115200", "-DLED_START_FLASHES=0"]
    run("avr-gcc", "-mmcu=atmega328p", f"-I{stock}", *options, *defines, *sections, "-nostdlib", "-o", elf, source)
    run("avr-objcopy", "-O", "ihex", "-j", ".text", "-j", ".version", elf, file)
    return file


def flash_with(loader: Path, size: int, application: bytes = b"") -> bytes:
    image = IntelHex(str(loader))
    image.padding = 0xFF
    contents = image.tobinstr(start=0, size=size)
    return application + contents[len(application) :]


@contextmanager
def running(program: Path, mcu: str, boot: int, flash: Path, cut_at: int = 0) -> Iterator[Simulated]:
    """Ended at the end of the context, with its flash written back. The power is cut once, when `cut_at` is written."""
    command = [str(program), mcu, hex(boot), str(flash), *([hex(cut_at)] if cut_at else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Simulated(process.stdout.readline().strip(), flash)
        finally:
            process.terminate()
    assert process.returncode == 0
