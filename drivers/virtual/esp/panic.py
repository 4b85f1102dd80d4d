"""What a crashing application leaves on the console before its chip restarts. Pure.

Source of the lines' form: ESP-IDF v5.0, `esp_system/panic.c` and its `port/arch/{xtensa,riscv}/panic_arch.c`; the
ESP8266's NONOS SDK and Arduino core. Registers that no reader looks at are left out; addresses are plausible.
"""

from __future__ import annotations

from drivers.virtual.esp.chips import ESP8266, Chip
from drivers.virtual.esp.image import Description

_XTENSA_BACKTRACE = "Backtrace: 0x40081a2e:0x3ffb4d80 0x40084f6d:0x3ffb4da0 0x400d5a3b:0x3ffb4e10"
_NOWHERE = 0x60000014  # a peripheral that this revision lacks


def illegal_instruction() -> str:
    """The ESP8266 runs into code that is not there."""
    return (
        "\r\nException (0):\r\nepc1=0x40210000 epc2=0x00000000 epc3=0x00000000 excvaddr=0x00000000 depc=0x00000000\r\n"
    )


def abort(chip: Chip, description: Description) -> str:
    """The firmware calls abort()."""
    if chip is ESP8266:
        return "\r\nabort() was called at PC 0x40210a5c\r\n"
    where = "\r\nabort() was called at PC 0x400d5a3b on core 0\r\n\r\n\r\n"
    return f"{where}{_XTENSA_BACKTRACE}\r\n\r\n\r\n{_end(description)}"


def bad_load(chip: Chip, description: Description) -> str:
    """The firmware reads from an address at which there is nothing."""
    if chip is ESP8266:
        return (
            "Fatal exception 28(LoadProhibitedCause):\r\nepc1=0x40210a5c, epc2=0x00000000, epc3=0x00000000, "
            f"excvaddr=0x{_NOWHERE:08x}, depc=0x00000000\r\n"
        )
    cause, registers = _riscv() if chip.riscv else _xtensa()
    return (
        f"Guru Meditation Error: Core  0 panic'ed ({cause}). Exception was unhandled.\r\n\r\n"
        f"Core  0 register dump:\r\n{registers}\r\n\r\n{_end(description)}"
    )


def _xtensa() -> tuple[str, str]:
    return "LoadProhibited", (
        "PC      : 0x400d5a3b  PS      : 0x00060830  A0      : 0x800d5b10  A1      : 0x3ffb4e10\r\n"
        f"EXCVADDR: 0x{_NOWHERE:08x}  LBEG    : 0x400014fd  LEND    : 0x4000150d  LCOUNT  : 0xfffffffe\r\n\r\n"
        f"{_XTENSA_BACKTRACE}"
    )


def _riscv() -> tuple[str, str]:
    return "Load access fault", (
        "MEPC    : 0x42005a3a  RA      : 0x42005a2e  SP      : 0x3fc93e10  GP      : 0x3fc8b000\r\n"
        f"MCAUSE  : 0x00000005  MTVAL   : 0x{_NOWHERE:08x}  MHARTID : 0x00000000"
    )


def _end(description: Description) -> str:
    return f"\r\n\r\nELF file SHA256: {description.elf_sha256.hex()[:16]}\r\n\r\nRebooting...\r\n"
