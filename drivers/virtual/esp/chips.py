"""What differs from chip to chip, as data. Register addresses: the chips' Technical Reference Manuals.

The values that identify a chip (magic, chip id, revision fields) are the ones that its mask ROM and eFuses show. The
words of the ROMs are from logs of real boards, but for the loader's on S2, H2 and C5, which follow their relatives'.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from drivers.virtual.esp.packets import Op

_8266_ROM = frozenset(
    {
        Op.FLASH_BEGIN,
        Op.FLASH_DATA,
        Op.FLASH_END,
        Op.MEM_BEGIN,
        Op.MEM_END,
        Op.MEM_DATA,
        Op.SYNC,
        Op.WRITE_REG,
        Op.READ_REG,
    }
)
_ESP32_ROM = _8266_ROM | {
    Op.SPI_SET_PARAMS,
    Op.SPI_ATTACH,
    Op.READ_FLASH_SLOW,
    Op.CHANGE_BAUDRATE,
    Op.FLASH_DEFL_BEGIN,
    Op.FLASH_DEFL_DATA,
    Op.FLASH_DEFL_END,
    Op.SPI_FLASH_MD5,
}
_S2_AND_LATER_ROM = _ESP32_ROM | {Op.GET_SECURITY_INFO}


class EfuseLayout(Enum):
    """Where a chip keeps its MAC and revision."""

    OTP_8266 = "8266"
    BLOCK0_ESP32 = "esp32"
    BLOCK1 = "block 1"


class Reason(Enum):
    """Why the chip restarts; each chip's ROM has its own words for it."""

    POWER_ON = "power on"
    EXTERNAL = "reset pin"
    SOFTWARE = "software, whole chip"
    PANIC = "software, CPU only"
    WATCHDOG = "watchdog"


@dataclass(frozen=True)
class SpiRegisters:
    """Offsets of the flash controller's registers from its base. Length registers are absent on the ESP8266."""

    base: int
    user: int
    user1: int
    user2: int
    mosi_length: int | None
    miso_length: int | None
    w0: int
    address_left_aligned: bool


@dataclass(frozen=True)
class Fuses:
    """Bits of an eFuse block: those of its `word`, from `shift` on."""

    word: int
    shift: int
    bits: int


@dataclass(frozen=True)
class Identity:
    """Where an eFuse block says who the chip is: `block`, which begins with the MAC, from the eFuses' base on."""

    block: int
    major: Fuses
    minor: tuple[Fuses, ...]  # the lowest bits first
    mac_extension: int = 0  # what makes the MAC an EUI-64 (chips with IEEE 802.15.4)


@dataclass(frozen=True)
class Ram:
    """One range of memory that programs can be loaded into, [start, end)."""

    start: int
    end: int


@dataclass(frozen=True)
class Chip:
    """One kind of chip. Baud rates in baud, frequencies in Hz, sizes in bytes."""

    name: str
    image_chip_id: int | None  # in an image's extended header; the ESP8266 has none
    magic: int  # the word at 0x40001000 of its ROM
    rom_commands: frozenset[Op]
    status_bytes: int  # that end each of the ROM's answers
    rom_begin_words: int  # parameters of the ROM's FLASH_BEGIN and FLASH_DEFL_BEGIN
    spi: SpiRegisters
    efuse: EfuseLayout
    efuse_base: int
    uart_divider_register: int
    uart_clock: int
    boot_offset: int
    boot_baud: int
    rom_banner: str
    resets: dict[Reason, str]
    boot_mode_app: str
    boot_mode_loader: str
    watchdog_s: float  # from a failed boot to the reset by the watchdog
    ram: tuple[Ram, ...]
    peripherals: tuple[Ram, ...]
    flash_mapped: tuple[Ram, ...]
    default_flash_size: int
    default_revision: tuple[int, int]
    identity: Identity | None = None  # of EfuseLayout.BLOCK1
    riscv: bool = False


_DLEN_AFTER_USER2_ESP32 = SpiRegisters(0x3FF42000, 0x1C, 0x20, 0x24, 0x28, 0x2C, 0x80, address_left_aligned=True)
_SPI_LATER = SpiRegisters(0x60002000, 0x18, 0x1C, 0x20, 0x24, 0x28, 0x58, address_left_aligned=False)
_SPI_8266 = SpiRegisters(0x60000200, 0x1C, 0x20, 0x24, None, None, 0x40, address_left_aligned=True)

