"""Serial ports: what their USB ids say, and names that stay when ports renumber."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from harness.discovery import Found, Status, discover
from harness.discovery.usb_ids import ESP_WITH_JTAG, USB_IDS, Kind
from tests.harness.discovery.machine import (
    CH340,
    ESP_JTAG,
    FT4232,
    LEONARDO,
    LEONARDO_BOOT,
    PICO_APP,
    ST_LINK,
    UNO,
    Machine,
)

BY_ID = "usb-Silicon_Labs_CP2102N_USB_to_UART_Bridge_Controller_{}-if00-port0"
BY_PATH = "pci-0000:00:14.0-usb-0:{}:1.0-port0"


def found(machine: Machine, device_type: str | None = None) -> list[Found]:
    return discover(device_type, places=machine.places(), lock_dir=machine.lock_dir)


def only(machine: Machine) -> Found:
    (board,) = found(machine)
    return board


def test_a_bridge_is_a_candidate_and_not_a_board(machine: Machine):
    machine.plug_in("ttyUSB0", serial="4c1f")
    board = only(machine)
    assert (board.device_type, board.certain) == ("", False)
    assert {"esp32", "esp8266"} <= set(board.candidates)
    assert "CP210x bridge" in board.name


def test_of_a_type_that_is_named_a_bridge_may_lead_to_one(machine: Machine):
    machine.plug_in("ttyUSB0", serial="4c1f")
    (board,) = found(machine, "esp32")
    assert (board.device_type, board.certain, board.candidates) == ("esp32", False, ())


def test_no_bridge_is_certain_of_anything():
    assert not [entry for entry in USB_IDS if entry.kind is Kind.BRIDGE and entry.certain]
    assert all(entry.source for entry in USB_IDS)
    assert len({(entry.vid, entry.pid) for entry in USB_IDS}) == len(USB_IDS)


def test_named_boards_are_told_by_their_names(machine: Machine):
    for number, usb in enumerate((UNO, LEONARDO_BOOT, LEONARDO, ST_LINK, PICO_APP)):
        machine.plug_in(f"ttyACM{number}", usb, serial=f"75{number}33", location=f"1-{number}:1.0")
    assert [board.name for board in found(machine)] == [
        "Arduino Uno",
        "Arduino Leonardo (boot loader)",
        "Arduino Leonardo",
        "ST-Link/V2-1 serial port",
        "Raspberry Pi Pico, application",
    ]


def test_a_chip_on_its_own_usb_says_its_mac_but_not_which_chip_it_is(machine: Machine):
    machine.plug_in("ttyACM0", ESP_JTAG, serial="F4:12:FA:4D:F1:7C", location="1-3:1.0")
    board = only(machine)
    assert board.serial == "f4:12:fa:4d:f1:7c"
    assert (board.device_type, board.candidates) == ("", ESP_WITH_JTAG)


def test_what_may_be_one_of_several_boards_is_not_said_to_be_one(machine: Machine):
    machine.plug_in("ttyACM0", ST_LINK, serial="066B", location="1-2:1.2")
    machine.plug_in("ttyACM1", (0x2E8A, 0x0005), serial="E66", location="1-3:1.0")
    boards = found(machine)
    assert [(board.device_type, board.certain) for board in boards] == [("", False)] * 2
    assert [board.candidates for board in boards] == [("stm32",), ("pico", "pico2")]


def test_ports_are_named_by_id(machine: Machine):
    machine.plug_in("ttyUSB7", serial="4c1f", by_id=BY_ID.format("4c1f"), by_path=BY_PATH.format("3"))
    assert only(machine).connection.port == str(machine.links / "by-id" / BY_ID.format("4c1f"))


def test_identical_serial_numbers_are_seen_and_the_socket_names_the_port(machine: Machine):
    """Both would have the same link by id: it leads to whichever was plugged in last (espressif/esptool#1026)."""
    for number in (0, 1):
        machine.plug_in(
            f"ttyUSB{number}",
            serial="77aa",
            location=f"1-{number}",
            by_id=BY_ID.format("77aa"),
            by_path=BY_PATH.format(number),
        )
    assert [board.connection.port for board in found(machine)] == [
        str(machine.links / "by-path" / BY_PATH.format(number)) for number in (0, 1)
    ]


def test_a_serial_number_of_the_factorys_or_none_names_no_port(machine: Machine):
    machine.plug_in("ttyUSB0", serial="0001", by_id=BY_ID.format("0001"), by_path=BY_PATH.format("1"))
    machine.plug_in("ttyUSB1", CH340, by_id="usb-1a86_USB_Serial-if00-port0", by_path=BY_PATH.format("2"))
    assert [Path(board.connection.port).parent.name for board in found(machine)] == ["by-path", "by-path"]
    assert all("named by the socket" in " ".join(board.remarks) for board in found(machine))


def test_the_ports_of_one_adapter_may_lead_to_several_boards(machine: Machine):
    for number in range(4):
        by_id = f"usb-FTDI_Quad_RS232-HS_FT1-if0{number}-port0"
        machine.plug_in(f"ttyUSB{number}", FT4232, serial="FT1", location=f"1-2:1.{number}", by_id=by_id)
    boards = found(machine)
    assert len(boards) == 4
    assert [Path(board.connection.port).name[-9:] for board in boards] == [
        f"if0{number}-port0"[-9:] for number in range(4)
    ]


def test_the_ports_of_one_board_are_one_board(machine: Machine):
    for number in (0, 2):
        machine.plug_in(f"ttyACM{number}", ST_LINK, serial="066B", location=f"1-2:1.{number}")
    assert len(found(machine)) == 1


def test_without_links_the_device_file_is_named(machine: Machine):
    device = machine.plug_in("ttyUSB0", serial="4c1f")
    board = only(machine)
    assert board.connection.port == device
    assert any("its name may be another board's" in remark for remark in board.remarks)


def test_ids_stay_when_ports_renumber(machine: Machine, tmp_path: Path):
    machine.plug_in("ttyUSB0", CH340, by_path=BY_PATH.format("1.2"))
    (tmp_path / "later").mkdir()
    later = Machine(tmp_path / "later")
    later.plug_in("ttyUSB5", CH340, by_path=BY_PATH.format("1.2"))
    assert only(machine).device_id == only(later).device_id == "board-usb-1.2"


def test_a_port_of_an_unknown_kind_is_listed_and_left_alone_unless_its_type_is_named(machine: Machine):
    machine.plug_in("ttyS0", usb=None)
    machine.plug_in("ttyACM0", usb=(0x1546, 0x01A8), serial="gps")
    assert all("asked only with --device-type" in " ".join(board.remarks) for board in found(machine))


AS_NOBODY = """
import os, sys
from pathlib import Path
from serial.tools.list_ports_common import ListPortInfo
from harness.discovery.serial_ports import sightings

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
(seen,) = sightings(lambda: [ListPortInfo(sys.argv[1])], Path("/nowhere"))
print(seen.status, *seen.remarks)
"""


def test_a_port_that_is_not_yours_is_told_with_what_to_do():
    """Root may open all ports, so nobody looks."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        Path(folder).chmod(0o755)
        port = Path(folder, "ttyUSB0")
        port.touch(mode=0)
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, str(port)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith(f"{Status.NO_PERMISSION} not yours to open: sudo usermod -a -G dialout $USER")
