"""The note that a bench leaves, for as long as it lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.virtual.messages import BoardPorts
from harness.discovery.bench_notes import Offer, left, sightings

PORTS = BoardPorts(url="rfc2217://127.0.0.1:4000", pty="/dev/pts/9")
LEAVE = """
import sys
from pathlib import Path
from drivers.virtual.messages import BoardPorts
from harness.discovery.bench_notes import Offer, left
with left(Path(sys.argv[1]), {"LATE": Offer("", "esp32", BoardPorts(pty="/dev/pts/8"))}):
    print("left", flush=True)
    sys.stdin.read()
"""


def ids(state: Path) -> list[str]:
    return [sighting.device_id for sighting in sightings(state)]


@pytest.fixture
def other(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "left\n"
    yield process
    process.kill()
    process.communicate()


def test_a_bench_is_found_while_it_lives(tmp_path: Path):
    with left(tmp_path, {"A": Offer("", "esp32", PORTS)}):
        (seen,) = sightings(tmp_path)
        assert (seen.device_id, seen.types, seen.certain) == ("A", ("esp32",), True)
        assert seen.connection.info == {"port": PORTS.url}
    assert ids(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_benches_may_share_a_folder(tmp_path: Path, other):
    with left(tmp_path, {"A": Offer("", "esp32", PORTS)}):
        assert sorted(ids(tmp_path)) == ["A", "LATE"]


def test_a_killed_bench_offers_nothing_and_the_next_one_tidies_up(tmp_path: Path, other):
    assert ids(tmp_path) == ["LATE"]
    other.kill()
    other.wait()
    assert ids(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 1
    with left(tmp_path, {"A": Offer("", "esp32", PORTS)}):
        assert len(list(tmp_path.iterdir())) == 1


def test_the_batchs_device_type_counts_whatever_the_chip_is_called(tmp_path: Path):
    with left(tmp_path, {"A": Offer("esp32s3", "some-module", PORTS), "B": Offer("", "z80", PORTS)}):
        assert [(seen.types, seen.certain) for seen in sightings(tmp_path)] == [(("esp32s3",), True), ((), False)]


def test_boards_of_other_families_are_reached_in_their_own_way(tmp_path: Path):
    offers = {
        "net": Offer("esp32", "x", BoardPorts(host="127.0.0.1:3232")),
        "six": Offer("esp32", "x", BoardPorts(host="[::1]:80")),
        "usb": Offer("esp32", "x", BoardPorts(mount_point="/b/drive", usb="E66", pty="/dev/pts/3")),
    }
    with left(tmp_path, offers):
        infos = {seen.device_id: seen.connection.info for seen in sightings(tmp_path)}
    assert infos == {
        "net": {"host": "127.0.0.1", "port": 3232},
        "six": {"host": "::1", "port": 80},
        "usb": {"mount_point": "/b/drive", "usb": "E66", "port": "/dev/pts/3"},
    }


def test_no_folder_is_no_bench(tmp_path: Path):
    assert ids(tmp_path / "none") == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.sampled_from([b"{}", b"[]", b'{"A": 1}', b'{"A": {"ports": {"x": 1}}}', b'"A"']))
def test_any_note_of_a_living_bench_can_be_read(tmp_path: Path, contents: bytes):
    with left(tmp_path, {}):
        next(tmp_path.glob("bench-*.json")).write_bytes(contents)
        assert ids(tmp_path) == []