_S3_AND_C3 = Identity(0x44, Fuses(5, 24, 2), (Fuses(3, 18, 3), Fuses(5, 23, 1)))
_S2 = Identity(0x44, Fuses(3, 18, 2), (Fuses(4, 4, 3), Fuses(3, 20, 1)))
_C2 = Identity(0x40, Fuses(1, 20, 2), (Fuses(1, 16, 4),))
_C6 = Identity(0x44, Fuses(3, 22, 2), (Fuses(3, 18, 4),), 0xFFFE)
_H2 = Identity(0x44, Fuses(3, 21, 2), (Fuses(3, 18, 3),), 0xFFFE)
_P4 = Identity(0x44, Fuses(2, 4, 2), (Fuses(2, 0, 4),))
_C5 = replace(_P4, mac_extension=0xFFFE)

_LATER_RESETS = {
    Reason.POWER_ON: "rst:0x1 (POWERON)",
    Reason.EXTERNAL: "rst:0x1 (POWERON)",  # EN is the power-on reset's pin
    Reason.SOFTWARE: "rst:0x3 (RTC_SW_SYS_RST)",
    Reason.PANIC: "rst:0xc (RTC_SW_CPU_RST)",
    Reason.WATCHDOG: "rst:0x7 (TG0WDT_SYS_RST)",
}

_HP_RESETS = {
    Reason.POWER_ON: "rst:0x1 (POWERON)",
    Reason.EXTERNAL: "rst:0x1 (POWERON)",
    Reason.SOFTWARE: "rst:0x3 (LP_SW_HPSYS)",
    Reason.PANIC: "rst:0xc (SW_CPU)",
    Reason.WATCHDOG: "rst:0x7 (TG0_WDT_HPSYS)",
}

ESP32 = Chip(
    name="esp32",
    image_chip_id=0,
    magic=0x00F01D83,
    rom_commands=_ESP32_ROM,
    status_bytes=4,
    rom_begin_words=4,
    spi=_DLEN_AFTER_USER2_ESP32,
    efuse=EfuseLayout.BLOCK0_ESP32,
    efuse_base=0x3FF5A000,
    uart_divider_register=0x3FF40014,
    uart_clock=40_000_000,
    boot_offset=0x1000,
    boot_baud=115200,
    rom_banner="ets Jul 29 2019 12:21:46",
    resets={
        Reason.POWER_ON: "rst:0x1 (POWERON_RESET)",
        Reason.EXTERNAL: "rst:0x1 (POWERON_RESET)",
        Reason.SOFTWARE: "rst:0x3 (SW_RESET)",
        Reason.PANIC: "rst:0xc (SW_CPU_RESET)",
        Reason.WATCHDOG: "rst:0x10 (RTCWDT_RTC_RESET)",
    },
    boot_mode_app="boot:0x13 (SPI_FAST_FLASH_BOOT)",
    boot_mode_loader="boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))",
    watchdog_s=0.4,
    ram=(Ram(0x3FFAE000, 0x40000000), Ram(0x40070000, 0x400C2000), Ram(0x50000000, 0x50002000)),
    peripherals=(Ram(0x3FF00000, 0x3FF80000), Ram(0x60000000, 0x60040000)),
    flash_mapped=(Ram(0x3F400000, 0x3F800000), Ram(0x400D0000, 0x40400000)),
    default_flash_size=4 << 20,
    default_revision=(3, 1),
)

ESP32S3 = Chip(
    name="esp32s3",
    image_chip_id=9,
    magic=0x00000009,
    rom_commands=_S2_AND_LATER_ROM,
    status_bytes=4,
    rom_begin_words=5,
    spi=_SPI_LATER,
    efuse=EfuseLayout.BLOCK1,
    identity=_S3_AND_C3,
    efuse_base=0x60007000,
    uart_divider_register=0x60000014,
    uart_clock=40_000_000,
    boot_offset=0x0,
    boot_baud=115200,
    rom_banner="ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021",
    resets=_LATER_RESETS,
    boot_mode_app="boot:0x8 (SPI_FAST_FLASH_BOOT)",
    boot_mode_loader="boot:0x0 (DOWNLOAD(USB/UART0))",
    watchdog_s=1.0,
    ram=(Ram(0x3FC88000, 0x3FD00000), Ram(0x40370000, 0x403E0000), Ram(0x50000000, 0x50002000)),
    peripherals=(Ram(0x60000000, 0x60100000),),
    flash_mapped=(Ram(0x3C000000, 0x3E000000), Ram(0x42000000, 0x44000000)),
    default_flash_size=8 << 20,
    default_revision=(0, 2),
)

ESP32C3 = Chip(
    name="esp32c3",
    image_chip_id=5,
    magic=0x4881606F,
    rom_commands=_S2_AND_LATER_ROM,
    status_bytes=4,
    rom_begin_words=5,
    spi=_SPI_LATER,
    efuse=EfuseLayout.BLOCK1,
    identity=_S3_AND_C3,
    efuse_base=0x60008800,
    uart_divider_register=0x60000014,
    uart_clock=40_000_000,
    boot_offset=0x0,
    boot_baud=115200,
    rom_banner="ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021",
    resets=_LATER_RESETS,
    boot_mode_app="boot:0xc (SPI_FAST_FLASH_BOOT)",
    boot_mode_loader="boot:0x4 (DOWNLOAD(USB/UART0/1))",
    watchdog_s=1.0,
    ram=(Ram(0x3FC80000, 0x3FCE0000), Ram(0x4037C000, 0x403E0000), Ram(0x50000000, 0x50002000)),
    peripherals=(Ram(0x60000000, 0x60100000),),
    flash_mapped=(Ram(0x3C000000, 0x3C800000), Ram(0x42000000, 0x42800000)),
    default_flash_size=4 << 20,
    default_revision=(0, 4),
    riscv=True,
)

ESP32S2 = replace(
    ESP32S3,
    name="esp32s2",
    image_chip_id=2,
    magic=0x000007C6,
    spi=replace(_SPI_LATER, base=0x3F402000),
    identity=_S2,
    efuse_base=0x3F41A000,
    uart_divider_register=0x3F400014,
    boot_offset=0x1000,
    rom_banner="ESP-ROM:esp32s2-rc4-20191025\r\nBuild:Oct 25 2019",
    ram=(Ram(0x3FF9E000, 0x40000000), Ram(0x40020000, 0x40072000), Ram(0x50000000, 0x50002000)),
    peripherals=(Ram(0x3F400000, 0x3F500000), Ram(0x60000000, 0x60100000)),
    flash_mapped=(Ram(0x3F000000, 0x3F3F0000), Ram(0x40080000, 0x40800000)),
    default_flash_size=4 << 20,
    default_revision=(1, 0),
)

ESP32C2 = replace(
    ESP32C3,
    name="esp32c2",
    image_chip_id=12,
    magic=0x7C41A06F,
    identity=_C2,
    rom_banner="ESP-ROM:esp8684-api2-20220127\r\nBuild:Jan 27 2022",
    boot_mode_loader="boot:0x4 (DOWNLOAD(UART0))",
    ram=(Ram(0x3FCA0000, 0x3FCE0000), Ram(0x4037C000, 0x403C0000)),
    flash_mapped=(Ram(0x3C000000, 0x3C400000), Ram(0x42000000, 0x42400000)),
    default_revision=(1, 2),
)

ESP32C6 = replace(
    ESP32C3,
    name="esp32c6",
    image_chip_id=13,
    magic=0x2CE0806F,
    spi=replace(_SPI_LATER, base=0x60003000),
    identity=_C6,
    efuse_base=0x600B0800,
    rom_banner="ESP-ROM:esp32c6-20220919\r\nBuild:Sep 19 2022",
    resets=_HP_RESETS,
    boot_mode_loader="boot:0x4 (DOWNLOAD(USB/UART0/SDIO_FEI_FEO))",
    ram=(Ram(0x40800000, 0x40880000), Ram(0x50000000, 0x50004000)),
    flash_mapped=(Ram(0x42000000, 0x43000000),),
    default_revision=(0, 2),
)

