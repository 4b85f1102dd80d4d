"""Every error that esptool, pyserial or the system raises ends in the category that a person would look under."""

from __future__ import annotations

import errno
import inspect
import re
import struct
import termios
from pathlib import Path

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import (
    Category,
    ConnectionLost,
    DeviceError,
    FlashFailed,
    PortInUse,
    PortPermission,
    PortUnavailable,
    VerificationFailed,
    WrongBoard,
)
from drivers.esp.errors import translate
from drivers.esp.log import esptool

FatalError = esptool.FatalError


def result(code: str) -> Exception:
    return FatalError.WithResult("Failed to write compressed data to flash after seq 3", bytes.fromhex(code))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), PortPermission),
        (serial.SerialException(errno.EACCES, "could not open port /dev/ttyUSB0"), PortPermission),
        (serial.SerialException(errno.ENOENT, "could not open port /dev/ttyUSB0"), PortUnavailable),
        (serial.SerialException("Could not exclusively lock port /dev/ttyUSB0"), PortInUse),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), PortUnavailable),
        (serial.SerialException("device reports readiness to read but returned no data"), ConnectionLost),
        (OSError(errno.EIO, "Input/output error"), ConnectionLost),
        (FatalError("Failed to connect to ESP32: No serial data received."), ConnectionLost),
        (FatalError("Invalid head of packet (0x4f): Possible serial noise or corruption."), ConnectionLost),
        (termios.error(errno.EIO, "Input/output error"), ConnectionLost),
        (ValueError("Failed to set custom baud rate (74880): [Errno 22] Invalid argument"), ConnectionLost),
        (FatalError("Write failed, the written flash region is empty."), FlashFailed),
        (FatalError("MD5 of file does not match data in flash!"), VerificationFailed),
        (FatalError("Unexpected chip magic value 0x12345678. Failed to autodetect chip type."), WrongBoard),
        (result("C400"), FlashFailed),
        (result("C700"), FlashFailed),
        (result("0108"), FlashFailed),
        (result("0107"), ConnectionLost),
        (result("C100"), ConnectionLost),
        (struct.error("unpack requires a buffer of 4 bytes"), ConnectionLost),
        (IndexError("index out of range"), ConnectionLost),
    ],
)
def test_known_errors_have_their_kind(error, kind):
    assert type(translate(error, "flash")) is kind


def test_every_result_code_that_esptool_knows_is_mapped():
    source = inspect.getsource(FatalError.WithResult)
    codes = [int(code, 16) for code in re.findall(r"0x([0-9A-F]+):", source)]
    assert len(codes) > 30
    nand = {0xCA00, 0xCB00}  # only NAND commands answer these; no driver sends them
    general = set(range(0x100, 0x104)) | set(range(0x10E, 0x170))  # about RAM downloads and parameters: ours to fix
    unmapped = [
        f"{code:04X}"
        for code in codes
        if code not in nand | general and type(translate(result(f"{code:04X}"), "flash")) is DeviceError
    ]
    assert unmapped == []


def test_every_message_of_esptools_line_protocol_is_mapped():
    """Its `raise FatalError("…")` in what reads and checks packets: a new one there fails this test."""
    loader = Path(esptool.loader.__file__).read_text()
    reader = loader[loader.index("def slip_reader") : loader.index("class HexFormatter")]
    messages = re.findall(r'raise FatalError\(\s*f?"([^"{]+)', reader) + re.findall(r'msg = "([^"]+)"', reader)
    assert len(messages) >= 3
    assert [text for text in messages if translate(FatalError(text), "x").category is Category.OTHER] == []


def test_the_message_says_what_was_being_done_and_leaves_out_the_links():
    error = FatalError(
        "Failed to connect to ESP32: No serial data received.\nFor troubleshooting steps visit: https://x"
    )
    assert str(translate(error, "connect")) == "connect: Failed to connect to ESP32: No serial data received."
    causes = "No more data to read from the serial port. This can have many causes, for troubleshooting steps visit: https://x"
    assert str(translate(FatalError(causes), "read")) == "read: No more data to read from the serial port."


@given(st.text())
def test_any_message_at_all_gets_a_kind_and_an_advice(text):
    translated = translate(FatalError(text), "flash")
    assert translated.category in Category
    assert translated.advice
