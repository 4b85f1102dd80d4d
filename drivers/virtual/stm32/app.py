"""What runs from flash or RAM: the application's console, or a crashed CPU's silence.

The form of the fault lines is Zephyr's (arch/arm/core/cortex_m/fault.c, kernel/fatal.c).
"""

from __future__ import annotations

import asyncio
import struct

from drivers.virtual import timing
from drivers.virtual.stm32 import virtual_app
from drivers.virtual.stm32.chips import FLASH_BASE
from drivers.virtual.stm32.machine import Machine
from drivers.virtual.stm32.program import Exit, SystemReset

CONSOLE_BAUD = 115200
_START_S = 0.03  # clocks and RAM are set up first; a host that sent GO changes its port's settings meanwhile
_LONGEST_LINE = 256
_CRASH_LINES = (
    "E: ***** HARD FAULT *****\r\n"
    "E:   Fault escalation (see below)\r\n"
    "E: r0/a1:  0x00000000  r1/a2:  0x20000410  r2/a3:  0x00000000\r\n"
    "E: Faulting instruction address (r15/pc): 0x{pc:08x}\r\n"
    "E: >>> ZEPHYR FATAL ERROR 0: CPU exception on CPU 0\r\n"
    "E: Halting system\r\n"
)
# A program in RAM that does nothing but write SYSRESETREQ with its key into AIRCR (ARMv7-M ARM, B3.2.6), as those do
# which tools send to reset a chip.
_AIRCR = struct.pack("<II", 0xE000ED0C, 0x05FA0004)
_RAM_PROGRAM = 64  # bytes of it that are looked at


async def run(machine: Machine, vectors: int) -> Exit:
    """Start what a vector table names, and run it to its end."""
    start = _reset_vector(machine, vectors)
    if start is None:
        return await _silence()
    if machine.memory.is_free_ram(start):
        return await _run_in_ram(machine, start)
    await timing.delay(_START_S)
    machine.wire.forget()  # nobody had set up the UART before
    app = virtual_app.find(machine.memory.cells.read(vectors - FLASH_BASE, machine.memory.cells.size))
    if app is None or not app.is_whole:
        return await _silence()
    machine.wire.baud = CONSOLE_BAUD
    await _say(machine, f"{app.project} {app.version} ready, uid={machine.uid.hex()}\r\n")
    if app.aborts or machine.faults.panics(app.version):
        await _say(machine, _CRASH_LINES.format(pc=start))
        return await _silence()
    return await _console(machine, app)


def _reset_vector(machine: Machine, vectors: int) -> int | None:
    """The address of the first instruction; None where the CPU locks up before it."""
    memory = machine.memory
    words = memory.read(vectors, 8)
    if words is None:
        return None
    stack: int
    start: int
    stack, start = struct.unpack("<II", words)
    in_ram = memory.chip.ram.start < stack <= memory.chip.ram.end
    start -= 1
    is_code = memory.is_flash(start, 2) or memory.is_free_ram(start, 2)
    if not in_ram or start % 2 or not is_code or memory.read(start, 2) == b"\xff\xff":
        return None
    return start


async def _run_in_ram(machine: Machine, start: int) -> Exit:
    code = machine.memory.read(start, min(_RAM_PROGRAM, machine.chip.ram.end - start)) or b""
    if _AIRCR in code:
        return SystemReset()
    return await _silence()


async def _silence() -> Exit:
    """Until the next reset."""
    never: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    return await never


async def _say(machine: Machine, text: str) -> None:
    await machine.wire.send(text.encode("ascii", "replace"))


async def _console(machine: Machine, app: virtual_app.VirtualApp) -> Exit:
    """Answer "version" and "reboot"; everything else is echoed with a question mark, as a shell would."""
    line = bytearray()
    while True:
        for byte in await machine.wire.receive():
            if byte not in b"\r\n":
                line = (line + bytes([byte]))[-_LONGEST_LINE:]
                continue
            text, line = bytes(line).decode("ascii", "replace").strip(), bytearray()
            if text == "reboot":
                return SystemReset()
            if text:
                await _say(machine, f"{app.version if text == 'version' else f'{text}?'}\r\n")
