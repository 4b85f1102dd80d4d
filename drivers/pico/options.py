"""What may stand under `options` of a Pico."""

from __future__ import annotations

from pydantic import Field, field_validator

from drivers.base import Options

_SMALLEST, _LARGEST = 0x1000, 16 << 20


class PicoOptions(Options):
    """Of RP2040 and RP2350."""

    flash_size: int | None = Field(
        default=None,
        description="Bytes of flash on the board. Left out: over USB what the flash shows, else 2 MiB (RP2350: 4 MiB).",
    )
    absolute_block: bool = Field(
        default=True,
        description="RP2350, boot drive: put the block that works around RP2350-E10 before the firmware. It costs the "
        "last 4 KiB of the flash on chips of stepping A2; without it, their drive takes the firmware and stays.",
    )

    port_is_adapter: bool = Field(
        default=False,
        description="`port` is a debug probe's or a UART adapter's: a console that stays while the board is in its "
        "boot loader, and can not ask for it.",
    )

    @field_validator("flash_size")
    @classmethod
    def _power_of_two(cls, size: int | None) -> int | None:
        if size is not None and (size & (size - 1) or not _SMALLEST <= size <= _LARGEST):
            raise ValueError("a flash chip has a power of two of bytes, 16 MiB at most")
        return size
