"""The AVR parts that Arduinos are made of, as data, and the names that people use for them.

Sources: the ATmega48A-328P, ATmega640-2561 and ATmega16U4/32U4 datasheets (signature, page, boot section);
`boards.txt` of Arduino's AVR core 1.8.7 (programmer, rate, `maximum_size` = flash - boot section).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from drivers.base import Identity

_ATMEGABOOT_BAUD, _ATMEGABOOT_SIZE = 57600, 2048


class Programmer(StrEnum):
    """How the boot loader is spoken to, in avrdude's words (`-c`)."""

    ARDUINO = "arduino"  # STK500v1: Optiboot, ATmegaBOOT
    WIRING = "wiring"  # STK500v2: the Mega 2560's
    AVR109 = "avr109"  # AVR109: Caterina, on the chip's own USB


@dataclass(frozen=True)
class Part:
    """One part with its usual boot loader. Sizes in bytes."""

    chip: str
    avrdude_id: str
    signature: str  # hex, as avrdude prints it
    flash_size: int
    page_size: int
    boot_size: int  # the boot section that the board's fuses choose
    boot_sizes: tuple[int, ...]  # those that they can choose
    programmer: Programmer
    never_erased_from: int | None = None  # where the boot loader stops erasing what it writes, for WIRING

    @property
    def identity(self) -> Identity:
        return Identity(chip=self.chip, revision="", serial="", flash_size=self.flash_size, reserved=self.boot_size)

    def at_rate(self, baud: int) -> Part:
        """As it is on a board whose boot loader has this rate. An ATmega328P's with 57600 baud is ATmegaBOOT, whichever
        board it is on: 2 KiB, of which an Uno's firmware would overwrite the first three quarters.
        """
        if self.chip in (_ATMEGA328P.chip, _ATMEGA328.chip) and baud == _ATMEGABOOT_BAUD:
            return replace(self, boot_size=max(self.boot_size, _ATMEGABOOT_SIZE))
        return self


_SIZES_328P = _SIZES_32U4 = (512, 1024, 2048, 4096)
_SIZES_168 = (512, 1024, 2048)  # and 256, which no boot loader of Arduino's is as small as
_SIZES_2560 = (1024, 2048, 4096, 8192)
_ATMEGA328P = Part("atmega328p", "m328p", "1e950f", 0x8000, 128, 512, _SIZES_328P, Programmer.ARDUINO)
_ATMEGA328 = replace(_ATMEGA328P, chip="atmega328", avrdude_id="m328", signature="1e9514")
_ATMEGA168 = Part("atmega168", "m168", "1e9406", 0x4000, 128, 2048, _SIZES_168, Programmer.ARDUINO)
# stk500boot.c: APP_END is FLASHEND - 2 * BOOTSIZE + 1, one boot section too early; so it is in the binary.
_ATMEGA2560 = Part(
    "atmega2560", "m2560", "1e9801", 0x40000, 256, 8192, _SIZES_2560, Programmer.WIRING, never_erased_from=0x3C000
)
_ATMEGA32U4 = Part("atmega32u4", "m32u4", "1e9587", 0x8000, 128, 4096, _SIZES_32U4, Programmer.AVR109)

PARTS = (_ATMEGA328P, _ATMEGA328, _ATMEGA168, _ATMEGA2560, _ATMEGA32U4)

# By the name that `boards.txt` or avrdude has for it, normalised. The Nano's and the Pro Mini's fuses give their boot
# section 2 KiB, whichever boot loader is in it, the Mini's 4 KiB.
_NAMES: dict[str, Part] = {
    **dict.fromkeys(("", "arduino", "uno", "atmega328p", "m328p", "328p"), _ATMEGA328P),
    **{n: replace(_ATMEGA328P, boot_size=2048) for n in ("nano", "promini", "pro", "diecimila", "duemilanove", "fio")},
    "mini": replace(_ATMEGA328P, boot_size=4096),
    **dict.fromkeys(("atmega328", "m328", "328"), _ATMEGA328),
    **dict.fromkeys(("atmega168", "m168"), _ATMEGA168),
    **dict.fromkeys(("mega", "mega2560", "atmega2560", "m2560", "2560"), _ATMEGA2560),
    **dict.fromkeys(("leonardo", "micro", "atmega32u4", "m32u4", "32u4"), _ATMEGA32U4),
}


def find(name: str) -> Part | None:
    """The part that a batch's `chip` means: "atmega328p", "Arduino Uno", "mega2560"; None for an unknown name."""
    plain = "".join(character for character in name.lower() if character.isalnum())
    return _NAMES.get(plain) or _NAMES.get(plain.removeprefix("arduino"))


def names() -> tuple[str, ...]:
    """The names to choose from, for a message."""
    return tuple(sorted(name for name in _NAMES if name))


def by_signature(signature: str) -> Part | None:
    """The part with a signature, in hex without a prefix."""
    return next((part for part in PARTS if part.signature == signature), None)
