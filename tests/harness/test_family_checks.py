"""What a family can not do, or is not connected by, is refused before the run: each mistake at its place."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from harness.plan import Plan
from tests.harness.lab import Lab

PAGE = {"version_path": "/version"}


def batch(*targets: dict[str, Any], **keys: Any) -> str:
    """A batch of http-ota boards by default; each target is what differs from the first."""
    content = {"name": "Net", "device_type": "http-ota", "firmware_file": "app.bin", "options": PAGE, **keys}
    boards = [{"device_id": f"BOARD_{number}", **target} for number, target in enumerate(targets, start=1)]
    return yaml.safe_dump({**content, "targets": boards}, sort_keys=False)


def at(**connection: Any) -> dict[str, Any]:
    return {"connection_info": connection}


def of(device_type: str, **connection: Any) -> dict[str, Any]:
    return {"device_type": device_type, **at(**connection)}


@pytest.fixture
def any_firmware(lab: Lab) -> Lab:
    """Firmware whose contents are not looked at: the checks here are about everything else."""
    lab.write("site.yaml", "firmware_validation: {check_compatibility: false}\n")
    return lab


def problems(lab: Lab, text: str) -> list[str]:
    return lab.problems(text, "firmware_validation: {check_compatibility: false}\n")


def plan(lab: Lab, text: str) -> Plan:
    return lab.plan(text, "firmware_validation: {check_compatibility: false}\n")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (at(port="/dev/ttyUSB0"), "connection_info.port: expected a port number, got /dev/ttyUSB0"),
        (at(mount_point="/media/X"), "connection_info.mount_point: http-ota boards are on the network; give `host`"),
        (
            at(host="sensor", baudrate=115200),
            "connection_info.baudrate: http-ota boards are on the network; known here",
        ),
        (at(host="sensor", port=99999), "connection_info.port: expected a port number from 1 to 65535, got 99999"),
        (of("esp32", host="sensor"), "connection_info.host: esp32 boards are on serial lines; give `port`, or one of"),
        (
            of("stm32", port=80),
            "connection_info.port: expected a port such as /dev/ttyUSB0, a URL, or `virtual`, got 80",
        ),
        (of("pico", port="/dev/ttyACM0"), "connection_info: pico boards are on USB; give `mount_point` or `usb`"),
        (of("pico", usb="E66", flash_baudrate=9600), "connection_info.flash_baudrate: pico boards are on USB"),
    ],
)
def test_a_board_is_connected_as_its_family_is(any_firmware: Lab, target, said):
    found = [problem for problem in problems(any_firmware, batch(target, version="1.2.0")) if "connection" in problem]
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (at(host="Sensor"), at(host="sensor"), "sensor (it is sensor:80) is another target's host and port too"),
        (at(host="sensor"), at(host="sensor", port=80), "is another target's host and port too"),
        (at(host="sensor", port=80), at(host="sensor", port=81), None),
        (of("pico", mount_point="/media/A"), of("pico", mount_point="/media/B/../A"), "is another target's too"),
        (of("pico-usb", usb="E66"), of("pico-usb", usb="E66"), "is another's too"),
    ],
)
def test_two_targets_are_two_places(any_firmware: Lab, first, second, said):
    found = problems(any_firmware, batch(first, second, version="1.2.0"))
    assert (any(said in problem for problem in found)) if said else found == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"options": {**PAGE, "version_pth": "/"}}, "options: http-ota has no option 'version_pth'; did you mean"),
        ({"options": {**PAGE, "updater": "mine"}}, "options.updater: input should be"),
        ({"options": {}}, "http-ota boards tell their version only with the option `version_path`; give it, or set"),
        ({"expect": {"patterns": ["ready"]}}, "expect.patterns: http-ota boards have no console to look at"),
        (
            {"quality_gates": {"require_verification": True}},
            "quality_gates.require_verification: nothing proves what http-ota boards hold, BOARD_1 among them",
        ),
    ],
)
def test_what_a_family_does_not_have_is_refused_by_name(any_firmware: Lab, keys, said):
    (problem,) = problems(any_firmware, batch(at(host="sensor"), version="1.2.0", **keys))
    assert said in problem


def test_an_option_of_the_site_is_wrong_in_the_site_file(lab: Lab):
    site = "device_types: {http-ota: {options: {colour: red}}}\nfirmware_validation: {check_compatibility: false}\n"
    (problem,) = lab.problems(batch(at(host="sensor"), version="1.2.0"), site)
    assert problem.startswith("site.yaml:1:37: device_types.http-ota.options: http-ota has no option 'colour'")


def test_a_board_without_a_serial_number_is_not_expected_by_it(any_firmware: Lab):
    target = {**of("arduino", port="/dev/ttyACM0"), "expected": {"serial": "X1"}}
    any_firmware.write("blink.bin", b"\0" * 64)
    (problem,) = problems(any_firmware, batch(target, version="1", firmware_file="blink.bin", options={}))
    assert "BOARD_1: expected.serial: arduino boards do not say who they are; remove it" in problem


def test_a_previous_image_of_boards_that_are_read_back_does_nothing(lab: Lab):
    target = {**of("esp32", port="/dev/ttyUSB0"), "previous_firmware": "app.bin"}
    (problem,) = lab.problems(batch(target, options={}))
    assert "previous_firmware: esp32 boards are read back: what they hold is the backup" in problem


def test_where_a_board_on_the_network_is_stands_in_the_plan(any_firmware: Lab):
    targets = (at(host="sensor"), at(host="fe80::1", port=8080), of("smp", host="node"))
    found = plan(any_firmware, batch(*targets[:2], version="1.2.0"))
    assert [device.port for device in found.devices] == ["net://sensor:80", "net://[fe80::1]:8080"]
    assert [device.place for device in found.devices] == ["net://sensor:80", "net://[fe80::1]:8080"]


def test_devices_behind_one_host_are_a_group_of_their_own(any_firmware: Lab):
    targets = [at(host="gateway", port=8000 + number) for number in range(6)]
    groups = plan(any_firmware, batch(*targets, at(host="other"), version="1.2.0")).rollout.groups
    assert [(group.name, group.max_concurrent, len(group.devices)) for group in groups] == [("host gateway", 5, 6)]


def test_options_are_merged_key_by_key_and_the_nearest_wins(any_firmware: Lab):
    target = {**at(host="sensor"), "options": {"updater": "elegant3"}}
    text = batch(target, version="1.2.0", device_types={"http-ota": {"options": {"path": "/up", "updater": "esp32"}}})
    assert plan(any_firmware, text).devices[0].options == {**PAGE, "path": "/up", "updater": "elegant3"}
