"""Espressif boards, in layers: bytes (slip), messages (packets), parts (spi, memory), programs (rom, stub), board."""
