"""Targets to be pasted into a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from drivers import device_types, load_driver
from drivers.base import Identity, Interface
from harness.batch import Target
from harness.discovery import Connection, Found, Status, discover
from harness.discovery.as_yaml import as_yaml
from tests.harness.discovery.machine import PICO_APP, Machine
from tests.harness.lab import Lab

CONNECTIONS = {
    Interface.SERIAL: Connection(port="/dev/serial/by-id/usb-1"),
    Interface.NETWORK: Connection(host="10.0.0.7", host_port=3232),
    Interface.USB: Connection(mount_point="/media/me/RPI RP2"),
}


def board(device_type: str = "esp32", **more: object) -> Found:
    connection = CONNECTIONS[load_driver(device_type).interface] if device_type else Connection(port="/dev/ttyUSB0")
    told = {
        "device_id": "ESP32_001",
        "device_type": device_type,
        "certain": True,
        "candidates": (),
        "connection": connection,
        "status": Status.AVAILABLE,
    }
    return Found(**{**told, **more})


def pasted(*boards: Found, type_is_given: bool = False) -> list[dict]:
    return yaml.safe_load(as_yaml(boards, type_is_given=type_is_given))["targets"] or []


@pytest.mark.parametrize("device_type", device_types())
def test_a_batch_takes_a_target_of_each_device_type(tmp_path: Path, device_type: str):
    """Whatever the firmware is said to be wrong with: it is another board's."""
    batch = "name: Pasted\nversion: '1.2.0'\nexpect: {require_version: false}\nfirmware_file: app.bin\n" + as_yaml(
        [board(device_type)], type_is_given=False
    )
    problems = Lab(tmp_path).problems(batch)
    assert [problem for problem in problems if "firmware_file" not in problem] == []


def test_a_board_that_has_been_asked_is_pinned(tmp_path: Path):
    identity = Identity("esp32", "v3.1", "24:0a:c4:00:00:01", 0x400000)
    (target,) = pasted(board(serial=identity.serial, identity=identity))
    assert target["expected"] == {"mac": "24:0a:c4:00:00:01"}


def test_which_of_a_types_chips_it_is_is_said_where_the_type_means_another():
    assert "expected" not in pasted(board(chip="esp32"))[0]
    assert pasted(board(chip="esp32s3"))[0]["expected"] == {"chip": "esp32s3"}


def test_a_boot_loader_with_a_rate_of_its_own_is_reached_at_it():
    (target,) = pasted(board(connection=Connection(port="/dev/ttyUSB0", flash_baudrate=57600)))
    assert target["connection_info"] == {"port": "/dev/ttyUSB0", "flash_baudrate": 57600}
    assert Target.model_validate(target).connection_info.flash_baudrate == 57600


def test_a_mac_that_a_service_announces_pins_nothing():
    """The run asks the board itself, which may say another one, or none."""
    announced = board(connection=Connection(host="10.0.0.7"), serial="24:0a:c4:00:00:01")
    assert "expected" not in as_yaml([announced], type_is_given=False)


def test_what_nobody_has_identified_is_there_as_a_comment_only():
    unsure = board("", certain=False, candidates=("esp32", "arduino"), name="Silicon Labs CP210x bridge")
    text = as_yaml([unsure, board()], type_is_given=False)
    assert [target["device_id"] for target in pasted(unsure, board())] == ["ESP32_001"]
    assert "it may be esp32, arduino" in text
    assert '#     port: "/dev/ttyUSB0"' in text
    assert "--probe" in text


def test_who_names_the_type_gets_targets_with_a_warning():
    guess = board(certain=False)
    assert pasted(guess) == []
    assert len(pasted(guess, type_is_given=True)) == 1
    assert "# nothing has shown yet that it is esp32" in as_yaml([guess], type_is_given=True)


def test_a_board_that_does_not_answer_is_not_to_be_updated():
    assert pasted(board(status=Status.NO_ANSWER), type_is_given=True) == []


def test_a_board_in_use_may_be_updated_later():
    assert len(pasted(board(status=Status.IN_USE, remarks=("in use by process 7",)))) == 1


def test_a_board_whose_drive_is_not_there_yet_is_a_comment(machine: Machine):
    machine.plug_in("ttyACM0", PICO_APP, serial="E66", location="1-1:1.0")
    found = discover(places=machine.places(), lock_dir=machine.lock_dir)
    assert pasted(*found) == []


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text),
    st.lists(st.text(max_size=20).filter(str.isprintable), max_size=2),
)
def test_any_id_port_and_remark_are_read_back_as_they_are(device_id: str, port: str, remarks: list[str]):
    (target,) = pasted(board(device_id=device_id, connection=Connection(port=port), remarks=tuple(remarks)))
    assert target["device_id"] == device_id
    assert target["connection_info"] == {"port": port}
    assert Target.model_validate(target).device_id == device_id
