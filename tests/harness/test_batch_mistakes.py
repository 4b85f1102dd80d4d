"""Every mistake in a batch file is said: where, what, and what to do; all of them in one go, in the file's order."""

from __future__ import annotations

import pytest

from drivers import device_types, load_driver
from drivers.base import Interface
from drivers.virtual.pico import firmware
from drivers.virtual.pico.chips import RP2350
from harness.plan import BatchFileError
from tests.harness.esp_images import app_image
from tests.harness.lab import MINIMAL, Lab

MANY_MISTAKES = """\
name: Many mistakes
descripton: the key is misspelt
firmware_file: nowhere.bin
device_type: esp32
version: 1.10
strategy: gradual
timeout: abc
rollback_on_failure: yes
quality_gates:
  min_success_rate: 180
  max_failures: 20
expect:
  patterns: [ready, "(["]
targets:
  - device_id: ESP 32
    connection_info: {port: /dev/ttyUSB9}
  - device_id: ESP32_001
    device_type: esp23
    connection_info:
      port: /dev/ttyUSB0
      baud: 115200
    expected: {mac: "12:34:56", flash_size: 4MB}
  - device_id: ESP32_002
    port: /dev/ttyUSB1
  - device_id: ESP32_001
    connection_info:
      port: /dev/ttyUSB0
    firmware_file: large.bin
  - device_id: ESP32_003
    connection_info: {host: 192.168.1.100}
  - device_id: ESP32_004
    connection_info: {port: virtual}
    virtual: {faults: [{fault: silent-line}, {fault: line-drop, after_bytes: -1}]}
"""

ALL_OF_THEM = """\
batch.yaml:2:1: unknown key 'descripton'; did you mean 'description'?
batch.yaml:3:16: firmware_file: nowhere.bin does not exist
batch.yaml:5:10: version: expected text, got 1.10; put it in quotes: "1.10"
batch.yaml:7:10: timeout: expected a number of seconds, got 'abc'
batch.yaml:8:22: rollback_on_failure: expected true or false, got 'yes'
batch.yaml:10:21: quality_gates.min_success_rate: must be at most 100 percent, got 180
batch.yaml:11:3: quality_gates: unknown key 'max_failures'; did you mean 'max_failure_rate'?
batch.yaml:13:21: expect.patterns[2]: not a regular expression: unterminated character set at position 1, got '(['
batch.yaml:15:16: ESP 32: device_id: expected letters, digits, '.', '_' and '-', a letter or digit first, got 'ESP 32'
batch.yaml:18:18: ESP32_001: device_type: unknown device type 'esp23'; did you mean 'esp32'?
batch.yaml:21:7: ESP32_001: connection_info: unknown key 'baud'; did you mean 'baudrate'?
batch.yaml:22:21: ESP32_001: expected.mac: expected a MAC of six bytes such as 24:0a:c4:12:34:56, got '12:34:56'
batch.yaml:22:45: ESP32_001: expected.flash_size: expected a size in bytes such as 4194304 or 0x400000, got '4MB'
batch.yaml:23:5: ESP32_002: 'connection_info' is missing
batch.yaml:24:5: ESP32_002: unknown key 'port'; it belongs under 'targets.connection_info'
batch.yaml:25:16: ESP32_001: device_id: ESP32_001 is the name of another target too; see line 17
batch.yaml:27:13: ESP32_001: connection_info.port: /dev/ttyUSB0 is another target's port too; see line 20
batch.yaml:28:20: ESP32_001: firmware_file: large.bin has 3200016 bytes, more than the 3145728 that esp32 may have; \
see device_types.esp32.max_firmware_size
batch.yaml:30:23: ESP32_003: connection_info.host: esp32 boards are on serial lines; \
give `port`, or one of the device types {network_types}
batch.yaml:33:32: ESP32_004: virtual.faults[1].fault: expected 'silent', 'line-drop', 'bit-errors', 'wrong-md5', \
'wrong-chip', 'stuck-in-app', 'slow-erase', 'power-loss', 'panics', got 'silent-line'
batch.yaml:33:78: ESP32_004: virtual.faults[2].after_bytes: must be at least 0, got -1
21 problems; nothing was touched."""


def test_all_mistakes_of_a_batch_are_said_at_once_in_the_order_of_the_file(lab: Lab, monkeypatch):
    monkeypatch.chdir(lab.folder)
    lab.write("large.bin", app_image(size=3_199_936))
    with pytest.raises(BatchFileError) as caught:
        lab.plan(MANY_MISTAKES)
    on_network = [name for name in device_types() if load_driver(name).interface is Interface.NETWORK]
    all_of_them = ALL_OF_THEM.replace("{network_types}", ", ".join(on_network))
    assert str(caught.value).replace(f"{lab.folder}/", "").splitlines() == all_of_them.splitlines()


def test_the_minimal_batch_has_no_mistakes(lab: Lab):
    assert lab.problems() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("name: Minimal", "name: ''"), "batch.yaml:1:7: name: expected some text, got ''"),
        (("name: Minimal", "{}"), "batch.yaml:2:1: not YAML: nothing may follow the value above"),
        (("name: Minimal\n", ""), "batch.yaml:1:1: 'name' is missing"),
        (("esp32\n", "esp23\n"), "device_type: unknown device type 'esp23'; did you mean 'esp32'?"),
        (("esp32\n", "z80\n"), "device_type: unknown device type 'z80'; known: "),
        (("device_type: esp32\n", ""), "ESP32_001: 'device_type' is missing; give it here or at the top of the batch"),
        (("firmware_file: app.bin\n", ""), "no firmware for ESP32_001; give `firmware_file` or `images`"),
        (("app.bin", "."), " is a folder, not a file"),
        (("app.bin", "empty.bin"), "firmware_file: empty.bin is empty"),
        (
            ("app.bin", r"C:\fw\app.bin"),
            r"C:\fw\app.bin does not exist; paths are those of this machine, with forward slashes",
        ),
        (("app.bin", r'"C:\fw\app.bin"'), r"C:\x0cw\x07pp.bin does not exist; paths are those of this machine"),
        (("app.bin", f"{'n' * 300}.bin"), "can not be read: File name too long"),
        (("app.bin", "cut.bin"), "firmware_file: cut.bin: not a whole image for esp32"),
        (("app.bin", "c3.bin"), "firmware_file: c3.bin: made for esp32c3, not for esp32"),
        (("app.bin", "app.bin\nversion: '1.3.0'"), "version: says 1.3.0, but app.bin is 1.2.0"),
        (("app.bin", "old.bin"), "firmware_file: old.bin: made for esp8266, not for esp32"),
        (("esp32\n", "esp8266\n"), "firmware_file: app.bin: made for a chip of the ESP32 family, not for esp8266"),
        (("app.bin", "data.bin"), "data.bin: no firmware for esp32: it begins with 6e, where an image has e9; give "),
        (
            ("firmware_file: app.bin", "images: [{file: data.bin, address: 0x1000}]"),
            "images[1].file: data.bin: no firmware for esp32: it begins with 6e, where an image has e9",
        ),
        (
            ("firmware_file: app.bin", "images: [{file: data.bin, address: 0x11000}]"),
            "'version' is missing; data.bin does not say one",
        ),
        (("app.bin", "app.bin\ntests: [no_test.py]"), "tests[1]: no_test.py does not exist"),
        (("app.bin", "app.bin\ntests: [app.bin]"), "tests[1]: app.bin is no Python module (.py)"),
        (("app.bin", "app.bin\ntimeout: 0"), "timeout: must be more than 0 seconds, got 0"),
        (("app.bin", "app.bin\ntimeout: .inf"), "timeout: expected a number of seconds, got '.inf'"),
        (("app.bin", "app.bin\nmax_concurrent: 2.5"), "max_concurrent: expected a whole number, got 2.5"),
        (("app.bin", "app.bin\nstrategy: all"), "strategy: expected 'parallel', 'sequential' or 'gradual', got 'all'"),
        (("app.bin", "app.bin\nexpect: soon"), "expect: expected keys and values, got 'soon'"),
        (("app.bin", "app.bin\ntests: mine.py"), "tests: expected a list, got 'mine.py'"),
        (("app.bin", "app.bin\nversion:"), "a key or list item without a value; give it one, or remove it"),
        (("app.bin", "app.bin\nname: Again"), "the key 'name' stands here a second time; first on line 1"),
        (
            ("app.bin", "app.bin\nstrategy: sequential\nmax_concurrent: 2"),
            "max_concurrent: 2 at the same time contradicts `strategy: sequential`",
        ),
        (
            ("app.bin", "app.bin\nflash_settings: {backup_before_flash: false}"),
            "flash_settings.backup_before_flash: without a backup there is nothing to roll back to",
        ),
        (
            ("app.bin", "app.bin\nimages: [{file: app.bin, address: 0x10000}]"),
            "images: stands beside `firmware_file`; give one of the two",
        ),
        (
            ("ttyUSB0}", "ttyUSB0}\n    expected: {mac: '24:0a:c4:12:34:56', serial: X1}"),
            "ESP32_001: expected.serial: stands beside `mac`; give one of the two",
        ),
        (
            ("ttyUSB0}", "ttyUSB0}\n    expected: {flash_size: 0x10200}"),
            "app.bin ends at 0x10450, the flash of ESP32_001 at 0x10200",
        ),
        (("/dev/ttyUSB0", "'rfc2217://bench:99999'"), "connection_info.port: not a usable URL: Port out of range"),
        (("/dev/ttyUSB0", "'rfc2217://[bench'"), "connection_info.port: not a usable URL: Invalid IPv6 URL"),
        (
            ("/dev/ttyUSB0", "virtual"),
            None,
        ),
    ],
)
def test_one_mistake_gives_one_message(lab: Lab, change, said):
    lab.write("empty.bin", b"")
    lab.write("cut.bin", app_image()[:600])
    lab.write("c3.bin", app_image("esp32c3"))
    lab.write("old.bin", app_image("esp8266"))
    lab.write("data.bin", b"no image")
    assert change[0] in MINIMAL
    problems = lab.problems(MINIMAL.replace(*change))
    if said is None:
        assert problems == []
    else:
        assert len(problems) == 1
        assert said in problems[0]


