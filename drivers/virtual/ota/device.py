"""A board that is reached over the network alone: its supply, its resets, and the services of its application.

power on ─→ boot loader ─→ application: its services answer ─┐
              ↑   └ nothing that runs: again and again       │
              └────────── restart, or the supply is back ────┘
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable

from drivers.virtual.errors import BenchError
from drivers.virtual.faults import Faults, PowerLost
from drivers.virtual.ota.ports import Connection, Serve
from drivers.virtual.spec import BoardSpec, Fault
from drivers.virtual.timing import Pace

BOOT_S = 3.0  # at realistic speed: reset, start of the application, joining a WLAN and DHCP take 2 to 5 s
_CRASH_S = 0.5  # a loop of crashes goes on at this pace at any speed


class NetworkBoard(ABC):
    """Its methods are what a supply and its own application can do to it; none of them waits."""

    def __init__(self, spec: BoardSpec) -> None:
        self.spec = spec
        self.pace = Pace(spec.speed)
        self.faults = Faults((), spec.board_id)
        self._powered = False
        self._life: asyncio.Task[None] | None = None
        self._restart = asyncio.Event()
        self._tried = asyncio.Event()
        self._power_return: asyncio.TimerHandle | None = None
        self._broken: Exception | None = None

    @abstractmethod
    async def open(self) -> str:
        """Take the board's ports, without any service yet; `host:port` of the one that updates it."""

    @abstractmethod
    def boot(self) -> bool:
        """A reset: what the boot loader does, and whether the application that it starts stays up."""

    @abstractmethod
    async def start(self) -> None:
        """The application runs: its services answer."""

    @abstractmethod
    def stop(self) -> None:
        """The application has ended at once: no service answers, connections are let fall."""

    @property
    @abstractmethod
    def is_in_use(self) -> bool:
        """Whether a client is at work."""

    def close(self) -> None:
        """End the board and give up its ports; its memory stays. A family adds its own."""
        self.set_power(on=False)

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """From now on the board has these faults and no others."""
        self.faults = Faults(faults, self.spec.board_id)

    def set_power(self, *, on: bool) -> None:
        """Connect or cut the supply. What was programmed stays."""
        if self._power_return is not None:
            self._power_return.cancel()
            self._power_return = None
        if on == self._powered:
            return
        self._powered = on
        if on:
            self._life = asyncio.get_running_loop().create_task(self._live())
            return
        assert self._life is not None
        self._life.cancel()
        self._life = None
        self.stop()

    async def first_boot(self) -> None:
        """Wait until the board has started for the first time, or has failed to: so it is found on the bench.

        Raises BenchError where the board's model has failed, which is no fault of the firmware's.
        """
        await self._tried.wait()
        if self._broken is not None:
            raise BenchError(f"{self.spec.board_id}: the virtual board has failed: {self._broken!r}") from self._broken

    def restart(self) -> None:
        """The application restarts the chip, once it comes to wait."""
        self._restart.set()

    def lose_power(self, lost: PowerLost) -> None:
        """The supply has dropped, as a fault says; it comes back by itself where the fault says so."""
        self.set_power(on=False)
        if lost.off_s is not None:
            loop = asyncio.get_running_loop()
            self._power_return = loop.call_later(lost.off_s, lambda: self.set_power(on=True))

    def guarded(self, serve: Serve) -> Serve:
        """`serve`, after which the supply may have dropped."""

        async def guard(connection: Connection) -> None:
            try:
                await serve(connection)
            except PowerLost as lost:
                self.lose_power(lost)

        return guard

    async def _live(self) -> None:
        try:
            await self._start_again_and_again()
        except Exception as error:  # noqa: BLE001  (a task's boundary: nobody awaits it, and it must not end unheard)
            self._broken = error
            self._tried.set()
            self.stop()
            said = {"message": f"{self.spec.board_id}: the virtual board has failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(said)

    async def _start_again_and_again(self) -> None:
        while True:
            if self._tried.is_set():
                await self.pace.charge(BOOT_S)
            self._restart.clear()
            runs = self.boot()
            if runs:
                await self.start()
            self._tried.set()
            if runs:
                await self._restart.wait()
                self.stop()
            else:
                await asyncio.sleep(_CRASH_S)
