"""Which protocols are tried on a port, and in which order. Pure.

What a probe sends, and what boards of another family make of it:

- ESP: SYNC frames (C0 00 08 24 …, 115200 8N1). Optiboot takes C0 for a command, misses CRC_EOP (20) after it and starts
  its sketch through the watchdog; older AVR boot loaders skip it. An STM32 measures a wrong rate and is silent until
  its next reset.
- STK500: 30 20 (115200 8N1). To an ESP's ROM it is no packet; an STM32 as above.
- AN3155: 7F (8E1). To an ESP's ROM it is no packet; optiboot, as above.

Nothing erases or writes before a family's own handshake has been answered, and each driver's `connect` writes nothing
at all. The strongest evidence comes first: an ESP answers with 12 bytes and a chip id, STK500 with two bytes and a
signature; a lone 79 is the weakest, so AN3155 comes last. Applications hear these bytes too where a board does not
enter its boot loader: a port whose board is certain is therefore asked in its own family's protocol only.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.discovery.usb_ids import ESP

_ORDER: tuple[tuple[str, ...], ...] = (ESP, ("arduino",), ("stm32",))
"""Device types that one protocol tells apart stand together."""


def attempts(types: Sequence[str]) -> list[tuple[str, ...]]:
    """The protocols to try for these types, each with all device types that its answer may name."""
    known = [protocol for protocol in _ORDER if not set(protocol).isdisjoint(types)]
    covered = {name for protocol in known for name in protocol}
    return [*known, *((name,) for name in types if name not in covered)]
