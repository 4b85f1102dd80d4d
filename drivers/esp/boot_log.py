"""What a board prints after its reset, and what it means: the ROM's lines, the boot loader's, the application's."""

from __future__ import annotations

import re

# ESP-IDF's start-up line, e.g. "I (312) cpu_start: App version:      1.2.0"; `esp_app_desc` since IDF 5.1.
# Whole only with what follows it: bytes arrive as they like, and "1.2" of "1.2.0" is another version.
_VERSION_LINE = re.compile(r"(?:cpu_start|app_init|esp_image): App version:[ \t]+(\S+)(?=\s)")

# What the ROM, the second-stage boot loader and ESP-IDF's panic handler print when the firmware does not run, then
# what the ESP8266's Arduino core prints (core_esp8266_postmortem.cpp). A failed assertion, a full stack and a brownout
# have words of their own, and end in a software reset as any restart does. All as narrow as they are printed: healthy
# firmware says "dht: Checksum failed, invalid data received from sensor" (esp-idf-lib) and the like.
_FAILURE_LINE = re.compile(
    r"^.*(?:invalid header: 0x|No bootable app partitions|load partition table error|csum err"
    r"|esp_image: Checksum failed|esp_image: Image hash failed|flash read err, |ets_main\.c \d+|Guru Meditation Error"
    r"|abort\(\) was called|assert failed: |A stack overflow in task|Stack smashing protect failure|CORRUPT HEAP"
    r"|Brownout detector was triggered|Fatal exception|(?<![^\r\n])Exception \(\d+\):|Soft WDT reset).*$",
    re.MULTILINE,
)
# The ROM's last words where it stays in its loader; "boot mode:(1,…" is the ESP8266's. Not the boot mode alone: after a
# reset over USB-Serial/JTAG the ROM may name one that was strapped before, and start the application all the same.
_WAITING = re.compile(
    r"boot:0x[0-9a-f]+ \(DOWNLOAD[^\n]*\n(?:[^\n]*Saved PC[^\n]*\n){0,2}waiting for download"
    r"|rst cause:\d, boot mode:\(1,"
)
_RESET_LINE = re.compile(r"^.*\b(?:rst:0x[0-9a-f]+ \(|rst cause:).*$", re.MULTILINE)
_BAD_RESET = re.compile(r"WDT|BROWN_?OUT|rst cause:4")
_RESETS_OF_A_LOOP = 4  # firmware may well restart once or twice at its first start (a migration, a factory reset)


def version(console: str) -> str | None:
    """The firmware's version as ESP-IDF prints it at its start; the last one where it started several times."""
    found = _VERSION_LINE.findall(console)
    return found[-1] if found else None


def failure(console: str) -> str | None:
    """Why the firmware does not run, None without a sign of that."""
    line = _FAILURE_LINE.search(console)
    if line:
        return line[0].strip()
    if _WAITING.search(console):
        return "the chip waits for a download, as with BOOT held, instead of starting what is in its flash"
    resets: list[str] = _RESET_LINE.findall(console)
    bad = [reset for reset in resets if _BAD_RESET.search(reset)] or resets[_RESETS_OF_A_LOOP - 1 :]
    return f"the board resets itself: {bad[0].strip()}" if bad else None
