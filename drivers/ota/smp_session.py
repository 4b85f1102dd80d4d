"""One board that is updated by SMP: upload, test, reset, confirm, and the ways back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from pydantic import Field

from drivers.base import (
    BadImage,
    BootFailed,
    DeviceError,
    Identity,
    Link,
    Log,
    NetworkFailed,
    Options,
    Progress,
    Region,
    Segment,
    VerificationFailed,
    WrongBoard,
)
from drivers.net import Address
from drivers.ota import smp_image, smp_link
from drivers.ota.smp_errors import BoardBusy, translate
from drivers.ota.smp_state import Slots, Step, step_back
from drivers.translation import translated

DEVICE_TYPE = "smp"
# `enum mcuboot_mode`: swap using scratch, using move, direct XIP with revert, swap using offset (the default since 4.3)
_MODES_WITH_REVERT = frozenset({1, 3, 5, 9})
_STEPS_BACK = 6
_RESET_ANSWER_S = 2.0
_POLL_S = 0.3
_ONE_ANSWER_S = 1.0  # networks such as Thread take that long
_ASK_AGAIN_S, _ASK_AGAIN_ANSWERED_S = 3.0, 15.0  # a board that has not restarted by then did not get the reset


class SmpOptions(Options):
    """What may stand under `options` of such a device."""

    restart_within: float = Field(
        default=60, gt=0, description="Seconds until it must answer again after a reset: MCUboot swaps meanwhile."
    )
    hardware: str = Field(default="", description="What must be in the hardware platform that `os info` names.")
    node_name: str = Field(default="", description="The node name that `os info` must give: its host name.")
    slot_size: int = Field(default=0, ge=0, description="Bytes of a slot. Left out: as the board says.")
    mtu: int = Field(
        default=1500, ge=128, le=9000, description="The largest packet that the network carries, in bytes."
    )
    without_revert: bool = Field(
        default=False, description="Update it although its MCUboot can not go back to the old image."
    )

    @property
    def reset_s(self) -> float:
        return self.restart_within


class SmpSession:
    """One board. See `drivers.base.Session` for the contract."""

    def __init__(self, link: Link, log: Log) -> None:
        self._options = link.options if isinstance(link.options, SmpOptions) else SmpOptions()
        self._chip = link.chip
        self._baudrate = link.flash_baudrate
        self._connect_s = link.connect_timeout_s
        self._log = log
        trace = log if link.trace else None
        self._board = smp_link.Link(Address.of(link.port), self._options.mtu, link.read_timeout_s, trace)
        self._connected = False
        self._wanted: bytes | None = None  # the image that was last asked for or written
        self._to_start: bytes | None = None  # what was written and has not been started yet
        self._for_good = False  # what is written now is the way back: it stays
        self._said = ""

    @property
    def flash_baudrate(self) -> int:
        return self._baudrate

    def connect(self) -> Identity:
        self._connected = False
        self._to_start = None
        self._for_good = False
        with self._translated("connect"):
            self._board.learn_buffers(self._connect_s)
            slots = self._board.slots()
            self._refuse_without_revert()
            identity = self._identity(slots)
            self._connected = True
            self._log(f"the board holds {slots}")
            return identity

    def _refuse_without_revert(self) -> None:
        mode = self._board.boot_mode()
        if mode is None or mode < 0 or mode in _MODES_WITH_REVERT or self._options.without_revert:
            return
        raise WrongBoard(
            f"its MCUboot can not go back to an image that it has replaced (mode {mode})",
            advice="Nothing was written. To update it all the same, set `without_revert: true` in its options.",
        )

    def _identity(self, slots: Slots) -> Identity:
        """Only of what stays: another firmware may say less, or another name, of the same board."""
        hardware = self._board.about("i")
        is_on_probation = not slots.active.confirmed
        self._check("hardware", self._options.hardware, hardware, is_on_probation=is_on_probation)
        if self._options.node_name:
            node = self._board.about("n")
            self._check("node name", self._options.node_name, node, is_on_probation=is_on_probation)
        chip = self._chip.lower()
        is_another = chip not in ("", DEVICE_TYPE) and hardware and chip not in hardware.lower()
        if is_another and not is_on_probation:
            chip = str(hardware)
        return Identity(chip or DEVICE_TYPE, "", "", self._options.slot_size)

    def _check(self, what: str, wanted: str, said: str | None, *, is_on_probation: bool) -> None:
        is_so = said is not None and (wanted in said if what == "hardware" else wanted == said)
        if not wanted or is_so:
            return
        message = f"its {what} is {said or 'not said by its firmware'}, expected {wanted}"
        if not is_on_probation:  # what runs on probation is known to be ours by its digest, and must be let go back
            raise WrongBoard(message)
        self._log(f"not checked while it runs firmware on probation: {message}")

    def digest(self, region: Region) -> str:  # noqa: ARG002
        raise DeviceError("a board that is updated by SMP does not hash its flash")

    def read(self, region: Region, progress: Progress) -> bytes:  # noqa: ARG002
        raise DeviceError("a board that is updated by SMP can not be read back")

    def holds(self, segment: Segment) -> bool:
        """Whether it runs this image, or this session has written it beside the one that runs.

        One that was left in the other slot by somebody else does not count: starting it changes the board, as a write
        does, and the write then finds it there.
        """
        with self._translated("compare images"):
            image = smp_image.parse(segment.name, segment.data)
            self._wanted = image.digest
            slots = self._slots()
            if slots.active.digest == image.digest:
                return True
            return self._to_start == image.digest and slots.other is not None and slots.other.digest == image.digest

    def installed_version(self, address: int) -> str | None:  # noqa: ARG002
        with self._translated("read the version"):
            return self._slots().active.version

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        with self._translated("upload"):
            (segment,) = segments
            image = smp_image.parse(segment.name, segment.data)
            self._wanted = image.digest
            slots = self._slots()
            if slots.active.digest != image.digest and not self._is_beside(slots, image.digest):
                self._refuse_busy(slots)
                self._refuse_too_large(segment)
                self._board.upload(segment.data, progress)
                if not self._is_beside(self._slots(), image.digest):
                    raise VerificationFailed("the board does not list the image that was uploaded: it is not whole")
            progress(len(segment.data), len(segment.data))
            self._to_start = image.digest

    @staticmethod
    def _is_beside(slots: Slots, digest: bytes) -> bool:
        return slots.other is not None and slots.other.digest == digest

    @staticmethod
    def _refuse_busy(slots: Slots) -> None:
        if slots.is_pending or not slots.active.confirmed:
            raise BoardBusy(f"an image is on probation, or waits for the next reset: {slots}")

    def _refuse_too_large(self, segment: Segment) -> None:
        room = self._options.slot_size or self._board.slot_size()
        if room is not None and len(segment.data) > room:
            raise BadImage(f"{segment.name} has {len(segment.data)} bytes, the slot {room}")

    def reset(self) -> None:
        """Start what was written. What runs already is left alone: a reset would take an image on probation back."""
        with self._translated("restart"):
            self._said = ""
            digest, self._to_start = self._to_start, None
            if digest is None:
                return
            slots = self._slots()
            if slots.active.digest != digest:
                slots = self._test(slots, digest)
            if self._for_good:
                self._confirm(digest)

    def _test(self, slots: Slots, digest: bytes) -> Slots:
        if not slots.is_pending:
            self._board.test(digest)
            slots = self._slots()
        if not self._is_beside(slots, digest) or not slots.is_pending:
            raise VerificationFailed(f"the board did not mark the image for a test: {slots}")
        slots = self._restart(slots)
        if slots.active.digest != digest:
            raise BootFailed(
                f"the new image does not run: MCUboot refused it, or took it back; {slots}",
                advice="Check that it is signed with the key that this boot loader has, and built for this board.",
            )
        return slots

    def _restart(self, before: Slots) -> Slots:
        """Reset a board whose next start swaps its slots, and wait until it has. It answers until it goes down."""
        end = time.monotonic() + self._options.restart_within
        ask_at = 0.0
        while time.monotonic() < end:
            found = self._peek()
            if found is not None and found.after_a_reset != before.after_a_reset:
                self._log(f"restarted: {found}")
                return found
            if found is not None and time.monotonic() >= ask_at:
                answered = self._board.reset(_RESET_ANSWER_S)
                ask_at = time.monotonic() + (_ASK_AGAIN_ANSWERED_S if answered else _ASK_AGAIN_S)
            time.sleep(_POLL_S)
        raise NetworkFailed(
            f"the board did not restart, or does not answer since, for {self._options.restart_within:g} s",
            advice="Cut its power for a moment: MCUboot then takes back an image that was not confirmed.",
        )

    def _peek(self, timeout_s: float = _ONE_ANSWER_S) -> Slots | None:
        """What it holds, None where it does not answer now."""
        try:
            return self._board.slots(timeout_s, repeat=False)
        except Exception as error:
            if isinstance(translate(error, "look"), NetworkFailed):
                return None
            raise

    def confirm(self) -> None:
        with self._translated("confirm"):
            self._confirm(self._wanted)

    def _confirm(self, digest: bytes | None) -> None:
        slots = self._slots()
        if digest is not None and slots.active.digest != digest:
            raise BootFailed(
                f"the new image does not run any more: {slots}",
                advice="It ran, and the board was reset before it was confirmed: a watchdog, or its power supply.",
            )
        if slots.active.confirmed:
            return
        self._board.confirm()
        after = self._slots()
        if after.active.digest != slots.active.digest or not after.active.confirmed:
            raise VerificationFailed(f"the board did not keep the confirmation: {after}")
        self._log(f"confirmed: {after}")

    def revert(self, version: str | None) -> bool:
        unwanted, self._wanted, self._to_start = self._wanted, None, None
        with self._translated("go back"):
            slots = self._slots()
            went_back = False
            for _ in range(_STEPS_BACK):
                step = step_back(slots, version, unwanted)
                if step is Step.DONE or (step is Step.IMPOSSIBLE and version is None and went_back):
                    return True
                if step is Step.IMPOSSIBLE:
                    break
                went_back = step is Step.RESET and not slots.active.confirmed
                slots = self._step(step, slots)
            self._for_good = True
            return False

    def _step(self, step: Step, slots: Slots) -> Slots:
        self._log(f"{step.value}: {slots}")
        if step is Step.CONFIRM:
            self._board.confirm()
            return self._slots()
        if step is Step.TEST:
            assert slots.other is not None
            self._board.test(slots.other.digest)
            slots = self._slots()
        return self._restart(slots)

    def read_console(self, timeout_s: float) -> bytes:
        with self._translated("look"):
            end = time.monotonic() + timeout_s
            slots = self._peek(max(timeout_s, _ONE_ANSWER_S))
            said = "" if slots is None else "".join(f"{slot}\n" for slot in slots)
            if said and said != self._said:
                self._said = said
                return said.encode()
            time.sleep(max(end - time.monotonic(), 0))
            return b""

    def write_console(self, data: bytes) -> None:  # noqa: ARG002
        raise DeviceError("a board that is updated by SMP has no console")

    def slow_down(self) -> bool:
        return False

    def close(self) -> None:
        self._connected = False

    def _slots(self) -> Slots:
        if not self._connected:
            raise NetworkFailed("the session has no board to talk to; connect first")
        return self._board.slots()

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated(translate, doing, failed=self.close, cut_short=self.close)
