"""From what the providers say to a list of boards: which sightings are of one board, and what is true of it. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.discovery.sighting import Connection, Found, Sighting, Status, Way

_ID_LENGTH = 100  # as the batch's model has it
_SOURCES = ("probe", "bench", "serial", "usb", "drive", "mdns")  # a drive can not be read back, its boot ROM can

Board = tuple[Sighting, ...]
"""All sightings of one board."""


def group(sightings: Iterable[Sighting]) -> list[Board]:
    """Sightings that share a key, directly or through others, are of one board. In an order of their own contents."""
    boards: list[tuple[set[str], list[Sighting]]] = []
    for sighting in dict.fromkeys(sightings):
        mine = (set(sighting.keys), [sighting])
        apart = []
        for other in boards:
            if mine[0].isdisjoint(other[0]):
                apart.append(other)
            else:
                mine = (mine[0] | other[0], [*other[1], *mine[1]])
        boards = [*apart, mine]
    return sorted((tuple(sorted(members, key=_rank)) for _keys, members in boards), key=_place)


def _rank(sighting: Sighting) -> tuple[object, ...]:
    """What knows most comes first; then an order that does not depend on the providers'."""
    source = _SOURCES.index(sighting.source) if sighting.source in _SOURCES else len(_SOURCES)
    return (
        not sighting.types,
        not sighting.certain,
        sighting.status is Status.NO_PERMISSION,
        sighting.ask_only_if_named,
        not sighting.connection.info,
        source,
        str(sighting.connection),
        sighting.types,
        sorted(sighting.keys),
        repr(sighting),
    )


def _place(board: Board) -> tuple[object, ...]:
    """Ports by their numbers, as people count: ttyUSB2 before ttyUSB10."""
    parts = re.split(r"(\d+)", str(board[0].connection))
    return ([int(part) if at % 2 else part for at, part in enumerate(parts)], repr(board))


def narrowed(board: Board, known: Collection[str], wanted: str | None) -> Board:
    """The same with the types only that have a driver here, and that are wanted. () where it can not be the wanted one.

    Once a chip has been asked and is another one, it is not the wanted one, whatever else it could have been.
    """
    told = [_limited(sighting, known, wanted) for sighting in board]
    if wanted is None:
        return tuple(sorted(told, key=_rank))
    answers = [sighting for sighting in board if sighting.identity is not None]
    candidates = [sighting for sighting in told if sighting.types]
    if not candidates or (answers and not any(wanted in answer.types for answer in answers)):
        return ()
    return tuple(sorted(told, key=_rank))


def _limited(sighting: Sighting, known: Collection[str], wanted: str | None) -> Sighting:
    types = tuple(name for name in sighting.types if name in known and wanted in (None, name))
    unknown = tuple(name for name in sighting.types if name not in known)
    remark = (f"no driver for {unknown[0]} is installed",) if sighting.certain and unknown else ()
    return replace(
        sighting, types=types, certain=sighting.certain and bool(types), remarks=(*sighting.remarks, *remark)
    )


def fold(board: Board, wanted: str | None = None) -> Found:
    """What is true of one board; the sighting that knows most decides how it is reached. The id is not given yet.

    It is of the type that it certainly has, or that who asks says it has.
    """
    first = board[0]
    answer = next((sighting for sighting in board if sighting.identity is not None), None)
    types = answer.types if answer else first.types
    certain = len(types) == 1 and any(sighting.certain and types[0] in sighting.types for sighting in board)
    device_type = types[0] if certain or (types and types[0] == wanted) else ""
    return Found(
        device_id=_first(sighting.device_id for sighting in board),
        device_type=device_type,
        certain=certain,
        candidates=() if device_type else types,
        connection=first.connection,
        status=Status.IN_USE if any(one.status is Status.IN_USE for one in board) and not answer else first.status,
        name=_first(sighting.name for sighting in board if sighting is not answer) or (answer.name if answer else ""),
        chip=_first(sighting.chip for sighting in board),
        serial=_first(sighting.serial for sighting in (*((answer,) if answer else ()), *board)),
        identity=answer.identity if answer else None,
        others=_others(board),
        sources=tuple(dict.fromkeys(sighting.source for sighting in board)),
        remarks=tuple(dict.fromkeys((*_contradictions(board, answer), *_remarks(board)))),
    )


def _remarks(board: Board) -> Iterable[str]:
    return (remark for sighting in board for remark in sighting.remarks)


def _contradictions(board: Board, answer: Sighting | None) -> Iterator[str]:
    """Another board answers where one was said to be."""
    for sighting in board if answer else ():
        is_there = answer is not None and str(sighting.connection) == str(answer.connection)
        if answer and is_there and sighting.certain and not set(sighting.types) & set(answer.types):
            yield f"said to be {sighting.types[0]}, but {answer.name} answers"


def _others(board: Board) -> tuple[Way, ...]:
    ways: dict[Connection, Way] = {}
    for sighting in board:
        if sighting.connection.info and str(sighting.connection) != str(board[0].connection):
            device_type = sighting.types[0] if len(sighting.types) == 1 else ""
            ways.setdefault(sighting.connection, Way(device_type, sighting.connection))
    return tuple(ways.values())


def _first(texts: Iterable[str]) -> str:
    return next(filter(None, texts), "")


def name_all(found: Sequence[Found], known_ids: Mapping[str, str]) -> list[Found]:
    """Each with an id: the one that the history knows its serial number by, else its owner's, else one made of what
    stays the same: the serial number, or the place. All differ, and are what a batch takes.
    """
    wanted = [_id_of(known_ids.get(board.serial) or board.device_id or _made(board)) for board in found]
    taken = set(wanted)
    seen: Counter[str] = Counter()
    named = []
    for board, device_id in zip(found, wanted, strict=True):
        seen[device_id] += 1
        unique = device_id if seen[device_id] == 1 else _next_free(device_id, seen, taken)
        taken.add(unique)
        named.append(replace(board, device_id=unique))
    return named


def _next_free(device_id: str, seen: Counter[str], taken: set[str]) -> str:
    while (unique := f"{device_id[: _ID_LENGTH - 6]}-{seen[device_id]}") in taken:
        seen[device_id] += 1
    return unique


def _made(board: Found) -> str:
    kind = board.device_type or "board"
    return f"{kind}-{re.sub('[:-]', '', board.serial)}" if board.serial else f"{kind}-{_short(board.connection)}"


def _short(connection: Connection) -> str:
    """A place in few words: a link's serial number or USB path, the name of a file or folder, an address."""
    name = str(connection).rstrip("/").rpartition("/")[2]
    by_id = re.fullmatch(r"usb-.*_([^_]+)-if([0-9]+)(?:-port([0-9]+))?", name)
    by_path = re.search(r"usb-?v?[0-9]?-[0-9]+:([0-9.]+):[0-9.]+(?:-port([0-9]+))?$", name)
    if by_id:
        return _numbered(by_id[1], by_id[2].strip("0"), by_id[3])
    if by_path:
        return _numbered(f"usb-{by_path[1]}", by_path[2])
    return name


def _numbered(name: str, *numbers: str | None) -> str:
    """With those numbers that tell several ports of one adapter apart: the first is 0."""
    return "-".join([name, *(number for number in numbers if number and number != "0")])


def _id_of(text: str) -> str:
    """The pattern of a batch's `device_id`."""
    allowed = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)
    return allowed.strip("-_.")[:_ID_LENGTH] or "board"
