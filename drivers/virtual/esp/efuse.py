"""The eFuses of a board as its registers show them: MAC, chip revision, and what its options say was burned. Pure.

Sources: the chips' Technical Reference Manuals, chapter "eFuse Controller"; ESP-IDF `esp_efuse_table.csv` of each.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping

from pydantic import JsonValue

from drivers.virtual.esp.chips import Chip, EfuseLayout

_ESPRESSIF_OUI = bytes.fromhex("240ac4")  # registered to Espressif Inc.
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")

# ESP32: the ROM's idea of the crystal is RTCCALICFG1's count * 15625 * CK8M_FREQ / 40; a real board is off by a little.
RTC_CALIBRATION_REGISTER = 0x3FF5F06C
_CK8M_FREQ = 128
_CALIBRATION_COUNT = 801
ESP32_CRYSTAL_ERROR = _CALIBRATION_COUNT * 15625 * _CK8M_FREQ / 40 / 40_000_000
_APB_CTL_DATE_REGISTER = 0x3FF6607C


def derive_mac(board_id: str) -> bytes:
    """A MAC of its own for each board: Espressif's OUI, then bytes of the id's digest."""
    return _ESPRESSIF_OUI + hashlib.sha256(board_id.encode()).digest()[:3]


def parse_mac(text: str) -> bytes:
    """The bytes of "24:0a:c4:01:02:03". Raises ValueError for anything else."""
    if not _MAC.fullmatch(text):
        raise ValueError(f"not a MAC address: {text!r}")
    return bytes.fromhex(text.replace(":", ""))


def burned(options: Mapping[str, JsonValue]) -> dict[int, int]:
    """The option `efuses`: address of a register to the bits that are burned in it besides, {"0x60007038": 0x100000}.

    Raises ValueError for anything else.
    """
    given = options.get("efuses", {})
    if not isinstance(given, dict) or not all(type(bits) is int and 0 <= bits < 1 << 32 for bits in given.values()):
        raise ValueError(f"efuses: no register addresses with their bits: {given!r}")
    return {int(address, 0): int(str(bits)) for address, bits in given.items()}


def registers(chip: Chip, mac: bytes, more: Mapping[int, int]) -> dict[int, int]:
    """Address to value of every eFuse word that is not 0."""
    found = _as_delivered(chip, mac)
    return {address: found.get(address, 0) | more.get(address, 0) for address in {*found, *more}}


def _as_delivered(chip: Chip, mac: bytes) -> dict[int, int]:
    layout = {
        EfuseLayout.BLOCK0_ESP32: _esp32,
        EfuseLayout.BLOCK1: _block1,
        EfuseLayout.OTP_8266: _otp_8266,
    }[chip.efuse]
    return layout(chip, mac)


def _esp32(chip: Chip, mac: bytes) -> dict[int, int]:
    base = chip.efuse_base
    major, minor = chip.default_revision
    revision_bits = {0: 0b000, 1: 0b001, 2: 0b011, 3: 0b111}[major]
    return {
        base + 0x04: int.from_bytes(mac[2:], "big"),
        base + 0x08: mac_crc(mac) << 16 | int.from_bytes(mac[:2], "big"),
        # CHIP_VER_REV1, CHIP_CPU_FREQ_RATED, package 1: ESP32-D0WD
        base + 0x0C: (revision_bits & 1) << 15 | 1 << 13 | 1 << 9,
        base + 0x10: _CK8M_FREQ,
        base + 0x14: minor << 24 | (revision_bits >> 1 & 1) << 20,
        _APB_CTL_DATE_REGISTER: (revision_bits >> 2) << 31 | 0x16042000,
        RTC_CALIBRATION_REGISTER: _CALIBRATION_COUNT << 7,
    }


def _block1(chip: Chip, mac: bytes) -> dict[int, int]:
    assert chip.identity is not None
    extended = chip.identity.mac_extension << 16 | int.from_bytes(mac[:2], "big")
    words = [int.from_bytes(mac[2:], "big"), extended, 0, 0, 0, 0]
    major, minor = chip.default_revision
    words[chip.identity.major.word] |= major << chip.identity.major.shift
    for fuses in chip.identity.minor:
        words[fuses.word] |= (minor & (1 << fuses.bits) - 1) << fuses.shift
        minor >>= fuses.bits
    base = chip.efuse_base + chip.identity.block
    return {base + 4 * number: word for number, word in enumerate(words)}


def _otp_8266(chip: Chip, mac: bytes) -> dict[int, int]:
    base = chip.efuse_base
    return {
        base: mac[5] << 24,
        base + 0x04: 0x02000000 | mac[3] << 8 | mac[4],
        base + 0x08: 0xF200B000,
        base + 0x0C: int.from_bytes(mac[:3], "big"),
    }


def security(chip: Chip, read: Callable[[int], int]) -> bytes:
    """Flags, count and key purposes as GET_SECURITY_INFO tells them, of RD_REPEAT_DATA1 and 2. A C2's and a C5's fuses
    lie elsewhere: as if nothing were burned.
    """
    if chip.name in ("esp32c2", "esp32c5"):
        return bytes(12)
    first, second = read(chip.efuse_base + 0x34), read(chip.efuse_base + 0x38)
    enabled, revoked = second >> 20 & 0b11, first >> 21 & 0b111  # SECURE_BOOT_EN, _AGGRESSIVE_REVOKE; _KEY_REVOKE0 to 2
    purposes = [(first >> 24 | second << 8) >> 4 * key & 0xF for key in range(6)]
    return struct.pack("<IB7B", enabled | revoked << 3, first >> 18 & 0b111, *purposes, 0)


def mac_crc(mac: bytes) -> int:
    """CRC-8 of the MAC as ESP32's BLOCK0 holds it: polynomial 0x31 reflected, start value 0."""
    crc = 0
    for byte in mac:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc
