"""Boards with RP2040 and RP2350: boot ROM (drive and PICOBOOT), USB/IP, and an application with a serial port."""
