"""A board's supply, and what runs while it is on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from drivers.virtual.faults import PowerLost


class Power:
    """`begin` is called at power-on: it calls `run`, or leaves that to whatever holds the board in reset. `forget` is
    called whenever what ran has been ended, for what it leaves behind.
    """

    def __init__(self, begin: Callable[[], None], forget: Callable[[], None]) -> None:
        self.is_on = False
        self._begin = begin
        self._forget = forget
        self._running: asyncio.Task[None] | None = None
        self._return: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs: the supply is off, or a reset has ended it."""
        return self._running is None

    def switch(self, *, on: bool) -> None:
        """Connect or cut the supply."""
        if self._return is not None:
            self._return.cancel()
            self._return = None
        if on == self.is_on:
            return
        self.is_on = on
        self.stop()
        if on:
            self._begin()

    def run(self, life: Callable[[], Awaitable[None]]) -> None:
        """Run until `stop`, or until the supply drops in the middle of programming."""
        self._running = asyncio.get_running_loop().create_task(self._run(life))

    def stop(self) -> None:
        """End what runs: a reset, or the end of the supply."""
        if self._running is not None:
            self._running.cancel()
            self._running = None
        self._forget()

    async def _run(self, life: Callable[[], Awaitable[None]]) -> None:
        try:
            await life()
        except PowerLost as lost:
            self._running = None  # this very task: it ends by itself
            self.switch(on=False)
            if lost.off_s is not None:
                loop = asyncio.get_running_loop()
                self._return = loop.call_later(lost.off_s, lambda: self.switch(on=True))
