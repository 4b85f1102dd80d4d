"""The place of an AVR Arduino on the bench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from drivers.virtual import flash
from drivers.virtual.avr import firmware, memory
from drivers.virtual.avr.board import Board
from drivers.virtual.avr.memory import UNLOCKED, Memory
from drivers.virtual.avr.parts import PARTS, Loader, Part
from drivers.virtual.avr.usb_board import UsbBoard, UsbPty
from drivers.virtual.errors import BenchError
from drivers.virtual.pty import PtyPort
from drivers.virtual.serial_station import SerialStation
from drivers.virtual.spec import BoardSpec, Fault, WrongChip, WrongMd5

_OPTIBOOTS = (Loader.OPTIBOOT_4, Loader.OPTIBOOT_8)
_WATCHDOGS_S = (1.0, 2.0, 4.0, 8.0)  # WATCHDOG_1S and so on of optiboot.c


class AvrStation(SerialStation):
    """Options of the bench's own: `lock_bits` (a number, as an ISP programmer sets them), `bootloader`, and
    `watchdog_s`, with which an Optiboot was built.
    """

    def make_board(self) -> Board:
        part = self._with_options(_part(self.spec.chip, self.spec.board_id))
        self._part = replace(part, baud=self.spec.flash_baudrate or part.baud)
        if self.spec.flash_size not in (None, self._part.flash_size):
            raise BenchError(f"{self.spec.board_id}: an {self._part.name} has {self._part.flash_size} bytes of flash")
        kind = UsbBoard if self._is_usb(self._part) else Board
        return kind(self.spec.board_id, self._memory, self.spec.speed)

    def make_pty(self) -> PtyPort:
        return UsbPty(self.board) if isinstance(self.board, UsbBoard) else super().make_pty()

    @staticmethod
    def _is_usb(part: Part) -> bool:
        """Whether the chip itself is what the host has on its USB."""
        return part.loader is Loader.CATERINA

    def _with_options(self, part: Part) -> Part:
        part = replace(part, lock_bits=self._lock_bits(part), watchdog_s=self._watchdog_s(part))
        loader = self.spec.options.get("bootloader", part.loader)
        if loader == part.loader:
            return part
        if part.loader not in _OPTIBOOTS or loader not in _OPTIBOOTS:
            known = _OPTIBOOTS if part.loader in _OPTIBOOTS else (part.loader,)
            raise BenchError(f"{self.spec.board_id}: bootloader is one of {', '.join(known)}, not {loader!r}")
        return replace(part, loader=Loader(str(loader)))

    def _lock_bits(self, part: Part) -> int:
        lock_bits = self.spec.options.get("lock_bits", part.lock_bits)
        if not isinstance(lock_bits, int) or isinstance(lock_bits, bool) or not 0 <= lock_bits <= UNLOCKED:
            raise BenchError(f"{self.spec.board_id}: lock_bits is a number from 0 to {UNLOCKED:#x}, not {lock_bits!r}")
        return lock_bits

    def _watchdog_s(self, part: Part) -> float:
        known = _WATCHDOGS_S if part.loader in _OPTIBOOTS else (part.watchdog_s,)
        wanted = self.spec.options.get("watchdog_s", part.watchdog_s)
        if isinstance(wanted, bool) or wanted not in known:
            raise BenchError(f"{self.spec.board_id}: watchdog_s is one of {known}, not {wanted!r}")
        return known[known.index(wanted)]

    def _memory(self, other: str | None) -> Memory:
        """The board's own chip, or the other one of a `wrong-chip`, with files of its own."""
        if other is None:
            part, path = self._part, self.folder.path / "flash.bin"
        else:
            part = replace(_part(other, self.spec.board_id), watchdog_s=self._part.watchdog_s)
            path = self.folder.path / f"{part.name}.flash.bin"
        eeprom = path.with_name(path.name.replace("flash", "eeprom"))
        self._make_flash(path, part, is_own=other is None)
        if not eeprom.exists() or not self.spec.keep:
            flash.create(eeprom, part.eeprom_size, b"")
        return Memory(part, path, eeprom, part.lock_bits)

    def _make_flash(self, path: Path, part: Part, *, is_own: bool) -> None:
        if path.exists() and self.spec.keep:
            if path.stat().st_size != part.flash_size:
                raise BenchError(
                    f"{path} holds {path.stat().st_size} bytes, but an {part.name} has {part.flash_size}: "
                    "delete it to begin anew"
                )
            return
        contents = firmware.factory()
        if is_own and self.spec.factory is not None:
            contents = self._factory(self.spec.factory)
        if len(contents) > part.flash_size:
            raise BenchError(f"{self.spec.factory} has {len(contents)} bytes, more than {part.name}'s flash")
        memory.create_flash(path, part, contents)

    def _factory(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise BenchError(f"{self.spec.board_id}: factory image: {error}") from error

    def check_faults(self, faults: Sequence[Fault]) -> None:
        """An AVR's boot loader computes no digest."""
        for fault in faults:
            if isinstance(fault, WrongMd5):
                raise BenchError(f"{self.spec.board_id}: an AVR board can not have the fault {fault.fault!r}")
            if isinstance(fault, WrongChip):
                self._check_other(_part(fault.chip, self.spec.board_id))

    def _check_other(self, other: Part) -> None:
        own = _part(self.spec.chip, self.spec.board_id)
        if self._is_usb(own) != self._is_usb(other):
            raise BenchError(f"{self.spec.board_id}: an {other.name} has another kind of port than an {own.name}")


def station(spec: BoardSpec, state: Path, wait_s: float) -> AvrStation:
    """The place of a board with an AVR."""
    return AvrStation(spec, state, wait_s)


def _part(name: str, board_id: str) -> Part:
    try:
        return PARTS[name]
    except KeyError:
        raise BenchError(
            f"{board_id}: there is no virtual AVR board with chip {name!r}; there are {', '.join(PARTS)}"
        ) from None
