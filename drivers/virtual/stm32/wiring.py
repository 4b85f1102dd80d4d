"""How an adapter's DTR and RTS reach NRST and BOOT0.

The usual way, without anything between: DTR on NRST, RTS on BOOT0 (stm32loader's default; the adapter's pins are low
while a line is asserted). So DTR asserted holds the chip in reset, and RTS at rest is BOOT0 high. The target's
`options` may say otherwise, in the words of the driver's own options. A board pulls NRST up and BOOT0 down itself,
which holds while nobody has the adapter open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from drivers.virtual.errors import BenchError

_LINES = ("dtr", "rts", "none")


class Wiring(BaseModel):
    """Which line drives what."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    reset_line: str = "dtr"
    boot0_line: str = "rts"
    reset_inverted: bool = False
    boot0_inverted: bool = False

    def pins(self, dtr: bool, rts: bool) -> tuple[bool, bool]:
        """Whether NRST is low, and whether BOOT0 is high."""
        asserted = {"dtr": dtr, "rts": rts}
        in_reset = boot0 = False
        if self.reset_line in asserted:
            in_reset = asserted[self.reset_line] != self.reset_inverted
        if self.boot0_line in asserted:
            boot0 = asserted[self.boot0_line] == self.boot0_inverted
        return in_reset, boot0


def from_options(options: Mapping[str, JsonValue], board_id: str) -> Wiring:
    """Raises BenchError for wiring that there is not."""
    try:
        wiring = Wiring.model_validate(dict(options))
    except ValidationError as error:
        raise BenchError(f"{board_id}: wiring: {error.errors()[0]['msg']}") from error
    for line in (wiring.reset_line, wiring.boot0_line):
        if line not in _LINES:
            raise BenchError(f"{board_id}: there is no line {line!r}; there are {', '.join(_LINES)}")
    return wiring


class Lines:
    """Follows DTR and RTS, and calls `drive(in_reset, boot0)` with each change."""

    def __init__(self, wiring: Wiring, drive: Callable[[bool, bool], None]) -> None:
        self._wiring = wiring
        self._drive = drive
        self._dtr = self._rts = False

    def set(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Set one line; both at once is the adapter that lets go of them."""
        self._dtr = self._dtr if dtr is None else dtr
        self._rts = self._rts if rts is None else rts
        if dtr is not None and rts is not None:
            self._drive(False, False)
        else:
            self._drive(*self._wiring.pins(self._dtr, self._rts))