ESP32H2 = replace(
    ESP32C6,
    name="esp32h2",
    image_chip_id=16,
    magic=0xD7B73E80,
    identity=_H2,
    uart_clock=32_000_000,
    rom_banner="ESP-ROM:esp32h2-20221101\r\nBuild:Nov  1 2022",
    boot_mode_loader="boot:0x4 (DOWNLOAD(USB/UART0/SPI))",
    ram=(Ram(0x40800000, 0x40850000), Ram(0x50000000, 0x50001000)),
    default_revision=(0, 1),
)

ESP32C5 = replace(
    ESP32C6,
    name="esp32c5",
    image_chip_id=23,
    magic=0x1101406F,
    identity=_C5,
    efuse_base=0x600B4800,
    uart_clock=48_000_000,
    boot_offset=0x2000,
    rom_banner="ESP-ROM:esp32c5-eco2-20250121\r\nBuild:Jan 21 2025",
    boot_mode_app="boot:0x18 (SPI_FAST_FLASH_BOOT)",
    boot_mode_loader="boot:0x10 (DOWNLOAD(USB/UART0/SPI))",
    ram=(Ram(0x40800000, 0x40860000), Ram(0x50000000, 0x50004000)),
    flash_mapped=(Ram(0x42000000, 0x44000000),),
    default_revision=(1, 0),
)

ESP32P4 = replace(
    ESP32C6,
    name="esp32p4",
    image_chip_id=18,
    magic=0x00000000,
    spi=replace(_SPI_LATER, base=0x5008D000),
    identity=_P4,
    efuse_base=0x5012D000,
    uart_divider_register=0x500CA014,
    boot_offset=0x2000,
    rom_banner="ESP-ROM:esp32p4-eco2-20240710\r\nBuild:Jul 10 2024",
    boot_mode_app="boot:0x30f (SPI_FAST_FLASH_BOOT)",
    boot_mode_loader="boot:0x307 (DOWNLOAD(USB/UART0/SPI))",
    ram=(Ram(0x4FF00000, 0x4FFC0000), Ram(0x50108000, 0x50110000)),
    peripherals=(Ram(0x50000000, 0x50200000),),
    flash_mapped=(Ram(0x40000000, 0x4C000000),),
    default_revision=(1, 3),
)

ESP8266 = Chip(
    name="esp8266",
    image_chip_id=None,
    magic=0xFFF0C101,
    rom_commands=_8266_ROM,
    status_bytes=2,
    rom_begin_words=4,
    spi=_SPI_8266,
    efuse=EfuseLayout.OTP_8266,
    efuse_base=0x3FF00050,
    uart_divider_register=0x60000014,
    uart_clock=52_000_000,  # twice its 26 MHz crystal
    boot_offset=0x0,
    boot_baud=74880,  # the ROM sets its UART up for a 40 MHz crystal: 115200 * 26 / 40
    rom_banner="ets Jan  8 2013",
    resets={
        Reason.POWER_ON: "rst cause:1",
        Reason.EXTERNAL: "rst cause:2",
        Reason.SOFTWARE: "rst cause:2",
        Reason.PANIC: "rst cause:2",
        Reason.WATCHDOG: "rst cause:4",
    },
    boot_mode_app="boot mode:(3,6)",
    boot_mode_loader="boot mode:(1,6)",
    watchdog_s=1.7,
    ram=(Ram(0x3FFE8000, 0x40000000), Ram(0x40100000, 0x40110000)),
    peripherals=(Ram(0x3FF00000, 0x3FF10000), Ram(0x60000000, 0x60002000)),
    flash_mapped=(Ram(0x40200000, 0x40300000),),
    default_flash_size=4 << 20,
    default_revision=(0, 0),
)

CHIPS = {
    chip.name: chip for chip in (ESP32, ESP32S2, ESP32S3, ESP32C2, ESP32C3, ESP32C5, ESP32C6, ESP32H2, ESP32P4, ESP8266)
}
ROM_MAGIC_ADDRESS = 0x40001000

# Sizes that a flash chip's id can state; the id's third byte is the exponent (JEDEC's habit, not a standard).
FLASH_SIZES = frozenset(1 << exponent for exponent in range(18, 28))
