"""Boards that announce themselves by real multicast DNS, on the loopback interface alone."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

LOOPBACK = "127.0.0.1"


def service(service_type: str, name: str, port: int, host: str = "", **txt: str) -> ServiceInfo:
    return ServiceInfo(
        service_type,
        f"{name}.{service_type}",
        addresses=[socket.inet_aton(LOOPBACK)],
        port=port,
        properties=txt,
        server=f"{host or name}.local.",
    )


@contextmanager
def announced(services: Sequence[ServiceInfo]) -> Iterator[None]:
    """All at the same time: one after the other takes over a second each."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> AsyncZeroconf:
        network = AsyncZeroconf(interfaces=[LOOPBACK])
        registered = await asyncio.gather(*(network.async_register_service(one) for one in services))
        await asyncio.gather(*registered)
        return network

    try:
        network = asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(network.async_close(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