def test_two_names_of_one_port_are_one_port(lab: Lab):
    port = lab.write("ttyUSB0", "")
    link = lab.folder / "by-id"
    link.symlink_to(port)
    problems = lab.problems(
        MINIMAL.replace("/dev/ttyUSB0", str(port))
        + f"  - device_id: ESP32_002\n    connection_info: {{port: {link}}}\n"
    )
    said = "ESP32_002: connection_info.port: by-id (it is ttyUSB0) is another target's port too; see line 6"
    assert problems == [f"batch.yaml:8:29: {said}"]


def test_any_number_of_targets_may_ask_for_the_bench(lab: Lab):
    second = "  - device_id: ESP32_002\n    connection_info: {port: virtual}\n"
    assert lab.problems(MINIMAL.replace("/dev/ttyUSB0", "virtual") + second) == []


def test_one_board_can_not_be_expected_on_two_ports(lab: Lab):
    expected = "\n    expected: {mac: 24-0A-C4-12-34-56}\n"
    second = "  - device_id: ESP32_002\n    connection_info: {port: /dev/ttyUSB1}" + expected.lower()
    problems = lab.problems(MINIMAL.replace("ttyUSB0}\n", "ttyUSB0}" + expected) + second)
    assert len(problems) == 1
    assert "is expected on another target's port too; see line 7" in problems[0]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("{file: data.bin, address: 0x10400}", "app.bin (0x10000 to 0x10450) and data.bin (from 0x10400) overlap"),
        ("{file: data.bin, address: 0x10800}", "share an erase block of 4096 bytes: writing one erases the other"),
        (
            "{file: data.bin, address: 64K}",
            "images[2].address: expected an address such as 65536 or 0x10000, got '64K'",
        ),
        ("{file: data.bin}", "images[2]: 'address' is missing"),
        ("{file: data.bin, address: 0x11000}", None),
        ("{file: data.bin, address: '0x11000'}", None),
    ],
)
def test_images_must_not_destroy_each_other(lab: Lab, second, said):
    lab.write("data.bin", b"data")
    images = f"images: [{{file: app.bin, address: 0x10000}}, {second}]"
    problems = lab.problems(MINIMAL.replace("firmware_file: app.bin", images))
    assert len(problems) == (said is not None)
    assert said is None or said in problems[0]


