"""What an MCUboot image says of itself, and whether MCUboot would start it. Pure.

Source: MCUboot docs/design.md "Image Format" and `bootutil/image.h`; images come from `imgtool sign`. An image is known
by the digest in its TLVs, which is over header, body and protected TLVs: not by the file's.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from drivers.base import BadImage

_HEADER = struct.Struct("<IIHHIIBBHI4x")  # struct image_header
_TLV_INFO = struct.Struct("<HH")  # magic, size of the area with this
_TLV = struct.Struct("<HH")  # type, size
_MAGIC = 0x96F3B83D
_TLV_MAGIC, _PROTECTED_MAGIC = 0x6907, 0x6908
_DIGESTS = {0x10: "sha256", 0x11: "sha384", 0x12: "sha512"}  # IMAGE_TLV_SHA256 …
_ENCRYPTED = 0x04 | 0x08  # IMAGE_F_ENCRYPTED_AES128, …_AES256: the digest is of the plain image
_NON_BOOTABLE = 0x10
_TRAILER_MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
_PADDING = frozenset({0x00, 0xFF})
_REPORTED = re.compile(r"(\d+\.\d+\.\d+)\.(\d+)")


@dataclass(frozen=True)
class McubootImage:
    """`version` is written as imgtool takes it, such as "1.2.0" or "1.2.0+4"."""

    version: str
    digest: bytes


def parse(name: str, data: bytes) -> McubootImage:
    """Raises `BadImage` for what MCUboot would not start, or what must not be uploaded as it is."""
    if len(data) < _HEADER.size:
        raise BadImage(f"{name} has {len(data)} bytes: not even a header")
    magic, _load, header_size, _protected, body_size, flags, *version = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise _unsigned(name, data)
    if header_size < _HEADER.size or flags & _NON_BOOTABLE:
        raise BadImage(f"{name}: its header says that it can not be started")
    hashed, end, digests = _areas(name, data, header_size + body_size)
    if len(digests) != 1:
        raise BadImage(f"{name} has {len(digests)} digests in its TLVs, expected one: sign it with imgtool")
    ((algorithm, digest),) = digests
    if not flags & _ENCRYPTED and hashlib.new(algorithm, data[:hashed]).digest() != digest:
        raise BadImage(f"{name}: its contents are not what its digest was made of (file damaged or cut)")
    _refuse_padded(name, data[end:])
    major, minor, revision, build = version
    return McubootImage(f"{major}.{minor}.{revision}" + (f"+{build}" if build else ""), digest)


def _unsigned(name: str, data: bytes) -> BadImage:
    what = "is Intel HEX" if data[:1] == b":" else "has no MCUboot header"
    return BadImage(
        f"{name} {what}",
        advice="Nothing was written. Give the signed binary, zephyr.signed.bin: what `imgtool sign` writes.",
    )


def _areas(name: str, data: bytes, at: int) -> tuple[int, int, list[tuple[str, bytes]]]:
    """(bytes that the digest is of, bytes of the image, digests); `at` is where the TLVs begin."""
    hashed = at
    found: list[tuple[str, bytes]] = []
    if _info(name, data, at)[0] == _PROTECTED_MAGIC:
        hashed = at + _info(name, data, at)[1]
    magic, size = _info(name, data, hashed)
    if magic != _TLV_MAGIC:
        raise BadImage(f"{name} has no TLVs where they should be (file damaged, cut, or not signed)")
    for kind, value in _tlvs(name, data, hashed, size):
        if kind in _DIGESTS:
            found.append((_DIGESTS[kind], value))
    return hashed, hashed + size, found


def _info(name: str, data: bytes, at: int) -> tuple[int, int]:
    if at + _TLV_INFO.size > len(data):
        raise BadImage(f"{name} ends in the middle of the image (file cut)")
    magic, size = _TLV_INFO.unpack_from(data, at)
    if size < _TLV_INFO.size or at + size > len(data):
        raise BadImage(f"{name} ends in the middle of its TLVs (file damaged or cut)")
    return magic, size


def _tlvs(name: str, data: bytes, at: int, size: int) -> Iterator[tuple[int, bytes]]:
    end = at + size
    at += _TLV_INFO.size
    while at < end:
        if at + _TLV.size > end:
            raise BadImage(f"{name} has a TLV that is cut")
        kind, length = _TLV.unpack_from(data, at)
        at += _TLV.size
        if at + length > end:
            raise BadImage(f"{name} has a TLV that is longer than their area")
        yield kind, data[at : at + length]
        at += length


def _refuse_padded(name: str, rest: bytes) -> None:
    """`imgtool sign --pad` adds the slot's trailer: uploaded, it would start the image without a test."""
    if _TRAILER_MAGIC in rest:
        raise BadImage(
            f"{name} is padded to the size of its slot, with MCUboot's trailer",
            advice="Nothing was written. Sign it without --pad and --confirm: such a file is for a programmer.",
        )
    if not set(rest) <= _PADDING:
        raise BadImage(f"{name}: {len(rest)} bytes follow the image that are no part of it")


def as_imgtool(reported: str) -> str:
    """A version as a board reports it, written as imgtool takes it: Zephyr puts a dot before the build number."""
    found = _REPORTED.fullmatch(reported)
    return f"{found[1]}+{found[2]}" if found else reported
