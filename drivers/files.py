"""Firmware files in the formats that several families share. Pure."""

from __future__ import annotations

import io
import re

from drivers.base import BadImage, Segment

_HEX_END = re.compile(r"^\s*:00[0-9A-F]{4}01[0-9A-F]{2}\s*$", re.IGNORECASE | re.MULTILINE)


def raw(name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
    """A file that is just bytes. Raises `BadImage` where nobody said where it goes, or where it is empty."""
    if not data:
        raise BadImage(f"{name} is empty")
    if address is None:
        raise BadImage(
            f"{name} has no address of its own",
            advice="Give the device type's flash_address, or list the file under `images` with its address.",
        )
    return (Segment(address, data, name),)


def intel_hex(name: str, data: bytes) -> list[tuple[int, bytes]]:
    """The pieces of an Intel HEX file, each with its address, in order. Raises `BadImage`, and nothing else.

    Each line has a checksum, the file has none: only its end record tells that it was not cut short. What comes after
    that is read by no tool.
    """
    from intelhex import IntelHex

    if not data.strip():
        raise BadImage(f"{name} is empty")
    image = IntelHex()
    try:
        text = data.decode("ascii")
        image.loadhex(io.StringIO(text))
        pieces = [(start, image.tobinstr(start, end - 1)) for start, end in image.segments()]
    except Exception as error:
        # Whatever the parser of a file that people give raises: its own family, and Python's on odd numbers.
        why = " ".join(str(error).split()) or type(error).__name__
        raise BadImage(f"{name} is no Intel HEX file: {why}") from error
    end = _HEX_END.search(text)
    if end is None:
        raise BadImage(f"{name} has no end record: it was cut short", advice="Nothing was written. Get the whole file.")
    if ":" in text[end.end() :]:
        raise BadImage(f"{name} goes on after its end record", advice="Nothing was written. Join files with srec_cat.")
    return pieces
