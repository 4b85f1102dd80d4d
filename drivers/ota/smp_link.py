"""Conversations with a board over SMP and UDP, through smpclient, each in an event loop of its own.

What it adds to smpclient: datagrams are lost, so a request is sent again until it is answered, and an answer counts
only where it answers the last request; packets as small as the board's buffers; the board's errors by number.
A conversation ends with its loop and its socket, also where a time limit ends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from smp.image_management import ImageState
from smpclient import SMPClient
from smpclient.requests.image_management import ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import MCUMgrParametersRead, OSApplicationInfoRead, ResetWrite
from smpclient.transport.udp import SMPUDPTransport

from drivers.base import DeviceError, FlashFailed, Log, NetworkFailed, Progress, WrongBoard
from drivers.net import Address
from drivers.ota import smp_frames
from drivers.ota.smp_errors import NotUnderstood, Refusal
from drivers.ota.smp_image import as_imgtool
from drivers.ota.smp_state import Slot, Slots

T = TypeVar("T")

# What goes wrong is raised, and said in the device's log; the libraries log each look at a board that restarts.
for _library in ("smpclient", "smp"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)

_AGAIN_S, _MOST_S = 1.0, 4.0  # between two sendings of a request: at first, at most
_UNCHANGED = 20  # answers in a row that leave an upload where it is
_RESTARTS = 3  # of an upload, by a board that forgot it


class Transport(SMPUDPTransport):
    """UDP that repeats itself. `repeats`: off for what must arrive once at most."""

    def __init__(self, port: int, mtu: int, trace: Log | None = None) -> None:
        super().__init__(mtu)
        self._port = port
        self._trace = trace
        self.buffer_size = 0  # bytes of the board's buffers; 0: not known
        self.repeats = True

    async def connect(self, address: str, timeout_s: float, port: int = 0) -> None:
        await super().connect(address, timeout_s, port or self._port)

    @property
    def max_unencoded_size(self) -> int:
        most = super().max_unencoded_size
        return min(most, self.buffer_size) if self.buffer_size else most

    async def send_and_receive(self, data: bytes) -> bytes:
        """The answer to this request. Waits for ever where none comes; raises `Refusal` where the board refuses."""
        pause_s = _AGAIN_S
        while True:
            self._tell("to", data)
            await self.send(data)
            try:
                async with asyncio.timeout(pause_s if self.repeats else None):
                    return smp_frames.without_success(await self._answer(data))
            except TimeoutError:
                pause_s = min(pause_s * 2, _MOST_S)

    async def _answer(self, request: bytes) -> bytes:
        while True:
            frame = await self._client.receive()
            self._tell("from", frame)
            if smp_frames.is_answer(frame, request):
                return frame

    def _tell(self, direction: str, frame: bytes) -> None:
        if self._trace is not None:
            self._trace(f"{direction} the board: {smp_frames.in_words(frame)}")


class Link:
    """The board at an address. `timeout_s`: how long each request may take, sent again or not."""

    def __init__(self, address: Address, mtu: int, timeout_s: float, trace: Log | None = None) -> None:
        self._trace = trace
        self._address = address
        self._mtu = mtu
        self._timeout_s = timeout_s
        self._buffer_size = 0
        self._ip = ""

    def _converse(self, work: Callable[[SMPClient, Transport], Awaitable[T]], timeout_s: float | None = None) -> T:
        self._ip = self._ip or self._address.lookup()  # once: another answer later would be another board

        async def conversation() -> T:
            limit_s = self._timeout_s if timeout_s is None else timeout_s
            transport = Transport(self._address.port, self._mtu, self._trace)
            transport.buffer_size = self._buffer_size
            await transport.connect(self._ip, limit_s)
            try:
                return await work(SMPClient(transport, self._ip, limit_s), transport)
            finally:
                await transport.disconnect()
                await asyncio.sleep(0)  # the loop closes a socket in its next round

        return asyncio.run(conversation())

    def learn_buffers(self, timeout_s: float) -> None:
        """Ask how large a datagram may be; firmware that does not say gets what the network's MTU allows."""

        async def ask(client: SMPClient, _: Transport) -> int:
            return int((await _success(client, MCUMgrParametersRead())).buf_size)

        self._buffer_size = 0
        self._buffer_size = self._optional(ask, timeout_s) or 0

    def slots(self, timeout_s: float | None = None, *, repeat: bool = True) -> Slots:
        """What the board holds and runs."""

        async def ask(client: SMPClient, transport: Transport) -> Slots:
            transport.repeats = repeat
            return as_slots((await _success(client, ImageStatesRead())).images)

        return self._converse(ask, timeout_s)

    def about(self, what: str) -> str | None:
        """A field of `os info` ("i": hardware, "n": node name); None where the firmware does not say."""

        async def ask(client: SMPClient, _: Transport) -> str:
            return str((await _success(client, OSApplicationInfoRead(format=what))).output)

        return self._optional(ask)

    def slot_size(self) -> int | None:
        """Bytes; None where the firmware does not say."""

        async def ask(client: SMPClient, transport: Transport) -> int | None:
            return smp_frames.slot_size(await _raw(transport, smp_frames.slot_info(), client._timeout_s))

        return self._optional(ask)

    def boot_mode(self) -> int | None:
        """MCUboot's mode (`enum mcuboot_mode`); None where the firmware does not say."""

        async def ask(client: SMPClient, transport: Transport) -> int | None:
            mode = (await _raw(transport, smp_frames.boot_mode(), client._timeout_s)).get("mode")
            return mode if isinstance(mode, int) else None

        return self._optional(ask)

    def _optional(
        self, ask: Callable[[SMPClient, Transport], Awaitable[T]], timeout_s: float | None = None
    ) -> T | None:
        try:
            return self._converse(ask, timeout_s)
        except Refusal:
            return None

    def test(self, digest: bytes) -> None:
        """Have the next reset start this image, on probation."""
        self._converse(lambda client, _: _success(client, ImageStatesWrite(hash=digest)))

    def confirm(self) -> None:
        """Keep the image that runs."""
        # without a digest, which could by now be that of an image in the other slot: it would be started for good
        self._converse(lambda client, _: _success(client, ImageStatesWrite(confirm=True)))

    def reset(self, timeout_s: float) -> bool:
        """Ask once; whether that was answered. A second one could arrive after the restart, and undo a test."""

        async def ask(client: SMPClient, transport: Transport) -> bool:
            transport.repeats = False
            await _success(client, ResetWrite())
            return True

        try:
            return self._converse(ask, timeout_s)
        except TimeoutError:
            return False

    def upload(self, data: bytes, progress: Progress) -> None:
        """Send an image into the slot that does not run. Goes on where the board says, as often as it must."""

        async def send(client: SMPClient, _: Transport) -> None:
            for _attempt in range(_RESTARTS):
                if await self._upload_once(client, data, progress):
                    return
            raise FlashFailed(f"the board forgot the upload {_RESTARTS} times: it restarts, or others upload too")

        self._converse(send)

    async def _upload_once(self, client: SMPClient, data: bytes, progress: Progress) -> bool:
        """False where the board has forgotten what it received before.

        The first piece waits for the erasure of the slot. An answer to the last piece that was lost looks like
        forgetting, too: then the second attempt finds the image there already.
        """
        done = unchanged = 0
        pieces = client.upload(data, first_timeout_s=self._timeout_s, subsequent_timeout_s=self._timeout_s)
        try:
            async for offset in pieces:
                if offset < done:
                    return False
                unchanged = unchanged + 1 if offset == done else 0
                if unchanged > _UNCHANGED or offset > len(data):
                    raise NetworkFailed(f"the upload does not get beyond {done} of {len(data)} bytes")
                done = offset
                progress(done, len(data))
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]
        return True


