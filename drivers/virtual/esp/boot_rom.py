"""What the mask ROM does and prints when it boots from flash. Pure: flash in, log and outcome out.

Sources: logs of real boards with these ROMs; ESP-IDF documentation, "Boot Mode Selection" and "Fatal Errors"; ESP8266
wiki, "Boot Process". The ESP32's ROM (ECO3, 2019) prints line numbers of its own source, e.g. "ets_main.c 384".
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.virtual.esp.chips import ESP32, ESP8266, Chip, Ram, Reason
from drivers.virtual.esp.image import (
    IMAGE_MAGIC,
    MAX_SEGMENT_SIZE,
    MAX_SEGMENTS,
    Header,
    Read,
    Segment,
    read_header,
    read_segment,
    read_sums,
)

_INVALID_HEADER_LINES = 8  # that the ESP32 prints until its watchdog ends it
_MODES = {0: "QIO", 1: "QOUT", 2: "DIO", 3: "DOUT"}
_CLOCK_DIVIDERS = {0x0: 2, 0x1: 3, 0x2: 4, 0xF: 1}


@dataclass(frozen=True)
class RomBoot:
    """The ROM's log, and the image that it started; without one, the watchdog will reset the chip."""

    log: str
    header: Header | None = None
    segments: tuple[Segment, ...] = ()

    @property
    def started(self) -> bool:
        """Whether the ROM jumped to the image."""
        return self.header is not None


def greeting(chip: Chip, reason: Reason, *, loader: bool) -> str:
    """What each start of the ROM begins with, in the loader or not."""
    mode = chip.boot_mode_loader if loader else chip.boot_mode_app
    reset = chip.resets[reason]
    if chip is ESP8266:
        watchdog = "wdt reset\r\n" if reason is Reason.WATCHDOG else ""
        return f"\r\n {chip.rom_banner},{reset}, {mode}\r\n\r\n{watchdog}"
    waiting = "waiting for download\r\n" if loader else ""
    gap = "\r\n\r\n" if chip is ESP32 else "\r\n"
    return f"{chip.rom_banner}{gap}{reset},{mode}\r\n{waiting}"


def boot(chip: Chip, read: Read) -> RomBoot:
    """Load the image at the chip's boot offset."""
    return _boot_8266(read) if chip is ESP8266 else _boot_esp32(chip, read)


def _boot_esp32(chip: Chip, read: Read) -> RomBoot:
    header = read_header(read, chip.boot_offset, extended=True)
    if header.magic != IMAGE_MAGIC or not 0 < header.segments <= MAX_SEGMENTS:
        word = int.from_bytes(read(chip.boot_offset, 4), "little")
        return RomBoot(f"invalid header: 0x{word:08x}\r\n" * _INVALID_HEADER_LINES)
    log = _spi_lines(chip, header, read(chip.boot_offset + 8, 1)[0])
    segments: list[Segment] = []
    at = chip.boot_offset + header.size
    for _ in range(header.segments):
        segment = read_segment(read, at)
        length = str(segment.size) if chip is ESP32 else f"{segment.size:#x}"
        log += f"load:0x{segment.load_address:08x},len:{length}\r\n"
        if not _loadable(segment, chip.ram):
            return RomBoot(log)  # the ROM copies to where no memory is, and takes an exception
        segments.append(segment)
        at = segment.at + segment.size
    sums = read_sums(read, chip.boot_offset, segments, hash_appended=header.hash_appended)
    if sums.stored != sums.computed:
        place = "ets_main.c 384" if chip is ESP32 else "ets_loader.c 78"
        return RomBoot(f"{log}csum err:0x{sums.stored:02x}!=0x{sums.computed:02x}\r\n{place} \r\n")
    if chip is not ESP32 and sums.stored_digest and sums.computed_digest and sums.stored_digest != sums.computed_digest:
        log += (
            f"SHA-256 comparison failed:\r\nCalculated: {sums.computed_digest.hex()}\r\n"
            f"Expected: {sums.stored_digest.hex()}\r\nAttempting to boot anyway...\r\n"
        )
    return RomBoot(f"{log}entry 0x{header.entry:08x}\r\n", header, tuple(segments))


def _spi_lines(chip: Chip, header: Header, wp_pin: int) -> str:
    mode = _MODES.get(header.flash_mode, "SLOW READ")
    divider = _CLOCK_DIVIDERS.get(header.flash_size_and_speed & 0xF, 2)
    if chip is ESP32:
        return (
            f"configsip: 0, SPIWP:0x{wp_pin:02x}\r\n"
            "clk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00\r\n"
            f"mode:{mode}, clock div:{divider}\r\n"
        )
    return f"SPIWP:0x{wp_pin:02x}\r\nmode:{mode}, clock div:{divider}\r\n"


def _loadable(segment: Segment, ram: tuple[Ram, ...]) -> bool:
    if segment.size > MAX_SEGMENT_SIZE:
        return False
    end = segment.load_address + segment.size
    return any(part.start <= segment.load_address and end <= part.end for part in ram)


def _boot_8266(read: Read) -> RomBoot:
    header = read_header(read, 0, extended=False)
    if header.magic != IMAGE_MAGIC or not 0 < header.segments <= MAX_SEGMENTS:
        return RomBoot("flash read err, ets_unpack_flash_code\r\nets_main.c \r\n")
    log = ""
    segments: list[Segment] = []
    at, sum_so_far, tail = header.size, 0xEF, 0
    for number in range(header.segments):
        segment = read_segment(read, at)
        room = 16 if number == 0 else 16 - (tail + 8) % 16
        tail = (segment.size - room) % 16
        log += f"load 0x{segment.load_address:08x}, len {segment.size}, room {room} \r\ntail {tail}\r\n"
        if not _loadable(segment, ESP8266.ram):
            return RomBoot(log)
        segments.append(segment)
        sum_so_far = read_sums(read, 0, segments, hash_appended=False).computed
        log += f"chksum 0x{sum_so_far:02x}\r\n"
        at = segment.at + segment.size
    sums = read_sums(read, 0, segments, hash_appended=False)
    log += f"csum 0x{sums.stored:02x}\r\n"
    if sums.stored != sums.computed:
        return RomBoot(log + "csum err\r\nets_main.c \r\n")
    return RomBoot(log, header, tuple(segments))
