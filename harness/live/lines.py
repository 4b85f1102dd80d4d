"""The live view where nothing can be redrawn: plain lines with time stamps, no control characters."""

from __future__ import annotations

import time
from typing import TextIO

from harness.journal import Event, Kind
from harness.live.painter import Done, encodable, ending
from harness.record import DeviceRecord
from harness.report import words


class LinePainter:
    def __init__(self, total: int, out: TextIO) -> None:
        self._done = Done(total)
        self._out = out

    def open(self) -> None:
        pass

    def changed(self, event: Event, device: DeviceRecord) -> None:
        self._done.take(event, device)
        text = self._text(event, device)
        if text:
            self._write(text, event.at)

    def known(self, event: Event, device: DeviceRecord) -> None:
        self._done.take(event, device)

    def say(self, text: str, at: float) -> None:
        self._write(text, at)

    def _write(self, text: str, at: float) -> None:
        stamp = time.strftime("%H:%M:%S", time.localtime(at))
        self._out.write(f"{stamp} {encodable(words.one_line(text), self._out)}\n")

    def _text(self, event: Event, device: DeviceRecord) -> str:
        match event.kind:
            case Kind.STARTED if device.restoring:
                return f"{device.device_id} is taken back"
            case Kind.STARTED if device.begun_at:
                return f"{device.device_id} is begun again"
            case Kind.PHASE_STARTED:
                return f"{device.device_id} {words.phase_name(device.phases[-1])}"
            case Kind.RETRY:
                return f"{device.device_id} again in {event.data['wait_s']:.1f} s: {event.data['error']['message']}"
            case Kind.ENDED:
                return ending(device, self._done)
        return ""

    def draw(self, _active: list[DeviceRecord], /) -> None:
        self._out.flush()

    def close(self) -> None:
        self._out.flush()
