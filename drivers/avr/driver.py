"""Arduinos with an AVR, through avrdude: their boot loader writes and reads the flash, one run of avrdude for each.

Sources: avrdude 7.1's manual and source; Optiboot 4.4 and 8.3, `stk500boot.c` and `Caterina.c` of Arduino's AVR core
(what each boot loader does with a command, and where it is wrong). What the driver adds to avrdude: the port stays
ours (that of a board with USB of its own can not: `cdc`), nothing that touches the boot section reaches the board,
what is read is read twice where the protocol has no checksums, and errors come in the drivers' categories. Fuses, lock
bits and EEPROM are neither written nor saved: most of these boot loaders answer 0x00 for the former, and take the
latter for flash.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from drivers.avr import avrdude
from drivers.avr import errors as avr_errors
from drivers.avr import files as avr_files
from drivers.avr import parts as avr_parts
from drivers.avr import wake as avr_wake
from drivers.avr.avrdude import AvrdudeFailed, Job, NoSync, Output
from drivers.avr.bridge import Bridge
from drivers.avr.cdc import CdcPort
from drivers.avr.parts import Part, Programmer
from drivers.avr.port import BoardPort, ResetByLine
from drivers.avr.wake import Wake
from drivers.base import (
    BadImage,
    Capabilities,
    ConnectionLost,
    DeviceError,
    Identity,
    ImageFacts,
    Interface,
    Link,
    Log,
    Options,
    Progress,
    Region,
    Segment,
    TypeDefaults,
    VerificationFailed,
    WrongBoard,
)
from drivers.translation import translated

_TRIES = 3  # to reach the boot loader, for each run: nothing has been done to the board before it answers
_PORT_PATIENCE_S = 6.0  # for a USB port that is about to come

_WAKE: dict[Programmer, Wake] = {
    Programmer.ARDUINO: avr_wake.stk500v1,
    Programmer.WIRING: avr_wake.stk500v2,
    Programmer.AVR109: avr_wake.avr109,
}


class AvrOptions(Options):
    """What may stand under `options` of a device type `arduino`."""

    programmer: Programmer | None = Field(
        default=None, description="avrdude's -c, where the board has another boot loader than usual."
    )
    boot_size: int | None = Field(
        default=None, ge=512, le=0x2000, multiple_of=512, description="Bytes of the boot section, as the fuses set it."
    )


def _nothing(_done: int, _total: int) -> None:
    """A progress that nobody follows."""


class AvrSession:
    """One board's port. See `drivers.base.Session` for the contract."""

    def __init__(self, link: Link, part: Part, port: BoardPort, log: Log) -> None:
        self._link = link
        self._part = part
        self._port = port
        self._log = log
        self._connected = False
        self._flash: bytes | None = None  # all of it, as it was read last; each run of avrdude resets the board
        self._starts = False  # whether the application starts after the last run, with nothing said to it yet

    @property
    def flash_baudrate(self) -> int:
        return self._link.flash_baudrate

    def connect(self) -> Identity:
        with self._translated("connect"):
            self._forget()
            if self._is_usb:
                self._flash = self._read_flash("identify", _nothing)  # at once: each run costs a touch and two starts
            else:
                self._avrdude("identify", Job())
            self._connected = True
            return self._part.identity

    def digest(self, region: Region) -> str:
        raise DeviceError(f"an AVR's boot loader can not hash its flash ({region.size} bytes at {region.address:#x})")

    def read(self, region: Region, progress: Progress) -> bytes:
        with self._translated(f"read {region.size} bytes at {region.address:#x}"):
            if region.address < 0 or region.end > self._part.flash_size:
                raise DeviceError(f"the flash ends at {self._part.flash_size:#x}, not at {region.end:#x}")
            flash = self._whole_flash(progress)
            progress(region.size, region.size)
            return flash[region.address : region.end]

    def _whole_flash(self, progress: Progress) -> bytes:
        """avrdude reads all or nothing."""
        self._need_connection()
        if self._flash is None:
            self._flash = self._read_flash("read the flash", progress)
        return self._flash

    def _read_flash(self, doing: str, progress: Progress) -> bytes:
        """Twice where a flipped bit would go unnoticed: STK500v1 and AVR109 have no checksums."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "flash.bin")
            operations = [f"flash:r:{file}:r"]
            if self._part.programmer is not Programmer.WIRING:
                operations.append(f"flash:v:{file}:r")
            self._avrdude(doing, self._job(operations, self._part.flash_size, len(operations)), progress)
            return self._whole(file)

    def _whole(self, file: Path) -> bytes:
        flash = file.read_bytes()
        if len(flash) != self._part.flash_size:
            raise VerificationFailed(f"avrdude read {len(flash)} bytes of {self._part.flash_size}")
        return flash

    def holds(self, segment: Segment) -> bool:
        with self._translated(f"compare {len(segment.data)} bytes at {segment.address:#x}"):
            self._need_connection()
            if segment.region.end > self._part.flash_size:
                return False
            if self._flash is not None:
                return self._flash[segment.address : segment.region.end] == segment.data
            with self._hex_file({segment.address: segment.data}) as file:
                return self._is_verified(self._job([f"flash:v:{file}:i"], len(segment.data), 1))

    def _is_verified(self, job: Job) -> bool:
        try:
            self._avrdude("compare", job)
        except VerificationFailed:
            return False
        return True

    def installed_version(self, address: int) -> str | None:  # noqa: ARG002
        """Nothing in an AVR's flash says its version in a way that all firmware follows."""
        return None

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        total = sum(len(segment.data) for segment in segments)
        with self._translated(f"write {total} bytes"):
            self._need_connection()
            for segment in segments:
                self._refuse_outside(segment)
            pages = avr_files.pages(segments, self._part.page_size)
            if self._part.programmer is Programmer.WIRING:
                pages = self._in_sequence(pages)
            self._flash = None
            if self._is_usb:
                self._flash = self._write_in_safe_order(pages, total, progress)
                return
            with self._hex_file(pages) as file:
                # Two bars: avrdude verifies what it wrote.
                job = self._job([f"flash:w:{file}:i"], sum(map(len, pages.values())), 2)
                self._avrdude("write", replace(job, total=total), progress)

    def _write_in_safe_order(self, pages: Mapping[int, bytes], total: int, progress: Progress) -> bytes:
        """One run that writes, verifies each part before it begins the next, and reads all of the flash at its end."""
        parts = avr_files.in_safe_order(pages, self._part.page_size)
        with ExitStack() as stack:
            files = [stack.enter_context(self._hex_file(part)) for part in parts]
            flash = Path(stack.enter_context(tempfile.TemporaryDirectory()), "flash.bin")
            operations = [*(f"flash:w:{file}:i" for file in files), f"flash:r:{flash}:r"]
            size = sum(map(len, pages.values())) + self._part.flash_size
            job = replace(self._job(operations, size, 2), bars=2 * len(files) + 1, total=total)
            self._avrdude("write", job, progress)
            return self._whole(flash)

    def _refuse_outside(self, segment: Segment) -> None:
        """Before avrdude sees it: 7.1 takes 33,000 raw bytes for a flash of 32 KiB, and the boot loader is gone."""
        end = self._part.identity.writable.end
        if segment.address < 0 or segment.region.end > end:
            raise BadImage(
                f"{segment.name or 'the image'} ends at {segment.region.end:#x}; the boot loader of this "
                f"{self._part.chip} begins at {end:#x} and must not be written"
            )

    def _in_sequence(self, pages: dict[int, bytes]) -> dict[int, bytes]:
        """All pages from 0 on. The Mega's boot loader erases page after page from 0, one for each page that it is sent,
        wherever that one goes (`eraseAddress` in stk500boot.c): a write that begins elsewhere erases the reset vector.
        """
        flash = self._whole_flash(_nothing)
        stop = self._part.never_erased_from
        changed = [at for at, page in pages.items() if flash[at : at + len(page)] != page]
        if stop is not None and changed and max(changed) >= stop:
            raise BadImage(
                f"the flash from {stop:#x} on would change, where this board's boot loader never erases",
                advice=f"Nothing was written. Keep the firmware below {stop} bytes, or use an ISP programmer.",
            )
        return avr_files.without_gaps(pages, flash, self._part.page_size)

    def reset(self) -> None:
        with self._translated("reset"):
            self._forget()
            if self._is_usb and not self._starts:
                self._avrdude("reset", Job())
            self._starts = False
            self._port.start_application(self._link.baudrate)

    def confirm(self) -> None:
        """There is no probation: what is in flash is what runs."""

    def revert(self, version: str | None) -> bool:  # noqa: ARG002
        return False

    def read_console(self, timeout_s: float) -> bytes:
        with self._translated("read the console"):
            deadline = time.monotonic() + timeout_s
            self._port.open(self._link.baudrate)
            said = self._port.hear()
            while not said and time.monotonic() < deadline:
                self._port.open(self._link.baudrate)
                said = self._port.hear()
            return said

    def write_console(self, data: bytes) -> None:
        with self._translated("write to the console"):
            self._port.open(self._link.baudrate)
            self._port.write(data)

    def slow_down(self) -> bool:
        """A boot loader has one rate, built in."""
        return False

    def close(self) -> None:
        self._forget()
        self._port.close()

    @property
    def _is_usb(self) -> bool:
        """Whether the chip itself is on USB. Then each run of avrdude begins with a touch, ends in the application."""
        return self._part.programmer is Programmer.AVR109

    def _need_connection(self) -> None:
        if not self._connected:
            raise ConnectionLost("the session has not identified the board; connect first")

    def _job(self, operations: Sequence[str], size: int, passes: int) -> Job:
        return Job(operations, bars=passes, silence_s=self._link.read_timeout_s, total=size)

    def _avrdude(self, doing: str, job: Job, progress: Progress = _nothing) -> None:
        """One run, with the board reset into its boot loader; again where that did not answer at all."""
        give_up = time.monotonic() + self._link.connect_timeout_s
        for _ in range(_TRIES):
            try:
                return self._run_once(job, progress)
            except NoSync as error:
                silent = error
            except AvrdudeFailed as error:
                raise self._failure(error.output, doing) from error
            if time.monotonic() > give_up:
                break
            self._log("the boot loader does not answer")
        raise self._unanswered(silent.output, doing) from silent

    def _unanswered(self, output: str, doing: str) -> DeviceError:
        """avrdude's "timeout" alone tells nobody what to look at."""
        error = self._failure(output, doing)
        if type(error) is not ConnectionLost:
            return error
        return ConnectionLost(f"the boot loader does not answer: {error.message}", advice=avr_wake.ADVICE)

    def _failure(self, output: str, doing: str) -> DeviceError:
        error = avr_errors.from_output(output, doing)
        found = avr_errors.signature(output)
        return self._wrong(found) if isinstance(error, WrongBoard) and found is not None else error

    def _wrong(self, found: str) -> WrongBoard:
        part = avr_parts.by_signature(found)
        return WrongBoard(
            f"the chip's signature is {found} ({part.chip if part else 'unknown'}), "
            f"that of an {self._part.chip} is {self._part.signature}"
        )

    def _run_once(self, job: Job, progress: Progress) -> None:
        self._starts = False
        self._port.enter_loader(self._link.flash_baudrate)
        output = Output(job, self._log, progress)
        try:
            with Bridge(self._port, _WAKE[self._part.programmer]) as bridge:
                command = job.arguments(self._part, self._part.programmer, bridge.path, self._link.flash_baudrate)
                avrdude.run(command, bridge, job, output)
        finally:
            if output.is_ready and output.is_done:  # it ends the boot loader after a failed verification, too
                self._port.left_loader()
        self._starts = True
        found = avr_errors.signature(output.text)
        if found not in (None, self._part.signature):  # as whoever has changed its avrdude.conf wants it
            raise self._wrong(found)

    @contextmanager
    def _hex_file(self, contents: Mapping[int, bytes]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "image.hex")
            file.write_text(avr_files.as_intel_hex(contents))
            yield file

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated(avr_errors.from_exception, doing, failed=self.close, cut_short=self._forget)

    def _forget(self) -> None:
        self._connected, self._flash = False, None


