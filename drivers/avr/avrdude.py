"""Running avrdude: its command line, its time limits, its progress, its words (7.1's; 8's differ in case and number).

avrdude 7.1 takes 56 s to give up on a silent line, and may never end when it is out of sync: the limits are ours, and
it is ended as soon as it complains of the line. Its own tries can not help, since only the bridge presses RESET; and a
page that it sends once more makes the Mega's boot loader erase one page too many.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.avr.bridge import Bridge
from drivers.avr.parts import Part, Programmer
from drivers.base import DeviceError, Log, PhaseTimeout, Progress

READY_LIMIT_S = 8.0  # from avrdude's start to the boot loader's first answer; usually 0.5 s
_POLL_S = 0.2
_BAR = re.compile(r"^(?P<what>\w+) \| (?P<marks>#*)")
_NOISE = re.compile(r'ioctl\("TIOCM\w+"\)|^avrdude done', re.IGNORECASE)  # a pseudo-terminal has no modem lines
_MARKS = 50  # of a whole bar
_LINE_LOST = re.compile(
    r"not in sync|out of sync|not responding|did not respond|protocol expects|timeout|timed out", re.IGNORECASE
)
# 8.0 no longer says that the device is initialised: what it says of the first thing that it does there tells as much.
_READY = re.compile(
    r"initialized and ready to accept|signature|^(?:avrdude: )?(?:processing|reading|writing|verifying)\b",
    re.IGNORECASE | re.MULTILINE,
)
_DONE = re.compile(r"^avrdude done", re.IGNORECASE | re.MULTILINE)


class AvrdudeFailed(Exception):
    """It failed, or was ended since it would; `output` is what it said."""

    def __init__(self, output: str) -> None:
        super().__init__("avrdude failed")
        self.output = output


class NoSync(Exception):
    """The boot loader has not answered: nothing was done to the board. `output` is what avrdude said."""

    def __init__(self, output: str) -> None:
        super().__init__("the boot loader does not answer")
        self.output = output


@dataclass(frozen=True)
class Job:
    """What avrdude is to do: its `-U` operations, and how many progress bars it draws for them."""

    operations: Sequence[str] = ()
    bars: int = 0
    silence_s: float = READY_LIMIT_S  # the longest once it is ready; a bar grows with each fiftieth of its bytes
    total: int = 0  # bytes, for the progress

    def arguments(self, part: Part, programmer: Programmer, path: str, baud: int) -> list[str]:
        """-D: no chip erase. -A: a read keeps the 0xff at its end. No -F: a wrong signature ends it."""
        fixed = ["-c", programmer, "-p", part.avrdude_id, "-P", path, "-b", str(baud), "-D", "-A"]
        return ["avrdude", *fixed, *(word for operation in self.operations for word in ("-U", operation))]


class Output:
    """avrdude's words as they come: whole lines to the log, bars to the progress."""

    def __init__(self, job: Job, log: Log, progress: Progress) -> None:
        self._job = job
        self._log = log
        self._progress = progress
        self._bars_done = 0
        self._line = ""
        self.text = ""

    def feed(self, data: bytes) -> None:
        text = data.decode("utf-8", "replace").replace("\r", "\n")
        self.text += text
        for piece in text.splitlines(keepends=True):
            self._line += piece
            self._show_progress()
            if piece.endswith("\n"):
                if self._line.strip() and not _NOISE.search(self._line):
                    self._log(self._line.rstrip())
                self._line = ""

    def _show_progress(self) -> None:
        bar = _BAR.match(self._line)
        if bar is None or not self._job.bars:
            return
        done = min(len(bar["marks"]), _MARKS)
        self._progress(
            self._job.total * (self._bars_done * _MARKS + done) // (self._job.bars * _MARKS), self._job.total
        )
        if self._line.endswith("\n"):
            self._bars_done += 1

    @property
    def is_line_lost(self) -> bool:
        """Whether avrdude has missed an answer."""
        return _LINE_LOST.search(self.text) is not None

    @property
    def is_ready(self) -> bool:
        """Whether the boot loader has answered."""
        return _READY.search(self.text) is not None

    @property
    def is_done(self) -> bool:
        """Whether it came to its own end. With an option that it does not know, it explains the others: status 0."""
        return _DONE.search(self.text) is not None


def run(command: Sequence[str], bridge: Bridge, job: Job, output: Output) -> None:
    """Run avrdude to its end. Raises AvrdudeFailed, NoSync, PhaseTimeout, or what became of the port."""
    process = _start(command)
    try:
        _follow(process, bridge, job, output)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
    if bridge.error is not None:
        raise bridge.error
    if process.returncode and not output.is_ready:
        raise NoSync(output.text)
    # 7.1 goes on after a lost answer, may shift what it reads by a byte, and ends with status 0; perhaps before it was
    # killed for that.
    if process.returncode or output.is_line_lost or not output.is_done:
        raise AvrdudeFailed(output.text)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """In a locale of its own: its system errors are to be understood. Without a home: what somebody has told the parts
    and programmers to be, in a configuration file there, holds for that person alone. It inherits ignored signals of a
    worker, so that a Ctrl-C at the terminal does not cut a write. It is killed with this process: avrdude 7.1 reads a
    terminal that has gone again and again, for ever.
    """
    program, *arguments = command
    path = shutil.which(program)
    if path is None:
        raise DeviceError(
            f"{program} is not installed", advice="Install it: sudo apt-get install avrdude (7.1 or later)."
        )
    guard = shutil.which("setpriv")  # of util-linux: prctl(PR_SET_PDEATHSIG), which a fork beside threads can not call
    return subprocess.Popen(
        [*([guard, "--pdeathsig", "KILL"] if guard else []), path, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C", "HOME": "", "XDG_CONFIG_HOME": ""},
    )


def _follow(process: subprocess.Popen[bytes], bridge: Bridge, job: Job, output: Output) -> None:
    assert process.stderr is not None
    start = heard = time.monotonic()
    while not bridge.is_broken:
        if select.select([process.stderr], [], [], _POLL_S)[0]:
            data = os.read(process.stderr.fileno(), 4096)
            if not data:
                process.wait(job.silence_s)
                return
            output.feed(data)
            heard = time.monotonic()
            if output.is_line_lost:
                return
        now = time.monotonic()
        if not output.is_ready and now - start > READY_LIMIT_S:
            raise NoSync(f"{output.text}\ntimeout: no answer within {READY_LIMIT_S:g} s")
        if output.is_ready and now - heard > job.silence_s:
            raise PhaseTimeout(f"avrdude has said nothing for {job.silence_s:.0f} s")
