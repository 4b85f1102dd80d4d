"""From reset to the application: what the ROM and the boot loader print, and which application then runs."""

from __future__ import annotations

import asyncio
import zlib

from drivers.virtual.esp import boot_rom, second_stage, virtual_app
from drivers.virtual.esp.app import App, run_app
from drivers.virtual.esp.chips import ESP8266, Chip, Reason
from drivers.virtual.esp.image import DESCRIPTION_SIZE, Segment, parse_description
from drivers.virtual.esp.machine import Machine
from drivers.virtual.esp.memory import Crash
from drivers.virtual.esp.program import Reset
from drivers.virtual.esp.second_stage import IdfLog

_REBOOT_S = 0.5  # a loop of failing boots goes on at this pace at any speed: a real one takes about as long


def loader_log(chip: Chip, reason: Reason) -> bytes:
    """What the ROM prints when its loader starts."""
    return boot_rom.greeting(chip, reason, loader=True).encode()


async def run(machine: Machine, reason: Reason) -> Reset:
    """Boot from flash after a reset, and run what is there until it ends."""
    machine.set_baud(machine.chip.boot_baud)
    await machine.wire.send(boot_rom.greeting(machine.chip, reason, loader=False).encode())
    return await run_without_reset(machine)


async def run_without_reset(machine: Machine) -> Reset:
    """Boot from flash as the ROM's loader does when it is told to end."""
    chip, read = machine.chip, machine.cells.read
    rom = boot_rom.boot(chip, read)
    await machine.wire.send(rom.log.encode())
    if rom.header is None:
        return Reset(Reason.WATCHDOG, chip.watchdog_s)
    if chip is ESP8266:
        return await _run_segments(machine, rom.segments, IdfLog())
    lines = IdfLog()
    loaded = second_stage.boot(chip, read, rom.header, lines)
    await machine.wire.send(lines.text.encode())
    if loaded is None:
        return Reset(Reason.SOFTWARE, _REBOOT_S)
    lines.text = ""
    return await _run_segments(machine, loaded.segments, lines)


async def _run_segments(machine: Machine, segments: tuple[Segment, ...], lines: IdfLog) -> Reset:
    """Run the application that the segments are. One that does not describe itself is unknown code, and silent."""
    for segment in segments:
        head = machine.cells.read(segment.at, min(segment.size, DESCRIPTION_SIZE + virtual_app.SIZE))
        description = parse_description(head)
        if description is not None:
            app = App(description, virtual_app.parse(head[DESCRIPTION_SIZE:]))
            reason = await run_app(machine, app, lines)
            return Reset(reason, _REBOOT_S)
    return await unknown_code()


async def unknown_code() -> Reset:
    """Code that the bench does not know runs, and says nothing, until the next reset."""
    never: asyncio.Future[Reset] = asyncio.get_running_loop().create_future()
    return await never


async def report_crash(machine: Machine, crash: Crash) -> Reset:
    """The ROM's exception handler: it says what happened and waits for the watchdog."""
    place = zlib.crc32(str(crash).encode()) & 0xFFFC | 0x40000000
    await machine.wire.send(
        f"Fatal exception ({crash.cause}): \r\nepc1=0x{place:08x}, epc2=0x00000000, epc3=0x00000000, "
        f"excvaddr=0x{crash.address:08x}, depc=0x00000000\r\n".encode()
    )
    return Reset(Reason.WATCHDOG, machine.chip.watchdog_s)
