"""The OS management group of Zephyr's mcumgr (group 0): echo, reset, parameters, application and boot loader info.

Source: Zephyr `os_mgmt.c`. Task statistics, memory pools and the clock are not in this firmware, as in many.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from drivers.virtual.ota.smp_frames import Code, GroupError, Op, fields

GROUP = 0
BUFFER_SIZE = 2048  # CONFIG_MCUMGR_TRANSPORT_NETBUF_SIZE with the UDP transport
BUFFER_COUNT = 4  # CONFIG_MCUMGR_TRANSPORT_NETBUF_COUNT
_INVALID_FORMAT, _NO_ANSWER = 2, 3  # OS_MGMT_ERR_…
_UPGRADE_ONLY, _SWAP_USING_MOVE = 2, 3  # MCUBOOT_MODE_…
Handler = Callable[[bytes], Awaitable[Mapping[str, object]]]


@dataclass(frozen=True)
class About:
    """What `os info` says, by the letters of its format."""

    node: str
    board: str

    def of(self, wanted: str) -> str:
        texts = {
            "s": "Zephyr",
            "n": self.node,
            "r": "v4.2.0",
            "v": "4.2.0",
            "m": "arm",
            "p": "cortex-m4",
            "i": self.board,
            "o": "Zephyr",
        }
        letters = "snrvmpio" if "a" in wanted else wanted or "s"
        if not set(wanted) <= {*texts, "a"}:
            raise GroupError(GROUP, _INVALID_FORMAT, Code.INVALID)
        return " ".join(text for letter, text in texts.items() if letter in letters)


class SystemGroup:
    """The group's handlers. `reset` is called after the answer to a reset."""

    def __init__(self, about: About, reset: Callable[[], None], *, has_info: bool, overwrites: bool) -> None:
        self._about = about
        self._reset = reset
        self._mode = _UPGRADE_ONLY if overwrites else _SWAP_USING_MOVE
        always: dict[tuple[int, int], Handler] = {
            (Op.READ, 0): self._echo,
            (Op.WRITE, 0): self._echo,
            (Op.WRITE, 5): self._restart,
            (Op.READ, 6): self._parameters,
        }
        optional: dict[tuple[int, int], Handler] = {(Op.READ, 7): self._info, (Op.READ, 8): self._boot_loader}
        self.handlers: Mapping[tuple[int, int], Handler] = {**always, **optional} if has_info else always

    async def _echo(self, payload: bytes) -> Mapping[str, object]:
        return {"r": fields(payload, {"d": str}).get("d", "")}

    async def _restart(self, _payload: bytes) -> Mapping[str, object]:
        self._reset()
        return {}

    async def _parameters(self, _payload: bytes) -> Mapping[str, object]:
        return {"buf_size": BUFFER_SIZE, "buf_count": BUFFER_COUNT}

    async def _info(self, payload: bytes) -> Mapping[str, object]:
        return {"output": self._about.of(str(fields(payload, {"format": str}).get("format", "")))}

    async def _boot_loader(self, payload: bytes) -> Mapping[str, object]:
        query = fields(payload, {"query": str}).get("query")
        if query is None:
            return {"bootloader": "MCUboot"}
        if query == "mode":
            return {"mode": self._mode}
        raise GroupError(GROUP, _NO_ANSWER, Code.NO_ENTRY)
