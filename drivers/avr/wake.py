"""Bringing a board into its boot loader while avrdude waits at the other end of the bridge.

A boot loader listens for a second after a reset, and not from its beginning: Optiboot 4.4 blinks its LED for 0.4 s
first, while its UART keeps three bytes. avrdude says GET_SYNC three times within 0.5 s "to get rid of line noise" and
listens after the third (stk500.c), so that what it says may find half a command in the UART, or nobody any more.
Therefore the board is reset when avrdude begins to speak, and answers a GET_SYNC of ours before it hears avrdude's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from drivers.avr.port import BoardPort
from drivers.base import ConnectionLost

_GET_SYNC = b"0 "  # STK_GET_SYNC, Sync_CRC_EOP (Atmel AVR061)
_IN_SYNC = b"\x14\x10"  # Resp_STK_INSYNC, Resp_STK_OK
_PRESSES = 3
_BLINKING_S = 0.4  # Optiboot's three flashes; newer versions skip them
_ANSWER_S = 0.25
_LATE_S = 0.4  # the longest round trip to a board behind a slow network: Optiboot waits for a second in all
_SYNCS = 3  # for each press
_SYNCS_OF_AVRDUDE = 3
_AVRDUDE_SPEAKS_WITHIN_S = 3.0
ADVICE = (
    "Check the board's power and cable, that DTR resets it, its `chip` (a Mega speaks another protocol), and "
    "flash_baudrate: 57600 for Nanos with the old boot loader, 19200 for an ATmega168."
)
_ALL = 1 << 16  # bytes; more than a tool says before it is answered
_FIRST_OF_AVR109 = b"\x1bS"
_LOOK_S = 0.05
_STK500V2_BOOTS_S = 0.1  # wiring.c waits for 80 ms


class Talk(Protocol):
    """The tool's side of the bridge."""

    @property
    def told(self) -> int:
        """Bytes that the tool has said so far."""

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more."""


Wake = Callable[[BoardPort, Talk], int]
"""Presses RESET and waits until the boot loader listens; of what the tool said, it is to hear so many last bytes.

Raises `ConnectionLost` where nobody answers.
"""


def stk500v1(port: BoardPort, talk: Talk) -> int:
    """Optiboot and ATmegaBOOT. Their watchdog is kept quiet until avrdude has said its last GET_SYNC."""
    syncs = _Syncs(port)
    for press in range(_PRESSES):
        if press:
            port.let_go()
        port.press()
        if talk.is_over or _answers(syncs, talk):
            break
    else:
        raise ConnectionLost("the boot loader does not answer: no reply to GET_SYNC after three resets", advice=ADVICE)
    end = time.monotonic() + _AVRDUDE_SPEAKS_WITHIN_S
    while talk.told < _SYNCS_OF_AVRDUDE * len(_GET_SYNC) and time.monotonic() < end and not talk.is_over:
        time.sleep(_LOOK_S)
        syncs.ask()
    syncs.settle()
    return len(_GET_SYNC)


def _answers(syncs: _Syncs, talk: Talk) -> bool:
    time.sleep(_BLINKING_S)
    return any(talk.is_over or syncs.ask() for _ in range(_SYNCS))


class _Syncs:
    """GET_SYNCs of ours, and their answers, of which avrdude must hear none: it would take it for that to its own."""

    def __init__(self, port: BoardPort) -> None:
        self._port = port
        self._unanswered = 0  # of those that a board said nothing to, or is still to: it may be far away

    def ask(self) -> bool:
        """Whether it answers in time, be it this one or one before."""
        self._port.write(_GET_SYNC)
        self._unanswered += 1
        return self._is_answered(_ANSWER_S)

    def settle(self) -> None:
        while self._unanswered and self._is_answered(_LATE_S):
            pass

    def _is_answered(self, within_s: float) -> bool:
        said, end = b"", time.monotonic() + within_s
        while _IN_SYNC not in said and time.monotonic() < end:
            said += self._port.read()
        self._unanswered = max(0, self._unanswered - said.count(_IN_SYNC))
        return _IN_SYNC in said


def avr109(_port: BoardPort, talk: Talk) -> int:
    """Caterina, which runs already. avrdude's first words are ESC, which it would ignore together with the rest of its
    USB packet, and a quarter of a second later "S": one of them is told, so that they never come joined.
    """
    end = time.monotonic() + _AVRDUDE_SPEAKS_WITHIN_S
    while talk.told < len(_FIRST_OF_AVR109) and time.monotonic() < end and not talk.is_over:
        time.sleep(_LOOK_S)
    return 1


def stk500v2(port: BoardPort, _talk: Talk) -> int:
    """The Mega's: it hears avrdude's own first message, which is told again where it was lost."""
    port.press()
    time.sleep(_STK500V2_BOOTS_S)
    return _ALL
