"""What the models can not see: whether the batch, the site and the files that they name fit together.

Each check goes over the whole batch and yields every problem that it finds; none touches a board.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from drivers import device_types
from drivers.net import SCHEME
from harness import family_checks, rollout_checks
from harness.batch import VIRTUAL_PORT, Batch, Target, Virtual
from harness.firmware import unusable
from harness.merge import ALIASES, device_type_of, is_virtual, located, merged, names_of, said, setting
from harness.opened import Opened
from harness.port_names import resolved_port
from harness.problems import Problem, did_you_mean
from harness.tree import Loc, Source


def check(opened: Opened) -> Iterator[Problem]:
    """Everything but the firmware itself."""
    for rule in _RULES:
        yield from rule(opened)


def known_types(opened: Opened) -> Iterator[Problem]:
    """Every device type that is named has a driver."""
    named: list[tuple[Source | None, Loc, str]] = [
        (opened.site_source, ("device_types", name), name) for name in opened.site.device_types
    ]
    named += [(opened.source, ("device_types", name), name) for name in opened.batch.device_types]
    if opened.batch.device_type:
        named.append((opened.source, ("device_type",), opened.batch.device_type))
    for index, target in enumerate(opened.batch.targets):
        if target.device_type:
            named.append((opened.source, ("targets", index, "device_type"), target.device_type))
    known = device_types()
    for source, loc, name in named:
        if source is not None and name not in known:
            at = source.key_position(loc) if "device_types" in loc else None
            yield source.problem(loc, f"unknown device type {name!r}", _one_of(name, known), at=at)


def _one_of(name: str, known: tuple[str, ...]) -> str:
    close = did_you_mean(name, known)
    return f"did you mean {close!r}?" if close else f"known: {', '.join(known)}"


def a_type_each(opened: Opened) -> Iterator[Problem]:
    if "device_type" in opened.source.lost:
        return
    for index, target in enumerate(opened.batch.targets):
        if device_type_of(opened.batch, target) is None:
            yield opened.source.problem(
                ("targets", index), "'device_type' is missing", "give it here or at the top of the batch"
            )


def firmware_each(opened: Opened) -> Iterator[Problem]:
    """Each target has firmware, said in one way."""
    for loc in [(), *(("device_types", name) for name in opened.batch.device_types), *_targets(opened)]:
        node = opened.source.node(loc)
        if node.child("firmware_file") and node.child("images"):
            yield opened.source.problem((*loc, "images"), "stands beside `firmware_file`", "give one of the two")
    if not opened.source.lost.isdisjoint({"firmware_file", "images", "file", "address"}):
        return
    without = [target.device_id for target in opened.batch.targets if not _says_firmware(opened.batch, target)]
    if without:
        hint = "give `firmware_file` or `images` at the top, under device_types, or in the target"
        yield opened.source.problem((), f"no firmware for {_some(without)}", hint)


def _targets(opened: Opened) -> Iterator[Loc]:
    for index in range(len(opened.batch.targets)):
        yield ("targets", index)


def _says_firmware(batch: Batch, target: Target) -> bool:
    by_type = batch.device_types.get(device_type_of(batch, target) or "")
    layers = filter(None, (target, by_type, batch))
    return any(layer.firmware_file is not None or layer.images is not None for layer in layers)


def _some(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def nothing_twice(opened: Opened) -> Iterator[Problem]:
    """No two targets have one name, one port or one board."""
    yield from _twice(opened, ("device_id",), lambda target: target.device_id, "is the name of another target too")
    yield from _twice(opened, ("connection_info", "port"), _port, "is another target's port too")
    hosts = {id(target): _host(opened, index) for index, target in enumerate(opened.batch.targets)}
    words = "is another target's host and port too"
    yield from _twice(opened, ("connection_info", "host"), lambda target: hosts[id(target)], words)
    yield from _twice(opened, ("connection_info", "mount_point"), _mount_point, "is another target's too")
    yield from _twice(opened, ("connection_info", "usb"), lambda target: target.connection_info.usb, "is another's too")
    expected = "is expected on another target's port too"
    yield from _twice(opened, ("expected", "mac"), lambda target: target.expected.mac, expected)
    yield from _twice(opened, ("expected", "serial"), lambda target: target.expected.serial, expected)


def _port(target: Target) -> str | None:
    port = target.connection_info.port
    if port == VIRTUAL_PORT or not isinstance(port, str):
        return None
    try:
        return resolved_port(port)
    except ValueError:  # `ports_are_names` says so
        return None


def _host(opened: Opened, index: int) -> str | None:
    """Host and port, whether the port is said or the family's usual one."""
    target = opened.batch.targets[index]
    if not target.connection_info.host or device_type_of(opened.batch, target) not in device_types():
        return None
    return opened.merger.connection(index)["port"].removeprefix(f"{SCHEME}://").lower()


