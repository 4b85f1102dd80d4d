"""The image management group of Zephyr's mcumgr (group 1): list, test, confirm, upload, erase, slot info.

Source: Zephyr `img_mgmt.c`, `img_mgmt_state.c` and `zephyr_img_mgmt.c`, with CONFIG_IMG_ENABLE_IMAGE_CHECK; one image,
two slots, the application in slot 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from drivers.virtual.faults import Faults
from drivers.virtual.flash import SECTOR
from drivers.virtual.ota import mcuboot_image
from drivers.virtual.ota.mcuboot import PRIMARY, SECONDARY, TRAILER, Bootloader, Flag, Swap
from drivers.virtual.ota.slots import SLOTS, Slots
from drivers.virtual.ota.smp_frames import Code, GroupError, Op, fields

GROUP = 1
Handler = Callable[[bytes], Awaitable[Mapping[str, object]]]


class Error(IntEnum):
    """IMG_MGMT_ERR_…, what version 2 of the protocol answers."""

    FLASH_WRITE_FAILED = 12
    HASH_NOT_FOUND = 8
    NO_FREE_SLOT = 9
    INVALID_SLOT = 14
    INVALID_OFFSET = 20
    INVALID_LENGTH = 21
    INVALID_IMAGE_HEADER = 22
    INVALID_IMAGE_HEADER_MAGIC = 23
    INVALID_HASH = 24
    CURRENT_VERSION_IS_NEWER = 27
    IMAGE_ALREADY_PENDING = 28
    TOO_LARGE = 30
    DATA_OVERRUN = 31
    SETTING_TEST_TO_ACTIVE_DENIED = 33


# What version 1 says of them (`img_mgmt_translate_error_code`).
_AS_VERSION_1 = {
    Error.NO_FREE_SLOT: Code.BAD_STATE,
    Error.CURRENT_VERSION_IS_NEWER: Code.BAD_STATE,
    Error.IMAGE_ALREADY_PENDING: Code.BAD_STATE,
    Error.INVALID_SLOT: Code.INVALID,
    Error.INVALID_OFFSET: Code.INVALID,
    Error.INVALID_LENGTH: Code.INVALID,
    Error.INVALID_IMAGE_HEADER: Code.INVALID,
    Error.INVALID_HASH: Code.INVALID,
}


class ImageError(GroupError):
    """A request that gets an error of this group in return."""

    def __init__(self, code: Error) -> None:
        super().__init__(GROUP, code, _AS_VERSION_1.get(code, Code.UNKNOWN))


@dataclass
class _Upload:
    """What the firmware remembers of an upload, in RAM (`g_img_mgmt_state`)."""

    size: int
    sha: bytes
    offset: int = 0


class ImageGroup:
    """The group's handlers over the slots. Each raises Refused or ImageError; writing may end in PowerLost."""

    def __init__(self, slots: Slots, bootloader: Bootloader, faults: Callable[[], Faults]) -> None:
        self._slots = slots
        self._boot = bootloader
        self._faults = faults
        self._upload: _Upload | None = None
        self.handlers: Mapping[tuple[int, int], Handler] = {
            (Op.READ, 0): self._list,
            (Op.WRITE, 0): self._set_state,
            (Op.WRITE, 1): self._receive,
            (Op.WRITE, 5): self._erase,
            (Op.READ, 6): self._slot_info,
        }

    async def _list(self, _payload: bytes) -> Mapping[str, object]:
        return self._states()

    def _states(self) -> Mapping[str, object]:
        swap = self._boot.swap_type()
        listed = [self._state(slot, swap) for slot in SLOTS]
        return {"images": [state for state in listed if state], "splitStatus": 0}

    def _state(self, slot: int, swap: Swap) -> Mapping[str, object]:
        """Empty for a slot without an image, which is not listed."""
        try:
            image = mcuboot_image.read(self._slots.read(slot))
        except mcuboot_image.NoImage:
            return {}
        first = slot == PRIMARY
        return {
            "slot": slot,
            "version": image.version.reported(),
            "hash": image.digest if first else self._faults().digest(image.digest),
            "bootable": image.is_bootable,
            "pending": not first and swap in (Swap.TEST, Swap.PERM),
            "confirmed": (swap is not Swap.REVERT) if first else swap is Swap.REVERT,
            "active": first,
            "permanent": not first and swap is Swap.PERM,
        }

    async def _set_state(self, payload: bytes) -> Mapping[str, object]:
        asked = fields(payload, {"hash": bytes, "confirm": bool})
        confirm = bool(asked.get("confirm", False))
        await self._choose(self._slot_of(asked.get("hash", b""), confirm=confirm), confirm=confirm)
        return self._states()

    def _slot_of(self, digest: object, *, confirm: bool) -> int:
        assert isinstance(digest, bytes)
        if not digest and confirm:
            return PRIMARY
        if len(digest) != mcuboot_image.HASH_SIZE:
            raise ImageError(Error.INVALID_HASH)
        for slot in SLOTS:
            try:
                if mcuboot_image.read(self._slots.read(slot)).digest == digest:
                    return slot
            except mcuboot_image.NoImage:
                continue
        raise ImageError(Error.HASH_NOT_FOUND)

    async def _choose(self, slot: int, *, confirm: bool) -> None:
        """`img_mgmt_set_next_boot_slot`."""
        swap = self._boot.swap_type()
        if not confirm and slot == PRIMARY:
            raise ImageError(Error.SETTING_TEST_TO_ACTIVE_DENIED)
        if swap is Swap.TEST:
            if slot == SECONDARY and not confirm:
                return
            raise ImageError(Error.IMAGE_ALREADY_PENDING)
        if swap is Swap.PERM:
            if slot == SECONDARY and confirm:
                return
            raise ImageError(Error.IMAGE_ALREADY_PENDING)
        if swap is Swap.REVERT:
            if not confirm:
                raise ImageError(Error.IMAGE_ALREADY_PENDING)
            if slot == SECONDARY:
                return
        if slot == PRIMARY:
            await self._confirm()
        else:
            await self._set_pending(permanent=confirm)

    async def _confirm(self) -> None:
        trailer = self._boot.trailer(PRIMARY)
        if trailer.magic is Flag.GOOD and trailer.image_ok is Flag.UNSET:
            await self._program(PRIMARY, *self._boot.ok_mark())

    async def _set_pending(self, *, permanent: bool) -> None:
        if self._boot.trailer(SECONDARY).magic is Flag.BAD:
            # "The image slot is corrupt. There is no way to recover, so erase the slot to allow future upgrades."
            await self._slots.erase(SECONDARY, 0, self._slots.size, self._faults())
            raise ImageError(Error.INVALID_IMAGE_HEADER_MAGIC)
        for at, mark in self._boot.pending_marks(permanent=permanent):
            await self._program(SECONDARY, at, mark)

    async def _program(self, slot: int, at: int, data: bytes) -> None:
        await self._slots.program(slot, at, data, self._faults())

    async def _receive(self, payload: bytes) -> Mapping[str, object]:
        kinds = {"image": int, "data": bytes, "len": int, "off": int, "sha": bytes, "upgrade": bool}
        asked = fields(payload, kinds)
        if "off" not in asked:
            raise ImageError(Error.INVALID_OFFSET)
        data = asked.get("data", b"")
        assert isinstance(data, bytes)
        if asked["off"] == 0:
            return await self._begin(asked, data)
        return await self._continue(asked["off"], data)

    async def _begin(self, asked: Mapping[str, object], data: bytes) -> Mapping[str, object]:
        size, sha = asked.get("len"), asked.get("sha", b"")
        assert isinstance(sha, bytes)
        if len(data) < mcuboot_image.HEADER.size:
            raise ImageError(Error.INVALID_IMAGE_HEADER)
        if not isinstance(size, int):
            raise ImageError(Error.INVALID_LENGTH)
        magic, *_rest = mcuboot_image.HEADER.unpack_from(data)
        if magic != mcuboot_image.MAGIC:
            raise ImageError(Error.INVALID_IMAGE_HEADER_MAGIC)
        if len(sha) > mcuboot_image.HASH_SIZE:
            raise ImageError(Error.INVALID_HASH)
        if sha and self._upload is not None and self._upload.sha == sha:
            return {"off": self._upload.offset}
        if asked.get("image", 0) != 0 or self._boot.swap_type() is not Swap.NONE:
            raise ImageError(Error.NO_FREE_SLOT)
        if size > self._slots.size:
            raise ImageError(Error.TOO_LARGE)
        if asked.get("upgrade", False):
            self._refuse_downgrade(data)
        return await self._make_room(_Upload(size, sha), data)

    def _refuse_downgrade(self, data: bytes) -> None:
        version = mcuboot_image.Version(*mcuboot_image.HEADER.unpack_from(data)[6:9])
        running = mcuboot_image.read(self._slots.read(PRIMARY)).version
        if (running.major, running.minor, running.revision) >= (version.major, version.minor, version.revision):
            raise ImageError(Error.CURRENT_VERSION_IS_NEWER)

    async def _make_room(self, upload: _Upload, data: bytes) -> Mapping[str, object]:
        if len(upload.sha) == mcuboot_image.HASH_SIZE and self._matches(upload):
            self._upload = None
            return {"off": upload.size, "match": True}
        self._upload = upload
        if self._slots.read(SECONDARY) != b"\xff" * self._slots.size:
            await self._slots.erase(SECONDARY, 0, -(-upload.size // SECTOR) * SECTOR, self._faults())
            await self._slots.erase(SECONDARY, self._slots.size - TRAILER, TRAILER, self._faults())
        return await self._continue(0, data)

    def _matches(self, upload: _Upload) -> bool:
        return hashlib.sha256(self._slots.read(SECONDARY, 0, upload.size)).digest() == upload.sha

    async def _continue(self, offset: object, data: bytes) -> Mapping[str, object]:
        upload = self._upload
        if upload is None or offset != upload.offset:
            return {"off": upload.offset if upload else 0}
        if upload.offset + len(data) > upload.size:
            self._upload = None
            raise ImageError(Error.DATA_OVERRUN)
        await self._program(SECONDARY, upload.offset, data)
        upload.offset += len(data)
        if not data or upload.offset != upload.size:
            return {"off": upload.offset}
        self._upload = None
        return {"off": upload.size, "match": self._reported_match(upload)}

    def _reported_match(self, upload: _Upload) -> bool:
        """As the firmware computes it; without a whole SHA-256 there is nothing to compare with."""
        computed = hashlib.sha256(self._slots.read(SECONDARY, 0, upload.size)).digest()
        return self._faults().digest(computed) == upload.sha

    async def _erase(self, payload: bytes) -> Mapping[str, object]:
        slot = fields(payload, {"slot": int}).get("slot", SECONDARY)
        if slot not in SLOTS:
            raise ImageError(Error.INVALID_SLOT)
        if slot == PRIMARY or (self._boot.swap_type() is not Swap.NONE and self._state(SECONDARY, Swap.NONE)):
            raise ImageError(Error.NO_FREE_SLOT)
        await self._slots.erase(SECONDARY, 0, self._slots.size, self._faults())
        self._upload = None
        return {}

    async def _slot_info(self, _payload: bytes) -> Mapping[str, object]:
        slots = [{"slot": slot, "size": self._slots.size} for slot in SLOTS]
        return {"images": [{"image": 0, "slots": slots, "max_image_size": self._slots.size - TRAILER}]}