def test_a_mistake_in_an_anchor_is_said_once_however_often_it_is_used(lab: Lab):
    batch = """\
        name: Anchors
        device_type: esp32
        firmware_file: app.bin
        targets:
          - &board
            device_id: A
            timeout: soon
            connection_info: {port: virtual}
          - {<<: *board, device_id: B}
          - {<<: *board, device_id: C}
        """
    problems = lab.problems(batch)
    assert problems == ["batch.yaml:7:14: A: timeout: expected a number of seconds, got 'soon'"]


def test_mistakes_of_both_files_come_together(lab: Lab):
    problems = lab.problems(MINIMAL.replace("name:", "nam:"), site="flash_setings: {}\n")
    assert problems == [
        "batch.yaml:1:1: unknown key 'nam'; did you mean 'name'?",
        "site.yaml:1:1: unknown key 'flash_setings'; did you mean 'flash_settings'?",
    ]


def test_a_missing_batch_is_a_problem_too(lab: Lab):
    from harness.plan import load_plan

    with pytest.raises(BatchFileError, match=r"none\.yaml: can not be read: No such file or directory"):
        load_plan(lab.folder / "none.yaml")


def jumping(size: int) -> bytes:
    """Raw contents of an AVR's flash: a reset vector and whatever."""
    return b"\x0c\x94" + bytes(range(256)) * (size // 256)


@pytest.mark.parametrize(
    ("board", "said"),
    [
        ("arduino", "app.bin ends at 0x7f02, the flash that it may use on BOARD (arduino) at 0x7e00"),
        (
            "arduino, expected: {chip: nano}",
            "app.bin ends at 0x7f02, the flash that it may use on BOARD (nano) at 0x7800",
        ),
        ("arduino, options: {boot_size: 4096}", "app.bin ends at 0x7f02, the flash that it may use on BOARD"),
        ("arduino, options: {boot_size: 8192}", "an atmega328p has no boot section of 8192 bytes; Its fuses know 512,"),
        ("arduino, expected: {chip: due}", "expected.chip: no Arduino's chip is called 'due'; Name it under"),
        ("pico", "app.bin: neither a second stage"),
        ("pico, expected: {chip: esp32}", "expected.chip: no chip of a Pico is called 'esp32'; Name it as rp2040 or"),
        (
            "stm32, expected: {chip: stm32h743}",
            "expected.chip: no part of this driver's is called 'stm32h743'; Name it",
        ),
    ],
)
def test_what_a_chips_name_tells_is_held_against_the_batch_before_the_run(lab: Lab, board: str, said: str):
    lab.write("app.bin", jumping(0x7F00))
    target = f"{{device_id: BOARD, connection_info: {{port: virtual}}, device_type: {board}}}"
    batch = f"name: One\nversion: '1'\nfirmware_file: app.bin\ntargets:\n  - {target}\n"
    assert any(said.removeprefix("app.bin: ") in problem for problem in lab.problems(batch)), lab.problems(batch)


def test_a_board_whose_chip_has_room_gets_what_another_could_not_hold(lab: Lab):
    lab.write("app.bin", jumping(0x7F00))
    target = "{device_id: M, connection_info: {port: virtual}, device_type: arduino, expected: {chip: mega2560}}"
    assert lab.problems(f"name: One\nversion: '1'\nfirmware_file: app.bin\ntargets:\n  - {target}\n") == []


def test_a_picos_firmware_is_for_its_types_chip_where_nobody_says_another(lab: Lab):
    lab.write("app.uf2", firmware.to_uf2(firmware.build_app(RP2350, "demo", "1.2.0"), RP2350))
    batch = "name: P\nversion: '1.2.0'\nfirmware_file: app.uf2\ntargets:\n  - {device_id: P, device_type: pico, \
connection_info: {port: virtual}}\n"
    (problem,) = lab.problems(batch)
    assert problem.endswith("app.uf2 is made for rp2350, but P has a pico")
    assert lab.problems(batch.replace("type: pico", "type: pico2")) == []