async def _success(client: SMPClient, request: Any) -> Any:
    """The answer; the transport has raised the refusals."""
    return await client.request(request)


async def _raw(transport: Transport, request: bytes, timeout_s: float) -> dict[str, object]:
    async with asyncio.timeout(timeout_s):
        return smp_frames.body(await transport.send_and_receive(request))


def as_slots(images: list[ImageState]) -> Slots:
    """Raises `WrongBoard` for a board that this driver does not update."""
    if any(image.image for image in images):
        raise WrongBoard(
            "the board has several images (a network core's among them): only boards with one are supported",
            advice="Nothing was written. Update it with the vendor's tools.",
        )
    slots = [_slot(image) for image in images]
    active = [slot for slot in slots if slot.active]
    others = [slot for slot in slots if not slot.active]
    if len(active) != 1 or len(others) > 1:
        raise NotUnderstood(f"a list of images with {len(active)} that run and {len(others)} others")
    return Slots(active[0], others[0] if others else None)


def _slot(image: ImageState) -> Slot:
    if image.hash is None:
        raise DeviceError("the board does not say the digest of its images: it is no application of MCUboot's")
    return Slot(
        image.slot,
        as_imgtool(image.version),
        bytes(image.hash),
        active=bool(image.active),
        confirmed=bool(image.confirmed),
        pending=bool(image.pending),
    )
