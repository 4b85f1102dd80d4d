"""USB ids of serial ports and boot loaders: data, each with its source. Bridges are no boards.

Sources:
    AVR       arduino-core-avr 1.8.7, boards.txt (`vid.N`, `pid.N`)
    PIO       platformio-core, scripts/99-platformio-udev.rules
    OPENOCD   openocd 0.12, contrib/60-openocd.rules
    STLINK    stlink 1.7, config/udev/rules.d/49-stlinkv2-1.rules and 49-stlinkv3.rules
    LINUX     Linux, drivers/usb/serial: cp210x.c, ch341.c, ftdi_sio_ids.h, pl2303.h
    WCH       WCH's ch343ser_linux, driver/ch343.c
    RPI       raspberrypi/usb-pid, Readme.md
    SDK       pico-sdk, src/rp2_common/pico_stdio_usb/stdio_usb_descriptors.c
    MPY       micropython, ports/rp2/mpconfigport.h
    CPY       circuitpython, ports/raspberrypi/boards/*/mpconfigboard.mk
    APICO     arduino-pico, tools/json/rpipico2.json
    DFU       dfu-util 0.11, 60-dfu-util.rules
    ESPTOOL   esptool 5.6, loader.py (`uses_usb_otg`: in its boot loader a chip's product id is its chip id)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

ESP_WITH_JTAG = ("esp32c3", "esp32s3", "esp32c6", "esp32h2", "esp32c5", "esp32p4")
"""Espressif's chips with a USB-Serial/JTAG port of their own."""
ESP = ("esp32", "esp8266", *ESP_WITH_JTAG, "esp32s2", "esp32c2")
BEHIND_BRIDGES = (*ESP, "arduino", "stm32")
"""Families that are sold with a USB bridge, or wired to one; the likeliest first."""


class Kind(Enum):
    BRIDGE = auto()
    """A USB-to-serial chip, on a devkit or a cable: says nothing of the board behind it."""
    DEBUGGER = auto()
    """A debug adapter with serial ports, on a board of its maker's or on a cable: one board is behind all of them."""
    BOARD = auto()
    """The board itself, or a chip that its maker has given the board's name."""


@dataclass(frozen=True)
class UsbId:
    """What a VID:PID says. `types` are device types that it may be, () where no driver is known to reach it so."""

    vid: int
    pid: int
    name: str
    kind: Kind
    types: tuple[str, ...]
    source: str
    remark: str = ""
    chip: str = ""  # as `expected.chip` names it, where the device type has several

    @property
    def certain(self) -> bool:
        """Whether it names exactly one device type."""
        return self.kind is Kind.BOARD and len(self.types) == 1


def _bridges() -> Iterator[UsbId]:
    for vid, pid, name, source in (
        (0x10C4, 0xEA60, "Silicon Labs CP210x bridge", "PIO, LINUX"),
        (0x10C4, 0xEA70, "Silicon Labs CP2105 bridge", "LINUX"),
        (0x10C4, 0xEA71, "Silicon Labs CP2108 bridge", "LINUX"),
        (0x1A86, 0x7523, "WCH CH340 bridge", "PIO, LINUX"),
        (0x1A86, 0x7522, "WCH CH340K bridge", "LINUX"),
        (0x1A86, 0x5523, "WCH CH341 bridge", "LINUX"),
        (0x1A86, 0x55D3, "WCH CH343 bridge", "WCH"),
        (0x1A86, 0x55D4, "WCH CH9102 bridge", "WCH"),
        (0x0403, 0x6001, "FTDI FT232R bridge", "PIO, OPENOCD, LINUX"),
        (0x0403, 0x6010, "FTDI FT2232 bridge", "PIO, OPENOCD, LINUX"),
        (0x0403, 0x6011, "FTDI FT4232 bridge", "PIO, OPENOCD, LINUX"),
        (0x0403, 0x6014, "FTDI FT232H bridge", "PIO, OPENOCD, LINUX"),
        (0x0403, 0x6015, "FTDI FT-X bridge", "OPENOCD, LINUX"),
        (0x067B, 0x2303, "Prolific PL2303 bridge", "PIO, LINUX"),
    ):
        yield UsbId(vid, pid, name, Kind.BRIDGE, BEHIND_BRIDGES, source)


_ARDUINO, _ARDUINO_ORG = 0x2341, 0x2A03
_LOADER = "its boot loader is another USB device, which is there for some seconds after a reset"


