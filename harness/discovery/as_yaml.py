"""Found boards as targets of a batch, ready to paste. What nobody may flash unseen is there too, as a comment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import yaml

from drivers import device_types, load_driver
from drivers.base import Driver, Identity, Interface
from harness.discovery.sighting import Found, Status, mac_of

_NEEDED = {Interface.SERIAL: ("port",), Interface.NETWORK: ("host",), Interface.USB: ("mount_point", "usb")}


def as_yaml(found: Sequence[Found], *, type_is_given: bool) -> str:
    """`targets:` of a batch. `type_is_given`: whoever asked has said what the boards are, so bridges lead to such."""
    ready = [board for board in found if _is_ready(board, type_is_given=type_is_given)]
    lines = []
    if len(ready) < len(found):
        lines.append(f"# {len(ready)} of {len(found)} are known for what they are; the others stand as comments:")
        lines.append("# `batch-flash discover --yaml --probe` asks them")
    lines.append("targets:")
    for board in found:
        target = _target(board)
        lines += target if board in ready else map(_commented, target)
    return "\n".join(lines) + "\n"


def _commented(line: str) -> str:
    return line if line.startswith("  # ") else f"  # {line.removeprefix('  ')}"


def _is_ready(board: Found, *, type_is_given: bool) -> bool:
    return (
        (board.certain or (type_is_given and board.status is Status.AVAILABLE))
        and board.device_type in device_types()
        and board.status is not Status.NO_ANSWER
        and not _missing(board)
    )


def _missing(board: Found) -> str:
    """The key of `connection_info` that its type needs, and nobody knows."""
    needed = _NEEDED[load_driver(board.device_type).interface]
    return "" if any(key in board.connection.info for key in needed) else needed[0]


def _target(board: Found) -> Iterator[str]:
    for comment in _comments(board):
        yield f"  # {comment}"
    yield f"  - device_id: {board.device_id if _is_plain(board.device_id) else _quoted(board.device_id)}"
    if board.device_type:
        yield f"    device_type: {board.device_type}"
    yield "    connection_info:"
    for key, value in board.connection.info.items():
        yield f"      {key}: {value if isinstance(value, int) else _quoted(value)}"
    if expected := dict(_expected(board)):
        yield f"    expected: {{{', '.join(f'{key}: {_quoted(value)}' for key, value in expected.items())}}}"


def _comments(board: Found) -> Iterable[str]:
    if board.name:
        yield board.name
    if board.candidates:
        yield f"device_type is not known: it may be {', '.join(board.candidates)}"
    elif not board.device_type and not board.remarks:
        yield "no driver here knows it"
    elif board.device_type and not board.certain:
        yield f"nothing has shown yet that it is {board.device_type}"
    if board.status is not Status.AVAILABLE:
        yield str(board.status)
    yield from board.remarks


def _expected(board: Found) -> Iterator[tuple[str, str]]:
    """What a run can hold the board to: what the chip itself has said, and which of its type's chips it is."""
    if board.device_type not in device_types():
        return
    driver = load_driver(board.device_type)
    serial = _proven_serial(board)
    if serial and driver.capabilities.has_serial:
        yield ("mac" if mac_of(serial) else "serial"), mac_of(serial) or serial
    if chip := _chip(board, driver):
        yield "chip", chip


def _chip(board: Found, driver: Driver) -> str:
    """How a batch names its chip; "" where that is what its device type means anyway."""
    identity, named = board.identity, board.chip
    if identity and not driver.matches(named, identity):
        named = identity.chip
    means_it = named == board.device_type or driver.matches(board.device_type, Identity(named, "", "", 0))
    return "" if means_it else named


def _proven_serial(board: Found) -> str:
    """The chip's own answer, or the MAC that a chip on its own USB has there. Not what a service announces."""
    if board.identity:
        return board.identity.serial
    return mac_of(board.serial) if board.connection.interface is Interface.SERIAL else ""


def _is_plain(text: str) -> bool:
    """Whether YAML reads it as this text without quotes: not `1e3`, `on` or `2024-01-01`."""
    return bool(yaml.safe_load(text) == text)


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', width=10_000).strip()
