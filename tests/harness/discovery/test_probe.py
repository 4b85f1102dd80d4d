"""Boards are asked who they are: real drivers against real benches."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from drivers import device_types
from drivers.ports import closed_port
from drivers.virtual.spec import BoardSpec
from drivers.virtual.station import chips
from harness.discovery import Found, Probe, Status, discover
from harness.discovery.usb_ids import BEHIND_BRIDGES, ESP
from tests.harness.discovery.benches import noted_bench
from tests.harness.discovery.machine import Machine
from tests.harness.test_locks import HOLD

MACS = {"A": "24:0a:c4:00:00:0a", "B": "24:0a:c4:00:00:0b", "C": "24:0a:c4:00:00:0c"}


def board(name: str, chip: str, **more: object) -> BoardSpec:
    return BoardSpec(board_id=name, chip=chip, mac=MACS[name], **more)


def probed(machine: Machine, device_type: str | None = None, seconds: float = 40.0) -> dict[str, Found]:
    found = discover(device_type, places=machine.places(), asking=Probe(seconds), lock_dir=machine.lock_dir)
    return {each.device_id: each for each in found}


def test_each_board_says_who_it_is(machine: Machine):
    with noted_bench(machine.bench, board("A", "esp32"), board("B", "esp8266")):
        found = probed(machine)
    told = {name: (each.device_type, each.certain, each.serial, each.status) for name, each in found.items()}
    assert told == {
        "A": ("esp32", True, MACS["A"], Status.AVAILABLE),
        "B": ("esp8266", True, MACS["B"], Status.AVAILABLE),
    }
    identity = found["A"].identity
    assert identity is not None
    assert (identity.chip, identity.flash_size) == ("esp32", 4 << 20)


def test_a_probe_leaves_the_application_running_and_the_flash_as_it_was(machine: Machine):
    with noted_bench(machine.bench, board("A", "esp32")) as bench:
        before = (machine.bench / "A" / "flash.bin").read_bytes()
        assert probed(machine)["A"].serial == MACS["A"]
        assert (machine.bench / "A" / "flash.bin").read_bytes() == before
        port = closed_port(bench.boards["A"].url)
        port.dtr = port.rts = False
        port.baudrate, port.timeout = 115200, 30
        port.open()
        try:
            port.write(b"version\r\n")
            assert b"0.0.0" in port.read_until(b"0.0.0")
        finally:
            port.close()


def test_behind_a_bridge_whatever_is_there_answers(machine: Machine):
    """One protocol tells all of Espressif's chips apart; two ports, one of them a chip that nobody looks for."""
    with noted_bench(machine.bench, board("A", "esp32c3"), board("B", "esp8266"), noted=False) as bench:
        for number, name in enumerate("AB"):
            machine.plug_in(f"ttyUSB{number}", serial=f"77{number}", device=bench.boards[name].pty)
        unasked = discover(places=machine.places(), lock_dir=machine.lock_dir)
        assert {each.device_type for each in unasked} == {""}
        found = probed(machine)
        only_c3 = probed(machine, "esp32c3")
    told = {(each.device_type, each.serial, each.certain) for each in found.values()}
    assert told == {("esp32c3", MACS["A"], True), ("esp8266", MACS["B"], True)}
    assert [each.serial for each in only_c3.values()] == [MACS["A"]]
    assert list(only_c3) == ["esp32c3-" + MACS["A"].replace(":", "")]


def test_whatever_is_behind_a_bridge_other_families_protocols_do_it_no_harm(machine: Machine):
    """Every family that has a driver and a virtual board here, each asked in all protocols before its own; what their
    memories hold is what they held. Espressif's is the first one.

    The limit is short, since each waits for it in the protocols of others: who does not answer in time on a busy
    machine is asked again.
    """
    types = [name for name in device_types() if name in chips() and name in ("esp8266", *BEHIND_BRIDGES[len(ESP) :])]
    boards = [BoardSpec(board_id=name, chip=name) for name in types]
    with noted_bench(machine.bench, *boards, noted=False) as bench:
        for number, name in enumerate(types):
            machine.plug_in(f"ttyUSB{number}", serial=f"77{number}", device=bench.boards[name].pty)
        before = memories(machine)
        ports = {bench.boards[name].pty: name for name in types}
        told: dict[str, str] = {}
        for _ in range(3):
            found = probed(machine, seconds=6.0).values()
            assert memories(machine) == before
            told = {ports[each.connection.port]: each.device_type for each in found if each.device_type} | told
            if len(told) == len(types):
                break
    assert told == {name: name for name in types}


def memories(machine: Machine) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in machine.bench.glob("*/*.bin")}


def test_a_dead_board_does_not_hold_up_the_others_and_is_told(machine: Machine):
    silent = ({"fault": "silent"},)
    with noted_bench(machine.bench, board("A", "esp32", faults=silent), board("B", "esp32"), board("C", "esp8266")):
        began = time.monotonic()
        found = probed(machine, seconds=12.0)
        took = time.monotonic() - began
    assert {name: (each.status, each.serial) for name, each in found.items()} == {
        "A": (Status.NO_ANSWER, ""),
        "B": (Status.AVAILABLE, MACS["B"]),
        "C": (Status.AVAILABLE, MACS["C"]),
    }
    assert any(remark.startswith("esp32: ") for remark in found["A"].remarks)
    assert took < 60


@pytest.fixture
def holder(machine: Machine) -> Iterator[list[subprocess.Popen[str]]]:
    held: list[subprocess.Popen[str]] = []
    yield held
    for process in held:
        process.kill()
        process.communicate()


def hold(holder: list[subprocess.Popen[str]], machine: Machine, port: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, port, str(machine.lock_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    holder.append(process)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("by", ["url", "pty"])
def test_a_port_that_a_run_holds_is_told_with_its_holder_and_never_touched(machine: Machine, holder, by: str):
    """The run's client hears nothing: whoever opened the port would have pressed RESET, and the board had spoken."""
    with noted_bench(machine.bench, board("A", "esp32")) as bench:
        ports = bench.boards["A"]
        process = hold(holder, machine, getattr(ports, by))
        with serial.Serial(ports.pty, 115200, timeout=30) as console:
            assert b"ready" in console.read_until(b"ready, mac=" + MACS["A"].encode() + b"\r\n")
            found = probed(machine)["A"]
            console.timeout = 0.3
            assert console.read(1) == b""
    assert (found.status, found.identity) == (Status.IN_USE, None)
    assert any(f"process {process.pid} (run run-7, device ESP32_001" in remark for remark in found.remarks)


def test_a_port_that_another_program_has_open_is_told(machine: Machine):
    with (
        noted_bench(machine.bench, board("A", "esp32"), only_pty=True) as bench,
        serial.Serial(bench.boards["A"].pty, 115200, exclusive=True),
    ):
        found = probed(machine)["A"]
    assert found.status is Status.IN_USE
    assert any("serial monitor" in remark for remark in found.remarks)


def test_a_port_that_may_be_anything_is_asked_only_for_who_names_its_type(machine: Machine):
    with noted_bench(machine.bench, board("A", "esp32"), noted=False) as bench:
        machine.plug_in("ttyS4", usb=None, device=bench.boards["A"].pty)
        (unnamed,) = probed(machine).values()
        assert unnamed.identity is None
        (named,) = probed(machine, "esp32").values()
    assert (named.serial, named.certain) == (MACS["A"], True)
