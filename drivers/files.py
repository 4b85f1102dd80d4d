"""Firmware files in the formats that several families share: bytes to segments. Pure."""

from __future__ import annotations

from drivers.base import BadImage, Segment


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
