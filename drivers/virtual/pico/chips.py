"""What tells the two chips apart to a host: data from the sources of their boot ROMs.

Sources: pico-bootrom-rp2040 (`usb_boot_device.c`, `info_uf2.txt`), pico-bootrom-rp2350 (`nsboot_usb_client.c`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

FLASH_BASE = 0x1000_0000
_ROM_SIZE = 0x4000
_RP2040_ROM = "E0C9125B0D9B"  # the hashes of chip and ROM of stepping B2; no number of the board's own


@dataclass(frozen=True)
class Chip:
    """One chip. Addresses are inclusive, as the ROMs compare them."""

    name: str
    product_id: int
    product: str
    usb_version: int  # BCD
    max_power: int  # 2 mA
    info: str
    families: frozenset[int]  # that its drive takes
    erases_by_address: bool  # else by the block's number
    flash_end: int
    ram_end: int
    rom_version: int
    rom_magic: int
    readable_rom: int
    default_flash_size: int
    reboot_s: float  # between the last block and the reset

    @property
    def rom(self) -> bytes:
        """The ROM as far as it is known: its magic and version at 0x10."""
        head = bytes(0x10) + b"Mu" + bytes([self.rom_magic, self.rom_version])
        return head.ljust(_ROM_SIZE, b"\0")

    def serial(self, unique: bytes) -> str:
        """What the boot loader gives as its serial number; RP2040's ROM knows of no `unique` one."""
        if self.name == "rp2040":
            return _RP2040_ROM
        return unique.hex().upper()


def chip_id(board_id: str) -> bytes:
    """RP2350's unique number, made up from the board's name."""
    return hashlib.sha256(f"rp2350 {board_id}".encode()).digest()[:8]


RP2040 = Chip(
    name="rp2040",
    product_id=0x0003,
    product="RP2 Boot",
    usb_version=0x0110,
    max_power=0xFA,
    info="UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n",
    families=frozenset({0xE48BFF56}),
    erases_by_address=False,
    flash_end=0x2000_0000,
    ram_end=0x2004_2000,
    rom_version=3,
    rom_magic=1,
    readable_rom=8191,
    default_flash_size=2 << 20,
    reboot_s=1.0,
)

RP2350 = Chip(
    name="rp2350",
    product_id=0x000F,
    product="RP2350 Boot",
    usb_version=0x0210,
    max_power=0x19,
    info="UF2 Bootloader v1.0\nModel: Raspberry Pi RP2350\nBoard-ID: RP2350\n",
    families=frozenset({0xE48BFF57, 0xE48BFF58, 0xE48BFF59, 0xE48BFF5A}),
    erases_by_address=True,
    flash_end=0x1200_0000,
    ram_end=0x2008_2000,
    rom_version=2,
    rom_magic=2,
    readable_rom=0x7E00,
    default_flash_size=4 << 20,
    reboot_s=0.5,
)

CHIPS = {
    "pico": RP2040,
    "pico-usb": RP2040,
    "rp2040": RP2040,
    "pico2": RP2350,
    "pico2-usb": RP2350,
    "rp2350": RP2350,
}
"""By the names that a batch may use."""
