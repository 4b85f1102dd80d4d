"""Boards on the network that announce themselves by multicast DNS, heard within a time limit."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.discovery.services import SERVICE_TYPES, Service, sighting
from harness.discovery.sighting import Sighting

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncZeroconf

_RESOLVE_SHARE = 0.5  # of the time, for what was announced and has to be asked for its address


class NoMulticast(Exception):
    """This machine's network can not be listened to."""


def sightings(seconds: float, interfaces: Sequence[str] | None) -> list[Sighting]:
    """What is heard within so many seconds, on these addresses of this machine, on all without.

    Raises `NoMulticast` where there is no network to listen to.
    """
    return asyncio.run(_listen(seconds, interfaces))


async def _listen(seconds: float, interfaces: Sequence[str] | None) -> list[Sighting]:
    from zeroconf import InterfaceChoice
    from zeroconf.asyncio import AsyncZeroconf

    for address in interfaces or ():
        _check_own(address)
    try:
        network = AsyncZeroconf(interfaces=list(interfaces) if interfaces else InterfaceChoice.All)
    except (OSError, RuntimeError) as error:  # RuntimeError: none of the interfaces can be used
        raise NoMulticast(str(error)) from error
    try:
        services = await _heard(network, seconds)
    finally:
        await network.async_close()
    return [seen for service in services if (seen := sighting(service))]


def _check_own(address: str) -> None:
    """zeroconf leaves its sockets open when it is refused one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        raise NoMulticast(f"{address} is no address of this machine ({error.strerror})") from error


async def _heard(network: AsyncZeroconf, seconds: float) -> list[Service]:
    from zeroconf.asyncio import AsyncServiceBrowser

    names: dict[str, str] = {}
    questions: dict[str, asyncio.Task[Service | None]] = {}

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change.name == "Removed":
            names.pop(name, None)
            return
        names[name] = service_type
        if name not in questions:
            questions[name] = asyncio.ensure_future(_resolved(zeroconf, service_type, name, seconds * _RESOLVE_SHARE))

    browser = AsyncServiceBrowser(network.zeroconf, list(SERVICE_TYPES), handlers=[changed])
    try:
        await asyncio.sleep(seconds)
        resolved = await asyncio.gather(*questions.values())
    finally:
        await browser.async_cancel()
    return [service for name, service in zip(questions, resolved, strict=True) if service and name in names]


async def _resolved(zeroconf: Zeroconf, service_type: str, name: str, seconds: float) -> Service | None:
    """Where a service is; None where nobody answered."""
    from zeroconf import IPVersion
    from zeroconf.asyncio import AsyncServiceInfo

    info = AsyncServiceInfo(service_type, name)
    if not await info.async_request(zeroconf, seconds * 1000):
        return None
    addresses = [*info.parsed_addresses(IPVersion.V4Only), *info.parsed_scoped_addresses(IPVersion.V6Only)]
    return Service(
        service_type=service_type,
        instance=name.removesuffix(f".{service_type}"),
        host_name=info.server or "",
        addresses=tuple(addresses),
        port=info.port or 0,
        properties=info.properties,
    )
