"""The boot loader's refusals, pyserial's and the system's errors, translated once into the drivers' family."""

from __future__ import annotations

from drivers.base import ConnectionLost, DeviceError, WrongBoard
from drivers.stm32.protocol import LoaderError
from drivers.translation import in_one_line, of_port


def translate(error: Exception, doing: str) -> DeviceError:
    """The driver's error for a library's; `doing` says what was being done, for the message."""
    # A NACK too is a lost connection: of a frame that noise has spoilt. Where it says more, that was said before.
    kind = ConnectionLost if isinstance(error, LoaderError) else of_port(error) or DeviceError
    return kind(f"{doing}: {in_one_line(error)}")


def protected() -> WrongBoard:
    """Readout protection, which is never lifted here: that erases the only copy of what the chip holds."""
    return WrongBoard(
        "the boot loader refuses to read the flash: readout protection (RDP) is active on this chip",
        advice="Nothing was written, and the protection was not lifted, since that erases the whole flash. If nothing "
        "on the chip is worth keeping: stm32flash -k PORT, then run again.",
    )


def swapped() -> WrongBoard:
    """Two banks that have changed places: the boot loader erases by bank, what lies at an address is the other one."""
    return WrongBoard(
        "the two banks of this chip's flash are swapped (nSWAP_BANK is 0): its boot loader would erase the other one",
        advice="Nothing was written. Set the option bit nSWAP_BANK to 1 with STM32CubeProgrammer, then run again.",
    )
