"""One board's port, from the identity check to the last reset. See `drivers.base.Session` for the contract.

The boot loader keeps its place in the protocol until a reset: after an error there is no way back into step but one,
so that `connect` always resets. Where no line of the adapter can do that, it opens the port anew and knocks until
somebody has pressed RESET.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import serial

from drivers.base import ConnectionLost, DeviceError, Identity, Link, Log, Progress, Region, Segment, WrongBoard
from drivers.stm32 import signature
from drivers.stm32.errors import protected, translate
from drivers.stm32.lines import Adapter, Stm32Options
from drivers.stm32.loader import Loader
from drivers.stm32.parts import PARTS, Part
from drivers.stm32.protocol import MAX_BLOCK, LoaderError, Refused
from drivers.stm32.sectors import FLASH_BASE, Sector
from drivers.stm32.signature import Silenced
from drivers.stm32.writing import Held, put_back, write_segments
from drivers.translation import translated

_FAST_ATTEMPTS = 2  # at a rate above what is promised, where one was asked for
_ATTEMPTS = 5  # resets; each with three knocks
_KNOCKS_S = (0.1, 0.2, 0.4)  # one after the other: boot loaders listen 10 to 300 ms after their reset (AN2606)
_KNOCK_ANSWER_S = 0.3
_MANUAL_KNOCK_S = 1.0
_RATES = (115200, 57600, 38400, 19200, 9600)  # AN2606 promises none above 115200


class Stm32Session:
    """A session has a loader or it has none; every error and every time limit leaves it without."""

    def __init__(self, link: Link, options: Stm32Options, log: Log) -> None:
        self._link = link
        self._log = log
        self._options = options
        self._flash_baud = link.flash_baudrate
        self._adapter = Adapter(link, options, log)
        self._connected: Loader | None = None
        self._sectors: tuple[Sector, ...] = ()
        self._part: Part | None = None
        self._held: Held = {}
        self._was_blank = False  # at some time in this session
        self._silences: list[int] = []  # sizes of flash at whose end the boot loader fell silent

    @property
    def flash_baudrate(self) -> int:
        return self._flash_baud

    def connect(self) -> Identity:
        with self._translated("connect"):
            self._connected = None
            while True:
                loader = self._enter_loader()
                try:
                    identity = self._identify(loader)
                except Silenced as silenced:
                    self._silences.append(silenced.size)
                    self._log(f"{silenced}: reset, and asked again")
                else:
                    self._connected = loader
                    return identity

    def _enter_loader(self) -> Loader:
        if self._adapter.can_reset:
            return self._reset_into_loader()
        return self._wait_for_hand()

    def _reset_into_loader(self) -> Loader:
        deadline = time.monotonic() + self._link.connect_timeout_s
        for attempt in range(_ATTEMPTS):
            if attempt == _FAST_ATTEMPTS:
                self._come_down()
            port = self._adapter.for_loader(self._flash_baud)
            self._adapter.reset(into_loader=True)
            loader = self._loader_on(port)
            if self._answers(loader):
                return loader
            if time.monotonic() >= deadline:
                break
        raise ConnectionLost(
            "connect: no boot loader answers after a reset",
            advice="Check power and cable, that the board's BOOT0 and NRST hang on the lines that `options` name, and "
            "that BOOT0 counts (nBOOT_SEL on G0, nSWBOOT0 on L4 and G4).",
        )

    def _come_down(self) -> None:
        """To a rate that every boot loader measures."""
        if self._flash_baud > _RATES[0]:
            self._log(f"{self._flash_baud} baud is more than this boot loader measures: on with {_RATES[0]}")
            self._flash_baud = _RATES[0]

    def _answers(self, loader: Loader) -> bool:
        for pause_s in _KNOCKS_S:
            time.sleep(pause_s)
            # One answered knock is enough; an unanswered one came before the boot loader listened.
            if loader.sync(_KNOCK_ANSWER_S) and self._introduces_itself(loader):
                return True
        return False

    def _wait_for_hand(self) -> Loader:
        self._come_down()  # a rate that it can not measure would leave the boot loader deaf, with nobody to reset it
        self._adapter.reopen()
        port = self._adapter.for_loader(self._flash_baud)
        self._adapter.set_boot0(high=True)
        loader = self._loader_on(port)
        deadline = time.monotonic() + self._link.connect_timeout_s
        told = False
        while time.monotonic() < deadline:
            if loader.sync_without_reset(_MANUAL_KNOCK_S) and self._introduces_itself(loader):
                return loader
            if not told:
                self._log("no boot loader answers: set BOOT0 to 1 and press RESET")
                told = True
        raise ConnectionLost(
            f"connect: no boot loader answered within {self._link.connect_timeout_s:g} s",
            advice="No line of the adapter resets this board: set BOOT0 to 1 and press RESET before the run, or name "
            "reset_line and boot0_line in `options`.",
        )

    def _loader_on(self, port: serial.Serial) -> Loader:
        return Loader(port, self._log, traces=self._link.trace)

    @staticmethod
    def _introduces_itself(loader: Loader) -> bool:
        """Whether it is a boot loader indeed: an application that prints "y" has sent a perfect ACK."""
        try:
            loader.get()
        except LoaderError:
            return False
        return True

    def _identify(self, loader: Loader) -> Identity:
        product_id = loader.product_id()
        part = PARTS.get(product_id)
        if part is None:
            raise WrongBoard(f"product id {product_id:#05x} is none that this driver knows")
        self._look_at_start(loader, part)
        # Once may be noise, and a flash that is taken for smaller than it is refuses its firmware.
        too_large = {size for size in self._silences if self._silences.count(size) > 1}
        electronic = signature.read(loader, part, too_large)
        layout = signature.layout(loader, part, electronic.flash_size, too_large)
        size = layout.reach(electronic.flash_size)
        if size < electronic.flash_size:
            self._log(f"two banks that lie apart: {size} bytes are handled, the second bank is left alone")
        self._part, self._sectors = part, layout.sectors(electronic.flash_size)
        return Identity(
            chip=part.name,
            revision=loader.abilities.version_text,
            serial=electronic.uid,
            flash_size=size,
            flash_base=FLASH_BASE,
        )

    def _look_at_start(self, loader: Loader, part: Part) -> None:
        """A protected chip answers who it is, and refuses to read (AN3155, 3.4): found before anything is begun."""
        try:
            self._was_blank |= _is_blank(loader, part)
        except Refused as refused:
            if not refused.at_command:
                raise
            loader.product_id()  # which a protected chip tells; one that is out of step refuses everything
            raise protected() from refused

    def digest(self, region: Region) -> str:
        raise DeviceError(f"the boot loader can not hash {region.size} bytes; `can_hash` is not declared")

    def read(self, region: Region, progress: Progress) -> bytes:
        with self._translated(f"read {region.size} bytes at {region.address:#x}"):
            pieces: list[bytes] = []
            for piece in _pieces(region):
                pieces.append(self._read_piece(piece))
                progress(piece.end - region.address, region.size)
            return b"".join(pieces)

    def _read_piece(self, piece: Region) -> bytes:
        read = self._loader.read_surely if self._options.read_twice else self._loader.read
        return read(piece.address, piece.size)

    def holds(self, segment: Segment) -> bool:
        with self._translated(f"compare {len(segment.data)} bytes at {segment.address:#x}"):
            return all(self._holds(piece, segment) for piece in _pieces(segment.region))

    def _holds(self, piece: Region, segment: Segment) -> bool:
        offset = piece.address - segment.address
        return self._loader.holds(piece.address, segment.data[offset : offset + piece.size])

    def installed_version(self, address: int) -> str | None:  # noqa: ARG002
        """No convention says where STM32 firmware keeps its version."""
        return None

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        size = sum(len(segment.data) for segment in segments)
        with self._translated(f"write {size} bytes"):
            loader = self._loader
            write_segments(loader, self._known_part, self._sectors, segments, progress, self._log, self._held)

    def reset(self) -> None:
        with self._translated("reset"):
            loader = self._connected
            if loader is not None and not self._adapter.chooses_program:
                self._start_by_command(loader)
            elif not self._adapter.chooses_program:
                self._restart_by_hand()
            elif loader is not None and self._may_be_taken_for_blank(loader):
                self._reset_what_was_blank()
            else:
                self._reset_by_lines()
            self._connected = None

    def _may_be_taken_for_blank(self, loader: Loader) -> bool:
        """Some parts look only at power-on whether the flash is empty, and go on into the boot loader with every reset
        if it was then (RM0444, 3.7.1 EMPTY; RM0360, 2.5; RM0394, 2.6 PEMPTY).
        """
        part = self._known_part
        return part.checks_empty and self._was_blank and not _is_blank(loader, part)

    def _reset_what_was_blank(self) -> None:
        """By the lines, as always, where that starts the application: some boot loaders have made the chip look again
        (AN2606, G07x, V11.3). GO is for the others: firmware that does not set VTOR does not survive it.
        """
        self._reset_by_lines()
        loader = self._loader_on(self._adapter.for_loader(self._flash_baud))
        if self._answers(loader):
            self._start_by_command(loader)
        else:
            self._reset_by_lines()

    def _reset_by_lines(self) -> None:
        port = self._adapter.for_console()  # first, so that nothing of the boot output is lost
        port.reset_input_buffer()
        self._adapter.reset(into_loader=False)

    def _start_by_command(self, loader: Loader) -> None:
        """GO leaves BOOT0 out of it, which may be on a jumper; unlike a reset it leaves peripherals as they are.

        The parity goes before the last byte, so that a slow adapter loses nothing of the boot output: that byte, 0x08,
        and the ACK have an odd number of ones, so that their even parity bit looks as a stop bit does.
        """
        if self._may_be_taken_for_blank(loader):
            self._log("the chip was blank: power it off and on once, or resets may lead into its boot loader")
        loader.go(FLASH_BASE, lambda: self._adapter.without_parity(self._flash_baud))
        self._adapter.for_console()
        self._adapter.set_boot0(high=False)

    def _restart_by_hand(self) -> None:
        if self._adapter.can_reset:
            self._reset_by_lines()
            return
        self._log("no line resets this board: set BOOT0 to 0 and press RESET, unless opening its port has reset it")
        self._adapter.reopen()
        self._adapter.for_console()

    def confirm(self) -> None:
        """There is no probation: what is in flash is what runs."""

    def revert(self, version: str | None) -> bool:  # noqa: ARG002
        return False

    def read_console(self, timeout_s: float) -> bytes:
        with self._translated("read the console"):
            port = self._adapter.for_console()
            port.timeout = timeout_s
            first = bytes(port.read(1))
            return first + bytes(port.read(port.in_waiting)) if first else b""

    def write_console(self, data: bytes) -> None:
        with self._translated("write to the console"):
            self._adapter.for_console().write(data)

    def slow_down(self) -> bool:
        lower = [rate for rate in _RATES if rate < self._flash_baud]
        if lower:
            self._flash_baud = lower[0]
        return bool(lower)

    def close(self) -> None:
        self._connected = None
        self._adapter.close()

    @property
    def _loader(self) -> Loader:
        if self._connected is None:
            raise ConnectionLost("the session has no boot loader to talk to; connect first")
        if self._held:  # after a write that was cut short, and before anything is compared or written
            put_back(self._connected, self._known_part, self._held)
        return self._connected

    @property
    def _known_part(self) -> Part:
        assert self._part is not None, "a loader is only there with its part"
        return self._part

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        """The port goes with an error: a lost line leaves it open and dead."""
        return translated(translate, doing, failed=self.close, cut_short=self._forget)

    def _forget(self) -> None:
        self._connected = None


def _is_blank(loader: Loader, part: Part) -> bool:
    """Whether the flash has nothing in the place of a stack pointer."""
    return loader.read(FLASH_BASE, 4) == bytes([part.cells.erased]) * 4


def _pieces(region: Region) -> Iterator[Region]:
    """What one command reads each, on the grid of its size."""
    at = region.address
    while at < region.end:
        size = min(MAX_BLOCK - at % MAX_BLOCK, region.end - at)
        yield Region(at, size)
        at += size
