"""placeholder, replaced below"""

from __future__ import annotations

import asyncio

from drivers.virtual.esp.chips import ESP8266, Chip, Reason
from drivers.virtual.esp.machine import Machine
from drivers.virtual.esp.memory import Crash
from drivers.virtual.esp.program import Reset


def loader_log(chip: Chip, reason: Reason) -> bytes:
    if chip is ESP8266:
        return f"\r\n{chip.rom_banner},{chip.resets[reason]}, {chip.boot_mode_loader}\r\n\r\n".encode()
    return (
        f"{chip.rom_banner}\r\n\r\n{chip.resets[reason]},{chip.boot_mode_loader}\r\nwaiting for download\r\n".encode()
    )


async def run(machine: Machine, reason: Reason) -> Reset:
    machine.set_baud(machine.chip.boot_baud)
    await machine.wire.send(b"booted\r\n")
    await asyncio.Event().wait()
    raise AssertionError


async def run_without_reset(machine: Machine) -> Reset:
    return await run(machine, Reason.SOFTWARE)


async def report_crash(machine: Machine, crash: Crash) -> Reset:
    return Reset(Reason.WATCHDOG, 0.4)
