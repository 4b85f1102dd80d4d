"""Providers of third parties, found by their entry points."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from drivers.base import UnknownDeviceType
from harness.discovery import Probe, Status, discover
from tests.harness.discovery.machine import Machine


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package of somebody else's, as pip would leave it."""

    def make(name: str, source: str) -> None:
        site = tmp_path / name
        info = site / f"{name}-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[batch_flash.discovery]\n{name} = {name}:look\n")
        (site / f"{name}.py").write_text(dedent(source))
        monkeypatch.syspath_prepend(site)

    return make


def test_a_labs_own_inventory_names_boards_that_are_merged_with_what_is_seen(machine: Machine, install):
    device = machine.plug_in("ttyUSB0", serial="4c1f")
    install(
        "lab_inventory",
        f"""
        import os
        from harness.discovery import Connection, Sighting

        def look(places):
            yield Sighting("inventory", frozenset({{"port:" + os.path.realpath({device!r})}}),
                           Connection(port={device!r}), ("esp8266",), certain=True, device_id="SHELF_3")
        """,
    )
    (board,) = discover(places=machine.places(), lock_dir=machine.lock_dir)
    assert (board.device_id, board.device_type, board.certain) == ("SHELF_3", "esp8266", True)
    assert set(board.sources) == {"inventory", "serial"}


def test_a_port_that_is_nothing_at_all_is_listed_and_stops_nothing(machine: Machine, install):
    install(
        "odd_ports",
        """
        from harness.discovery import Connection, Sighting

        def look(places):
            yield Sighting("odd", frozenset({"odd"}), Connection(port="rfc2217://host:port"), ("esp32",), certain=True)
        """,
    )
    (board,) = discover(places=machine.places(), asking=Probe(5.0), lock_dir=machine.lock_dir)
    assert (board.status, board.identity) == (Status.NO_ANSWER, None)
    assert board.remarks


@pytest.mark.parametrize("source", ["1 / 0", "def look(places):\n    raise RuntimeError('no\\nnetwork')", "look = 7"])
def test_one_that_fails_is_told_and_hides_no_board(machine: Machine, install, source: str):
    machine.plug_in("ttyUSB0", serial="4c1f")
    name = f"broken_{abs(hash(source))}"
    install(name, source)
    told: list[str] = []
    assert len(discover(places=machine.places(), tell=told.append, lock_dir=machine.lock_dir)) == 1
    (line,) = told
    assert name in line
    assert "\n" not in line


def test_an_unknown_device_type_is_refused_with_the_known_ones(machine: Machine):
    with pytest.raises(UnknownDeviceType, match=r"esp9000.*esp32"):
        discover("esp9000", places=machine.places())


def test_an_empty_machine_has_no_boards(machine: Machine):
    told: list[str] = []
    assert discover(places=machine.places(), tell=told.append, lock_dir=machine.lock_dir) == []
    assert told == []
