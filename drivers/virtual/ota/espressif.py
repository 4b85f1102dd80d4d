"""An Espressif board that updates itself: its two firmwares, and which of them its boot loader starts.

ESP32 family: two OTA partitions. ESP-IDF's boot loader starts the one that the OTA data name, and the other where that
one is no whole image (`bootloader_utility.c`). With CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE, an application that resets
before it has marked itself good is never started again.
ESP8266: the new firmware waits behind the running one; at the next reset `eboot` copies it over that one, and there is
no way back (Arduino core, `bootloaders/eboot/eboot.c`).
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from abc import ABC
from dataclasses import dataclass

from drivers.virtual.esp import boot_rom, efuse, firmware, second_stage, virtual_app
from drivers.virtual.esp.chips import CHIPS, ESP8266, Chip
from drivers.virtual.esp.image import (
    DESCRIPTION_SIZE,
    IMAGE_MAGIC,
    Description,
    Header,
    Read,
    Segment,
    parse_description,
    read_header,
    read_sums,
)
from drivers.virtual.esp.partitions import APP, FACTORY, TABLE_AT, TABLE_SIZE, Partition, make_table
from drivers.virtual.esp.virtual_app import Behaviour
from drivers.virtual.flash import SECTOR
from drivers.virtual.folder import BoardFolder
from drivers.virtual.ota.device import NetworkBoard
from drivers.virtual.ota.slots import Slots
from drivers.virtual.spec import BoardSpec

_APP_AT = 0x10000
_16_MB = 0x40  # in an image header's byte of flash size and speed
_ALIGNMENT = 0x10000
_USUAL_SLOT = 0x140000
_FACTORY_VERSION = "0.0.0"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Running:
    """The firmware that runs."""

    slot: int
    description: Description | None  # None where it does not describe itself
    md5: str  # of the whole image; empty where the chip does not tell


def slot_size(spec: BoardSpec) -> int:
    """Bytes for one firmware: of 4 MB flash 0x140000, as in arduino-esp32's default.csv. What a spec says is that."""
    return -(-(spec.flash_size or _USUAL_SLOT) // _ALIGNMENT) * _ALIGNMENT


class EspressifBoard(NetworkBoard, ABC):
    """A board with one of the chips. `auto_rollback`: its boot loader goes back from firmware that does not come up."""

    def __init__(self, spec: BoardSpec, folder: BoardFolder, chip: str, *, auto_rollback: bool) -> None:
        super().__init__(spec)
        self.chip = CHIPS[chip]
        self.mac = efuse.derive_mac(spec.board_id) if spec.mac is None else efuse.parse_mac(spec.mac)
        self._auto_rollback = auto_rollback
        self.slots = Slots(folder, slot_size(spec), self._generic, self.pace, keep=spec.keep)
        self.running: Running | None = None

    def _generic(self) -> bytes:
        return firmware.build_app(self.chip.name, firmware.FACTORY_PROJECT, _FACTORY_VERSION)

    @property
    def version(self) -> str:
        """That of the running firmware; empty where it has none."""
        return self.running.description.version if self.running and self.running.description else ""

    @property
    def project(self) -> str:
        """The running firmware's name."""
        return self.running.description.project if self.running and self.running.description else ""

    @property
    def spare(self) -> int:
        """The slot that an update is written to."""
        return 1 - self._selected

    @property
    def _selected(self) -> int:
        return 0 if self.chip is ESP8266 else int(bool(self.slots.record().get("boot", 0)))

    def activate(self) -> str | None:
        """Let the spare slot be started at the next reset; why not, where the chip refuses it."""
        slot = self.spare
        if self.chip is ESP8266:
            self.slots.set_record({"copy": True})
            return None
        if _segments(self.chip, self.slots, slot) is None:  # esp_ota_set_boot_partition verifies the image
            return "not a whole image"
        self.slots.set_record({"boot": slot, "pending": self._auto_rollback})
        return None

    def boot(self) -> bool:
        record = self.slots.record()
        if record.get("copy"):
            self.slots.put(0, _unpacked(self.slots.read(1)))
            self.slots.set_record({})
        if record.get("tried"):  # it has reset before it marked itself good
            self.slots.set_record({"boot": self.spare})
        self.running = self._start(self._selected) or (self._start(self.spare) if self.chip is not ESP8266 else None)
        if self.running is None:
            return False
        if not self._stays_up(self.running):
            self._failed()
            return False
        if self.slots.record().get("pending"):
            self.slots.set_record({"boot": self.running.slot})  # the application marks itself good at its start
        return True

    def _failed(self) -> None:
        record = self.slots.record()
        if record.get("pending"):
            self.slots.set_record({**record, "pending": False, "tried": True})
        self.running = None

    def _start(self, slot: int) -> Running | None:
        segments = _segments(self.chip, self.slots, slot)
        if segments is None:
            return None
        heads = (self._head(slot, segment) for segment in segments)
        return Running(slot, next(filter(None, map(parse_description, heads)), None), self._md5(slot, segments))

    def _md5(self, slot: int, segments: tuple[Segment, ...]) -> str:
        if self.chip is ESP8266:
            return ""
        read = _read(self.chip, self.slots, slot)
        header = read_header(read, _APP_AT, extended=True)
        sums = read_sums(read, _APP_AT, list(segments), hash_appended=header.hash_appended)
        return hashlib.md5(read(_APP_AT, sums.end - _APP_AT)).hexdigest()

    def _head(self, slot: int, segment: Segment) -> bytes:
        return _read(self.chip, self.slots, slot)(segment.at, min(segment.size, DESCRIPTION_SIZE + virtual_app.SIZE))

    def _stays_up(self, running: Running) -> bool:
        if running.description is None:
            return True
        segments = _segments(self.chip, self.slots, running.slot) or ()
        read = _read(self.chip, self.slots, running.slot)
        for segment in segments:
            head = self._head(running.slot, segment)
            if parse_description(head):
                app = virtual_app.parse(head[DESCRIPTION_SIZE:])
                return (
                    app.behaviour is Behaviour.RUN
                    and app.has_its_code(read)
                    and not self.faults.panics(running.description.version)
                )
        return True

    def close(self) -> None:
        super().close()
        self.slots.close()


def _unpacked(contents: bytes) -> bytes:
    """As eboot copies it; what is no whole gzip file leaves what came out of it before."""
    if not contents.startswith(_GZIP):
        return contents
    unpacker = zlib.decompressobj(wbits=31)
    pieces: list[bytes] = []
    with contextlib.suppress(zlib.error):
        for at in range(0, len(contents), SECTOR):
            pieces.append(unpacker.decompress(contents[at : at + SECTOR], len(contents)))
            if unpacker.eof:
                break
    return b"".join(pieces)


def _read(chip: Chip, slots: Slots, slot: int) -> Read:
    """Flash as the boot loader sees it: the slot as the only application."""
    if chip is ESP8266:
        return lambda at, size: slots.read(slot, at, size)
    table = make_table([Partition(APP, FACTORY, _APP_AT, slots.size, "app")])

    def read(at: int, size: int) -> bytes:
        if TABLE_AT <= at < TABLE_AT + TABLE_SIZE:
            return table[at - TABLE_AT : at - TABLE_AT + size]
        return slots.read(slot, at - _APP_AT, size)

    return read


def _segments(chip: Chip, slots: Slots, slot: int) -> tuple[Segment, ...] | None:
    """Those of the slot's firmware, None where the boot loader does not start it."""
    read = _read(chip, slots, slot)
    if chip is ESP8266:
        started = boot_rom.boot(chip, read)
        return started.segments if started.started else None
    own = Header(IMAGE_MAGIC, 0, 0, _16_MB, 0, 0, hash_appended=False, size=0)
    loaded = second_stage.boot(chip, read, own, second_stage.IdfLog())
    return loaded.segments if loaded else None
