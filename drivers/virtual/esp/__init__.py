"""Espressif boards, in layers: bytes (slip), messages (packets), the chip's parts, its programs (ROM, stub, app), the board."""
