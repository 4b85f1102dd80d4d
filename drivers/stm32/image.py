"""What an image must have to be started: the two words at the beginning of its vector table. Pure.

ARMv7-M Architecture Reference Manual, B1.5.2 and B1.5.5: the initial stack pointer and the reset vector, whose bit 0
says Thumb; a Cortex-M that is sent to an even address takes a HardFault before its first instruction.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from drivers.base import BadImage, Segment
from drivers.stm32.sectors import FLASH_BASE

_FLASH_BYTES = 0x200000
# The flash is also seen at 0 while it is what the chip boots from, and on an F7 at 0x00200000 (RM0385, table 2)
_CODE = (range(FLASH_BASE, FLASH_BASE + _FLASH_BYTES), range(2 * _FLASH_BYTES))
# Up to and including its end: a stack begins there. 0x10000000 is CCM (F3, F4, G4) or SRAM2 (L4).
_STACK = (range(0x10000001, 0x10020001), range(0x20000001, 0x20100001))


def check(segments: Sequence[Segment]) -> None:
    """Raises `BadImage` for what can not start. Only what lies at the flash's beginning is what a reset starts."""
    for segment in segments:
        if segment.address == FLASH_BASE:
            _check_vectors(segment.data)


def _check_vectors(data: bytes) -> None:
    if len(data) < 8:
        raise BadImage(f"{len(data)} bytes at the flash's beginning are no vector table")
    stack, start = struct.unpack_from("<II", data)
    if stack % 4 or not any(stack in ram for ram in _STACK):
        raise BadImage(f"its first word {stack:#010x} is no address in RAM, where the stack begins: no vector table")
    if not start & 1:
        raise BadImage(f"its reset vector {start:#010x} is even: no Thumb code, and a Cortex-M runs no other")
    if not any(start - 1 in code for code in _CODE):
        raise BadImage(f"its reset vector {start:#010x} is outside of the flash")