def _arduinos() -> Iterator[UsbId]:
    for vid, pid, name, chip in (
        (_ARDUINO, 0x0043, "Arduino Uno", "atmega328p"),
        (_ARDUINO, 0x0001, "Arduino Uno", "atmega328p"),
        (_ARDUINO_ORG, 0x0043, "Arduino Uno", "atmega328p"),
        (_ARDUINO, 0x0243, "Arduino Uno", "atmega328p"),
        (_ARDUINO, 0x006A, "Arduino Uno", "atmega328p"),
        (_ARDUINO, 0x0062, "Arduino Uno Mini", "atmega328p"),
        (_ARDUINO, 0x0010, "Arduino Mega 2560", "atmega2560"),
        (_ARDUINO, 0x0042, "Arduino Mega 2560", "atmega2560"),
        (_ARDUINO_ORG, 0x0010, "Arduino Mega 2560", "atmega2560"),
        (_ARDUINO_ORG, 0x0042, "Arduino Mega 2560", "atmega2560"),
        (_ARDUINO, 0x0210, "Arduino Mega 2560", "atmega2560"),
        (_ARDUINO, 0x0242, "Arduino Mega 2560", "atmega2560"),
        (_ARDUINO, 0x003F, "Arduino Mega ADK", "atmega2560"),
        (_ARDUINO, 0x0044, "Arduino Mega ADK", "atmega2560"),
        (_ARDUINO_ORG, 0x003F, "Arduino Mega ADK", "atmega2560"),
        (_ARDUINO_ORG, 0x0044, "Arduino Mega ADK", "atmega2560"),
    ):
        yield UsbId(vid, pid, name, Kind.BOARD, ("arduino",), "AVR", chip=chip)
    for vid, pid, name in (
        (_ARDUINO, 0x0036, "Arduino Leonardo"),
        (_ARDUINO_ORG, 0x0036, "Arduino Leonardo"),
        (_ARDUINO, 0x0037, "Arduino Micro"),
        (_ARDUINO_ORG, 0x0037, "Arduino Micro"),
        (_ARDUINO, 0x0237, "Arduino Micro"),
        (_ARDUINO, 0x0041, "Arduino Yún"),
        (_ARDUINO_ORG, 0x0041, "Arduino Yún"),
    ):
        # boards.txt lists both: the boot loader's PID, and with the highest bit set that of the running sketch
        loader = f"{name} (boot loader)"
        yield UsbId(vid, pid, loader, Kind.BOARD, ("arduino",), "AVR", _LOADER, chip="atmega32u4")
        yield UsbId(vid, pid | 0x8000, name, Kind.BOARD, ("arduino",), "AVR", _LOADER, chip="atmega32u4")


_BOOT0 = "BOOT0 must be high at a reset for its boot loader to answer"


def _st_links() -> Iterator[UsbId]:
    for pid, name, source in (
        (0x374A, "ST-Link/V2-1 serial port", "STLINK"),
        (0x374B, "ST-Link/V2-1 serial port", "PIO, OPENOCD, STLINK"),
        (0x3752, "ST-Link/V2-1 serial port", "OPENOCD, STLINK"),
        (0x374E, "STLINK-V3 serial port", "OPENOCD, STLINK"),
        (0x374F, "STLINK-V3 serial port", "OPENOCD, STLINK"),
        (0x3753, "STLINK-V3 serial ports", "OPENOCD, STLINK"),
        (0x3754, "STLINK-V3 serial port", "OPENOCD"),
    ):
        yield UsbId(0x0483, pid, name, Kind.DEBUGGER, ("stm32",), source, _BOOT0)


_PICO_APP = "its application runs: its boot drive's folder has to be named as mount_point"


def _others() -> Iterator[UsbId]:
    yield UsbId(0x303A, 0x1001, "Espressif USB-Serial/JTAG", Kind.BOARD, ESP_WITH_JTAG, "OPENOCD")
    yield UsbId(0x303A, 0x1002, "Espressif ESP-USB-Bridge", Kind.BRIDGE, ESP, "OPENOCD")
    for pid, name in ((0x0002, "esp32s2"), (0x0009, "esp32s3"), (0x0012, "esp32p4")):
        yield UsbId(0x303A, pid, f"{name} in its boot loader, USB-OTG", Kind.BOARD, (name,), "ESPTOOL")
    for pid, name, types, source in (
        (0x0005, "Raspberry Pi Pico or Pico 2, MicroPython", ("pico", "pico2"), "RPI, MPY"),
        (0x0009, "Raspberry Pi Pico 2, application", ("pico2",), "SDK"),
        (0x000A, "Raspberry Pi Pico, application", ("pico",), "RPI, SDK"),
        (0x000B, "Raspberry Pi Pico 2, CircuitPython", ("pico2",), "CPY"),  # a Pico's has 239a:80f4
        (0x000F, "Raspberry Pi Pico 2, Arduino", ("pico2",), "APICO"),  # the boot loader's id: that one has no port
    ):
        yield UsbId(0x2E8A, pid, name, Kind.BOARD, types, source, _PICO_APP)
    yield UsbId(0x239A, 0x80F4, "Raspberry Pi Pico, CircuitPython", Kind.BOARD, ("pico",), "CPY", _PICO_APP)
    yield UsbId(0x2E8A, 0x000C, "Raspberry Pi Debug Probe", Kind.BRIDGE, BEHIND_BRIDGES, "RPI")


USB_IDS: tuple[UsbId, ...] = (*_bridges(), *_arduinos(), *_st_links(), *_others())
"""Of serial ports."""

USB_LOADERS: tuple[UsbId, ...] = (
    UsbId(0x2E8A, 0x0003, "RP2040 in its boot loader", Kind.BOARD, ("pico-usb",), "RPI"),
    UsbId(0x2E8A, 0x000F, "RP2350 in its boot loader", Kind.BOARD, ("pico2-usb",), "RPI"),
    UsbId(0x0483, 0xDF11, "STM32 in its DFU boot loader", Kind.BOARD, (), "DFU", "no driver here speaks DFU"),
)
"""Of boot loaders without a serial port."""


def usb_id(vid: int | None, pid: int | None, known: Iterable[UsbId] = USB_IDS) -> UsbId | None:
    """The entry of a VID:PID among the serial ports, or those of `known`; None where it is none of them."""
    return next((entry for entry in known if (entry.vid, entry.pid) == (vid, pid)), None)
