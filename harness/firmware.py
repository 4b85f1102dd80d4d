"""Firmware files: each read once, hashed, and held against the board that it is meant for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from drivers import load_driver
from drivers.base import BadImage, ImageFacts, Region, Segment
from harness.snapshot import PlannedImage

READ_LIMIT = 0x1000_0000
"""Bytes. No flash of these boards is as large; a file that is was named by mistake."""


class UnusableFile(Exception):
    """A file can not be used as firmware; says why, without the file's name."""


@dataclass(frozen=True)
class FirmwareFile:
    data: bytes
    sha256: str


@dataclass(frozen=True)
class Contents:
    """What a file puts where, and what it says of itself; `refused` says why a boot loader would not take it."""

    segments: tuple[Segment, ...]
    facts: ImageFacts
    refused: BadImage | None = None

    @property
    def region(self) -> Region:
        """From the first segment's beginning to the last one's end."""
        start = min(segment.address for segment in self.segments)
        return Region(start, max(segment.region.end for segment in self.segments) - start)


_Content: TypeAlias = FirmwareFile | UnusableFile
_Verdict: TypeAlias = Contents | BadImage


class Shelf:
    """The files that a batch names; a fleet of hundreds reads and inspects each of them once."""

    def __init__(self) -> None:
        self._files: dict[Path, _Content] = {}
        self._verdicts: dict[tuple[Path, int | None, str], _Verdict] = {}

    def file(self, path: Path) -> FirmwareFile:
        """A file's bytes. Raises `UnusableFile`."""
        if path not in self._files:
            self._files[path] = _read(path)
        content = self._files[path]
        if isinstance(content, UnusableFile):
            raise content
        return content

    def contents(self, path: Path, address: int | None, device_type: str) -> Contents:
        """What the file holds for a type of board. Raises `BadImage` where it is no firmware file of its kind."""
        key = (path, address, device_type)
        if key not in self._verdicts:
            self._verdicts[key] = _verdict(path.name, self.file(path).data, address, device_type)
        verdict = self._verdicts[key]
        if isinstance(verdict, BadImage):
            raise verdict
        return verdict


def _read(path: Path) -> _Content:
    why = unusable(path)
    if why:
        return UnusableFile(why)
    try:
        data = path.read_bytes()
    except OSError as error:
        return UnusableFile(f"can not be read: {error.strerror}")
    return FirmwareFile(data, hashlib.sha256(data).hexdigest()) if data else UnusableFile("is empty")


def unusable(path: Path) -> str:
    """Why a path is no file to read; an empty text where it is one."""
    try:
        if path.is_dir():
            return "is a folder, not a file"
        if not path.is_file():
            return "does not exist"
        if path.stat().st_size > READ_LIMIT:
            return f"has {path.stat().st_size} bytes, more than any flash"
    except OSError as error:
        return f"can not be read: {error.strerror}"
    return ""


def _verdict(name: str, data: bytes, address: int | None, device_type: str) -> _Verdict:
    driver = load_driver(device_type)
    try:
        segments = driver.parse(name, data, address)
    except BadImage as error:
        return error
    try:
        return Contents(segments, driver.inspect(segments))
    except BadImage as error:
        return Contents(segments, ImageFacts(), refused=error)


def overlaps(images: Sequence[PlannedImage], erase_block: int) -> Iterator[tuple[int, str]]:
    """Positions in `images` of those that destroy one before them in flash, and how. Pure."""
    furthest: PlannedImage | None = None
    for position in sorted(range(len(images)), key=lambda position: images[position].address):
        image = images[position]
        if furthest is not None:
            names = f"{furthest.path.name} ({furthest.address:#x} to {furthest.end:#x}) and {_place(image)}"
            if image.address < furthest.end:
                yield position, f"{names} overlap"
            elif image.address // erase_block == (furthest.end - 1) // erase_block:
                yield position, f"{names} share an erase block of {erase_block} bytes: writing one erases the other"
        if furthest is None or image.end > furthest.end:
            furthest = image


def _place(image: PlannedImage) -> str:
    return f"{image.path.name} (from {image.address:#x})"
