"""The live view of a run: a line per active device, from the journals.

view.py     follows the journals in a thread of the controller
screen.py   on a terminal: lines that are redrawn in place, finished devices scroll by above them
lines.py    elsewhere (a CI log): every change of phase is a plain line
"""

from harness.live.view import LiveView

__all__ = ["LiveView"]
