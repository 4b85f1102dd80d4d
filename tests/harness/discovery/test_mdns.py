"""Real multicast DNS on the loopback interface. Other tests may announce boards there too: names are a test's own."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from harness.discovery import Found, Places, discover
from harness.discovery.mdns import NoMulticast, sightings
from harness.discovery.services import ARDUINO, ESPHOME, HTTP
from harness.discovery.sighting import Sighting
from tests.harness.discovery.announced import LOOPBACK, announced, service
from tests.tries import tried

LISTEN_S = 2.5


def test_boards_that_announce_themselves_are_found_with_all_their_services_as_one(machine):
    mark = uuid4().hex[:8]
    kitchen, hall, printer = (f"{name}-{mark}" for name in ("kitchen", "hall", "printer"))
    mac = "24:6f:28:" + ":".join((mark[0:2], mark[2:4], mark[4:6]))
    boards = [
        service(ARDUINO, kitchen, 3232, board="esp32dev", auth_upload="no"),
        service(HTTP, f"{kitchen}-web", 80, host=kitchen),
        service(ESPHOME, hall, 6053, platform="ESP32", version="2025.1.0", mac=mac.replace(":", "")),
        service(HTTP, printer, 631),
    ]
    network = {"network": True, "interfaces": (LOOPBACK,), "listen_s": LISTEN_S}
    places = Places(**{**vars(machine.places()), **network})

    def seen() -> list[Sighting]:
        return [each for each in sightings(LISTEN_S, [LOOPBACK]) if mark in each.device_id]

    def found() -> list[Found]:
        return [each for each in discover(places=places, lock_dir=machine.lock_dir) if mark in each.device_id]

    with announced(boards):
        ids = {each.device_id for each in tried(seen, lambda heard: len(heard) == len(boards))}
        merged = tried(found, lambda heard: sum(1 + len(each.others) for each in heard) == len(boards))
    assert ids == {kitchen, hall, printer}
    by_id = {board.device_id: board for board in merged}
    assert set(by_id) == {kitchen, hall, printer}
    assert by_id[kitchen].connection.info == {"host": LOOPBACK, "port": 3232}
    assert [way.connection.info for way in by_id[kitchen].others] == [{"host": LOOPBACK, "port": 80}]
    assert (by_id[hall].connection.info, by_id[hall].serial) == ({"host": LOOPBACK, "port": 3232}, mac)


def test_listening_ends_in_time_though_nobody_speaks():
    began = time.monotonic()
    sightings(0.5, [LOOPBACK])
    assert time.monotonic() - began < 30


def test_a_network_that_can_not_be_listened_to_is_told_in_a_line_and_stops_nothing(machine):
    machine.plug_in("ttyUSB0", serial="4c1f")
    places = Places(**{**vars(machine.places()), "network": True, "interfaces": ("192.0.2.1",), "listen_s": 0.5})
    told: list[str] = []
    found = discover(places=places, tell=told.append, lock_dir=machine.lock_dir)
    assert [board.name for board in found] == ["Silicon Labs CP210x bridge"]
    (line,) = told
    assert "boards on the network were not looked for" in line
    assert "--no-network" in line
    with pytest.raises(NoMulticast):
        sightings(0.5, ["192.0.2.1"])
