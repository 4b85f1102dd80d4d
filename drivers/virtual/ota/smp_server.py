"""The server of Zephyr's mcumgr: datagrams to answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from drivers.virtual.ota import smp_images, smp_system
from drivers.virtual.ota.smp_frames import HEADER_SIZE, SMP_VERSION_2, Code, GroupError, Header, Op, Refused
from drivers.virtual.ota.smp_images import ImageGroup
from drivers.virtual.ota.smp_system import SystemGroup


class SmpServer:
    """What is answered to a datagram, as `smp_process_request_packet` does it."""

    def __init__(self, images: ImageGroup, system: SystemGroup, *, legacy_rc: bool) -> None:
        self._handlers = {smp_images.GROUP: images.handlers, smp_system.GROUP: system.handlers}
        self._legacy_rc = legacy_rc

    async def answers(self, datagram: bytes) -> AsyncIterator[bytes]:
        """Each request's answer in turn; the first error ends the datagram."""
        while (header := Header.of(datagram)) is not None:
            payload = datagram[HEADER_SIZE : HEADER_SIZE + header.size]
            try:
                yield header.answer(await self._handle(header, payload))
            except Refused as refused:
                yield header.answer({"rc": int(refused.code)})
                return
            datagram = datagram[HEADER_SIZE + header.size :]

    async def _handle(self, header: Header, payload: bytes) -> Mapping[str, object]:
        if len(payload) < header.size:
            raise Refused(Code.CORRUPT)
        if header.op not in (Op.READ, Op.WRITE):
            raise Refused(Code.NOT_SUPPORTED)
        if header.version > SMP_VERSION_2:
            raise Refused(Code.TOO_NEW)
        handler = self._handlers.get(header.group, {}).get((header.op, header.command))
        if handler is None:
            raise Refused(Code.NOT_SUPPORTED)
        try:
            body = await handler(payload)
        except GroupError as error:
            if header.version == 0:
                raise Refused(error.as_version_1) from error
            return {"err": {"group": error.group, "rc": error.code}}
        return {"rc": 0, **body} if self._legacy_rc else body
