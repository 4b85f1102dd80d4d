"""What announced services say of the boards behind them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.discovery.services import ARDUINO, ESPHOME, HTTP, SERVICE_TYPES, SMP, Service, sighting
from harness.discovery.sighting import Sighting

BYTES = st.binary(max_size=60)


def seen(service_type: str, port: int = 80, host: str = "node.local.", **txt: str) -> Sighting:
    properties = {key.encode(): value.encode() for key, value in txt.items()}
    found = sighting(Service(service_type, "node", host, ("10.0.0.7",), port, properties))
    assert found is not None
    return found


def test_an_arduino_is_updated_on_the_port_that_it_announces():
    board = seen(ARDUINO, 8266, board="nodemcuv2", auth_upload="yes", ssh_upload="no", tcp_check="no")
    assert (board.types, board.certain) == (("arduino-ota",), True)
    assert board.connection.info == {"host": "10.0.0.7", "port": 8266}
    assert "it asks for a password" in board.remarks


def test_an_arduino_that_takes_sketches_over_ssh_is_not_one():
    assert seen(ARDUINO, 80, board="yun", ssh_upload="yes").types == ()


def test_esphome_announces_its_api_and_not_the_port_of_its_updates():
    board = seen(ESPHOME, 6053, platform="ESP8266", version="2025.1.0", mac="246f28abcdef")
    assert (board.types, board.certain, board.serial) == (("esphome",), True, "24:6f:28:ab:cd:ef")
    assert board.connection.info == {"host": "10.0.0.7", "port": 8266}
    assert seen(ESPHOME, 6053, platform="something new").connection.info == {"host": "10.0.0.7"}


def test_a_web_server_may_be_anything_and_is_asked_only_when_named():
    server = seen(HTTP)
    assert (server.types, server.certain, server.ask_only_if_named) == (("http-ota",), False, True)


def test_services_of_one_host_are_one_board():
    assert seen(ARDUINO, host="Kitchen.local.").keys & seen(HTTP, host="kitchen.local.").keys
    assert not seen(ARDUINO, host="kitchen.local.").keys & seen(HTTP, host="hall.local.").keys


def test_smp_over_udp_is_known_by_the_name_that_applications_use():
    assert seen(SMP, 1337).connection.info == {"host": "10.0.0.7", "port": 1337}


def test_other_services_are_no_boards():
    assert sighting(Service("_printer._tcp.local.", "p", "p.local.", ("10.0.0.9",), 515, {})) is None


def test_a_service_without_an_address_can_not_be_reached():
    assert sighting(Service(HTTP, "p", "p.local.", (), 80, {})) is None


@given(
    st.sampled_from(SERVICE_TYPES),
    st.text(max_size=80),
    st.text(max_size=80),
    st.integers(0, 65535),
    st.dictionaries(
        BYTES | st.sampled_from([b"mac", b"platform", b"board", b"version", b"ssh_upload"]),
        st.none() | BYTES,
        max_size=6,
    ),
)
def test_any_txt_record_is_a_board_with_a_name_of_one_line(service_type, instance, host, port, properties):
    board = sighting(Service(service_type, instance, host, ("10.0.0.7",), port, properties))
    assert board is not None
    assert board.name.isprintable()
    assert all(remark.isprintable() for remark in board.remarks)
    assert board.connection.host == "10.0.0.7"
