"""The parts and their boot loaders, as data.

Sources: ATmega48A-328P (DS40002061), ATmega640-2561 (DS40002211) and ATmega16U4/32U4 (7766) datasheets; the
fuses, lock bits and boot loaders that `boards.txt` of Arduino's AVR core 1.8.7 gives the boards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Loader(StrEnum):
    """What is in the boot section."""

    OPTIBOOT_4 = "optiboot-4.4"
    OPTIBOOT_8 = "optiboot-8.3"
    STK500V2 = "stk500v2"
    CATERINA = "caterina"


@dataclass(frozen=True)
class Part:
    """One part on its usual board. Sizes in bytes."""

    name: str
    signature: bytes
    flash_size: int
    page_size: int
    boot_start: int  # where the fuses begin the boot section, which lasts to the flash's end
    eeprom_size: int
    loader: Loader
    fuses: bytes  # low, high, extended
    lock_bits: int = 0x0F
    baud: int = 115200  # the loader's, built in
    watchdog_s: float = 1.0  # Optiboot's, built in: how long it waits for the next byte

    @property
    def loader_size(self) -> int:
        """Bytes of the loader's own code; Optiboot is smaller than the Nano's boot section, whose last part it is."""
        return 512 if self.loader in (Loader.OPTIBOOT_4, Loader.OPTIBOOT_8) else self.flash_size - self.boot_start


_OPTIBOOT = Loader.OPTIBOOT_4
UNO = Part("atmega328p", b"\x1e\x95\x0f", 0x8000, 128, 0x7E00, 1024, _OPTIBOOT, b"\xff\xde\x05")
ATMEGA328 = replace(UNO, name="atmega328", signature=b"\x1e\x95\x14")
NANO = replace(UNO, boot_start=0x7800, fuses=b"\xff\xda\x05")
ATMEGA168 = Part("atmega168", b"\x1e\x94\x06", 0x4000, 128, 0x3E00, 512, _OPTIBOOT, b"\xff\xdd\xfc")
LEONARDO = Part("atmega32u4", b"\x1e\x95\x87", 0x8000, 128, 0x7000, 1024, Loader.CATERINA, b"\xff\xd8\xcb", 0x2F)
ATMEGA16U4 = replace(
    LEONARDO, name="atmega16u4", signature=b"\x1e\x94\x88", flash_size=0x4000, boot_start=0x3000, eeprom_size=512
)
MEGA = Part("atmega2560", b"\x1e\x98\x01", 0x40000, 256, 0x3E000, 4096, Loader.STK500V2, b"\xff\xd8\xfd")

PARTS: dict[str, Part] = {
    "arduino": UNO,
    "uno": UNO,
    "atmega328p": UNO,
    "atmega328": ATMEGA328,
    "nano": NANO,
    "promini": NANO,
    "atmega168": ATMEGA168,
    "mega": MEGA,
    "mega2560": MEGA,
    "atmega2560": MEGA,
    "leonardo": LEONARDO,
    "micro": LEONARDO,
    "atmega32u4": LEONARDO,
    "atmega16u4": ATMEGA16U4,
}
"""By the name that a spec's `chip` may have."""
