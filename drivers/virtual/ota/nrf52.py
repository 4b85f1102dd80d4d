"""How long an nRF52840 takes for its own flash.

Source: nRF52840 Product Specification v1.1, NVMC: at most 41 µs for a word (tWRITE), 85 ms for a page (tERASEPAGE).
"""

from __future__ import annotations

from drivers.virtual import timing
from drivers.virtual.faults import Faults
from drivers.virtual.ota.slots import Slots

PAGE = 0x1000
_PAGE_ERASE_S = 0.085
_WORD_S, _WORD = 41e-6, 4


def erase_s(size: int) -> float:
    """Seconds of erasing the pages of so many bytes."""
    return -(-size // PAGE) * _PAGE_ERASE_S


def program_s(size: int) -> float:
    """Seconds of programming so many bytes."""
    return -(-size // _WORD) * _WORD_S


def swap_s(size: int) -> float:
    """Seconds of MCUboot's swap of two images, the larger of so many bytes: it moves each page of one by a page first,
    and then exchanges the two, page by page (`swap_move.c`).
    """
    return 3 * (erase_s(size) + program_s(size))


class Nrf52Slots(Slots):
    """Two slots in that flash."""

    async def erase(self, slot: int, at: int, size: int, faults: Faults) -> None:
        await timing.delay(faults.erase_delay_s())
        await self._pace.charge(erase_s(size))
        self._cells[slot].erase(at, size)

    async def program(self, slot: int, at: int, data: bytes, faults: Faults) -> None:
        programmed, lost = faults.programmable(len(data))
        await self._pace.charge(program_s(programmed))
        self._cells[slot].program(at, data[:programmed])
        if lost is not None:
            raise lost
