"""PICOBOOT as the boot ROMs have it: commands, data, acknowledgements, halts.

Sources: pico-bootrom-rp2040 `usb_boot_device.c` and `async_task.c`, pico-bootrom-rp2350 `nsboot_usb_client.c` and
`nsboot_async_task.c`; RP2040's is held against its ROM, run in an emulator. Their traps are in it: RP2040 acknowledges
a refused FLASH_ERASE as if it had been done, and halts only the endpoint of the data when a transfer fails, so that
after a READ nobody listens to commands before IF_RESET. An erase that IF_RESET cuts short is acknowledged all the same,
to whatever comes next. Flash reads as zeros between a new configuration, or such a reset, and EXIT_XIP.
"""

from __future__ import annotations

import asyncio
import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass

from drivers.virtual.flash import SECTOR
from drivers.virtual.pico import picoboot_commands as commands
from drivers.virtual.pico.machine import PAGE, Machine
from drivers.virtual.pico.picoboot_commands import Id, Refused, Status
from drivers.virtual.pico.uf2_loader import Uf2Loader

STALL = -errno.EPIPE
PACKET = 64
_STATUS = struct.Struct("<IIBB6x")
_PICOBOOT = "picoboot"
_SYS_INFO = 1
_RP2350_UNKNOWN = frozenset({Id.REBOOT, Id.EXEC, Id.VECTORIZE_FLASH})  # answered after their form was checked
_RESTART_TYPES = {0: "flash", 4: "flash", 2: "loader"}  # REBOOT2: normal, after an update, BOOTSEL


@dataclass
class _Transfer:
    """A command that is being carried out."""

    id: int
    to_host: bool
    address: int
    left: int  # bytes of data that are still to come or to go
    arguments: bytes
    is_first: bool = True


Restart = Callable[[str, float], None]
"""Restarts the chip from "flash", into the "loader", or into "code" that is not executed, after so many seconds."""


