"""The place of an Espressif board on the bench."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drivers.virtual.errors import BenchError
from drivers.virtual.esp import efuse, firmware
from drivers.virtual.esp.board import Board
from drivers.virtual.esp.chips import CHIPS, FLASH_SIZES, Chip
from drivers.virtual.serial_station import SerialStation
from drivers.virtual.spec import BoardSpec, Fault, WrongChip


class EspStation(SerialStation):
    def make_board(self) -> Board:
        chip = _chip(self.spec.chip, self.spec.board_id)
        size = self.spec.flash_size or chip.default_flash_size
        if size not in FLASH_SIZES:
            raise BenchError(
                f"{self.spec.board_id}: there is no flash chip of {size} bytes (256 KiB to 128 MiB, a power of 2)"
            )
        path = self.folder.flash_file(size, lambda: firmware.factory_image(chip.name))
        return Board(self.spec.board_id, chip, _mac(self.spec), path, self.spec.speed, _burned(self.spec))

    def check_faults(self, faults: Sequence[Fault]) -> None:
        """Another chip of the family may be on the board, no other."""
        for fault in faults:
            if isinstance(fault, WrongChip):
                _chip(fault.chip, self.spec.board_id)


def station(spec: BoardSpec, state: Path, wait_s: float) -> EspStation:
    """The place of a board with one of Espressif's chips."""
    return EspStation(spec, state, wait_s)


def _chip(name: str, board_id: str) -> Chip:
    try:
        return CHIPS[name]
    except KeyError:
        raise BenchError(
            f"{board_id}: there is no virtual board with chip {name!r}; there are {', '.join(CHIPS)}"
        ) from None


def _mac(spec: BoardSpec) -> bytes:
    if spec.mac is None:
        return efuse.derive_mac(spec.board_id)
    try:
        return efuse.parse_mac(spec.mac)
    except ValueError as error:
        raise BenchError(f"{spec.board_id}: {error}") from error


def _burned(spec: BoardSpec) -> dict[int, int]:
    try:
        return efuse.burned(spec.options)
    except ValueError as error:
        raise BenchError(f"{spec.board_id}: {error}") from error
