"""Which protocols are tried on a port, and in which order. Pure.

What a probe sends, and what boards of another family make of it:

- ESP: SYNC frames (C0 00 08 24 …, 115200 8N1). Optiboot takes C0 for a command, misses CRC_EOP (20) after it and starts
  its sketch through the watchdog; older AVR boot loaders skip it. An STM32 measures a wrong rate and is silent until
  its next reset.
- STK500v1: 30 20 (115200 or 57600 8N1); STK500v2: 1B 01 … (115200 8N1). To an ESP's ROM they are no packet; an STM32
  as above.
- AN3155: 7F (8E1). To an ESP's ROM it is no packet; optiboot, as above.

Nothing erases or writes before a family's own handshake has been answered, and each driver's `connect` writes nothing
at all. The strongest evidence comes first: an ESP answers with 12 bytes and a chip id, STK500 with two bytes and a
signature; a lone 79 is the weakest, so AN3155 comes last. Applications hear these bytes too where a board does not
enter its boot loader: a port whose board is certain is therefore asked in its own family's protocol only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.discovery.usb_ids import ESP


@dataclass(frozen=True)
class Attempt:
    """One protocol at one rate. `types` are all device types that its answer may name; `chip` is who is asked for."""

    types: tuple[str, ...]
    chip: str = ""  # "" where the boot loader says itself which it is
    baud: int = 115200


_ORDER = (
    Attempt(ESP),
    Attempt(("arduino",), "atmega328p"),
    Attempt(("arduino",), "nano", 57600),  # the boot loader that Nanos had until 2018, in a larger boot section
    Attempt(("arduino",), "atmega2560"),  # STK500v2
    Attempt(("stm32",)),
)


def attempts(types: Sequence[str], chip: str = "") -> list[Attempt]:
    """What to try for these types, in this order; only `chip` is asked for, where that is known."""
    known = [attempt for attempt in _ORDER if not set(attempt.types).isdisjoint(types)]
    if chip:
        known = list(dict.fromkeys(replace(attempt, chip=chip) for attempt in known))
    covered = {name for attempt in known for name in attempt.types}
    return [*known, *(Attempt((name,), chip) for name in types if name not in covered)]