class Picoboot:
    """The interface's two endpoints and its control requests."""

    def __init__(
        self, machine: Machine, uf2: Uf2Loader, chip_id: bytes, restart: Restart, eject: Callable[[], None]
    ) -> None:
        self._machine = machine
        self._is_rp2040 = machine.chip.name == "rp2040"
        self._uf2 = uf2
        self._chip_id = chip_id
        self._restart = restart
        self._eject = eject
        self._rebooting = False
        self._changed = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self._code, self._busy = 0, False
        self.reset()

    def close(self) -> None:
        """The boot loader ends."""
        for task in self._work:
            task.cancel()

    def configure(self) -> None:
        """A new configuration: as IF_RESET, and what the flash and the drive are busy with is given up."""
        self.reset()
        self._uf2.abort()

    def reset(self) -> None:
        """IF_RESET: nothing is under way, nothing is halted, the drive works; but see above for an erase."""
        self._acks = int(self._busy and self._code == Id.FLASH_ERASE)  # that wait to be taken from the IN endpoint
        self._uf2.flash_aborted = self._uf2.flash_aborted or self._busy
        self._listens = True  # to commands
        self._out_halted = self._in_halted = False
        self._transfer: _Transfer | None = None
        self._awaits_ack = False
        self._page = bytearray()
        self._changed.set()
        self._token, self._status, self._code, self._busy = 0, Status.OK, 0, False
        self._uf2.exclusive = False

    def halted(self, *, of_in: bool) -> bool:
        return self._in_halted if of_in else self._out_halted

    def clear_halt(self, *, of_in: bool) -> None:
        if of_in:
            self._in_halted = False
        else:
            self._out_halted = False
            self._listens = True

    def command_status(self) -> bytes:
        """The answer to CMD_STATUS."""
        return _STATUS.pack(self._token, self._status, self._code, self._busy)

    async def out(self, data: bytes) -> int:
        """Bytes on the OUT endpoint, packet by packet; 0, or `STALL`. Raises `PowerLost`."""
        await self._machine.usb(len(data))
        packets = [data[start : start + PACKET] for start in range(0, len(data), PACKET)] or [b""]
        for packet in packets:
            if not await self._packet(packet):
                return STALL
        return 0

    async def take_in(self, size: int) -> bytes | None:
        """Up to `size` bytes from the IN endpoint, waiting for them; None: it is halted."""
        while True:
            if self._in_halted:
                return None
            if self._acks:
                self._acks -= 1
                self._listen()
                return b""
            if self._transfer is not None and self._transfer.to_host:
                data = self._read_out(self._transfer, size)
                await self._machine.usb(len(data or b""))
                if data and len(data) < size and not len(data) % PACKET:
                    await asyncio.Event().wait()  # no short packet: the host, which wants more, waits on
                return data
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _listen(self) -> None:
        self._listens = True
        self._changed.set()

    async def _packet(self, packet: bytes) -> bool:
        """Wait until somebody takes it; False: the endpoint is halted."""
        while not self._out_halted:
            if self._transfer is not None and not self._transfer.to_host:
                await self._data(self._transfer, packet)
            elif self._awaits_ack:
                self._awaits_ack = False  # whatever it holds: picotool sends a byte
                self._listen()
            elif self._listens:
                self._listens = False
                self._command(packet)
                await asyncio.sleep(0)  # what takes no time is done before the host hears of the packet
            else:
                await self._change()
                continue
            return True
        return False

    def _command(self, packet: bytes) -> None:
        command = commands.unpack(packet)
        if command is None:
            self._halt(both=True)
            return
        self._token, self._code, self._status, self._busy = command.token, command.code, Status.OK, False
        try:
            known = commands.check(command, is_rp2040=self._is_rp2040)
            self._begin(known, command.length, command.arguments)
        except Refused as refused:
            self._status = refused.status
            self._halt(both=True)
        self._changed.set()

    def _begin(self, command: Id, length: int, arguments: bytes) -> None:
        if command is Id.REBOOT and self._is_rp2040:
            self._reboot(arguments)
            self._acknowledge()
        elif command is Id.REBOOT2:
            self._reboot2(arguments)
            self._acknowledge()
        elif length:
            self._busy = True
            to_host = command is Id.READ if self._is_rp2040 else bool(self._code & 0x80)
            address = int.from_bytes(arguments[:4], "little")
            self._transfer = _Transfer(command, to_host, address, length, arguments)
        else:
            self._busy = True
            task = asyncio.get_running_loop().create_task(self._carry_out(command, arguments))
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    async def _carry_out(self, command: Id, arguments: bytes) -> None:
        """A command without data, whether the host stays or not."""
        token = self._token
        status = Status.OK
        try:
            await self._execute(command, arguments)
        except Refused as refused:
            status = refused.status
        if not self._busy or token != self._token:
            return  # IF_RESET came in between
        if status is Status.OK or self._is_rp2040:
            self._acknowledge()
        else:
            self._status = status
            self._halt(both=True)

    def _acknowledge(self) -> None:
        """An empty packet, the other way than the data's."""
        self._busy = False
        self._transfer = None
        if self._code & 0x80:
            self._awaits_ack = True
        else:
            self._acks += 1
        self._changed.set()

    def _halt(self, *, both: bool) -> None:
        """Both endpoints, or only the one of the transfer that failed."""
        to_host = self._transfer is not None and self._transfer.to_host
        self._busy = False
        self._transfer = None
        self._awaits_ack, self._acks = False, 0
        if both or to_host:
            self._in_halted = True
        if both or not to_host:
            self._out_halted = True
        self._changed.set()

    def _reboot(self, arguments: bytes) -> None:
        pc, _sp, delay_ms = struct.unpack_from("<III", arguments)
        self._rebooting = True
        self._restart("code" if pc else "flash", delay_ms / 1000)

    def _reboot2(self, arguments: bytes) -> None:
        flags, delay_ms, _p0, _p1 = struct.unpack("<IIII", arguments)
        self._rebooting = True
        self._restart(_RESTART_TYPES.get(flags & 0xF, "code"), delay_ms / 1000)

    async def _execute(self, command: Id, arguments: bytes) -> None:
        """A command without data."""
        if self._rebooting:
            raise Refused(Status.REBOOTING)
        if command in _RP2350_UNKNOWN and not self._is_rp2040:
            raise Refused(Status.UNKNOWN_CMD)
        if command is Id.EXEC:
            await asyncio.Event().wait()  # code that is not executed: nothing is heard of it
        if command is Id.EXIT_XIP:
            self._uf2.flash_aborted = False
        elif command is Id.EXCLUSIVE_ACCESS:
            self._uf2.exclusive = bool(arguments[0])
            if arguments[0] == 2:
                self._eject()
        elif command is Id.FLASH_ERASE:
            await self._erase(*struct.unpack_from("<II", arguments))

    async def _erase(self, address: int, size: int) -> None:
        if address % SECTOR or size % SECTOR:
            raise Refused(Status.BAD_ALIGNMENT)
        if not (self._machine.is_flash(address) and self._machine.is_flash(address + size)):
            raise Refused(Status.INVALID_ADDRESS)
        if not self._machine.may_touch(address, size):
            raise Refused(Status.NOT_PERMITTED)
        self._uf2.last_writer = _PICOBOOT
        token = self._token
        for sector in range(address, address + size, SECTOR):
            if token == self._token:  # else IF_RESET came in between
                await self._machine.erase_sector(sector)

    async def _data(self, transfer: _Transfer, packet: bytes) -> None:
        """Data of a command: it is worked on by the page."""
        self._page += packet[: transfer.left - len(self._page)]
        if len(self._page) < min(PAGE, transfer.left):
            return
        page, self._page = bytes(self._page[:PAGE]), self._page[PAGE:]
        try:
            await self._write_page(transfer, page)
        except Refused as refused:
            self._page.clear()
            self._status = refused.status
            self._halt(both=not self._is_rp2040)
            return
        transfer.address += len(page)
        transfer.left -= len(page)
        if not transfer.left:
            self._acknowledge()

    async def _write_page(self, transfer: _Transfer, page: bytes) -> None:
        if self._rebooting:
            raise Refused(Status.REBOOTING)
        if transfer.id != Id.WRITE:
            raise Refused(Status.NOT_PERMITTED)  # one-time programmable memory is not modelled
        if not transfer.is_first and self._uf2.last_writer != _PICOBOOT:
            raise Refused(Status.INTERLEAVED_WRITE)
        self._uf2.last_writer = _PICOBOOT
        transfer.is_first = False
        machine, last = self._machine, transfer.address + len(page)
        if machine.is_ram(transfer.address) and machine.is_ram(last - (0 if self._is_rp2040 else 1)):
            machine.write_ram(transfer.address, page)
        elif not (machine.is_flash(transfer.address) and machine.is_flash(last)):
            raise Refused(Status.INVALID_ADDRESS)
        elif transfer.address % PAGE:
            raise Refused(Status.BAD_ALIGNMENT)
        elif not machine.may_touch(transfer.address, PAGE):
            raise Refused(Status.NOT_PERMITTED)
        else:
            await machine.program(transfer.address, page.ljust(PAGE, b"\0"))

    def _read_out(self, transfer: _Transfer, size: int) -> bytes | None:
        """Data for the host, by the page; what it asks for beyond the transfer's end is not there."""
        data = bytearray(self._page)
        try:
            while len(data) < min(size, transfer.left):
                data += self._chunk(transfer, transfer.address + len(data), transfer.left - len(data))
        except Refused as refused:
            self._page.clear()
            self._status = refused.status
            self._halt(both=not self._is_rp2040)
            return None
        self._page = data[size:]
        given = bytes(data[:size])
        transfer.address += len(given)
        transfer.left -= len(given)
        if not transfer.left:
            self._page.clear()
            self._acknowledge()
        return given

    def _chunk(self, transfer: _Transfer, address: int, left: int) -> bytes:
        if self._rebooting:
            raise Refused(Status.REBOOTING)
        if transfer.id == Id.GET_INFO:
            return self._info(transfer)
        if transfer.id != Id.READ:
            raise Refused(Status.NOT_PERMITTED)
        return self._read(address, min(PAGE, left))

    def _read(self, address: int, size: int) -> bytes:
        machine, last = self._machine, address + size
        if machine.is_ram(address) and machine.is_ram(last - (0 if self._is_rp2040 else 1)):
            return machine.read_ram(address, size)
        if machine.is_rom(address) and machine.is_rom(last):
            return machine.read_rom(address, size)
        if not (machine.is_flash(address) and machine.is_flash(last)):
            raise Refused(Status.INVALID_ADDRESS)
        if address % PAGE:
            raise Refused(Status.BAD_ALIGNMENT)
        if not machine.may_touch(address, size):
            raise Refused(Status.NOT_PERMITTED)
        return bytes(size) if self._uf2.flash_aborted else machine.read_flash(address, size)

    def _info(self, transfer: _Transfer) -> bytes:
        """GET_INFO of the system: chip id and CPU. Partition tables and OTP are not modelled."""
        if transfer.arguments[0] != _SYS_INFO:
            raise Refused(Status.INVALID_ARG)
        (wanted,) = struct.unpack_from("<I", transfer.arguments, 4)
        low, high = struct.unpack(">II", self._chip_id)[::-1]
        items = {0x1: (0, low, high), 0x4: (0x0300,)}
        words = [wanted & 0x5, *(word for flag, item in items.items() if wanted & flag for word in item)]
        if 4 * (len(words) + 1) > transfer.left:
            raise Refused(Status.BUFFER_TOO_SMALL)
        return struct.pack(f"<{len(words) + 1}I", len(words), *words).ljust(transfer.left, b"\0")
