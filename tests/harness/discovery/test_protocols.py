"""Which protocols are tried on a port."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.discovery.protocols import attempts
from harness.discovery.usb_ids import BEHIND_BRIDGES, ESP, USB_IDS


def test_behind_a_bridge_the_strongest_evidence_comes_first_and_a_lone_byte_last():
    tried = [(attempt.types[0], attempt.chip, attempt.baud) for attempt in attempts(BEHIND_BRIDGES)]
    assert tried == [
        ("esp32", "", 115200),
        ("arduino", "atmega328p", 115200),
        ("arduino", "nano", 57600),
        ("arduino", "atmega2560", 115200),
        ("stm32", "", 115200),
    ]


def test_one_protocol_tells_all_of_espressifs_chips_apart():
    (only,) = attempts(("esp8266", "esp32c3"))
    assert only.types == ESP


def test_a_port_whose_board_is_certain_is_asked_in_its_own_familys_protocol_only():
    for entry in USB_IDS:
        if entry.certain:
            family = ESP if entry.types[0] in ESP else entry.types
            assert {name for attempt in attempts(entry.types, entry.chip) for name in attempt.types} == set(family)


def test_a_chip_that_is_known_is_the_only_one_that_is_asked_for():
    assert {attempt.chip for attempt in attempts(("arduino",), "atmega2560")} == {"atmega2560"}


@given(st.lists(st.sampled_from([*BEHIND_BRIDGES, "samd21", "smp"]), unique=True, max_size=6), st.text(max_size=5))
def test_every_type_is_tried_and_nothing_twice(types: list[str], chip: str):
    tried = attempts(types, chip)
    assert set(types) <= {name for attempt in tried for name in attempt.types}
    assert len(set(tried)) == len(tried)