_CAPABILITIES = Capabilities(can_read_back=True, can_hash=False, can_reset=True, has_serial=False)
# The size is the Mega's; each part's limit is where its boot section begins, checked against the board that answers.
_DEFAULTS = TypeDefaults(flash_address=0, max_firmware_size=253952, flash_baudrate=115200, rate_is_fixed=True)


@dataclass(frozen=True)
class AvrDriver:
    """The family; its parts differ only in data (`avr_parts`)."""

    device_type: str = "arduino"
    interface: Interface = Interface.SERIAL
    capabilities: Capabilities = _CAPABILITIES
    defaults: TypeDefaults = _DEFAULTS
    options: type[Options] = AvrOptions
    erase_block: int = 256  # the largest page of the family
    hash_block: int = 512  # the smallest boot section: blocks end where it begins

    def open(self, link: Link, log: Log) -> AvrSession:
        part = _part(link.chip, link.options, link.flash_baudrate)
        port: BoardPort = ResetByLine(link.port)
        if part.programmer is Programmer.AVR109:
            port = CdcPort(link.port, log, _PORT_PATIENCE_S)
        return AvrSession(link, part, port, log)

    def parse(self, name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
        return avr_files.parse(name, data, address)

    def inspect(self, segments: Sequence[Segment]) -> ImageFacts:
        avr_files.inspect(segments)
        return ImageFacts()

    def matches(self, wanted: str, identity: Identity) -> bool:
        part = avr_parts.find(wanted)
        return part is not None and part.chip == identity.chip

    def room(self, chip: str, options: Options) -> Region:
        return _part(chip, options).identity.writable

    def reported_version(self, console: str) -> str | None:  # noqa: ARG002
        """AVRs have no convention for it: the harness looks for the batch's version in what they print."""
        return None

    def boot_failure(self, console: str) -> str | None:  # noqa: ARG002
        """Nor for a firmware that does not run."""
        return None


def _part(chip: str, said: Options, baud: int | None = None) -> Part:
    """`baud`: the boot loader's rate, where it is known."""
    part = avr_parts.find(chip)
    if part is None:
        raise DeviceError(
            f"no Arduino's chip is called {chip!r}",
            advice=f"Name it under `chip`, as one of {', '.join(avr_parts.names())}.",
        )
    options = said if isinstance(said, AvrOptions) else AvrOptions()
    if options.boot_size is not None:
        if options.boot_size not in part.boot_sizes:
            sizes = ", ".join(map(str, part.boot_sizes))
            raise DeviceError(
                f"an {part.chip} has no boot section of {options.boot_size} bytes", advice=f"Its fuses know {sizes}."
            )
        part = replace(part, boot_size=options.boot_size)
    elif baud is not None:
        part = part.at_rate(baud)
    if options.programmer is not None:
        part = replace(part, programmer=options.programmer)
    return part


ARDUINO = AvrDriver()

__all__ = ["ARDUINO", "AvrDriver", "AvrOptions", "AvrSession"]
