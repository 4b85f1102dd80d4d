from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.virtual.esp import efuse
from drivers.virtual.esp.chips import CHIPS


@pytest.mark.parametrize(
    ("mac", "crc"),
    [("24:6f:28:7a:d8:84", 0x3E), ("08:3a:f2:67:24:94", 0xBB)],
    ids=["esptool #570", "esptool-js #175"],
)
def test_the_crc_is_the_one_of_real_boards(mac: str, crc: int) -> None:
    assert efuse.mac_crc(efuse.parse_mac(mac)) == crc


@given(st.text(min_size=1), st.text(min_size=1))
def test_every_board_has_a_mac_of_its_own_and_always_the_same(first: str, second: str) -> None:
    macs = efuse.derive_mac(first), efuse.derive_mac(second)
    assert (macs[0] == macs[1]) == (first == second)
    assert all(mac[:3] == bytes.fromhex("240ac4") and len(mac) == 6 for mac in macs)


@pytest.mark.parametrize("text", ["", "24:0a:c4:01:02", "24:0a:c4:01:02:03:04", "240ac4010203", "24:0a:c4:01:02:0x"])
def test_what_is_no_mac_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a MAC address"):
        efuse.parse_mac(text)


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_every_register_holds_a_word(chip) -> None:
    registers = efuse.registers(chip, b"\xff" * 6, {})
    assert all(0 <= value < 2**32 and address % 4 == 0 for address, value in registers.items())
