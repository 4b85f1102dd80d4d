"""The bytes of ESPHome's native update protocol, from the board's side. Source: `ota_backend.h`, `ota_esphome.cpp`."""

from __future__ import annotations

from enum import IntEnum

MAGIC = bytes((0x6C, 0x26, 0xF7, 0x5C, 0x45))
BLOCK_SIZE = 8192  # OTA_BLOCK_SIZE: after each, version 2 acknowledges
BUFFER_SIZE = 1024  # OTA_BUFFER_SIZE: what is read at once
CLIENT_COMPRESSION, CLIENT_SHA256, CLIENT_EXTENDED, CLIENT_NOISE = 0x01, 0x02, 0x04, 0x08
SERVER_COMPRESSION = 0x01


class Code(IntEnum):
    """OTAResponseTypes."""

    OK = 0x00
    REQUEST_AUTH = 0x01
    REQUEST_SHA256_AUTH = 0x02
    HEADER_OK = 0x40
    AUTH_OK = 0x41
    UPDATE_PREPARE_OK = 0x42
    BIN_MD5_OK = 0x43
    RECEIVE_OK = 0x44
    UPDATE_END_OK = 0x45
    SUPPORTS_COMPRESSION = 0x46
    CHUNK_OK = 0x47
    FEATURE_FLAGS = 0x48
    ERROR_MAGIC = 0x80
    ERROR_AUTH_INVALID = 0x82
    ERROR_WRITING_FLASH = 0x83
    ERROR_UPDATE_END = 0x84
    ERROR_ESP8266_NOT_ENOUGH_SPACE = 0x88
    ERROR_ESP32_NOT_ENOUGH_SPACE = 0x89
    ERROR_MD5_MISMATCH = 0x8B
    ERROR_UNSUPPORTED_OTA_TYPE = 0x8E
    ERROR_ENCRYPTION_REQUIRED = 0x94
    ERROR_UNKNOWN = 0xFF


class Failed(Exception):
    """The update ends with this byte."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code
