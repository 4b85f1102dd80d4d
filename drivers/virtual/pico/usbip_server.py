"""A USB/IP server that exports the boot loader of one board while it is there, as `usbipd` does for a real one."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress

from drivers.virtual.faults import Faults, PowerLost
from drivers.virtual.pico import usbip_messages as messages
from drivers.virtual.pico.usb_device import UsbDevice

_UNLINKED = -errno.ECONNRESET


class UsbIpServer:
    """The server of one board. `on_power_lost` is told when a transfer made the supply drop."""

    def __init__(self, faults: Callable[[], Faults], on_power_lost: Callable[[PowerLost], None]) -> None:
        self._faults = faults
        self.on_power_lost = on_power_lost
        self._device: UsbDevice | None = None
        self._client: _Client | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        """Listen on a free port of this machine only; what a batch's `usb` takes."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"usbip://{host}:{port}/{messages.BUSID}"

    def close(self) -> None:
        self.detach()
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._connections):
            writer.transport.abort()

    @property
    def is_in_use(self) -> bool:
        return self._client is not None

    def attach(self, device: UsbDevice) -> None:
        """The boot loader has appeared on the bus."""
        self._device = device

    def detach(self) -> None:
        """It has left: its client is cut off."""
        device, self._device = self._device, None
        if device is not None:
            device.gone.set()
        if self._client is not None:
            self._client.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            await self._operation(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, messages.Malformed):
            pass  # who does not speak the protocol is disconnected, as Linux does
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _operation(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        code = messages.parse_operation(await reader.readexactly(messages.OPERATION_SIZE))
        if code == messages.REQ_DEVLIST:
            writer.write(messages.devlist(self._device))
            await writer.drain()
            return
        busid = messages.parse_busid(await reader.readexactly(messages.BUSID_SIZE))
        device = self._device
        if device is None or busid != messages.BUSID or self._client is not None:
            writer.write(messages.import_refused(messages.BUSY if self._client else messages.NO_DEVICE))
            await writer.drain()
            return
        self._client = _Client(device, reader, writer, self._faults(), self.on_power_lost)
        try:
            writer.write(messages.imported(device))
            await self._client.serve()
        finally:
            self._client = None


class _Client:
    """Who has imported the device. Transfers of one endpoint are worked on one after the other, others beside them."""

    def __init__(
        self,
        device: UsbDevice,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        faults: Faults,
        on_power_lost: Callable[[PowerLost], None],
    ) -> None:
        self._device = device
        self._reader = reader
        self._writer = writer
        self._faults = faults
        self._on_power_lost = on_power_lost
        self._until_drop = faults.line_drops_after()
        self._turns: dict[tuple[int, int], asyncio.Lock] = {}
        self._running: dict[int, asyncio.Task[None]] = {}

    def cut(self) -> None:
        """The device has left; what was answered before still reaches the client."""
        self._writer.close()
        self._end()

    def _end(self) -> None:
        for task in self._running.values():
            task.cancel()
        self._running.clear()

    async def serve(self) -> None:
        try:
            while not self._writer.is_closing():
                command = messages.parse_command(await self._reader.readexactly(messages.HEADER_SIZE))
                if isinstance(command, messages.Unlink):
                    self._unlink(command)
                    continue
                is_out = command.direction == messages.OUT
                data = await self._reader.readexactly(command.length) if is_out else b""
                if self._drops(len(data)):
                    return
                self._start(command, data)
        finally:
            self._end()

    def _start(self, submit: messages.Submit, data: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._transfer(submit, data))
        self._running[submit.sequence] = task
        task.add_done_callback(lambda _task: self._running.pop(submit.sequence, None))

    def _drops(self, size: int) -> bool:
        """Whether the cable comes loose with these bytes; they do not arrive."""
        if self._until_drop is None:
            return False
        self._until_drop -= size
        if self._until_drop > 0:
            return False
        self._faults.line_dropped()
        return True

    def _unlink(self, unlink: messages.Unlink) -> None:
        task = self._running.pop(unlink.of, None)
        if task is not None:
            task.cancel()
        self._writer.write(messages.ret_unlink(unlink, _UNLINKED if task is not None else 0))

    async def _transfer(self, submit: messages.Submit, data: bytes) -> None:
        turn = self._turns.setdefault((submit.endpoint, submit.direction), asyncio.Lock())
        try:
            async with turn:
                reply = await self._carry_out(submit, data)
        except PowerLost as lost:
            self._on_power_lost(lost)
            return
        with suppress(ConnectionError):
            self._writer.write(reply)

    async def _carry_out(self, submit: messages.Submit, data: bytes) -> bytes:
        if submit.endpoint == 0:
            status, answer = await self._device.control(submit.setup, data)
            given = answer if submit.direction == messages.IN else b""
            return messages.ret_submit(submit, status, len(given) or (len(data) if not status else 0), given)
        if submit.direction == messages.OUT:
            status = await self._device.bulk_out(submit.endpoint, data)
            return messages.ret_submit(submit, status, 0 if status else len(data), b"")
        status, answer = await self._device.bulk_in(submit.endpoint, submit.length)
        return messages.ret_submit(submit, status, len(answer), answer)
