"""Whether a target's family has what the batch asks of it. As in `checks`: every problem, and no board is touched.

A family is known here by what its driver declares, never by its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from drivers import device_types, load_driver
from drivers.base import DeviceError, Driver, Interface, KnowsChips
from harness.batch import VIRTUAL_PORT, ConnectionInfo, Expect
from harness.merge import device_type_of, merged, merged_options, nearest, options_layers, said, setting
from harness.opened import Opened
from harness.problems import Problem, did_you_mean
from harness.tree import Loc, Source

_KEYS: Mapping[Interface, tuple[str, ...]] = {
    Interface.SERIAL: ("port", "baudrate", "flash_baudrate"),
    Interface.NETWORK: ("host", "port"),
    Interface.USB: ("mount_point", "usb", "port", "baudrate"),
}
_HOW: Mapping[Interface, str] = {
    Interface.SERIAL: "on serial lines",
    Interface.NETWORK: "on the network",
    Interface.USB: "on USB",
}
_NEEDS: Mapping[Interface, tuple[str, ...]] = {
    Interface.SERIAL: ("port",),
    Interface.NETWORK: ("host",),
    Interface.USB: ("mount_point", "usb"),
}


def _families(opened: Opened) -> Iterator[tuple[int, str, Driver]]:
    """Each target whose type has a driver: its place, its type, its driver."""
    for index, target in enumerate(opened.batch.targets):
        device_type = device_type_of(opened.batch, target)
        if device_type in device_types():
            yield index, str(device_type), load_driver(str(device_type))


def interfaces_are_the_drivers(opened: Opened) -> Iterator[Problem]:
    for source, named in ((opened.source, opened.batch.device_types), (opened.site_source, opened.site.device_types)):
        for name, settings in named.items():
            if source is None or settings.interface is None or name not in device_types():
                continue
            interface = load_driver(name).interface
            if settings.interface is not interface:
                loc = ("device_types", name, "interface")
                yield source.problem(loc, f"{name} boards are {_HOW[interface]}", f"say {interface}, or remove it")


def connections_fit(opened: Opened) -> Iterator[Problem]:
    """A target is connected in the way of its family."""
    for index, device_type, driver in _families(opened):
        info = opened.batch.targets[index].connection_info
        loc: Loc = ("targets", index, "connection_info")
        if info.port == VIRTUAL_PORT:
            continue
        foreign = [
            key for key in ConnectionInfo.model_fields if said(info, (key,)) and key not in _KEYS[driver.interface]
        ]
        for key in foreign:
            message = f"{device_type} boards are {_HOW[driver.interface]}"
            at = opened.source.key_position((*loc, key))
            yield opened.source.problem((*loc, key), message, _instead(key, driver), at=at)
        if not any(said(info, (key,)) for key in _NEEDS[driver.interface]) and not (foreign or _lost(opened)):
            message = f"{device_type} boards are {_HOW[driver.interface]}"
            yield opened.source.problem(loc, message, f"give {_needed(driver)}")
        yield from _port_of_the_right_kind(opened.source, loc, info, driver)


def _lost(opened: Opened) -> bool:
    return not opened.source.lost.isdisjoint({"port", "host", "mount_point", "usb"})


def _needed(driver: Driver) -> str:
    return " or ".join(f"`{key}`" for key in _NEEDS[driver.interface])


def _instead(key: str, driver: Driver) -> str:
    """What to write in the place of a key of another interface: another key, or another device type."""
    others = [name for name in device_types() if key in _NEEDS[load_driver(name).interface]]
    if key not in {needed for keys in _NEEDS.values() for needed in keys} or not others:
        return f"known here: {', '.join(_KEYS[driver.interface])}"
    return f"give {_needed(driver)}, or one of the device types {', '.join(others)}"


def _port_of_the_right_kind(source: Source, loc: Loc, info: ConnectionInfo, driver: Driver) -> Iterator[Problem]:
    on_network = driver.interface is Interface.NETWORK
    if info.port is None or isinstance(info.port, int) is on_network:
        return
    wanted = "a port number" if on_network else "a port such as /dev/ttyUSB0, a URL, or `virtual`"
    yield source.problem((*loc, "port"), f"expected {wanted}, got {source.node((*loc, 'port')).text}")


def options_are_known(opened: Opened) -> Iterator[Problem]:
    """`options` hold what the family's driver takes, and what it needs to see the version where that is required."""
    for index, device_type, driver in _families(opened):
        try:
            options = driver.options.model_validate(merged_options(opened.batch, opened.site, index))
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                yield _option_problem(opened, index, device_type, driver, detail)
            continue
        if options.how_version_is_told and merged(opened.batch, index, "expect", Expect).require_version:
            message = f"{device_type} boards tell their version only with {options.how_version_is_told}"
            hint = "give it, or set `expect: {require_version: false}`"
            yield opened.source.problem(("targets", index), message, hint)
        elif options.how_version_is_told and driver.capabilities.can_verify and _verification_is_required(opened):
            yield _unverifiable(opened, index, device_type)


