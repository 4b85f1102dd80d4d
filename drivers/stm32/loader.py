"""The client: AN3155's commands over an open port. What goes wrong is a `LoaderError`, or the port's own exception."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import serial

from drivers.base import Log
from drivers.stm32 import protocol
from drivers.stm32.protocol import Abilities, BadAnswer, Command, NoAnswer, Refused

_ANSWER_S = 2.0  # the boot loader answers within milliseconds; USB adapters and networks take the rest
_READINGS = 4  # of the same bytes, at most
_SENDINGS = 3  # of the same command, at most
_SETTLED_S = 0.1  # by then, what follows a NACK has come through an adapter or a network
_ERASED = 0xFF
_QUIET_S = 0.03  # nothing follows the ACK of a boot loader, while an application that prints a "y" (0x79) goes on

_T = TypeVar("_T")


class Loader:
    """The boot loader at the far end of a port that is open, at 8E1."""

    def __init__(self, port: serial.Serial, log: Log, *, traces: bool = False) -> None:
        self._port = port
        self._log = log
        self._traces = traces
        self.abilities = Abilities(0, frozenset())

    def sync(self, timeout_s: float) -> bool:
        """Send the one 0x7F; whether it was acknowledged. Without a reset before, that is never the case."""
        return self._knock(timeout_s) == protocol.ACK

    def sync_without_reset(self, timeout_s: float) -> bool:
        """The same where nobody but a hand can reset the chip: a NACK is the answer of a boot loader that had its 0x7F
        before, and takes two more for a wrong command.
        """
        return self._knock(timeout_s) in (protocol.ACK, protocol.NACK)

    def _knock(self, timeout_s: float) -> int | None:
        self._port.reset_input_buffer()
        self._send(protocol.SYNC)
        answer = self._receive_up_to(1, timeout_s)
        if not answer or self._receive_up_to(1, _QUIET_S):
            return None
        return answer[0]

    def get(self) -> Abilities:
        self.abilities = protocol.parse_abilities(self._counted(Command.GET))
        return self.abilities

    def product_id(self) -> int:
        """Asked twice: it carries no checksum, and decides what is written where."""
        first, second = (protocol.parse_product_id(self._counted(Command.GET_ID)) for _ in range(2))
        if first != second:
            raise BadAnswer(f"it says that it is {first:#05x}, then {second:#05x}")
        return first

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes, 1 to 256."""
        return self._accepted(lambda: self._read(address, size))

    def _read(self, address: int, size: int) -> bytes:
        self._command(Command.READ_MEMORY)
        self._exchange(protocol.address_frame(address), f"the address {address:#010x} for reading")
        self._exchange(protocol.length_frame(size), f"to read {size} bytes at {address:#010x}")
        return self._receive(size)

    def read_surely(self, address: int, size: int) -> bytes:
        """The same, until two answers agree: what is read carries no checksum, and few adapters report parity errors.

        Erased bytes are believed at once, since noise does not make them.
        """
        data = self.read(address, size)
        for _ in range(_READINGS - 1):
            if data.count(_ERASED) == len(data):
                return data
            again = self.read(address, size)
            if again == data:
                return data
            data = again
        raise BadAnswer(f"{size} bytes at {address:#010x} are read differently each time")

    def holds(self, address: int, data: bytes) -> bool:
        """Whether these bytes are there; a difference is believed when it is seen twice."""
        return self.read(address, len(data)) == data or self.read(address, len(data)) == data

    def write(self, address: int, data: bytes) -> None:
        """Program up to 256 bytes, a multiple of 4, into erased flash."""
        self._accepted(lambda: self._write(address, data))

    def _write(self, address: int, data: bytes) -> None:
        self._command(Command.WRITE_MEMORY)
        self._exchange(protocol.address_frame(address), f"the address {address:#010x} for writing")
        self._exchange(protocol.data_frame(data), f"to write {len(data)} bytes at {address:#010x}")

    @property
    def max_pages(self) -> int:
        """How many pages one `erase` takes."""
        return protocol.MAX_EXTENDED_PAGES if self._is_extended else protocol.MAX_PAGES

    @property
    def max_page(self) -> int:
        """The last page that an erase can name."""
        return 0xFFFF if self._is_extended else 0xFF

    @property
    def _is_extended(self) -> bool:
        return Command.EXTENDED_ERASE in self.abilities.commands

    def erase(self, pages: Sequence[int], timeout_s: float) -> None:
        """Erase pages or sectors by their numbers, with the one of the two commands that this boot loader has.

        The list of pages is sent once: nobody knows what a boot loader has erased before it answers with NACK.
        """
        code, frame = Command.ERASE, protocol.erase_frame
        if self._is_extended:
            code, frame = Command.EXTENDED_ERASE, protocol.extended_erase_frame
        self._begin(code)
        self._exchange(frame(pages), f"to erase pages {pages[0]} to {pages[-1]}", timeout_s)

    def go(self, address: int, before_last_byte: Callable[[], None]) -> None:
        """Start the program whose vector table is at an address.

        It runs as soon as the frame is complete: what has to be ready for its first words is made so before.
        """
        self._begin(Command.GO)
        frame = protocol.address_frame(address)
        self._send(frame[:-1])
        before_last_byte()
        self._exchange(frame[-1:], f"to start the program at {address:#010x}")

    def _counted(self, code: Command) -> bytes:
        """An answer that says how long it is: the count of its bytes less one, the bytes, an ACK."""
        self._begin(code)
        count = self._receive(1)[0] + 1
        body = self._receive(count)
        self._expect_ack(f"the end of {code.name}", _ANSWER_S)
        return body

    def _accepted(self, exchange: Callable[[], _T]) -> _T:
        """Do what can be done again after a NACK: that says that a frame was discarded, and that the boot loader waits
        for a command (AN2662, 2.5, "Communication safety"; AN3155, the flow charts of section 3).

        More than the NACK comes from a boot loader that took a part of a frame for all of it, and the rest for
        commands; only a reset brings that back into step.
        """
        refusals: list[str] = []
        while True:
            try:
                result = exchange()
            except Refused as refused:
                if self._receive_up_to(1, _SETTLED_S):
                    raise BadAnswer(f"{refused}, and is out of step") from refused
                refusals.append(str(refused))
                if len(refusals) == _SENDINGS:
                    raise
            else:
                break
        for refusal in refusals:
            self._log(f"{refusal}: noise on the line; sent again")
        return result

    def _begin(self, code: Command) -> None:
        self._accepted(lambda: self._command(code))

    def _command(self, code: Command) -> None:
        self._send(protocol.command(code))
        self._expect_ack(code.name, _ANSWER_S, at_command=True)

    def _exchange(self, frame: bytes, what: str, timeout_s: float = _ANSWER_S) -> None:
        self._send(frame)
        self._expect_ack(what, timeout_s)

    def _expect_ack(self, what: str, timeout_s: float, *, at_command: bool = False) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self._receive_up_to(1, max(deadline - time.monotonic(), 0.0))
            if not answer:
                raise NoAnswer(f"no answer within {timeout_s:g} s: {what}")
            if protocol.is_ack(answer[0], what, at_command=at_command):
                return

    def _receive(self, size: int) -> bytes:
        data = self._receive_up_to(size, _ANSWER_S + size * 12 / self._port.baudrate)
        if len(data) != size:
            raise NoAnswer(f"{len(data)} bytes came instead of {size}")
        return data

    def _receive_up_to(self, size: int, timeout_s: float) -> bytes:
        self._port.timeout = timeout_s
        data = bytes(self._port.read(size))
        if self._traces and data:
            self._log(f"< {data.hex(' ')}")
        return data

    def _send(self, data: bytes) -> None:
        if self._traces:
            self._log(f"> {data.hex(' ')}")
        self._port.write(data)
