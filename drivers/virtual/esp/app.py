"""An application that runs on a board: what ESP-IDF prints at its start, then its own lines.

Source of the lines' form: ESP-IDF v5.0, `esp_system/port/cpu_start.c`.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.virtual.esp import panic
from drivers.virtual.esp.chips import Reason
from drivers.virtual.esp.image import Description
from drivers.virtual.esp.machine import Machine
from drivers.virtual.esp.second_stage import IdfLog
from drivers.virtual.esp.virtual_app import Behaviour, VirtualApp

CONSOLE_BAUD = 115200
_LONGEST_LINE = 256


@dataclass(frozen=True)
class App:
    """What the image says of itself, and what the bench's own firmware adds."""

    description: Description
    virtual: VirtualApp


async def run_app(machine: Machine, app: App, lines: IdfLog) -> Reason:
    """Run until the application ends itself; why the chip resets then."""
    machine.set_baud(CONSOLE_BAUD)
    if not app.virtual.has_its_code(machine.cells.read):
        await machine.wire.send(panic.illegal_instruction().encode())
        return Reason.PANIC
    _start_lines(app.description, lines)
    await machine.wire.send(lines.text.encode())
    if app.virtual.behaviour is Behaviour.ABORT:
        await machine.wire.send(panic.abort(machine.chip, app.description).encode())
        return Reason.PANIC
    if machine.faults.panics(app.description.version):
        await machine.wire.send(panic.bad_load(machine.chip, app.description).encode())
        return Reason.PANIC
    mac = ":".join(f"{byte:02x}" for byte in machine.mac)
    await machine.wire.send(f"{app.description.project} {app.description.version} ready, mac={mac}\r\n".encode())
    return await _console(machine, app.description)


def _start_lines(description: Description, lines: IdfLog) -> None:
    lines.info("cpu_start", "Pro cpu start user code")
    lines.info("cpu_start", "cpu freq: 160000000 Hz")
    lines.info("cpu_start", "Application information:")
    lines.info("cpu_start", f"Project name:     {description.project}")
    lines.info("cpu_start", f"App version:      {description.version}")
    lines.info("cpu_start", f"Compile time:     {description.compile_date} {description.compile_time}")
    lines.info("cpu_start", f"ELF file SHA256:  {description.elf_sha256.hex()[:16]}...")
    lines.info("cpu_start", f"ESP-IDF:          {description.idf_version}")
    lines.info("main_task", "Calling app_main()")


async def _console(machine: Machine, description: Description) -> Reason:
    """Answer "version" and "reboot"; everything else is echoed with a question mark, as a shell would."""
    line = bytearray()
    while True:
        for byte in await machine.wire.receive():
            if byte not in b"\r\n":
                line = (line + bytes([byte]))[-_LONGEST_LINE:]
                continue
            text, line = bytes(line).decode("ascii", "replace").strip(), bytearray()
            if text == "reboot":
                return Reason.SOFTWARE
            if text:
                known = text == "version"
                await machine.wire.send(
                    f"{description.version if known else f'{text}?'}\r\n".encode("ascii", "replace")
                )