def _mount_point(target: Target) -> str | None:
    mount_point = target.connection_info.mount_point
    return os.path.realpath(mount_point) if mount_point else None


def _twice(opened: Opened, key: Loc, value: Callable[[Target], Hashable | None], words: str) -> Iterator[Problem]:
    first: dict[Hashable, int] = {}
    for index, target in enumerate(opened.batch.targets):
        this = value(target)
        if this is None:
            continue
        loc = ("targets", index, *key)
        if first.setdefault(this, index) != index:
            line = opened.source.node(("targets", first[this], *key)).at.line
            text = opened.source.node(loc).text
            also = "" if text == this else f" (it is {this})"
            yield opened.source.problem(loc, f"{text}{also} {words}", f"see line {line}")


def ports_are_names(opened: Opened) -> Iterator[Problem]:
    for index, target in enumerate(opened.batch.targets):
        port = target.connection_info.port
        try:
            resolved_port(port if isinstance(port, str) else "")
        except ValueError as error:
            yield opened.source.problem(("targets", index, "connection_info", "port"), f"not a usable URL: {error}")


def one_identity(opened: Opened) -> Iterator[Problem]:
    for index, target in enumerate(opened.batch.targets):
        if target.expected.mac and target.expected.serial:
            loc = ("targets", index, "expected", "serial")
            yield opened.source.problem(loc, "stands beside `mac`", "give one of the two")


def names_agree(opened: Opened) -> Iterator[Problem]:
    """Two names of one setting say the same within a file."""
    for source, model in ((opened.source, opened.batch), (opened.site_source, opened.site)):
        if source is None:
            continue
        for name in ALIASES:
            given = [(alias, said(model, alias)) for alias in names_of(name) if said(model, alias) is not None]
            for alias, value in given[1:]:
                if value != given[0][1]:
                    yield _disagreement(source, given[0][0], alias)


def _disagreement(source: Source, one: Loc, two: Loc) -> Problem:
    first, second = sorted((one, two), key=lambda loc: source.node(loc).at.line)
    where = f"{source.describe(first)} on line {source.node(first).at.line}"
    message = f"says {source.node(second).text}, but {where} says {source.node(first).text}"
    return source.problem(second, message, "they are two names of one setting; keep one of them")


def rollback_has_a_backup(opened: Opened) -> Iterator[Problem]:
    backup = ("flash_settings", "backup_before_flash")
    if setting(opened.batch, opened.site, *backup) or not setting(
        opened.batch, opened.site, "rollback_settings", "rollback_on_failure"
    ):
        return
    message = "without a backup there is nothing to roll back to"
    for source, model in ((opened.source, opened.batch), (opened.site_source, opened.site)):
        for name in names_of(backup):
            if source is not None and said(model, name) is not None:
                yield source.problem(name, message, "set it to true, or set rollback_on_failure to false as well")
                return


def named_files(opened: Opened) -> Iterator[Problem]:
    """Tests and virtual boards' factory images exist."""
    folder = opened.merger.folder
    for loc, layer in [((), opened.batch), *_layers(opened)]:
        for position, path in enumerate(layer.tests or ()):
            why = unusable(located(folder, path)) or ("" if path.suffix == ".py" else "is no Python module (.py)")
            if why:
                yield opened.source.problem((*loc, "tests", position), f"{located(folder, path)} {why}")
    if any(is_virtual(target, opened.merger.overrides) for target in opened.batch.targets):
        yield from _factories(opened)


def _layers(opened: Opened) -> Iterator[tuple[Loc, Any]]:
    for name, by_type in opened.batch.device_types.items():
        yield ("device_types", name), by_type
    for index, target in enumerate(opened.batch.targets):
        yield ("targets", index), target


def _factories(opened: Opened) -> Iterator[Problem]:
    for index, target in enumerate(opened.batch.targets):
        factory = merged(opened.batch, index, "virtual", Virtual).factory
        if factory is None or not is_virtual(target, opened.merger.overrides):
            continue
        path = located(opened.merger.folder, factory)
        why = unusable(path)
        if why:
            yield opened.source.problem(_nearest_factory(opened, index), f"{path} {why}")


def _nearest_factory(opened: Opened, index: int) -> Loc:
    by_type = device_type_of(opened.batch, opened.batch.targets[index]) or ""
    for loc in (("targets", index), ("device_types", by_type)):
        place = (*loc, "virtual", "factory")
        if opened.source.resolve(place) == place:
            return place
    return ("virtual", "factory")


_RULES = (
    known_types,
    a_type_each,
    firmware_each,
    nothing_twice,
    ports_are_names,
    one_identity,
    names_agree,
    rollback_has_a_backup,
    named_files,
    *family_checks.RULES,
    *rollout_checks.RULES,
)
