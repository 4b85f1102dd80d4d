"""The parts: what a product id says about flash, unique id and names. Data.

Sources: AN2606 rev. 51, "Bootloader configuration" and "Device-dependent bootloader parameters" (product ids), the
reference manuals' chapters "Embedded Flash memory" (sectors) and "Device electronic signature" (UID, flash size),
named per family; stm32flash 0.7's dev_table.c and stm32loader 0.7.1 agree unless a line says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from drivers.stm32.sectors import SECTORS_16K, SECTORS_16K_DUAL, SECTORS_32K, Layout, pages

_K = 1024


@dataclass(frozen=True)
class Signature:
    """Where a family keeps its electronic signature. `uid` holds the addresses of its three words."""

    uid: tuple[int, int, int]
    flash_size: int  # of the half-word that counts KiB
    block: int = 0  # bytes; where the boot loader gives nothing less than an aligned block that holds all of it


def _words(address: int) -> tuple[int, int, int]:
    return address, address + 4, address + 8


_F1 = Signature(_words(0x1FFFF7E8), 0x1FFFF7E0)  # RM0008, 30
_F0_F3 = Signature(_words(0x1FFFF7AC), 0x1FFFF7CC)  # RM0091, 33; RM0316, 34
_F4 = Signature(_words(0x1FFF7A10), 0x1FFF7A22, block=256)  # RM0090, 39; the block: stm32loader, on an F401RE
_F72 = Signature(_words(0x1FF07A10), 0x1FF07A22)  # RM0431, 41
_F7 = Signature(_words(0x1FF0F420), 0x1FF0F442)  # RM0385, 41; RM0410, 45
_L0 = Signature((0x1FF80050, 0x1FF80054, 0x1FF80064), 0x1FF8007C, block=128)  # RM0367, 33: the third word is apart
_G_L4 = Signature(_words(0x1FFF7590), 0x1FFF75E0)  # RM0444, 38; RM0440, 48; RM0351, 49; RM0453, 39


@dataclass(frozen=True)
class Cells:
    """How a flash takes data, in bytes."""

    erased: int = 0xFF  # what each byte is after an erase
    chunk: int = 256  # of one write at most
    unit: int = 8  # of which each write is a multiple: a double word with its ECC on G0, G4, L4 and WL


_FLASH = Cells()
# No flash but EEPROM cells: an erase leaves zeros (RM0367, 3.7.7 NOTZEROERR). Their boot loaders take 128 bytes
# (stm32loader, DATA_TRANSFER_SIZE), and program half-pages: of a second write to one, nothing arrives.
_EEPROM = Cells(erased=0x00, chunk=128, unit=64)


@dataclass(frozen=True)
class OptionBit:
    """A bit of the option bytes, and the value of it that means something."""

    address: int  # of its 16-bit half-word
    bit: int
    value: bool


@dataclass(frozen=True)
class Switch:
    """An option that changes the sectors: `layout` holds while its bit has its value."""

    option: OptionBit
    layout: Layout
    largest: int  # bytes of flash up to which this bit matters


@dataclass(frozen=True)
class Part:
    """All chips that answer with one product id."""

    product_id: int
    name: str  # as exactly as the id tells
    lines: tuple[str, ...]  # of marketing names, as they begin
    largest_flash: int  # bytes; what is taken where the size register can not be read
    layout: Layout
    signature: Signature
    protection_unit: int = 4 * _K  # bytes at least that one write protection bit or page covers
    large_layout: Layout | None = None  # from `large_from` bytes on
    large_from: int = 0
    switches: tuple[Switch, ...] = ()  # the first that matters for a flash's size; beyond the last there is none
    cells: Cells = _FLASH
    checks_empty: bool = False  # at power-on: a chip that was blank then starts its boot loader until the next one
    swapped: OptionBit | None = None  # the two banks' addresses are exchanged
    erase_pause_s: float = 0.0  # after each page, which is erased alone: the boot loader does not wait for the erase

    def usual_layout(self, flash_size: int) -> Layout:
        return self.large_layout if self.large_layout and flash_size >= self.large_from else self.layout


def _paged(
    product_id: int,
    name: str,
    lines: str,
    flash_kib: int,
    flash: int | Layout,
    signature: Signature,
    *switches: Switch,
) -> Part:
    """A part of equal pages. Write protection: 4 KiB a bit on F0, F1, F3 and L0; by single pages on G0, G4, L4, WL."""
    layout = pages(flash) if isinstance(flash, int) else flash
    unit = layout.sizes[0] if signature is _G_L4 else max(layout.sizes[0], 4 * _K)
    return Part(
        product_id, name, _split(lines), flash_kib * _K, layout, signature, unit,
        switches=switches, cells=_EEPROM if signature is _L0 else _FLASH, checks_empty=product_id in _CHECK_EMPTY,
        erase_pause_s=_PAGE_ERASE_S if product_id in _ERASES_UNAWAITED else 0.0,
    )  # fmt: skip


def _sectored(
    product_id: int, name: str, lines: str, flash_kib: int, layout: Layout, signature: Signature = _F4
) -> Part:
    unit = layout.sizes[0]
    return Part(product_id, name, _split(lines), flash_kib * _K, layout, signature, unit)


def _two_banks(product_id: int, name: str, lines: str) -> Part:
    """F42x and its kin: 2 MiB are two banks of their own, 1 MiB are where the option DB1M says so (RM0090, 3.9.10)."""
    one_mib = Switch(OptionBit(0x1FFFC008, 14, True), SECTORS_16K_DUAL, 1024 * _K)
    return Part(
        product_id, name, _split(lines), 2048 * _K, SECTORS_16K, _F4, 16 * _K,
        large_layout=SECTORS_16K_DUAL, large_from=2048 * _K, switches=(one_mib,),
    )  # fmt: skip


def _split(lines: str) -> tuple[str, ...]:
    return tuple(f"stm32{line}" for line in lines.split())


# A second bank that follows on the first one's addresses need not follow on its numbers: the manuals' tables begin it
# at page 256 on G0B and G0C (RM0444), L47x to L4Ax (RM0351, table 5), L4R and L4S (RM0432), however few pages the
# first one has. On G47x and G48x it is the address that does not move (RM0440, table 7), so that there is a hole below
# 512 KiB; the number follows from the address there (ST's open boot loader).
_BANKS_2K = Layout((2 * _K,), second_bank=256)
_BANKS_4K = Layout((4 * _K,), second_bank=256)
_BANKS_APART = Layout((2 * _K,), second_at=256 * _K)

_OPTR_HIGH = 0x1FFF7802  # bits 31 to 16 of OPTR
_F76_BANKS = Switch(OptionBit(0x1FFF0008, 13, False), SECTORS_16K_DUAL, 2048 * _K)  # nDBANK, RM0410, 3.4.2
_G0B_ONE_BANK = Switch(OptionBit(_OPTR_HIGH, 5, False), pages(2 * _K), 512 * _K)  # DUAL_BANK, RM0444, 3.7.8
_G0B_SWAPPED = OptionBit(_OPTR_HIGH, 4, False)  # nSWAP_BANK
_G47_ONE_BANK = Switch(OptionBit(_OPTR_HIGH, 6, False), pages(4 * _K), 512 * _K)  # DBANK, RM0440, 3.4.1
_L47_ONE_BANK = Switch(OptionBit(_OPTR_HIGH, 5, False), pages(2 * _K), 512 * _K)  # DUALBANK, RM0351, 3.4.1
_L4R_ONE_BANK = (  # RM0432, 3.4.1: for devices of 1 MiB "do not care about DBANK", but about DB1M
    Switch(OptionBit(_OPTR_HIGH, 5, False), pages(8 * _K), 1024 * _K),
    Switch(OptionBit(_OPTR_HIGH, 6, False), pages(8 * _K), 2048 * _K),
)

# AN2606's known limitations of G07x ("wrong FLITF BUSY bit check leading to not waiting for the erase", V11.3 only)
# and of G0B0, G0B1 ("Erase multiple sectors not working on Bank2"): one page at a time, then the 40 ms that it takes
# at most.
_ERASES_UNAWAITED = frozenset({0x460, 0x467})
_PAGE_ERASE_S = 0.04

# AN2606, table 2: the boot loader's patterns 6, 11 and 13
_CHECK_EMPTY = frozenset(
    {0x442, 0x445, 0x456, 0x460, 0x466, 0x467, 0x457, 0x464, 0x435, 0x462, 0x461, 0x470, 0x497}
)  # F04x/070x6, F09x/030xC, G0, L01x/02x, L4 but L47x, WL

_ALL = (
    # F0 (RM0091, RM0360)
    _paged(0x444, "stm32f03x", "f030x4 f030x6 f031 f038 f030", 32, _K, _F0_F3),
    _paged(0x440, "stm32f05x/030x8", "f051 f058 f030", 64, _K, _F0_F3),
    _paged(0x445, "stm32f04x/070x6", "f042 f048 f070", 32, _K, _F0_F3),
    _paged(0x448, "stm32f07x", "f070 f071 f072 f078", 128, 2 * _K, _F0_F3),
    _paged(0x442, "stm32f09x/030xc", "f091 f098 f030", 256, 2 * _K, _F0_F3),
    # F1 (RM0008, RM0041)
    _paged(0x412, "stm32f10x-low", "f101 f102 f103", 32, _K, _F1),
    _paged(0x410, "stm32f10x-medium", "f101 f102 f103", 128, _K, _F1),
    _paged(0x414, "stm32f10x-high", "f101 f103", 512, 2 * _K, _F1),
    _paged(0x430, "stm32f10x-xl", "f101 f103", 1024, 2 * _K, _F1),
    _paged(0x418, "stm32f105/107", "f105 f107", 256, 2 * _K, _F1),
    _paged(0x420, "stm32f100-medium", "f100", 128, _K, _F1),
    _paged(0x428, "stm32f100-high", "f100", 512, 2 * _K, _F1),
    # F3 (RM0316, RM0313, RM0364, RM0365, RM0366)
    _paged(0x422, "stm32f302/303xb-c", "f302 f303 f358", 256, 2 * _K, _F0_F3),
    _paged(0x432, "stm32f37x", "f373 f378", 256, 2 * _K, _F0_F3),
    _paged(0x438, "stm32f303x6-8/334", "f303 f328 f334", 64, 2 * _K, _F0_F3),
    _paged(0x439, "stm32f301/302x6-8", "f301 f302 f318", 64, 2 * _K, _F0_F3),
    _paged(0x446, "stm32f302/303xd-e", "f302 f303 f398", 512, 2 * _K, _F0_F3),
    # F4 (RM0090, RM0368, RM0383, RM0390, RM0386, RM0401, RM0402, RM0430)
    _sectored(0x413, "stm32f40x/41x", "f405 f407 f415 f417", 1024, SECTORS_16K),
    _two_banks(0x419, "stm32f42x/43x", "f427 f429 f437 f439"),
    _sectored(0x423, "stm32f401xb-c", "f401", 256, SECTORS_16K),
    _sectored(0x433, "stm32f401xd-e", "f401", 512, SECTORS_16K),
    _sectored(0x458, "stm32f410", "f410", 128, SECTORS_16K),
    _sectored(0x431, "stm32f411", "f411", 512, SECTORS_16K),
    _sectored(0x441, "stm32f412", "f412", 1024, SECTORS_16K),
    _sectored(0x421, "stm32f446", "f446", 512, SECTORS_16K),
    _two_banks(0x434, "stm32f469/479", "f469 f479"),
    _sectored(0x463, "stm32f413/423", "f413 f423", 1536, SECTORS_16K),
    # F7 (RM0431, RM0385, RM0410)
    _sectored(0x452, "stm32f72x/73x", "f722 f723 f730 f732 f733", 512, SECTORS_16K, _F72),
    _sectored(0x449, "stm32f74x/75x", "f745 f746 f750 f756", 1024, SECTORS_32K, _F7),
    Part(0x451, "stm32f76x/77x", _split("f765 f767 f769 f777 f779"), 2048 * _K, SECTORS_32K, _F7, 16 * _K,
         switches=(_F76_BANKS,)),
    # G0 (RM0444, RM0454)
    _paged(0x466, "stm32g03x/04x", "g030 g031 g041", 64, 2 * _K, _G_L4),
    _paged(0x456, "stm32g05x/06x", "g050 g051 g061", 64, 2 * _K, _G_L4),
    _paged(0x460, "stm32g07x/08x", "g070 g071 g081", 128, 2 * _K, _G_L4),
    replace(
        _paged(0x467, "stm32g0bx/0cx", "g0b0 g0b1 g0c1", 512, 2 * _K, _G_L4, _G0B_ONE_BANK),
        large_layout=_BANKS_2K, large_from=256 * _K, swapped=_G0B_SWAPPED,
    ),
    # G4 (RM0440)
    _paged(0x468, "stm32g43x/44x", "g431 g441", 128, 2 * _K, _G_L4),
    _paged(0x469, "stm32g47x/48x", "g471 g473 g474 g483 g484", 512, _BANKS_APART, _G_L4, _G47_ONE_BANK),
    _paged(0x479, "stm32g49x/4ax", "g491 g4a1", 512, 2 * _K, _G_L4),
    # L0 (RM0367, RM0376, RM0377, RM0451): the EEPROM at 0x08080000 is no part of the flash, and left alone
    _paged(0x457, "stm32l01x/02x", "l010 l011 l021", 16, 128, _L0),
    _paged(0x425, "stm32l031/041", "l010 l031 l041", 32, 128, _L0),
    _paged(0x417, "stm32l05x/06x", "l010 l051 l052 l053 l062 l063", 64, 128, _L0),
    _paged(0x447, "stm32l07x/08x", "l010 l071 l072 l073 l081 l082 l083", 192, 128, _L0),
    # L4 and L4+ (RM0351, RM0394, RM0432)
    _paged(0x464, "stm32l41x/42x", "l412 l422", 128, 2 * _K, _G_L4),
    _paged(0x435, "stm32l43x/44x", "l431 l432 l433 l442 l443", 256, 2 * _K, _G_L4),
    _paged(0x462, "stm32l45x/46x", "l451 l452 l462", 512, 2 * _K, _G_L4),
    _paged(0x415, "stm32l47x/48x", "l471 l475 l476 l485 l486", 1024, _BANKS_2K, _G_L4, _L47_ONE_BANK),
    _paged(0x461, "stm32l496/4a6", "l496 l4a6", 1024, _BANKS_2K, _G_L4, _L47_ONE_BANK),
    # stm32flash's table has 2 KiB here; RM0432 says 4 KiB in two banks, 8 KiB in one
    _paged(0x470, "stm32l4rx/4sx", "l4r5 l4r7 l4r9 l4s5 l4s7 l4s9", 2048, _BANKS_4K, _G_L4, *_L4R_ONE_BANK),
    # WL (RM0453, RM0461)
    _paged(0x497, "stm32wle5/wl55", "wle4 wle5 wl54 wl55", 256, 2 * _K, _G_L4),
)  # fmt: skip

PARTS = {part.product_id: part for part in _ALL}
