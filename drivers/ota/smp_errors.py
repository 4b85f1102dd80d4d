"""What mcumgr's errors mean for a person, and the library's and the network's, in the drivers' family.

Numbers: Zephyr `mcumgr_err_t` (protocol) and `img_mgmt_err_code_t` (images).
"""

from __future__ import annotations

from typing import NamedTuple

from smpclient.exceptions import SMPClientException, SMPUploadError

from drivers.base import BadImage, DeviceError, FlashFailed, NetworkFailed, VerificationFailed
from drivers.translation import in_one_line

_IMAGE_GROUP = 1


class BoardBusy(DeviceError):
    """Another update is under way on the board."""

    default_advice = "Confirm the image that is being tested, or reset the board, then run again."


class Meaning(NamedTuple):
    """An error's kind and words."""

    kind: type[DeviceError]
    text: str


IMAGE_ERRORS: dict[int, Meaning] = {
    1: Meaning(FlashFailed, "unknown error of the image manager"),
    2: Meaning(FlashFailed, "its flash can not be queried"),
    3: Meaning(VerificationFailed, "there is no image in the slot"),
    4: Meaning(VerificationFailed, "the image in the slot has no TLVs"),
    5: Meaning(VerificationFailed, "the image in the slot has an invalid TLV"),
    6: Meaning(VerificationFailed, "the image in the slot has several digests"),
    7: Meaning(VerificationFailed, "the image in the slot has a TLV of invalid size"),
    8: Meaning(VerificationFailed, "no slot holds an image with this digest"),
    9: Meaning(BoardBusy, "no slot is free: an image is on probation, or waits for the next reset"),
    10: Meaning(FlashFailed, "its flash can not be opened"),
    11: Meaning(FlashFailed, "reading its flash failed"),
    12: Meaning(FlashFailed, "writing its flash failed"),
    13: Meaning(FlashFailed, "erasing its flash failed"),
    14: Meaning(DeviceError, "it has no such slot"),
    15: Meaning(FlashFailed, "its memory is used up"),
    16: Meaning(FlashFailed, "it is still writing an earlier image"),
    17: Meaning(FlashFailed, "it has forgotten the upload"),
    18: Meaning(FlashFailed, "it has no flash device for the slot"),
    19: Meaning(FlashFailed, "the upload does not fit its flash's pages"),
    20: Meaning(NetworkFailed, "it missed the offset of a piece"),
    21: Meaning(NetworkFailed, "it missed the length of the image"),
    22: Meaning(NetworkFailed, "the first piece was too small for the image's header"),
    23: Meaning(BadImage, "it takes this for no MCUboot image"),
    24: Meaning(BadImage, "it does not take a digest of this length"),
    25: Meaning(BadImage, "the image is linked for another address of its flash"),
    26: Meaning(FlashFailed, "it can not tell its own version"),
    27: Meaning(BadImage, "it takes upgrades only, and runs the same or a later version"),
    28: Meaning(BoardBusy, "another image is on probation, or waits for the next reset"),
    29: Meaning(BadImage, "the image's vector table is invalid"),
    30: Meaning(BadImage, "the image is larger than its slot"),
    31: Meaning(NetworkFailed, "more arrived than was announced"),
    32: Meaning(FlashFailed, "its application denies to confirm the image"),
    33: Meaning(VerificationFailed, "the image to test is the one that runs"),
}

PROTOCOL_ERRORS: dict[int, Meaning] = {
    1: Meaning(FlashFailed, "unknown error"),
    2: Meaning(FlashFailed, "its memory is used up"),
    3: Meaning(NetworkFailed, "it finds the request invalid"),
    4: Meaning(NetworkFailed, "it ran out of time"),
    5: Meaning(VerificationFailed, "there is no such image"),
    6: Meaning(BoardBusy, "its state does not allow this: an image is on probation, or waits for the next reset"),
    7: Meaning(NetworkFailed, "its answer is too large"),
    8: Meaning(DeviceError, "its firmware does not know this command"),
    9: Meaning(NetworkFailed, "the request arrived damaged"),
    10: Meaning(FlashFailed, "it is busy with another command"),
    11: Meaning(DeviceError, "its firmware denies access"),
    12: Meaning(DeviceError, "it speaks a later version of the protocol only"),
    13: Meaning(DeviceError, "it speaks an earlier version of the protocol only"),
}


class Refusal(Exception):
    """The board answered with an error: its group (None: the protocol's own) and number."""

    def __init__(self, group: int | None, code: int) -> None:
        super().__init__(f"error {code}" + (f" of group {group}" if group is not None else ""))
        self.group = group
        self.code = code

    @property
    def meaning(self) -> Meaning:
        table = {None: PROTOCOL_ERRORS, _IMAGE_GROUP: IMAGE_ERRORS}.get(self.group, {})
        return table.get(self.code, Meaning(FlashFailed, f"unknown to this driver: {self}"))


class NotUnderstood(Exception):
    """Bytes that are no answer of the protocol."""


def translate(error: Exception, doing: str) -> DeviceError:
    """The driver's error for what the library, the network or the board says."""
    if isinstance(error, Refusal):
        return error.meaning.kind(f"{doing}: the board refuses: {error.meaning.text}")
    if isinstance(error, TimeoutError):
        return NetworkFailed(f"{doing}: no answer from the board")
    if isinstance(error, SMPUploadError):
        return VerificationFailed(f"{doing}: what the board received is not what was sent (SHA-256 differs)")
    if isinstance(error, OSError):
        return NetworkFailed(f"{doing}: {error.strerror or error}")
    if isinstance(error, (NotUnderstood, SMPClientException, ValueError, AssertionError, TypeError)):
        # smpclient and smp parse with pydantic, enums and asserts: noise shows as any of these
        return NetworkFailed(f"{doing}: an answer can not be understood: {in_one_line(error)}")
    return DeviceError(f"{doing}: {in_one_line(error)}")
