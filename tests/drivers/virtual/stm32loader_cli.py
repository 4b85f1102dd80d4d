"""Runs stock stm32loader, command line and all, with one thing put in place: `serial.Serial` takes URLs.

Its own connection class opens device files only, and a pty has neither lines nor parity, both of which it insists on.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import serial
from stm32loader import main, uart

uart.serial = SimpleNamespace(Serial=lambda port, **settings: serial.serial_for_url(port, **settings))
main.main(*sys.argv[1:])
