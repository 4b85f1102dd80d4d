"""No bytes at all crash what reads an image, an answer or a state: one clear error."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smp.image_management import ImageState
from smpclient.requests.image_management import ImageStatesRead, ImageUploadWrite
from smpclient.requests.os_management import MCUMgrParametersRead, OSApplicationInfoRead

from drivers.base import BadImage, DeviceError
from drivers.ota import smp_frames
from drivers.ota.smp import SMP
from drivers.ota.smp_errors import IMAGE_ERRORS, PROTOCOL_ERRORS, NotUnderstood, Refusal, translate
from drivers.ota.smp_image import as_imgtool, parse
from drivers.ota.smp_link import as_slots
from drivers.ota.smp_state import Slot, Slots, Step, step_back
from drivers.virtual.ota import smp_firmware
from tests.stock import imgtool_sign

IMAGE = smp_firmware.image("1.2.0+4", 200)
TRAILER_MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")


@given(st.binary(max_size=400))
def test_any_bytes_are_an_image_or_a_bad_image(data: bytes) -> None:
    with pytest.raises(BadImage):
        parse("any.bin", data)


@given(st.lists(st.tuples(st.integers(0, len(IMAGE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_image_is_the_same_or_a_bad_image(damage: list[tuple[int, int]]) -> None:
    data = bytearray(IMAGE)
    for at, value in damage:
        data[at] = value
    try:
        found = parse("damaged.bin", bytes(data))
    except BadImage:
        return
    is_encrypted = data[16] & 0x0C  # then the digest is of the plain image, and can not be checked here
    assert is_encrypted or found.digest == hashlib.sha256(data[: 0x200 + 200]).digest()


@given(st.integers(0, len(IMAGE) - 1))
def test_a_cut_image_is_a_bad_image(size: int) -> None:
    with pytest.raises(BadImage):
        parse("cut.bin", IMAGE[:size])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x00" * 100, "no MCUboot header"),
        (b":020000040000FA\n" * 10, "Intel HEX"),
        (IMAGE + b"\xff" * 1000 + TRAILER_MAGIC, "padded"),
        (IMAGE + b"more", "4 bytes follow"),
        (IMAGE[:-40], "TLV|ends"),
    ],
)
def test_what_must_not_be_uploaded_says_why(data: bytes, words: str):
    with pytest.raises(BadImage, match=words) as raised:
        SMP.inspect(SMP.parse("zephyr.bin", data, 0))
    assert "Nothing was written" in raised.value.advice


def test_images_of_imgtool_are_read_with_their_options(tmp_path):
    body = b"an application" * 300
    assert parse("a", imgtool_sign(body, "1.2.3", tmp_path)).version == "1.2.3"
    assert parse("b", imgtool_sign(body, "1.2.3+9", tmp_path, "--security-counter", "7")).version == "1.2.3+9"
    assert len(parse("c", imgtool_sign(body, "4.0.0", tmp_path, "--sha", "512")).digest) == 64
    with pytest.raises(BadImage, match="padded"):
        parse("d", imgtool_sign(body, "5.0.0", tmp_path, "--pad"))
    with pytest.raises(BadImage, match="padded"):
        parse("e", imgtool_sign(body, "6.0.0", tmp_path, "--pad", "--confirm"))


@pytest.mark.parametrize(
    ("reported", "written"), [("1.2.0", "1.2.0"), ("1.2.0.4", "1.2.0+4"), ("<???>", "<???>"), ("1.2", "1.2")]
)
def test_versions_are_written_as_imgtool_takes_them(reported: str, written: str):
    assert as_imgtool(reported) == written


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.text(max_size=8) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["images", "rc", "err", "off", "match", "hash", "slot", "version", "buf_size", "buf_count", "output"]
)
REQUESTS = (ImageStatesRead, MCUMgrParametersRead, OSApplicationInfoRead)


@settings(max_examples=200)
@given(
    st.sampled_from(REQUESTS), st.one_of(st.binary(max_size=60), st.dictionaries(KEYS, VALUE).map(cbor2.dumps), VALUE)
)
def test_any_answer_is_understood_or_one_of_the_drivers_errors(kind, payload) -> None:
    request = kind()
    data = payload if isinstance(payload, bytes) else cbor2.dumps(payload)
    op, _, _, *address = struct.unpack(">BBHHBB", request.BYTES[:8])
    frame = struct.pack(">BBHHBB", (op & 7) + 1, 0, len(data), *address) + data
    assert smp_frames.is_answer(frame, request.BYTES)
    error = failure_of(lambda: understand(request, frame))
    assert error is None or type(translate(error, "ask")) is not DeviceError or isinstance(error, DeviceError | Refusal)


def understand(request, frame: bytes) -> None:
    answer = request._Response.loads(smp_frames.without_success(frame))
    if isinstance(request, ImageStatesRead):
        as_slots(answer.images)


def failure_of(work: Callable[[], None]) -> Exception | None:
    try:
        work()
    except Exception as error:
        return error
    return None


@given(st.binary(max_size=40))
def test_only_whole_answers_to_the_request_count(frame: bytes) -> None:
    request = ImageUploadWrite(off=0, data=b"x").BYTES
    assert not smp_frames.is_answer(frame, request) or (frame[0] & 7 == 3 and frame[6:8] == request[6:8])


@given(VALUE)
def test_any_slot_info_is_a_size_or_nothing(value) -> None:
    for found in ({"images": value}, {"images": [value]}, {"images": [{"image": 0, "slots": value}]}):
        size = smp_frames.slot_size(found)
        assert size is None or size > 0


def test_the_size_of_a_slot_is_found():
    found = {"images": [{"image": 0, "slots": [{"slot": 0, "size": 100}, {"slot": 1, "size": 90}]}]}
    assert smp_frames.slot_size(found) == 90


def test_errors_are_told_by_their_number():
    for frame, expected in (
        ({"rc": 8}, PROTOCOL_ERRORS[8]),
        ({"err": {"group": 1, "rc": 30}}, IMAGE_ERRORS[30]),
    ):
        with pytest.raises(Refusal) as raised:
            smp_frames.body(b"\0" * 8 + cbor2.dumps(frame))
        assert raised.value.meaning == expected
        error = translate(raised.value, "upload")
        assert isinstance(error, expected.kind)
        assert expected.text in error.message
        assert error.advice
    assert "unknown to this driver" in translate(Refusal(64, 3), "upload").message


def test_an_answer_that_is_no_map_is_not_understood():
    for junk in (b"", b"\xff", cbor2.dumps([1]), cbor2.dumps({1: 2}), cbor2.dumps({"rc": "x"})):
        with pytest.raises(NotUnderstood):
            smp_frames.body(b"\0" * 8 + junk)


OLD_ONE = Slot(0, "1.0.0", b"old", active=True, confirmed=True)


def at(slot: Slot, **changes: object) -> Slot:
    return Slot(**{**slot.__dict__, **changes})


@pytest.mark.parametrize(
    ("slots", "version", "unwanted", "step"),
    [
        (Slots(OLD_ONE), "1.0.0", None, Step.DONE),
        (Slots(OLD_ONE), "0.9.0", None, Step.IMPOSSIBLE),
        (Slots(OLD_ONE), None, None, Step.IMPOSSIBLE),
        (Slots(OLD_ONE, Slot(1, "2.0.0", b"new", pending=True)), "1.0.0", b"new", Step.RESET),
        (
            Slots(Slot(0, "2.0.0", b"new", active=True), at(OLD_ONE, number=1, active=False)),
            "1.0.0",
            b"new",
            Step.RESET,
        ),
        (Slots(Slot(0, "2.0.0", b"new", active=True), at(OLD_ONE, number=1, active=False)), None, None, Step.RESET),
        (Slots(Slot(0, "1.0.0", b"old", active=True), Slot(1, "2.0.0", b"new")), "1.0.0", b"new", Step.CONFIRM),
        (Slots(at(OLD_ONE, version="2.0.0"), Slot(1, "1.0.0", b"older")), "1.0.0", None, Step.TEST),
        # the same version, two builds: only the digest of what must not run tells them apart
        (Slots(OLD_ONE, Slot(1, "1.0.0", b"new")), "1.0.0", b"new", Step.DONE),
        (Slots(at(OLD_ONE, digest=b"new"), Slot(1, "1.0.0", b"old")), "1.0.0", b"new", Step.TEST),
        (Slots(OLD_ONE, Slot(1, "1.0.0", b"new")), "1.0.0", None, Step.IMPOSSIBLE),
        (
            Slots(Slot(0, "1.0.0", b"new", active=True), Slot(1, "1.0.0", b"old", confirmed=True)),
            "1.0.0",
            None,
            Step.RESET,
        ),
    ],
)
def test_the_way_back(slots: Slots, version: str | None, unwanted: bytes | None, step: Step):
    assert step_back(slots, version, unwanted) is step


def test_a_list_that_makes_no_sense_is_not_understood():
    two = [ImageState(slot=number, version="1.0.0", hash=b"x", active=True) for number in (0, 1)]
    for images in ([], two, two[:1] * 3, [ImageState(slot=0, version="1.0.0", hash=b"x")]):
        with pytest.raises(NotUnderstood):
            as_slots(images)
    with pytest.raises(DeviceError, match="digest"):
        as_slots([ImageState(slot=0, version="1.0.0", active=True)])
