"""Which sightings are of one board, and what is true of it."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Identity
from harness.discovery import Connection, Sighting, Status
from harness.discovery.boards import fold, group, name_all, narrowed
from harness.discovery.sighting import identity_key

TYPES = ("esp32", "esp8266", "arduino", "esphome", "smp")
KEYS = st.frozensets(st.sampled_from([f"key-{number}" for number in range(8)]), min_size=1, max_size=3)
CONNECTIONS = st.one_of(
    st.builds(Connection, port=st.text(min_size=1, max_size=8)),
    st.builds(Connection, host=st.just("10.0.0.7"), host_port=st.none() | st.integers(1, 65535)),
    st.builds(Connection, mount_point=st.text(min_size=1, max_size=8)),
)


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    types = draw(st.lists(st.sampled_from(TYPES), unique=True, max_size=3))
    return Sighting(
        source=draw(st.sampled_from(["serial", "mdns", "bench", "drive", "a-lab"])),
        keys=draw(KEYS),
        connection=draw(CONNECTIONS),
        types=tuple(types),
        certain=bool(types) and draw(st.booleans()),
        name=draw(st.text(max_size=8)),
        serial=draw(st.sampled_from(["", "24:0a:c4:00:00:01", "E66"])),
        device_id=draw(st.text(max_size=8)),
        status=draw(st.sampled_from(Status)),
        remarks=tuple(draw(st.lists(st.text(max_size=4), max_size=2))),
        ask_only_if_named=draw(st.booleans()),
    )


@given(st.lists(sightings(), max_size=12))
def test_each_sighting_is_of_exactly_one_board_and_boards_share_no_key(seen: list[Sighting]):
    boards = group(seen)
    assert sorted(map(repr, (one for board in boards for one in board))) == sorted(map(repr, set(seen)))
    keys = [frozenset().union(*(one.keys for one in board)) for board in boards]
    assert all(a.isdisjoint(b) for at, a in enumerate(keys) for b in keys[at + 1 :])


@given(st.lists(sightings(), max_size=12))
def test_all_sightings_of_a_board_hang_together(seen: list[Sighting]):
    for board in group(seen):
        reached, rest = set(board[0].keys), list(board)
        while touching := [one for one in rest if one.keys & reached]:
            rest = [one for one in rest if one not in touching]
            reached.update(*(one.keys for one in touching))
        assert rest == []


@given(st.lists(sightings(), max_size=10), st.randoms())
def test_the_order_in_which_providers_speak_changes_nothing(seen: list[Sighting], random):
    shuffled = random.sample(seen, len(seen))
    assert [fold(board) for board in group(seen)] == [fold(board) for board in group(shuffled)]


@given(st.lists(sightings(), max_size=10))
def test_grouping_boards_again_changes_nothing(seen: list[Sighting]):
    boards = group(seen)
    assert group(one for board in boards for one in board) == boards


@given(st.lists(sightings(), max_size=10), st.sampled_from(TYPES))
def test_what_is_found_of_one_type_can_be_of_that_type(seen: list[Sighting], wanted: str):
    found = [fold(board, wanted) for one in group(seen) if (board := narrowed(one, TYPES, wanted))]
    assert all(board.device_type == wanted and not board.candidates for board in found)


@given(st.lists(sightings(), max_size=10))
def test_ids_differ_and_are_what_a_batch_takes(seen: list[Sighting]):
    named = name_all([fold(board) for board in group(seen)], {"E66": "an id / with spaces"})
    ids = [board.device_id for board in named]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) and len(name) <= 100 for name in ids)


def sighting(*keys: str, **more: object) -> Sighting:
    return Sighting(**{"source": "serial", "keys": frozenset(keys), **more})


def test_two_ways_to_one_board_are_one_board_with_the_surer_way_first():
    by_port = sighting("id:mac", connection=Connection(port="/dev/ttyACM0"), types=("esp32c3", "esp32s3"))
    by_net = sighting("id:mac", source="mdns", connection=Connection(host="10.0.0.7"), types=("esphome",), certain=True)
    (board,) = group([by_port, by_net])
    found = fold(board)
    assert (found.device_type, found.certain, str(found.connection)) == ("esphome", True, "10.0.0.7")
    assert [str(way.connection) for way in found.others] == ["/dev/ttyACM0"]
    asked_for = fold(narrowed(board, ("esphome", "esp32c3", "esp32s3"), "esp32c3"), "esp32c3")
    assert (asked_for.device_type, asked_for.certain, str(asked_for.connection)) == ("esp32c3", False, "/dev/ttyACM0")


def test_what_the_chip_says_wins_over_what_its_bridge_may_be():
    identity = Identity("esp8266", "", "24:0a:c4:00:00:01", 0x400000)
    at = Connection(port="a")
    bridge = sighting("port:a", connection=at, types=("esp32", "esp8266", "arduino"))
    answer = sighting("port:a", source="probe", connection=at, types=("esp8266",), certain=True, identity=identity)
    (board,) = group([bridge, answer])
    found = fold(board)
    assert (found.device_type, found.certain, found.identity, found.candidates) == ("esp8266", True, identity, ())
    assert (found.connection, found.others) == (at, ())
    assert narrowed(board, TYPES, "esp32") == ()


def test_another_board_than_the_one_that_is_said_to_be_there_is_told():
    at = Connection(port="a")
    identity = Identity("esp8266", "", "24:0a:c4:00:00:01", 0x400000)
    said = sighting("port:a", source="bench", connection=at, types=("esp32",), certain=True)
    answer = sighting(
        "port:a", source="probe", connection=at, types=("esp8266",), certain=True, identity=identity, name="esp8266"
    )
    found = fold(group([said, answer])[0])
    assert (found.device_type, found.remarks) == ("esp8266", ("said to be esp32, but esp8266 answers",))


def test_what_may_be_of_one_type_only_is_not_of_it_unless_that_is_said():
    server = (sighting("host:a", source="mdns", connection=Connection(host="10.0.0.9"), types=("smp",)),)
    assert (fold(server).device_type, fold(server).candidates) == ("", ("smp",))
    assert (fold(server, "smp").device_type, fold(server, "smp").certain) == ("smp", False)


def answered(port: str, serial: str, realm: str = "") -> Sighting:
    return sighting(
        f"port:{port}",
        identity_key(serial, realm),
        source="probe",
        connection=Connection(port=port),
        types=("esp32s3",),
        certain=True,
        identity=Identity("esp32s3", "v0.2", serial, 0x800000),
    )


def test_a_board_on_two_ports_is_one_once_it_has_answered_on_both():
    """A devkit whose bridge and whose own USB are both plugged in."""
    seen = [sighting(f"port:{port}", connection=Connection(port=port), types=("esp32s3", "esp32")) for port in "ab"]
    assert len(group(seen)) == 2
    (board,) = group([*seen, *(answered(port, "24:0a:c4:00:00:01") for port in "ab")])
    assert [str(way.connection) for way in fold(board).others] == ["b"]


def test_virtual_boards_of_one_name_have_one_mac_on_every_bench_and_are_several():
    serial = "24:0a:c4:00:00:01"
    assert len(group([answered("a", serial, "bench 1"), answered("b", serial, "bench 2")])) == 2


def test_a_board_of_a_type_without_a_driver_is_told_and_not_guessed():
    (board,) = group([sighting("port:a", connection=Connection(port="a"), types=("arduino",), certain=True)])
    found = fold(narrowed(board, ("esp32",), None))
    assert (found.device_type, found.certain, found.candidates) == ("", False, ())
    assert found.remarks == ("no driver for arduino is installed",)


def test_a_board_that_runs_know_keeps_its_name():
    found = fold((sighting("a", serial="24:0a:c4:00:00:01", device_id="esp32-1", connection=Connection(port="x")),))
    assert name_all([found], {"24:0a:c4:00:00:01": "LINE_7"})[0].device_id == "LINE_7"


def test_ids_are_made_of_what_stays_the_same():
    def named(**more: object) -> str:
        return name_all([fold((sighting("a", certain="types" in more, **more),))], {})[0].device_id

    by_path = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:3.4.1:1.0-port0"
    by_id = "/dev/serial/by-id/usb-FTDI_Quad_RS232-HS_FT1-if02-port0"
    mac = "24:0a:c4:00:00:01"
    assert named(connection=Connection(port=by_id)) == "board-FT1-2"
    assert named(serial=mac, types=("esp32",), connection=Connection(port="/dev/ttyUSB3")) == "esp32-240ac4000001"
    assert named(connection=Connection(port=by_path)) == "board-usb-3.4.1"
    assert named(connection=Connection(mount_point="/media/me/RPI-RP2"), types=("pico",)) == "pico-RPI-RP2"
    assert named(connection=Connection(host="10.0.0.7", host_port=3232)) == "board-10.0.0.7-3232"
