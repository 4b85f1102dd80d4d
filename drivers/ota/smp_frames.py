"""What smpclient does not do with SMP's frames: requests that it does not know, and answers of older firmware. Pure.

Source: Zephyr "SMP Protocol Specification": 8 bytes (big endian), then a CBOR map.
"""

from __future__ import annotations

import struct

import cbor2

from drivers.ota.smp_errors import NotUnderstood, Refusal

_HEADER = struct.Struct(">BBHHBB")
_OP_MASK = 0x07  # the version is in the bits above
_READ, _VERSION_2 = 0, 1 << 3
_OS, _IMAGE = 0, 1
SEQUENCE = 255  # smp counts from 0 to 254: no answer to one of its requests is taken for one to ours


def slot_info() -> bytes:
    """Asks for the slots' sizes (image group, command 6; since Zephyr 4.0)."""
    return _request(_IMAGE, 6, {})


def boot_mode() -> bytes:
    """Asks how MCUboot updates (OS group, command 8; smpclient does not understand Zephyr's answer)."""
    return _request(_OS, 8, {"query": "mode"})


def _request(group: int, command: int, body: dict[str, str]) -> bytes:
    payload = cbor2.dumps(body)
    return _HEADER.pack(_READ | _VERSION_2, 0, len(payload), group, SEQUENCE, command) + payload


def in_words(frame: bytes) -> str:
    """A frame's header, for a log."""
    if len(frame) < _HEADER.size:
        return f"{len(frame)} bytes, no frame"
    op, _, size, group, sequence, command = _HEADER.unpack_from(frame)
    return f"op {op & _OP_MASK} group {group} command {command} sequence {sequence}, {size} bytes"


def is_answer(frame: bytes, request: bytes) -> bool:
    """Whether a datagram answers this request, by operation, group, sequence and command, and is whole."""
    if len(frame) < _HEADER.size:
        return False
    op, _, size, *address = _HEADER.unpack_from(frame)
    asked, _, _, *wanted = _HEADER.unpack_from(request)
    return op & _OP_MASK == (asked & _OP_MASK) + 1 and address == wanted and len(frame) == _HEADER.size + size


def body(frame: bytes) -> dict[str, object]:
    """The map of an answer. Raises `NotUnderstood`, or `Refusal` where the board answers with an error."""
    try:
        found = cbor2.loads(frame[_HEADER.size :])
    except Exception as error:  # the decoder raises what its parsing of noise happens to raise
        raise NotUnderstood(f"no CBOR: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise NotUnderstood("no map with texts for keys")
    refused = found.get("err")
    if isinstance(refused, dict) and isinstance(refused.get("rc"), int) and isinstance(refused.get("group"), int):
        raise Refusal(refused["group"], refused["rc"])
    code = found.get("rc", 0)
    if not isinstance(code, int):
        raise NotUnderstood(f"an error code {code!r}")
    if code:
        raise Refusal(None, code)
    return found


def without_success(frame: bytes) -> bytes:
    """An answer that smpclient takes: without the `rc: 0` that firmware before Zephyr 3.3 adds to a success.

    Raises like `body`: an error that the board answers ends here, whatever its number.
    """
    found = body(frame)
    if "rc" not in found:
        return frame
    del found["rc"]
    payload = cbor2.dumps(found)
    op, flags, _, *rest = _HEADER.unpack_from(frame)
    return _HEADER.pack(op, flags, len(payload), *rest) + payload


def slot_size(found: dict[str, object]) -> int | None:
    """The size of the smaller slot of image 0, from an answer to `slot_info`; None where it does not say."""
    images = found.get("images")
    if not isinstance(images, list):
        return None
    sizes = [
        slot["size"]
        for image in images
        if isinstance(image, dict) and image.get("image") == 0 and isinstance(image.get("slots"), list)
        for slot in image["slots"]
        if isinstance(slot, dict) and isinstance(slot.get("size"), int) and slot["size"] > 0
    ]
    return min(sizes, default=None)
