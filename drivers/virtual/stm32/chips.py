"""The chips of the bench: what is where, and how their flash wants to be written. Data.

Sources: AN2606 rev. 51 (boot loader versions, RAM that they use, system memory), RM0008 and PM0075 (F103), RM0090
(F407), RM0444 (G071, G0B1); flash times from the datasheets' "Memory characteristics" (typical values).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

K = 1024
FLASH_BASE = 0x08000000


class Programming(Enum):
    """What the flash does with a write where it is not erased."""

    HALF_WORDS = auto()  # PGERR: a half-word that is not 0xFFFF takes only 0x0000 (PM0075, 2.3.3)
    BITS = auto()  # bits can be cleared again and again (RM0090, 3.6.4)
    DOUBLE_WORDS = auto()  # PROGERR: 64 bits with their ECC, once; only all zeros go over (RM0444, 3.3.8)


class Protection(Enum):
    """How the option bytes say which sectors are write-protected."""

    F1 = auto()  # nWRP0 to nWRP3: a bit is 4 pages
    F4 = auto()  # nWRP: a bit is a sector
    G0 = auto()  # WRP1A, WRP1B: from page to page


@dataclass(frozen=True)
class Area:
    """Addresses [start, end)."""

    start: int
    end: int

    def holds(self, address: int, size: int = 1) -> bool:
        return self.start <= address and address + size <= self.end


@dataclass(frozen=True)
class Chip:
    """One chip as the boot loader and the flash controller see it."""

    name: str
    product_id: int
    loader_version: int
    extended_erase: bool
    flash_sizes: tuple[int, ...]  # bytes; the first is the usual one
    sectors: tuple[int, ...]  # sizes from the beginning; the last one repeats
    programming: Programming
    protection: Protection
    ram: Area
    loader_ram: Area  # what the boot loader keeps for itself
    system: Area  # readable: the boot loader, the electronic signature
    uid_at: int
    flash_size_at: int
    signature_in_blocks: bool  # readable only as aligned 256 bytes
    options: Area
    program_unit: int  # bytes that are programmed at once; shorter writes are filled up with 0xFF
    program_s_per_byte: float
    erase_s_per_sector: float
    erase_s_per_byte: float
    mass_erase_s: float
    checks_empty: bool = False  # at power-on: an empty flash is no place to start (RM0444, 2.5 and 3.7.1, EMPTY)
    second_bank: int = 0  # the number of its first page, where the option DUAL_BANK makes one; 0: there is none

    @property
    def commands(self) -> bytes:
        """As GET lists them."""
        erase = 0x44 if self.extended_erase else 0x43
        return bytes([0x00, 0x01, 0x02, 0x11, 0x21, 0x31, erase, 0x63, 0x73, 0x82, 0x92])

    def sector_bounds(self, flash_size: int) -> list[tuple[int, int]]:
        """Offsets of each sector of a flash of that size, [start, end)."""
        bounds: list[tuple[int, int]] = []
        at = 0
        while at < flash_size:
            size = self.sectors[min(len(bounds), len(self.sectors) - 1)]
            bounds.append((at, at + size))
            at += size
        return bounds


F103 = Chip(
    name="stm32f103", product_id=0x410, loader_version=0x22, extended_erase=False,
    flash_sizes=(128 * K, 64 * K), sectors=(K,), programming=Programming.HALF_WORDS, protection=Protection.F1,
    ram=Area(0x20000000, 0x20005000), loader_ram=Area(0x20000000, 0x20000200),
    system=Area(0x1FFFF000, 0x1FFFF800), uid_at=0x1FFFF7E8, flash_size_at=0x1FFFF7E0, signature_in_blocks=False,
    options=Area(0x1FFFF800, 0x1FFFF810), program_unit=2,
    program_s_per_byte=52.5e-6 / 2, erase_s_per_sector=0.02, erase_s_per_byte=0.0, mass_erase_s=0.02,
)  # fmt: skip

F407 = Chip(
    name="stm32f407", product_id=0x413, loader_version=0x31, extended_erase=True,
    flash_sizes=(1024 * K, 512 * K), sectors=(16 * K,) * 4 + (64 * K, 128 * K), programming=Programming.BITS,
    protection=Protection.F4, ram=Area(0x20000000, 0x20020000), loader_ram=Area(0x20000000, 0x20002000),
    system=Area(0x1FFF0000, 0x1FFF7B00), uid_at=0x1FFF7A10, flash_size_at=0x1FFF7A22, signature_in_blocks=True,
    options=Area(0x1FFFC000, 0x1FFFC010), program_unit=4,
    program_s_per_byte=16e-6 / 4, erase_s_per_sector=0.14, erase_s_per_byte=0.86 / (128 * K), mass_erase_s=8.0,
)  # fmt: skip

G071 = Chip(
    name="stm32g071", product_id=0x460, loader_version=0x31, extended_erase=True,
    flash_sizes=(128 * K, 64 * K), sectors=(2 * K,), programming=Programming.DOUBLE_WORDS, protection=Protection.G0,
    ram=Area(0x20000000, 0x20009000), loader_ram=Area(0x20000000, 0x20002700),
    system=Area(0x1FFF0000, 0x1FFF7600), uid_at=0x1FFF7590, flash_size_at=0x1FFF75E0, signature_in_blocks=False,
    options=Area(0x1FFF7800, 0x1FFF7880), program_unit=8,
    program_s_per_byte=85e-6 / 8, erase_s_per_sector=0.0221, erase_s_per_byte=0.0, mass_erase_s=0.0221,
    checks_empty=True,
)  # fmt: skip

G0B1 = replace(
    G071,
    name="stm32g0b1", product_id=0x467, flash_sizes=(512 * K, 256 * K), ram=Area(0x20000000, 0x20024000),
    loader_ram=Area(0x20000000, 0x20004000), second_bank=256,
)  # fmt: skip

CHIPS = {"stm32": F103, "stm32f103": F103, "stm32f407": F407, "stm32g071": G071, "stm32g0b1": G0B1}
