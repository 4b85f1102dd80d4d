"""AN3155's frames, and a client that takes any bytes at all for what they are: an answer, or one clear error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.base import ConnectionLost, DeviceError, PortInUse, PortPermission, PortUnavailable, Segment
from drivers.stm32 import protocol, signature
from drivers.stm32.errors import translate
from drivers.stm32.loader import Loader
from drivers.stm32.parts import PARTS
from drivers.stm32.protocol import BadAnswer, LoaderError, NoAnswer, Refused
from drivers.stm32.writing import write_segments

ACK, NACK, BUSY = b"\x79", b"\x1f", b"\x76"


class ScriptedPort:
    """A port at whose far end somebody says given texts, whatever he is told: the next one when he is told more after
    the end of one.
    """

    baudrate = 115200
    timeout: float | None = None

    def __init__(self, *texts: bytes) -> None:
        self._text = b""
        self._texts = list(texts)
        self.sent = b""

    def read(self, size: int) -> bytes:
        data, self._text = self._text[:size], self._text[size:]
        return data

    def write(self, data: bytes) -> None:
        self.sent += data
        if not self._text and self._texts:
            self._text = self._texts.pop(0)

    def reset_input_buffer(self) -> None:
        """Nothing of the text has come yet."""


def loader(*texts: bytes) -> Loader:
    return on(ScriptedPort(*texts))


def on(port: ScriptedPort, lines: list[str] | None = None) -> Loader:
    return Loader(port, [].append if lines is None else lines.append)  # type: ignore[arg-type]


GET = ACK + b"\x0b\x22\x00\x01\x02\x11\x21\x31\x43\x63\x73\x82\x92" + ACK


def test_frames_are_those_of_the_application_note():
    assert protocol.command(0x11) == b"\x11\xee"
    assert protocol.address_frame(0x08000100) == b"\x08\x00\x01\x00\x09"
    assert protocol.length_frame(256) == b"\xff\x00"
    assert protocol.data_frame(b"\x01\x02\x03\x04") == b"\x03\x01\x02\x03\x04\x07"
    assert protocol.erase_frame([1, 3]) == b"\x01\x01\x03\x03"
    assert protocol.extended_erase_frame([1, 0x103]) == b"\x00\x01\x00\x01\x01\x03\x02"


@pytest.mark.parametrize(
    "frame",
    [
        lambda: protocol.length_frame(257),
        lambda: protocol.length_frame(0),
        lambda: protocol.data_frame(b"odd"),
        lambda: protocol.data_frame(b""),
        lambda: protocol.data_frame(bytes(260)),
        lambda: protocol.erase_frame([]),
        lambda: protocol.erase_frame(range(256)),
        lambda: protocol.extended_erase_frame(range(129)),
    ],
)
def test_what_no_frame_can_carry_is_never_sent(frame: Callable[[], bytes]):
    """256 pages in a 0x43 would be the count 0xFF, which erases everything."""
    with pytest.raises(ValueError, match="does not fit"):
        frame()


def test_the_answer_to_get_names_version_and_commands():
    found = loader(GET).get()
    assert found.version_text == "v2.2"
    assert protocol.Command.ERASE in found.commands


def test_the_erase_command_is_the_one_that_the_boot_loader_has():
    for code, frame in ((0x43, b"\x43\xbc\x00\x05\x05"), (0x44, b"\x44\xbb\x00\x00\x00\x05\x05")):
        port = ScriptedPort(GET.replace(b"\x43", bytes([code])) + ACK * 2)
        client = on(port)
        client.get()
        port.sent = b""
        client.erase([5], 1.0)
        assert port.sent == frame


def test_busy_is_waited_out():
    loader(ACK * 2 + BUSY * 3 + ACK).write(0x08000000, b"data")
    with pytest.raises(Refused):
        loader(*[ACK * 2 + BUSY + NACK] * 3).write(0x08000000, b"data")
    with pytest.raises(NoAnswer):
        loader(ACK * 2 + BUSY).write(0x08000000, b"data")


def test_a_short_read_is_an_error():
    assert loader(ACK * 3 + bytes(256)).read(0x08000000, 256) == bytes(256)
    with pytest.raises(NoAnswer, match="255 bytes came instead of 256"):
        loader(ACK * 3 + bytes(255)).read(0x08000000, 256)


def test_what_is_read_is_believed_when_it_is_read_twice_the_same():
    right, wrong = ACK * 3 + b"data", ACK * 3 + b"dada"
    assert loader(right + right).read_surely(0x08000000, 4) == b"data"
    assert loader(wrong + right + right).read_surely(0x08000000, 4) == b"data"
    assert loader(ACK * 3 + b"\xff" * 4).read_surely(0x08000000, 4) == b"\xff" * 4
    with pytest.raises(BadAnswer, match="differently each time"):
        loader(right + wrong + right + wrong).read_surely(0x08000000, 4)


def test_a_difference_is_believed_when_it_is_seen_twice():
    right, wrong = ACK * 3 + b"data", ACK * 3 + b"dada"
    assert loader(wrong + right).holds(0x08000000, b"data")
    assert not loader(wrong + wrong).holds(0x08000000, b"data")


def test_a_product_id_that_noise_has_changed_is_no_other_chip():
    one, other = ACK + b"\x01\x04\x10" + ACK, ACK + b"\x01\x04\x11" + ACK
    assert loader(one + one).product_id() == 0x410
    with pytest.raises(BadAnswer, match="0x410, then 0x411"):
        loader(one + other).product_id()


def test_a_refused_command_is_told_from_a_refused_address():
    with pytest.raises(Refused) as raised:
        loader(*[NACK] * 3).read(0x08000000, 4)
    assert raised.value.at_command
    with pytest.raises(Refused) as raised:
        loader(*[ACK + NACK] * 3).read(0x08000000, 4)
    assert not raised.value.at_command


READ = b"\x11\xee" + b"\x08\x00\x00\x00\x08" + b"\x03\xfc"
WRITE = b"\x31\xce" + b"\x08\x00\x00\x00\x08" + b"\x03data\x13"
GONE = b"\x21\xde" + b"\x08\x00\x00\x00\x08"


@pytest.mark.parametrize("refused", [[NACK], [ACK + NACK], [ACK * 2 + NACK], [NACK, ACK * 2 + NACK]])
@pytest.mark.parametrize("does", ["read", "write"])
def test_what_is_refused_is_sent_again_from_its_command_on_and_told(refused: list[bytes], does: str):
    port, lines = ScriptedPort(*refused, ACK * 3 + b"data" * (does == "read")), list[str]()
    if does == "read":
        assert on(port, lines).read(0x08000000, 4) == b"data"
    else:
        on(port, lines).write(0x08000000, b"data")
    frames = READ if does == "read" else WRITE
    parts = (frames[:2], frames[:7], frames)
    assert port.sent == b"".join(parts[answer.count(ACK)] for answer in refused) + frames
    assert len(lines) == len(refused)
    assert all("sent again" in line for line in lines)


@pytest.mark.parametrize("does", ["read", "write"])
def test_what_is_refused_each_time_is_sent_three_times(does: str):
    port, lines = ScriptedPort(*[ACK * 2 + NACK] * 9), list[str]()
    with pytest.raises(Refused):
        on(port, lines).read(0x08000000, 4) if does == "read" else on(port, lines).write(0x08000000, b"data")
    assert port.sent == (READ if does == "read" else WRITE) * 3
    assert lines == []


def test_an_erase_and_a_start_are_sent_again_only_while_nothing_can_have_begun():
    erase, list_of_one = b"\x43\xbc", b"\x00\x05\x05"
    for answers, sent in (
        ([NACK, ACK * 2], erase * 2 + list_of_one),
        ([ACK + NACK, ACK * 2], erase + list_of_one),
    ):
        port = ScriptedPort(*answers)
        with contextlib.suppress(Refused):
            on(port).erase([5], 1.0)
        assert port.sent == sent
    for answers, sent in (([NACK, ACK * 2], GONE[:2] + GONE), ([ACK + NACK, ACK * 2], GONE)):
        port = ScriptedPort(*answers)
        with contextlib.suppress(Refused):
            on(port).go(0x08000000, lambda: None)
        assert port.sent == sent


def test_a_boot_loader_that_goes_on_after_its_nack_is_out_of_step_and_told_nothing_more():
    """It took the rest of a frame for commands, and refuses each of them."""
    port = ScriptedPort(ACK * 2 + NACK * 3, ACK * 3)
    with pytest.raises(BadAnswer, match="to write 4 bytes at 0x08000000, and is out of step"):
        on(port).write(0x08000000, b"data")
    assert port.sent == WRITE


@pytest.mark.parametrize(
    ("text", "after_reset", "by_hand"),
    [
        (ACK, True, True),
        (NACK, False, True),
        (b"", False, False),
        (b"yes, an application\r\n", False, False),
        (b"\x00", False, False),
    ],
)
def test_a_boot_loader_is_told_from_an_application_that_prints_a_y(text: bytes, after_reset: bool, by_hand: bool):
    assert loader(text).sync(0.1) is after_reset
    assert loader(text).sync_without_reset(0.1) is by_hand


ANSWERS = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from([ACK, NACK, BUSY, GET, b"\x01\x04\x10", bytes(256)]), max_size=8).map(b"".join),
)


@settings(max_examples=300)
@given(text=ANSWERS)
def test_any_answer_at_all_is_a_result_or_one_clear_error(text: bytes):
    calls: list[Callable[[Loader], object]] = [
        Loader.get,
        Loader.product_id,
        lambda it: it.read(0x08000000, 16),
        lambda it: it.write(0x08000000, b"data"),
        lambda it: it.erase([0], 0.01),
        lambda it: it.go(0x08000000, lambda: None),
        lambda it: it.sync(0.01),
    ]
    for call in calls:
        client = loader(text)
        with contextlib.suppress(NoAnswer, BadAnswer, Refused):
            result = call(client)
            assert not isinstance(result, bytes) or len(result) == 16


@given(text=ANSWERS)
def test_no_signature_at_all_breaks_the_identity(text: bytes):
    for part in PARTS.values():
        try:
            found = signature.read(loader(text), part)
        except LoaderError:
            continue
        assert len(found.uid) in (0, 24)
        assert 0 < found.flash_size <= part.largest_flash


@pytest.mark.parametrize(
    ("register", "size"),
    [(b"\x40\x00", 0x10000), (b"\xff\xff", 0x20000), (b"\x00\x00", 0x20000), (b"\x00\x08", 0x20000)],
)
def test_a_size_that_can_not_be_true_is_the_largest_of_the_part(register: bytes, size: int):
    assert signature.flash_size(register, 0x20000) == size


@pytest.mark.parametrize(
    ("words", "uid"),
    [
        ([b"\x01\x02\x03\x04", b"\x05\x06\x07\x08", b"\x09\x0a\x0b\x0c"], "0102030405060708090a0b0c"),
        ([b"\xff" * 4] * 3, ""),
        ([bytes(4)] * 3, ""),
        ([b"", b"", b""], ""),
    ],
)
def test_a_part_without_a_unique_id_has_no_serial(words: list[bytes], uid: str):
    assert signature.uid(words) == uid


def test_the_third_word_of_an_l0s_unique_id_stands_apart():
    memory = bytearray(128)
    memory[0x50:0x58], memory[0x64:0x68] = b"ABCDEFGH", b"IJKL"
    memory[0x7C:0x7E] = (192).to_bytes(2, "little")
    found = signature.read(loader((ACK * 3 + bytes(memory)) * 2), PARTS[0x447])
    assert found == signature.Electronic(b"ABCDEFGHIJKL".hex(), 192 * 1024)


def test_where_the_size_register_can_not_be_read_the_flash_ends_where_it_can_not_either():
    """As on an L4, whose boot loader gives neither away."""
    refused, word = [ACK + NACK] * 3, ACK * 3 + b"last"
    found = signature.read(loader(*refused, *refused, *refused, *refused, word, word), PARTS[0x435])
    assert found == signature.Electronic("", 128 * 1024)


def test_what_can_be_read_of_a_g47x_to_its_end_has_no_hole():
    """Where its size register can not be read, what was found ends before the hole, or is all of 128 KiB."""
    refused, word, two_banks = [ACK + NACK] * 3, [ACK * 3 + b"last"] * 2, [ACK * 3 + b"\x40\x00"] * 2
    client = loader(*refused * 6, *word, *two_banks, *word)
    size = signature.read(client, PARTS[0x469]).flash_size
    assert size == 128 * 1024
    sectors = signature.layout(client, PARTS[0x469], size).sectors(size)
    assert (len(sectors), sectors[-1].end) == (64, 0x08020000)


def test_a_g47x_that_can_not_be_read_to_its_end_has_a_hole_behind_its_first_bank():
    two_banks, size = [ACK * 3 + b"\x40\x00"] * 2, 256 * 1024
    refused = signature.layout(loader(*two_banks, *[ACK + NACK] * 3), PARTS[0x469], size)
    with pytest.raises(signature.Silenced):
        signature.layout(loader(*two_banks), PARTS[0x469], size)
    for layout in (refused, signature.layout(loader(*two_banks), PARTS[0x469], size, {size})):
        assert layout.sectors(size)[-1].end == 0x08020000


def test_a_boot_loader_that_refuses_to_read_at_all_has_not_said_that_it_has_no_signature():
    with pytest.raises(Refused):
        signature.read(loader(*[NACK] * 3), PARTS[0x410])
    with pytest.raises(Refused):
        signature.layout(loader(*[NACK] * 3), PARTS[0x451], 0x200000)


@pytest.mark.parametrize(
    ("size", "options", "page"),
    [
        (0x200000, 0x00FF, 0x1000),
        (0x200000, 0x00BF, 0x2000),  # DBANK
        (0x200000, 0x00DF, 0x1000),
        (0x100000, 0x00BF, 0x1000),
        (0x100000, 0x00DF, 0x2000),  # DB1M
    ],
)
def test_the_pages_of_an_l4r_are_as_large_as_the_option_bit_of_its_size_says(size: int, options: int, page: int):
    said = ACK * 3 + options.to_bytes(2, "little")
    assert signature.layout(loader(said * 2), PARTS[0x470], size).sizes == (page,)


def test_an_l0_is_erased_to_zeros_and_written_by_half_pages():
    """What an image has as 0xFF at its end must be programmed there, and no half-page gets a second write."""
    part, page = PARTS[0x417], bytes(range(1, 0x40)) + b"\xff" * 0x41
    tail = b"tail" + bytes(0x7C)
    image = [Segment(0x08000000, page + bytes(0x80)), Segment(0x08000100, tail)]
    erased, written = ACK * 2, ACK * 3
    held = ACK * 3 + page
    port = ScriptedPort(erased, *[written, held], written, written)
    client = on(port)
    client.abilities = protocol.Abilities(0x31, frozenset({0x44}))
    write_segments(client, part, part.layout.sectors(0x10000), image, lambda *_: None, [].append, {})
    assert port.sent.count(b"\x31\xce") == 2
    assert protocol.data_frame(page) in port.sent
    assert protocol.data_frame(tail[:0x40]) in port.sent


@pytest.mark.parametrize(("options", "second_bank"), [(b"\xff\x4f", True), (b"\xff\x0f", False)])
def test_an_option_bit_decides_over_the_banks_of_a_1_mib_f42x(options: bytes, second_bank: bool):
    layout = signature.layout(loader((ACK * 3 + options) * 2), PARTS[0x419], 0x100000)
    assert (layout.second_bank is not None) is second_bank


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError(13, "Permission denied"), PortPermission),
        (FileNotFoundError(2, "No such file or directory"), PortUnavailable),
        (ConnectionRefusedError(111, "Connection refused"), PortUnavailable),
        (OSError(5, "Input/output error"), ConnectionLost),
        (NoAnswer("nothing"), ConnectionLost),
        (BadAnswer("noise"), ConnectionLost),
        (Refused("READ_MEMORY", at_command=True), ConnectionLost),
        (Refused("to read"), ConnectionLost),
        (ZeroDivisionError(), DeviceError),
    ],
)
def test_errors_have_the_category_that_a_person_would_look_under(error: Exception, kind: type[DeviceError]):
    translated = translate(error, "doing it")
    assert type(translated) is kind
    assert translated.message.startswith("doing it: ")


def test_pyserials_own_errors_are_understood():
    import serial

    for text, kind in (
        ("could not open port /dev/ttyUSB0: [Errno 13] Permission denied", PortPermission),
        ("Could not exclusively lock port /dev/ttyUSB0", PortInUse),
        ("Could not open port rfc2217://…: refused", PortUnavailable),
        ("device reports readiness to read but returned no data", ConnectionLost),
    ):
        assert type(translate(serial.SerialException(text), "connect")) is kind
