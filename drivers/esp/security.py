"""What a chip's eFuses ask of an image before they let it start, and whether an image has it.

Read when the chip says who it is, judged before anything is written. Sources: ESP-IDF "Secure Boot V1", "Secure Boot
V2" (signature block), "OTA: Anti-rollback" and `esp_efuse_read_secure_version`; espefuse's `efuse_defs` of esptool 5.6.

The signature itself is not verified: that an image is unsigned, was changed after it was signed, or is signed with
another key, shows without it. None of those ever starts. A chip with SECURE_BOOT_AGGRESSIVE_REVOKE would give up a key
for ever over an image that was changed.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

_KEY_BLOCKS_AT, _KEY_SIZE = 0x9C, 0x20  # RD_KEY0 to RD_KEY5, from the eFuses' base on; all chips with key purposes
_REPEAT_DATA0, _REPEAT_DATA3 = 0x30, 0x3C
# Where SECURE_VERSION is: offset of its register, lowest bit, bits. An ESP32's lies in a block for users' own data.
_SECURE_VERSION = {
    "ESP32-C2": (_REPEAT_DATA0, 22, 4),
    "ESP32-C3": (_REPEAT_DATA3, 14, 16),
    "ESP32-C5": (_REPEAT_DATA3, 9, 9),
    "ESP32-C6": (_REPEAT_DATA3, 14, 16),
    "ESP32-H2": (_REPEAT_DATA3, 9, 16),
    "ESP32-P4": (_REPEAT_DATA3, 9, 16),
    "ESP32-S2": (_REPEAT_DATA3, 11, 16),
    "ESP32-S3": (_REPEAT_DATA3, 14, 16),
}

_SECTOR = 0x1000
_HEADER = 24  # bytes of esp_image_header_t; its last one says whether a SHA-256 follows
_SEGMENT = struct.Struct("<II")  # load address, length
_DIGEST = 32
_V1_BOOT_LOADER_END = 0x8000  # esptool writes nothing below it to a chip with Secure Boot V1
_V1_SIGNATURE = 68  # bytes behind the image: a version, 0, and an ECDSA signature
_BLOCK, _BLOCKS = 1216, 3  # bytes of a V2 signature block with its CRC and padding; how many there may be
_CRC_AT = 1196
_MAGIC, _RSA, _ECDSA, _SHA384 = 0xE7, 2, 3, 1


@dataclass(frozen=True)
class Demands:
    """`secure_boot`: its version, 0 where it is off. `keys`: SHA-256 of those that are trusted, in hex; empty where the
    chip does not say. `secure_version`: images of an application below it do not start where anti-rollback is built in.
    """

    secure_boot: int = 0
    keys: tuple[str, ...] = ()
    secure_version: int = 0

    def as_text(self) -> str:
        """For `Identity.security`: empty where nothing is asked for."""
        return json.dumps(asdict(self)) if self != Demands() else ""

    @classmethod
    def from_text(cls, text: str) -> Demands:
        return cls(**json.loads(text)) if text else cls()


def read(esp: Any) -> Demands:
    """Ask the chip behind esptool's object, which is not in Secure Download Mode."""
    if not esp.get_secure_boot_enabled():
        return Demands(secure_version=_secure_version(esp))
    if esp.get_secure_boot_v1_enabled():
        return Demands(1)
    return Demands(2, tuple(_trusted_keys(esp)), _secure_version(esp))


def _secure_version(esp: Any) -> int:
    """The number of bits that were burned: each version burns one more."""
    if esp.CHIP_NAME not in _SECURE_VERSION:
        return 0
    offset, shift, bits = _SECURE_VERSION[esp.CHIP_NAME]
    return int(esp.read_reg(esp.EFUSE_BASE + offset) >> shift & (1 << bits) - 1).bit_count()


