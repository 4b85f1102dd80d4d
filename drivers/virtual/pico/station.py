"""The place of a Pico on the bench: its folder, its drive, its USB/IP server and its application's serial port."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from drivers.virtual.errors import BenchError
from drivers.virtual.messages import BoardPorts
from drivers.virtual.pico import firmware, mounts
from drivers.virtual.pico.board import PicoBoard
from drivers.virtual.pico.cdc import CdcPty
from drivers.virtual.pico.chips import CHIPS, Chip, chip_id
from drivers.virtual.pico.drive import Drive
from drivers.virtual.pico.drive_folder import DriveFolder
from drivers.virtual.pico.drive_mounted import MountedDrive
from drivers.virtual.serial_station import SerialStation
from drivers.virtual.spec import BoardSpec, Fault, WrongChip

_KNOWN_FAULTS = frozenset({"silent", "line-drop", "wrong-chip", "stuck-in-app", "slow-erase", "power-loss", "panics"})
_SMALLEST, _LARGEST = 1 << 18, 1 << 24
_SERIAL = re.compile(r"[0-9A-Fa-f]{16}")


class PicoStation(SerialStation):
    board: PicoBoard

    def make_pty(self) -> CdcPty:
        return CdcPty(self.board)

    async def open(self) -> BoardPorts:
        usb, drive = await self.board.usb.open(), self.board.drive
        serial = await super().open()
        also = {"mount_point": str(drive.path), "drive": drive.kind, "usb": usb}
        return self._named(serial.model_copy(update=also))

    def _named(self, ports: BoardPorts) -> BoardPorts:
        """Only the kinds of connection that the target names; all of them where it names no way to the boot loader."""
        spec = self.spec
        if not (spec.mount_point or spec.usb):
            return ports
        return BoardPorts(
            pty=ports.pty if spec.port else "",
            url=ports.url if spec.port else "",
            mount_point=ports.mount_point if spec.mount_point else "",
            drive=ports.drive if spec.mount_point else "",
            usb=ports.usb if spec.usb else "",
        )

    @property
    def is_in_use(self) -> bool:
        """Whether a client has the port over RFC2217 or the boot loader over USB/IP, or a file is on the drive."""
        return super().is_in_use or self.board.usb.is_in_use or self.board.drive.is_in_use

    def make_board(self) -> PicoBoard:
        spec = self.spec
        chip = _chip(spec.chip, spec.board_id)
        size = spec.flash_size or self._size_in_options() or chip.default_flash_size
        if size & (size - 1) or not _SMALLEST <= size <= _LARGEST:
            raise BenchError(
                f"{spec.board_id}: there is no flash chip of {size} bytes (256 KiB to 16 MiB, a power of 2)"
            )
        path = self.folder.flash_file(size, lambda: firmware.factory_image(chip))
        return PicoBoard(spec.board_id, chip, _unique(spec), path, self._make_drive(), spec.speed)

    def _make_drive(self) -> Drive:
        """A mount where this machine can have one; the option `drive` decides otherwise, or insists on it."""
        path, board_id = self.folder.path / "drive", self.spec.board_id
        wanted = self.spec.options.get("drive")
        if wanted not in (None, "fuse", "folder"):
            raise BenchError(f"{board_id}: drive is fuse or folder, not {wanted!r}")
        try:
            mounts.clear(path)
        except OSError as error:
            raise BenchError(f"{board_id}: a killed bench has left its drive mounted: umount -l {path}") from error
        why_no_mount = "as the option `drive` says" if wanted == "folder" else mounts.why_none()
        folder = DriveFolder(path, why_no_mount)
        folder.hide()  # a killed bench's, too
        if not why_no_mount:
            return MountedDrive(path)
        if wanted == "fuse":
            raise BenchError(f"{board_id}: its drive can not be mounted here: {why_no_mount}")
        return folder

    def _size_in_options(self) -> int | None:
        """What the target tells its driver of the board's flash."""
        size = self.spec.options.get("flash_size")
        return size if isinstance(size, int) else None

    def check_faults(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            if fault.fault not in _KNOWN_FAULTS:
                raise BenchError(
                    f"{self.spec.board_id}: a Pico can not have the fault {fault.fault!r}: USB corrects bit errors, "
                    "and its boot loader computes no digest"
                )
            if isinstance(fault, WrongChip):
                _chip(fault.chip, self.spec.board_id)


def station(spec: BoardSpec, state: Path, wait_s: float) -> PicoStation:
    """The place of a board with RP2040 or RP2350."""
    return PicoStation(spec, state, wait_s)


def _unique(spec: BoardSpec) -> bytes:
    """RP2350's number: the one that the spec names, or else the board's own."""
    if spec.serial is None:
        return chip_id(spec.board_id)
    if not _SERIAL.fullmatch(spec.serial):
        raise BenchError(f"{spec.board_id}: {spec.serial!r} is no serial number of an RP2350: 16 hexadecimal digits")
    return bytes.fromhex(spec.serial)


def _chip(name: str, board_id: str) -> Chip:
    try:
        return CHIPS[name]
    except KeyError:
        raise BenchError(
            f"{board_id}: there is no virtual board with chip {name!r}; there are {', '.join(CHIPS)}"
        ) from None
