"""What a board's own page says of it: how the driver knows which version runs, and which board it is. Pure.

JSON, or lines of `name: value`. Names are looked for in any case: version, chip, mac, md5 (that of the running image,
`ESP.getSketchMD5()`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE = re.compile(r"([A-Za-z_ ]{2,20})[:=](.*)")
_MAC = re.compile(r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}|[0-9a-f]{12}", re.IGNORECASE)
_CHIP = re.compile(r"esp-?(?:8266|32(?:-?[schp]\d+)?)", re.IGNORECASE)
_LONGEST_SHOWN = 4000  # characters
_MD5 = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)


@dataclass(frozen=True)
class Status:
    """A page's text, and what was found in it; None where it does not say."""

    text: str
    version: str | None = None
    chip: str | None = None
    mac: str | None = None
    md5: str | None = None

    @property
    def shown(self) -> str:
        """What is given as the board's output: the version where it is known, and nothing else that looks like one (a
        page may name the newest firmware, too); otherwise the page.
        """
        if self.version is None:
            return self.text.strip()[:_LONGEST_SHOWN]
        known = {"version": self.version, "chip": self.chip, "mac": self.mac, "md5": self.md5}
        return "status page: " + ", ".join(f"{name} {value}" for name, value in known.items() if value)


def parse(body: str, version_pattern: str | None = None) -> Status:
    """`version_pattern`: a regular expression whose first group is the version, for pages of another form."""
    found = {name.strip().lower(): value for name, value in _pairs(body)}
    return Status(
        text=body,
        version=_first_group(version_pattern, body) if version_pattern else found.get("version") or None,
        chip=_chip(found.get("chip")),
        mac=_mac(found.get("mac")),
        md5=_whole(_MD5, found.get("md5")),
    )


def _pairs(body: str) -> Iterator[tuple[str, str]]:
    try:
        page = json.loads(body)
    except (ValueError, RecursionError):
        lines = (_LINE.fullmatch(line.strip()) for line in body.splitlines())
        yield from ((found[1], found[2].strip()) for found in lines if found)
        return
    if isinstance(page, dict):
        yield from ((name, value) for name, value in page.items() if isinstance(value, str))


def _first_group(pattern: str, body: str) -> str | None:
    found = re.search(pattern, body)
    return found[1] if found else None


def _whole(pattern: re.Pattern[str], text: str | None) -> str | None:
    return text.lower() if text and pattern.fullmatch(text) else None


def _mac(text: str | None) -> str | None:
    """As the serial driver gives it: 24:0a:c4:01:02:03."""
    digits = re.sub("[:-]", "", _whole(_MAC, text) or "")
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2)) if digits else None


def _chip(text: str | None) -> str | None:
    """`ESP32-D0WD` is an ESP32, `ESP32-S3` none, nor `ESP32-C61` a C6: as esptool names them."""
    if not text:
        return None
    known = _CHIP.match(text)
    return (known[0] if known else text).lower().replace("-", "")
