"""The UDP port of a board that speaks SMP, with the line's faults."""

from __future__ import annotations

import asyncio

from drivers.virtual.faults import Faults
from drivers.virtual.ota.ports import LOOPBACK, Peer, UdpPort

MTU = 1500  # CONFIG_MCUMGR_TRANSPORT_UDP_MTU
_REJOIN_S = 2.0  # how long a line that dropped stays dead: a station joins its network again


class SmpPort(UdpPort):
    """UDP's checksum lets no flipped bit through: such a datagram is lost. A line that drops is dead for a while."""

    def __init__(self) -> None:
        super().__init__(LOOPBACK)
        self._heard = 0
        self._dead_until = 0.0

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        faults = self._faults() if self._faults is not None else None
        if faults is None or self.hear is None or faults.silent or self._is_dead(len(data), faults):
            return
        if faults.noisy(data) == data:
            self.hear(data, (str(addr[0]), int(addr[1])))

    def _is_dead(self, size: int, faults: Faults) -> bool:
        now = asyncio.get_running_loop().time()
        room = faults.line_drops_after()
        if now >= self._dead_until and room is not None:
            self._heard += size
            if self._heard > room:
                faults.line_dropped()
                self._heard, self._dead_until = 0, now + _REJOIN_S
        return now < self._dead_until

    def send(self, data: bytes, peer: Peer) -> None:
        faults = self._faults() if self._faults is not None else None
        if self._transport is not None and faults is not None and not faults.silent and faults.noisy(data) == data:
            self._transport.sendto(data, peer)