def _trusted_keys(esp: Any) -> Iterator[str]:
    """Of chips whose key blocks have a purpose; an ESP32 and a C2 have one key, at a place of their own."""
    names = getattr(esp, "KEY_PURPOSES", {})
    revocations = {f"SECURE_BOOT_DIGEST{slot}": f"SECURE_BOOT_KEY_REVOKE{slot}" for slot in range(_BLOCKS)}
    if revocations.keys().isdisjoint(names.values()):
        return
    flags = esp.get_security_info()["parsed_flags"]
    for block in range(esp.EFUSE_MAX_KEY + 1):
        revocation = revocations.get(names.get(esp.get_key_block_purpose(block), ""))
        if revocation is not None and not flags[revocation]:
            at = esp.EFUSE_BASE + _KEY_BLOCKS_AT + block * _KEY_SIZE
            yield b"".join(esp.read_reg(at + word).to_bytes(4, "little") for word in range(0, _KEY_SIZE, 4)).hex()


def refusal(data: bytes, address: int, secure_version: int | None, demands: Demands) -> str:
    """Why the chip would never start these bytes, an image of its own kind; empty where nothing says so.

    `secure_version` is that of an application, None for what is none.
    """
    if demands.secure_boot == 1 and address < _V1_BOOT_LOADER_END:
        return "the chip's Secure Boot V1 takes no other boot loader than the one that it has"
    if demands.secure_boot == 1 and not _is_signed_v1(data):
        return "it is not signed, and the chip's Secure Boot V1 starts nothing else"
    if demands.secure_boot == 2 and (fault := _fault_of_signature(data, demands.keys)):
        return f"{fault}, and the chip's Secure Boot V2 would never start it"
    if secure_version is not None and secure_version < demands.secure_version:
        return (
            f"its secure version is {secure_version}, and the chip's anti-rollback (eFuse SECURE_VERSION) starts none "
            f"below {demands.secure_version}"
        )
    return ""


def _is_signed_v1(data: bytes) -> bool:
    signature = data[_end(data) :][:_V1_SIGNATURE]
    return len(signature) == _V1_SIGNATURE and signature[:4] == bytes(4)


def _fault_of_signature(data: bytes, keys: tuple[str, ...]) -> str:
    """Empty for an image with a signature in the sector behind it, as `espsecure sign-data` puts it there."""
    end = -(-_end(data) // _SECTOR) * _SECTOR
    sector = data[end : end + _SECTOR]
    blocks = [block for at in range(0, _BLOCKS * _BLOCK, _BLOCK) if _is_whole(block := sector[at : at + _BLOCK])]
    if not blocks:
        return "it is not signed"
    signers = {_signer(block) for block in blocks if _digest_of(block) == _digest(data[:end], block)}
    if not signers:
        return "its signature is that of other bytes: the file was changed after it was signed"
    if keys and signers.isdisjoint(keys):
        return "it is signed with a key that the chip does not trust, or has revoked"
    return ""


def _end(data: bytes) -> int:
    """Where an image ends: behind its segments, the checksum that fills up 16 bytes, and the digest that may follow."""
    at = _HEADER
    for _ in range(data[1]):
        if at + _SEGMENT.size > len(data):  # it is cut, which only a batch that checks no images has let through
            return len(data)
        at += _SEGMENT.size + _SEGMENT.unpack_from(data, at)[1]
    return at + 16 - at % 16 + (_DIGEST if data[_HEADER - 1] else 0)


def _is_whole(block: bytes) -> bool:
    return (
        len(block) == _BLOCK
        and block[0] == _MAGIC
        and block[1] in (_RSA, _ECDSA)
        and zlib.crc32(block[:_CRC_AT]) == int.from_bytes(block[_CRC_AT : _CRC_AT + 4], "little")
    )


def _is_384(block: bytes) -> bool:
    return block[1] == _ECDSA and block[2] == _SHA384


def _digest_of(block: bytes) -> bytes:
    return block[4:52] if _is_384(block) else block[4:36]


def _digest(data: bytes, block: bytes) -> bytes:
    return (hashlib.sha384 if _is_384(block) else hashlib.sha256)(data).digest()


def _signer(block: bytes) -> str:
    """What the chip's eFuses hold of a key: SHA-256 of its part of the block."""
    ecdsa = slice(52, 149) if _is_384(block) else slice(36, 101)  # curve and point
    return hashlib.sha256(block[slice(36, 812) if block[1] == _RSA else ecdsa]).hexdigest()
