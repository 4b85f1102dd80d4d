"""The application on its serial port (USB CDC): it waits for a terminal, then says what it is; many programs do so.

Source of the panic's form: pico-sdk, `pico_platform_panic/panic.c`; after it the processor stops, USB with it.
"""

from __future__ import annotations

import asyncio

from drivers.virtual.pico import program
from drivers.virtual.pico.machine import Machine
from drivers.virtual.pico.program import Behaviour, Program

_LONGEST_LINE = 256
WATCHDOG_S = 1.0  # the bench's firmware has one; without it, a Pico that panics is dead until a hand helps


async def run(machine: Machine, terminal: asyncio.Event) -> float:
    """Run until the application ends; for how many seconds the chip is dead then, before it is reset.

    `terminal` is set while somebody has the port open.
    """
    found = program.in_flash(machine.read_flash)
    if found is None or not found.is_whole:
        await asyncio.Event().wait()  # unknown code, and code that is not all there: nothing is heard of either
    await terminal.wait()
    assert found is not None
    if found.behaviour is Behaviour.PANIC or machine.faults.panics(found.version):
        await _say(machine, "*** PANIC ***\r\n\r\nhardware check failed\r\n")
        return WATCHDOG_S
    await _say(machine, f"{found.name} {found.version} ready\r\n")
    await _console(machine, found)
    return 0.0


async def _say(machine: Machine, text: str) -> None:
    await machine.wire.send(text.encode("utf-8", "replace"))


async def _console(machine: Machine, found: Program) -> None:
    """Answer "version", obey "reboot"; everything else is echoed with a question mark, as a shell would."""
    line = bytearray()
    while True:
        for byte in await machine.wire.receive():
            if byte not in b"\r\n":
                line = (line + bytes([byte]))[-_LONGEST_LINE:]
                continue
            text, line = bytes(line).decode("utf-8", "replace").strip(), bytearray()
            if text == "reboot":
                return
            if text:
                await _say(machine, f"{found.version if text == 'version' else f'{text}?'}\r\n")
