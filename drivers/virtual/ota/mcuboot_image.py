"""MCUboot images as the boot loader and its firmware read them, and building one.

Source: MCUboot docs/design.md "Image Format", `bootutil/image.h`, and `img_mgmt_read_info` of Zephyr's mcumgr, which
finds an image's hash without computing it. There is no key on this board: MCUboot checks digests, not signatures.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = 0x96F3B83D  # IMAGE_MAGIC
HEADER = struct.Struct("<IIHHIIBBHI4x")  # struct image_header
_TLV_INFO = struct.Struct("<HH")  # struct image_tlv_info: magic, size with itself
_TLV = struct.Struct("<BBH")  # struct image_tlv: type, padding, length
TLV_INFO_MAGIC = 0x6907
PROTECTED_INFO_MAGIC = 0x6908
SHA256 = 0x10  # IMAGE_TLV_SHA256
NON_BOOTABLE = 0x10  # IMAGE_F_NON_BOOTABLE
HASH_SIZE = 32
_ERASED = 0xFFFFFFFF


class NoImage(Exception):
    """The slot holds none; `code` is mcumgr's (IMG_MGMT_ERR_…) for why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"img_mgmt error {code}")
        self.code = code


@dataclass(frozen=True, order=True)
class Version:
    """struct image_version."""

    major: int
    minor: int
    revision: int
    build: int = 0

    def __str__(self) -> str:
        """As imgtool takes it."""
        return f"{self.major}.{self.minor}.{self.revision}" + (f"+{self.build}" if self.build else "")

    def reported(self) -> str:
        """As `img_mgmt_ver_str` of Zephyr writes it: the build number after a dot."""
        return str(self).replace("+", ".")

    @classmethod
    def of(cls, text: str) -> Version:
        """Of "1.2.0" or "1.2.0+4"."""
        numbers, _, build = text.partition("+")
        major, minor, revision = (int(number) for number in numbers.split("."))
        return cls(major, minor, revision, int(build or 0))


@dataclass(frozen=True)
class Image:
    """What the header and the TLVs say; whether the digest is true is not known yet."""

    version: Version
    digest: bytes
    hashed_size: int  # bytes from the beginning: header, body, protected TLVs
    size: int
    flags: int

    @property
    def is_bootable(self) -> bool:
        return not self.flags & NON_BOOTABLE


def read(slot: bytes) -> Image:
    """The image at a slot's beginning. Raises NoImage as mcumgr does not list it."""
    if len(slot) < HEADER.size:
        raise NoImage(22)
    magic, _load, header_size, _protected, body_size, flags, *version = HEADER.unpack_from(slot)
    if magic != MAGIC:
        raise NoImage(3 if magic == _ERASED else 23)  # NO_IMAGE, INVALID_IMAGE_HEADER_MAGIC
    end = header_size + body_size
    protected = _area(slot, end, PROTECTED_INFO_MAGIC)
    if protected:
        end += protected
    total = _area(slot, end, TLV_INFO_MAGIC)
    if not total:
        raise NoImage(4)  # NO_TLVS
    digests = [value for kind, value in _tlvs(slot, end, total) if kind == SHA256 and len(value) == HASH_SIZE]
    if len(digests) != 1:
        raise NoImage(6 if digests else 8)  # TLV_MULTIPLE_HASHES_FOUND, HASH_NOT_FOUND
    return Image(Version(*version), digests[0], end, end + total, flags)


def _area(slot: bytes, at: int, magic: int) -> int:
    """The size of a TLV area, 0 where there is none."""
    if at + _TLV_INFO.size > len(slot):
        return 0
    found, size = _TLV_INFO.unpack_from(slot, at)
    return int(size) if found == magic else 0


def _tlvs(slot: bytes, at: int, total: int) -> Iterator[tuple[int, bytes]]:
    end = min(at + total, len(slot))
    at += _TLV_INFO.size
    while at + _TLV.size <= end:
        kind, padding, size = _TLV.unpack_from(slot, at)
        if (kind, padding, size) == (0xFF, 0xFF, 0xFFFF):
            raise NoImage(5)  # INVALID_TLV
        at += _TLV.size
        yield kind, slot[at : min(at + size, end)]
        at += size


def is_valid(slot: bytes) -> bool:
    """Whether MCUboot starts it: `bootutil_img_validate` without a key."""
    try:
        image = read(slot)
    except NoImage:
        return False
    return image.is_bootable and hashlib.sha256(slot[: image.hashed_size]).digest() == image.digest


def build(version: Version, body: bytes, header_size: int = 0x200) -> bytes:
    """An image as `imgtool sign` makes it without a key; the header's rest is padded with zeros, as linkers do."""
    numbers = (version.major, version.minor, version.revision, version.build)
    header = HEADER.pack(MAGIC, 0, header_size, 0, len(body), 0, *numbers).ljust(header_size, b"\0")
    digest = _TLV.pack(SHA256, 0, HASH_SIZE) + hashlib.sha256(header + body).digest()
    return header + body + _TLV_INFO.pack(TLV_INFO_MAGIC, _TLV_INFO.size + len(digest)) + digest
