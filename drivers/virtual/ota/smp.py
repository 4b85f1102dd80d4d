"""A Zephyr board with MCUboot whose application updates itself by the Simple Management Protocol over UDP.

Modelled after an nRF52840 with two slots of 472 KiB (Zephyr's nrf52840dk partitions) and smp_svr with the UDP
transport (`smp.c`, `smp_udp.c`): one request at a time, four buffers, datagrams of up to 1500 bytes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import Field

from drivers.virtual.errors import BenchError
from drivers.virtual.faults import PowerLost
from drivers.virtual.flash import SECTOR
from drivers.virtual.folder import BoardFolder
from drivers.virtual.ota import mcuboot_image, smp_firmware
from drivers.virtual.ota.device import NetworkBoard
from drivers.virtual.ota.mcuboot import Bootloader
from drivers.virtual.ota.nrf52 import Nrf52Slots, swap_s
from drivers.virtual.ota.ports import LOOPBACK, Peer
from drivers.virtual.ota.settings import BoardSettings, parse
from drivers.virtual.ota.smp_images import ImageGroup
from drivers.virtual.ota.smp_port import MTU, SmpPort
from drivers.virtual.ota.smp_server import SmpServer
from drivers.virtual.ota.smp_system import BUFFER_COUNT, About, SystemGroup
from drivers.virtual.ota.station import NetworkStation
from drivers.virtual.spec import BoardSpec, Speed

SLOT_SIZE = 0x76000
_RESET_DELAY_S = 0.25  # CONFIG_MCUMGR_GRP_OS_RESET_MS, from the answer to the reset


class SmpSettings(BoardSettings):
    """The driver's options, and after them the firmware's own."""

    restart_within: float = 0
    hardware: str = "nrf52840dk/nrf52840"
    node_name: str = ""
    slot_size: int = 0
    mtu: int = 0
    without_revert: bool = False
    overwrite_only: bool = Field(default=False, description="Its MCUboot overwrites in the place of swapping.")
    os_info: bool = Field(default=True, description="CONFIG_MCUMGR_GRP_OS_INFO and …_BOOTLOADER_INFO.")
    legacy_rc: bool = Field(
        default=False, description="CONFIG_MCUMGR_SMP_LEGACY_RC_BEHAVIOUR: successes say `rc: 0`, as before Zephyr 3.3."
    )


class SmpBoard(NetworkBoard):
    """The board: MCUboot, and an application that answers SMP while it runs."""

    def __init__(self, spec: BoardSpec, folder: BoardFolder, settings: SmpSettings) -> None:
        super().__init__(spec)
        size = spec.flash_size or settings.slot_size or SLOT_SIZE
        if size % SECTOR or size < 4 * SECTOR:
            raise BenchError(
                f"{spec.board_id}: a slot of {size} bytes is none: whole sectors of {SECTOR}, four at least"
            )
        scratch = folder.path / "swap.bin"
        if not spec.keep:
            scratch.unlink(missing_ok=True)
        self._slots = Nrf52Slots(folder, size, smp_firmware.factory_image, self.pace, keep=spec.keep)
        self._boot = Bootloader(self._slots, scratch, overwrites=settings.overwrite_only)
        self._settings = settings
        self._port = SmpPort()
        self._queue: asyncio.Queue[tuple[bytes, Peer]] = asyncio.Queue(BUFFER_COUNT)
        self._worker: asyncio.Task[None] | None = None
        self._last_heard = 0.0
        self._about = About(settings.node_name or spec.board_id.lower(), settings.hardware)

    async def open(self) -> str:
        await self._port.open(lambda: self.faults)
        return f"{LOOPBACK}:{self._port.port}"

    def boot(self) -> bool:
        self.faults.started(in_loader=True)
        image = self._boot.boot()
        return image is not None and not self.faults.panics(str(mcuboot_image.read(image).version))

    async def start(self) -> None:
        await self.pace.charge(swap_s(self._boot.swapped))
        images = ImageGroup(self._slots, self._boot, lambda: self.faults)
        system = SystemGroup(
            self._about, self._reset_soon, has_info=self._settings.os_info, overwrites=self._settings.overwrite_only
        )
        server = SmpServer(images, system, legacy_rc=self._settings.legacy_rc)
        self._queue = asyncio.Queue(BUFFER_COUNT)
        self._worker = asyncio.get_running_loop().create_task(self._serve(server))
        self._port.hear = self._hear

    def stop(self) -> None:
        self._port.hear = None
        if self._worker is not None and self._worker is not asyncio.current_task():
            self._worker.cancel()
        self._worker = None

    def close(self) -> None:
        super().close()
        self._port.close()
        self._slots.close()

    @property
    def is_in_use(self) -> bool:
        return asyncio.get_running_loop().time() < self._last_heard + 2.0

    def _reset_soon(self) -> None:
        delay_s = _RESET_DELAY_S if self.spec.speed is Speed.REALISTIC else _RESET_DELAY_S / 5
        asyncio.get_running_loop().call_later(delay_s, self._reset, self._worker)

    def _reset(self, asked_of: asyncio.Task[None] | None) -> None:
        if asked_of is self._worker:  # the same start of the application that took the request
            self.restart()

    def _hear(self, data: bytes, peer: Peer) -> None:
        self._last_heard = asyncio.get_running_loop().time()
        if not self._queue.full():  # "No free space, drop SMP frame"
            self._queue.put_nowait((data[:MTU], peer))

    async def _serve(self, server: SmpServer) -> None:
        try:
            while True:
                data, peer = await self._queue.get()
                async for answer in server.answers(data):
                    self._port.send(answer, peer)
        except PowerLost as lost:
            self.lose_power(lost)


class SmpStation(NetworkStation):
    """The place of such a board."""

    def make_board(self) -> SmpBoard:
        settings = parse(SmpSettings, self.spec.options, self.spec.board_id)
        return SmpBoard(self.spec, self.folder, settings)


def station(spec: BoardSpec, state: Path, wait_s: float) -> SmpStation:
    """The place of a board with MCUboot and SMP."""
    return SmpStation(spec, state, wait_s)
