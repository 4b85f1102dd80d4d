"""The updaters that boards have on a web page: how each is asked, and how each answers. Data, and pure judgement.

| updater    | source                                                                                     |
| ---------- | ------------------------------------------------------------------------------------------ |
| `esp8266`  | esp8266/Arduino, ESP8266HTTPUpdateServer                                                   |
| `esp32`    | arduino-esp32, HTTPUpdateServer: refuses uploads whose `Origin` is not `http://<Host>`     |
| `elegant`  | AsyncElegantOTA 2; ElegantOTA 2, which answers on an ESP8266 as `esp8266` does;            |
|            | arduino-esp32's OTAWebUpdater example (without `md5`)                                      |
| `elegant3` | ElegantOTA 3                                                                               |

The two that take an MD5 check nothing by it: they give it to `Update` before `Update.begin`, which forgets it
(AsyncElegantOTA issue 120, ElegantOTA issues 240 and 286; both cores' Updater.cpp since 2020). ElegantOTA 2 ignores it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_SUCCESS = re.compile(r"Update Success|^\s*OK\s*$")
_OK = re.compile(r"^\s*OK\s*$")
_FAILURES = frozenset({"FAIL", "Update Failed!"})  # the latter is ESPHome's web_server
_OF_A_GATEWAY = frozenset({502, 504})  # it got no answer from the board, which may have restarted with the update
_ERROR = re.compile(r"Update error:\s*(?P<words>.*)", re.DOTALL)


class UpdaterName(StrEnum):
    """The option `updater`."""

    ESP8266 = "esp8266"
    ESP32 = "esp32"
    ELEGANT = "elegant"
    ELEGANT3 = "elegant3"


@dataclass(frozen=True)
class Updater:
    """One of them. Paths and names are its usual ones."""

    path: str  # of the upload
    page: str  # a page that asks for the same password, without touching anything
    field: str
    success: re.Pattern[str]
    wants_origin: bool = False
    md5_field: str | None = None  # a form field before the file
    start: str | None = None  # asked before the upload; {md5} in it


UPDATERS = {
    UpdaterName.ESP8266: Updater("/update", "/update", "firmware", _SUCCESS),
    UpdaterName.ESP32: Updater("/update", "/update", "firmware", _SUCCESS, wants_origin=True),
    UpdaterName.ELEGANT: Updater("/update", "/update", "firmware", _SUCCESS, md5_field="MD5"),
    UpdaterName.ELEGANT3: Updater("/ota/upload", "/update", "file", _OK, start="/ota/start?mode=fr&hash={md5}"),
}


@dataclass(frozen=True)
class Verdict:
    """What an answer to an upload means: taken, refused in these words, or (neither) nobody knows."""

    taken: bool
    refused: str = ""


def judge(updater: Updater, status: int, text: str) -> Verdict:
    """Errors come with HTTP 200 from some, and success must be said in the updater's own words."""
    error = _ERROR.search(text)
    if error:
        return Verdict(taken=False, refused=error["words"].strip() or "without a reason")
    if 200 <= status < 300 and updater.success.search(text):
        return Verdict(taken=True)
    if text.strip() in _FAILURES or (status >= 400 and status not in _OF_A_GATEWAY):
        return Verdict(taken=False, refused=text.strip() or f"HTTP {status}")
    return Verdict(taken=False)
