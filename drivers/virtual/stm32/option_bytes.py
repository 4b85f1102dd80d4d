"""The option bytes: readout and write protection, in the layout of each family, in a file of their own.

Sources: PM0075, 2.5 (F1), RM0090, 3.6.6 and 3.9.10 (F4), RM0444, 3.4 and 3.7.8 (G0).
"""

from __future__ import annotations

from pathlib import Path

from drivers.virtual import flash
from drivers.virtual.stm32.chips import Chip, Protection

_F1_OPEN = 0xA5  # RDPRT key
_LATER_OPEN = 0xAA  # level 0
_LEVEL_1 = 0x00
_F1_WRP_AT = 8
_F1_PAGES_PER_BIT = 4
_F4_WRP_AT = 8
_F4_SECTORS = 12
_G0_DUAL_BANK = 21  # bit of OPTR
_G0_AREAS = (0x18, 0x20)  # WRP1A, WRP1B: first page in bits 6:0, last page in bits 22:16


class OptionBytes:
    """One chip's option bytes. What is written holds from the next reset on, which each writer does at once."""

    def __init__(self, chip: Chip, path: Path, *, keep: bool) -> None:
        self._chip = chip
        self._path = path
        if not keep or not path.exists() or path.stat().st_size != len(_factory(chip)):
            flash.create(path, len(_factory(chip)), _factory(chip))
        self._held = path.read_bytes()

    def read(self) -> bytes:
        return self._held

    def write(self, contents: bytes) -> None:
        """Replace them from their beginning on; the rest as from the factory."""
        self._store(contents + _factory(self._chip)[len(contents) :])

    def _store(self, contents: bytes) -> None:
        flash.create(self._path, len(contents), contents)
        self._held = contents

    @property
    def readout_protected(self) -> bool:
        held = self.read()
        if self._chip.protection is Protection.F1:
            return held[0] != _F1_OPEN or held[1] != _F1_OPEN ^ 0xFF
        return held[_rdp_at(self._chip)] != _LATER_OPEN

    def protect_readout(self) -> None:
        held = bytearray(self.read())
        held[_rdp_at(self._chip)] = _LEVEL_1
        self._set(held)

    def open_readout(self) -> None:
        """Also lifts the F1's write protection: its option bytes are erased as a whole."""
        if self._chip.protection is Protection.F1:
            self._set(bytearray(_factory(self._chip)))
            return
        held = bytearray(self.read())
        held[_rdp_at(self._chip)] = _LATER_OPEN
        self._set(held)

    @property
    def makes_two_banks(self) -> bool:
        """DUAL_BANK (RM0444, 3.7.8), of chips that can have a second bank."""
        return bool(self._chip.second_bank) and bool(self.read()[_G0_DUAL_BANK // 8] >> _G0_DUAL_BANK % 8 & 1)

    def write_protected(self, sector: int) -> bool:
        held = self.read()
        if self._chip.protection is Protection.F1:
            bit = sector // _F1_PAGES_PER_BIT
            return not held[_F1_WRP_AT + 2 * (bit // 8)] >> bit % 8 & 1
        if self._chip.protection is Protection.F4:
            bits = int.from_bytes(held[_F4_WRP_AT : _F4_WRP_AT + 2], "little")
            return sector < _F4_SECTORS and not bits >> sector & 1
        return any((held[at] & 0x7F) <= sector <= (held[at + 2] & 0x7F) for at in _G0_AREAS)

    def protect_writing(self, codes: bytes) -> None:
        """What WRITE_PROTECT lists: numbers of units (F1: 4 pages), or first and last page of an area (G0)."""
        held = bytearray(self.read())
        if self._chip.protection is Protection.F1:
            for code in codes:
                if code < 32:
                    held[_F1_WRP_AT + 2 * (code // 8)] &= ~(1 << code % 8) & 0xFF
        elif self._chip.protection is Protection.F4:
            bits = int.from_bytes(held[_F4_WRP_AT : _F4_WRP_AT + 2], "little")
            for code in codes:
                bits &= ~(1 << code) if code < _F4_SECTORS else 0xFFFF
            held[_F4_WRP_AT : _F4_WRP_AT + 2] = bits.to_bytes(2, "little")
        else:
            for at, area in zip(_G0_AREAS, (codes[0:2], codes[2:4]), strict=True):
                if len(area) == 2:
                    held[at], held[at + 2] = area[0] & 0x7F, area[1] & 0x7F
        self._set(held)

    def allow_writing(self) -> None:
        """No sector is write-protected any more."""
        held, plain = bytearray(self.read()), _factory(self._chip)
        for at in _wrp_bytes(self._chip):
            held[at] = plain[at]
        self._set(held)

    def _set(self, held: bytearray) -> None:
        if self._chip.protection is Protection.F1:  # every other byte is the complement of the one before
            held[1::2] = bytes(byte ^ 0xFF for byte in held[0::2])
        self._store(bytes(held))


def _rdp_at(chip: Chip) -> int:
    return 1 if chip.protection is Protection.F4 else 0


def _wrp_bytes(chip: Chip) -> tuple[int, ...]:
    if chip.protection is Protection.F1:
        return tuple(range(_F1_WRP_AT, _F1_WRP_AT + 8))
    if chip.protection is Protection.F4:
        return (_F4_WRP_AT, _F4_WRP_AT + 1)
    return tuple(at + byte for at in _G0_AREAS for byte in range(4))


def _factory(chip: Chip) -> bytes:
    """As delivered: nothing is protected."""
    if chip.protection is Protection.F1:
        return bytes([_F1_OPEN, _F1_OPEN ^ 0xFF]) + b"\xff\x00" * 7
    if chip.protection is Protection.F4:
        return bytes.fromhex("ECAA".ljust(16, "F") + "FF0F".ljust(16, "F"))
    held = bytearray(chip.options.end - chip.options.start)
    held[0:4] = bytes.fromhex("AAE1FFDE")  # OPTR; nBOOT_SEL is 0 here, so that the pin BOOT0 counts
    for at in _G0_AREAS:
        held[at], held[at + 2] = 0x7F, 0x00  # first after last: no page
    return bytes(held)
