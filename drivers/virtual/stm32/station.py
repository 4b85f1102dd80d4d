"""The place of a board with an STM32 on the bench."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from drivers.virtual.errors import BenchError
from drivers.virtual.serial_station import SerialStation
from drivers.virtual.spec import BoardSpec, Fault, WrongChip, WrongMd5
from drivers.virtual.stm32 import firmware
from drivers.virtual.stm32.board import Board
from drivers.virtual.stm32.chips import CHIPS, Chip
from drivers.virtual.stm32.wiring import from_options

_UID = re.compile(r"[0-9A-Fa-f]{24}")


class Stm32Station(SerialStation):
    def make_board(self) -> Board:
        spec = self.spec
        chip = _chip(spec.chip, spec.board_id)
        size = spec.flash_size or chip.flash_sizes[0]
        if size not in chip.flash_sizes:
            sizes = " or ".join(f"{each // 1024} KiB" for each in sorted(chip.flash_sizes))
            raise BenchError(f"{spec.board_id}: there is no {chip.name} with {size} bytes of flash: {sizes}")
        wiring = from_options(spec.options, spec.board_id)
        path = self.folder.flash_file(size, firmware.factory_image)
        return Board(spec, chip, _uid(spec), path, wiring)

    def check_faults(self, faults: Sequence[Fault]) -> None:
        """Another chip of the family may be on the board; no boot loader of it computes an MD5."""
        for fault in faults:
            if isinstance(fault, WrongChip):
                _chip(fault.chip, self.spec.board_id)
            if isinstance(fault, WrongMd5):
                raise BenchError(f"{self.spec.board_id}: wrong-md5: an STM32's boot loader has no digest to get wrong")


def station(spec: BoardSpec, state: Path, wait_s: float) -> Stm32Station:
    """The place of a board with an STM32."""
    return Stm32Station(spec, state, wait_s)


def _uid(spec: BoardSpec) -> bytes:
    """The 96 bits that the spec names as its serial number, or else the board's own."""
    if spec.serial is None:
        digest = hashlib.sha256(spec.board_id.encode()).digest()
        return digest[:5] + b"BENCH" + digest[5:7]
    if not _UID.fullmatch(spec.serial):
        raise BenchError(f"{spec.board_id}: {spec.serial!r} is no unique id of an STM32: 24 hexadecimal digits")
    return bytes.fromhex(spec.serial)


def _chip(name: str, board_id: str) -> Chip:
    try:
        return CHIPS[name]
    except KeyError:
        raise BenchError(
            f"{board_id}: there is no virtual board with chip {name!r}; there are {', '.join(CHIPS)}"
        ) from None