def chips_are_known(opened: Opened) -> Iterator[Problem]:
    """A chip that no board of the family has, or options that it has not, would be found out with the first board."""
    for index, _device_type, driver in _families(opened):
        if not isinstance(driver, KnowsChips):
            continue
        chip = opened.merger.chip(index)
        try:
            driver.room(chip, driver.options())
        except DeviceError as error:
            source, loc = _where_chip(opened, index)
            yield source.problem(loc, error.message, error.advice)
            continue
        try:
            driver.room(chip, driver.options.model_validate(merged_options(opened.batch, opened.site, index)))
        except ValidationError:
            continue  # `options_are_known` says so
        except DeviceError as error:
            yield opened.source.problem(("targets", index), error.message, error.advice)


def _where_chip(opened: Opened, index: int) -> tuple[Source, Loc]:
    """The place that says a target's chip: the target, its type in the batch, or in the site file."""
    target = opened.batch.targets[index]
    if target.expected.chip is not None:
        return opened.source, ("targets", index, "expected", "chip")
    device_type = device_type_of(opened.batch, target) or ""
    by_batch = opened.batch.device_types.get(device_type)
    if opened.site_source is None or (by_batch is not None and by_batch.chip is not None):
        return opened.source, ("device_types", device_type, "chip")
    return opened.site_source, ("device_types", device_type, "chip")


def _option_problem(opened: Opened, index: int, device_type: str, driver: Driver, detail: ErrorDetails) -> Problem:
    key = str(detail["loc"][0]) if detail["loc"] else ""
    source = opened.source
    loc: Loc = ("targets", index)
    for in_batch, place, options in options_layers(opened.batch, opened.site, index):
        where = opened.source if in_batch else opened.site_source
        if where is not None and (key in options or not key):
            source, loc = where, where.resolve((*place, *detail["loc"]))
            break
    if detail["type"] == "extra_forbidden":
        known = tuple(driver.options.model_fields)
        close = did_you_mean(key, known)
        hint = f"did you mean {close!r}?" if close else f"known: {', '.join(known) or 'none'}"
        return source.problem(loc[:-1], f"{device_type} has no option {key!r}", hint, at=source.key_position(loc))
    said_so = detail["msg"].removeprefix("Value error, ")
    prefix = f"options.{key}: " if key and loc[-1:] != (key,) else ""
    return source.problem(loc, f"{prefix}{said_so[:1].lower()}{said_so[1:]}")


def nothing_impossible_is_asked(opened: Opened) -> Iterator[Problem]:
    """What the family can not do is refused before the run."""
    for index, device_type, driver in _families(opened):
        can = driver.capabilities
        if not can.has_serial:
            yield from _unidentifiable(opened, index, device_type)
        if not can.has_console:
            yield from _unheard(opened, index, device_type)
        previous = nearest(opened.batch, index, "previous_firmware")
        if can.can_read_back and previous is not None and previous[0][0] == "targets":
            why = f"{device_type} boards are read back: what they hold is the backup"
            yield opened.source.problem(previous[0], why, "remove it")
        if not can.can_verify and _verification_is_required(opened):
            yield _unverifiable(opened, index, device_type)


def _verification_is_required(opened: Opened) -> bool:
    return bool(setting(opened.batch, opened.site, "quality_gates", "require_verification"))


def _unidentifiable(opened: Opened, index: int, device_type: str) -> Iterator[Problem]:
    for key in ("mac", "serial"):
        if said(opened.batch.targets[index].expected, (key,)) is not None:
            loc = ("targets", index, "expected", key)
            yield opened.source.problem(loc, f"{device_type} boards do not say who they are", "remove it")


def _unheard(opened: Opened, index: int, device_type: str) -> Iterator[Problem]:
    expect = merged(opened.batch, index, "expect", Expect)
    for key in ("patterns", "reject"):
        if getattr(expect, key):
            found = nearest(opened.batch, index, "expect")
            loc = (*found[0], key) if found else ("targets", index)
            yield opened.source.problem(loc, f"{device_type} boards have no console to look at", "remove it")


def _unverifiable(opened: Opened, index: int, device_type: str) -> Problem:
    device_id = opened.batch.targets[index].device_id
    message = f"nothing proves what {device_type} boards hold, {device_id} among them"
    name = ("quality_gates", "require_verification")
    in_batch = said(opened.batch, name) is not None
    source = opened.source if in_batch or opened.site_source is None else opened.site_source
    return source.problem(name, message, "set it to false, or update them in a batch of their own")


RULES = (
    interfaces_are_the_drivers,
    connections_fit,
    options_are_known,
    chips_are_known,
    nothing_impossible_is_asked,
)
