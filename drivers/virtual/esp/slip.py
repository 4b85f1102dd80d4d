"""SLIP framing of the boot loaders: bytes to frames and back. Pure.

Source: esptool documentation, "Serial Protocol", section "Low Level Protocol".
"""

from __future__ import annotations

END = b"\xc0"
_ESC = b"\xdb"
_ESC_END = b"\xdb\xdc"
_ESC_ESC = b"\xdb\xdd"

# Longest frame that is kept, in escaped bytes: the 16-bit length field allows 65,535 bytes and a header, all escaped.
MAX_FRAME = 2 * (0x10000 + 8)


def encode(payload: bytes) -> bytes:
    """One frame with its delimiters."""
    return END + payload.replace(_ESC, _ESC_ESC).replace(END, _ESC_END) + END


class Decoder:
    """Collects bytes into frames; keeps its state between calls, as bytes arrive in any pieces.

    What stands outside of a frame is ignored, an empty frame is taken as the beginning of the next one (so that a
    receiver that lost the phase finds it again), and a frame with a broken escape or beyond `MAX_FRAME` is dropped.
    """

    def __init__(self) -> None:
        self._open = False
        self._frame = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that these bytes complete, unescaped."""
        frames: list[bytes] = []
        *ended, rest = data.split(END)
        for part in ended:
            self._collect(part)
            if self._open and self._frame:
                frames += _unescaped(bytes(self._frame))
                self._open = False
            else:
                self._open = True
            self._frame.clear()
        self._collect(rest)
        return frames

    def _collect(self, part: bytes) -> None:
        if not self._open:
            return
        self._frame += part
        if len(self._frame) > MAX_FRAME:
            self._frame.clear()
            self._open = False


def _unescaped(raw: bytes) -> list[bytes]:
    if _ESC not in raw:
        return [raw]
    if raw.count(_ESC) != raw.count(_ESC_END) + raw.count(_ESC_ESC):
        return []
    return [raw.replace(_ESC_END, END).replace(_ESC_ESC, _ESC)]
