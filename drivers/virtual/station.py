"""One board's place on the bench: its folder, its flash file, its two ports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from drivers.virtual import firmware, flash
from drivers.virtual.autoreset import AutoReset
from drivers.virtual.errors import BenchError
from drivers.virtual.esp import efuse
from drivers.virtual.esp.board import Board
from drivers.virtual.esp.chips import CHIPS, FLASH_SIZES, Chip
from drivers.virtual.messages import BoardPorts
from drivers.virtual.pty import PtyPort
from drivers.virtual.rfc2217 import Rfc2217Port
from drivers.virtual.spec import BoardSpec, Fault, WrongChip


class Station:
    """A context manager: its folder is locked from beginning to end. Raises BenchError when it can not begin."""

    def __init__(self, spec: BoardSpec, state: Path, wait_s: float = 0.0) -> None:
        """`wait_s`: seconds to wait for another bench that has the board."""
        self._spec = spec
        self._wait_s = wait_s
        self._chip = _chip(spec.chip, spec.board_id)
        self._folder = state / spec.board_id

    def __enter__(self) -> Self:
        spec = self._spec
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._folder / "lock")
        try:
            self._lock.acquire(timeout=self._wait_s)
        except Timeout:
            raise BenchError(
                f"{self._folder} is in use by another bench; end that one, or use another folder"
            ) from None
        try:
            self.board = Board(spec.board_id, self._chip, _mac(spec), self._flash_file(), spec.speed)
            self.set_faults(spec.faults)
        except BaseException:
            self._lock.release()
            raise
        self._rfc2217 = Rfc2217Port(self.board.wire, AutoReset(self._drive))
        self._pty: PtyPort | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rfc2217.close()
        if self._pty is not None:
            self._pty.close()
        self.board.close()
        self._lock.release()

    async def open(self) -> BoardPorts:
        """Switch the board on and offer its ports."""
        url = await self._rfc2217.open()
        self._pty = PtyPort(self.board)
        self.board.set_power(on=True)
        return BoardPorts(pty=self._pty.path, url=url)

    @property
    def is_in_use(self) -> bool:
        """Whether a client holds the board's RFC2217 port; a pty does not tell."""
        return self._rfc2217.is_in_use

    def set_faults(self, faults: Sequence[Fault]) -> None:
        """Replace the board's faults. Raises BenchError for a chip that there is not."""
        for fault in faults:
            if isinstance(fault, WrongChip):
                _chip(fault.chip, self._spec.board_id)
        self.board.set_faults(faults)

    def _drive(self, enabled: bool, io0_low: bool) -> None:
        self.board.set_pins(enabled=enabled, io0_low=io0_low)

    def _flash_file(self) -> Path:
        size = self._spec.flash_size or self._chip.default_flash_size
        if size not in FLASH_SIZES:
            raise BenchError(
                f"{self._spec.board_id}: there is no flash chip of {size} bytes (256 KiB to 128 MiB, a power of 2)"
            )
        path = self._folder / "flash.bin"
        if not path.exists() or not self._spec.keep:
            flash.create(path, size, self._factory(size))
        elif path.stat().st_size != size:
            raise BenchError(
                f"{path} holds {path.stat().st_size} bytes, but {self._spec.board_id}'s flash has {size}: "
                "delete it to begin anew, or set flash_size"
            )
        return path

    def _factory(self, size: int) -> bytes:
        contents = self._factory_contents()
        if len(contents) > size:
            name = self._spec.factory or "the generic firmware"
            raise BenchError(f"{name} has {len(contents)} bytes, more than {self._spec.board_id}'s flash ({size})")
        return contents

    def _factory_contents(self) -> bytes:
        if self._spec.factory is None:
            return firmware.factory_image(self._chip.name)
        try:
            return self._spec.factory.read_bytes()
        except OSError as error:
            raise BenchError(f"{self._spec.board_id}: factory image: {error}") from error


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
