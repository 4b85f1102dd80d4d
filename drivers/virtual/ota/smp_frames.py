"""Frames of the Simple Management Protocol as a Zephyr firmware reads and writes them. Pure.

Source: Zephyr "SMP Protocol Specification" and `smp.c`: a header of 8 bytes (big endian), then a CBOR map. The first
byte holds the operation in its lower three bits and the protocol's version in the next two.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import cbor2

_HEADER = struct.Struct(">BBHHBB")
HEADER_SIZE = _HEADER.size
_OP_MASK = 0x07
_VERSION_SHIFT, _VERSION_MASK = 3, 0x03
SMP_VERSION_2 = 1


class Op(IntEnum):
    READ = 0
    READ_ANSWER = 1
    WRITE = 2
    WRITE_ANSWER = 3


class Code(IntEnum):
    """mcumgr_err_t: errors of the protocol itself, and all that version 1 knows."""

    OK = 0
    UNKNOWN = 1
    NO_MEMORY = 2
    INVALID = 3
    NO_ENTRY = 5
    BAD_STATE = 6
    NOT_SUPPORTED = 8
    CORRUPT = 9
    TOO_NEW = 13


class Refused(Exception):
    """A request that gets an error of the protocol in return."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


class GroupError(Exception):
    """A request that gets an error of its group in return: by number in version 2, as a `Code` in version 1."""

    def __init__(self, group: int, code: int, as_version_1: Code) -> None:
        super().__init__(f"error {code} of group {group}")
        self.group = group
        self.code = code
        self.as_version_1 = as_version_1


@dataclass(frozen=True)
class Header:
    """One request's."""

    op: int
    version: int
    size: int
    group: int
    sequence: int
    command: int

    @classmethod
    def of(cls, data: bytes) -> Header | None:
        """None where the bytes are too few for one."""
        if len(data) < HEADER_SIZE:
            return None
        first, _flags, size, group, sequence, command = _HEADER.unpack_from(data)
        return cls(first & _OP_MASK, first >> _VERSION_SHIFT & _VERSION_MASK, size, group, sequence, command)

    def answer(self, body: Mapping[str, object]) -> bytes:
        """The frame that answers this request."""
        payload = cbor2.dumps(dict(body))
        op = Op.READ_ANSWER if self.op == Op.READ else Op.WRITE_ANSWER
        first = op | min(self.version, SMP_VERSION_2) << _VERSION_SHIFT
        return _HEADER.pack(first, 0, len(payload), self.group, self.sequence, self.command) + payload


def fields(payload: bytes, kinds: Mapping[str, type]) -> dict[str, object]:
    """The known keys of a request's map; others are passed over. Raises Refused where it is none, or of other types."""
    try:
        found = cbor2.loads(payload)
    except Exception as error:  # the decoder raises what its parsing of noise happens to raise
        raise Refused(Code.INVALID) from error
    if not isinstance(found, dict):
        raise Refused(Code.INVALID)
    known = {key: found[key] for key in kinds if key in found}
    if any(type(value) is not kinds[key] for key, value in known.items()):
        raise Refused(Code.INVALID)
    if any(isinstance(value, int) and not 0 <= value < 1 << 32 for value in known.values()):
        raise Refused(Code.INVALID)  # they are unsigned, of 32 bits
    return known
