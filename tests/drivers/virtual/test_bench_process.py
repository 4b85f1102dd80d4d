"""The bench as its owner sees it: starting, ending, keeping, refusing, and ports that outlive their clients."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import serial

from drivers.virtual.client import Bench, BenchError
from drivers.virtual.spec import BenchSpec, SilentLine
from tests.drivers.virtual.conftest import board, esptool, flash_of, start_esptool
from tests.tries import TRIES

PATIENCE_S = 30


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def console(port: str, wanted: bytes) -> bytes:
    """Open a port and read to the end of a line that says this; again where it came before the port was set up."""
    for _ in range(TRIES):
        with serial.serial_for_url(port, 115200, timeout=5) as opened:
            said = opened.read_until(wanted)
            if said.endswith(wanted):
                return said + opened.read_until(b"\r\n")
    raise AssertionError(f"it did not say {wanted!r} but {said!r}")


def address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("rfc2217://").partition(":")
    return host, int(port)


def test_each_board_is_there_twice_and_has_a_mac_of_its_own(start) -> None:
    bench = start(board("one"), board("two"))
    macs = {console(ports.pty, b"ready, ").rpartition(b"ready, ")[2] for ports in bench.boards.values()}
    assert len(macs) == 2
    assert all(mac.startswith(b"mac=24:0a:c4:") for mac in macs)
    for ports in bench.boards.values():
        with socket.create_connection(address(ports.url)) as client:
            assert client.recv(1) == b"\xff", "telnet negotiation"


def test_flash_is_kept_from_one_bench_to_the_next(start, tmp_path: Path) -> None:
    part = tmp_path / "part.bin"
    part.write_bytes(os.urandom(5000))
    first = start(board("kept"), board("renewed"))
    for name in first.boards:
        esptool(first.boards[name].pty, "write-flash", 0x200000, part)
    first.stop()
    start(board("kept"), board("renewed", keep=False))
    assert flash_of(tmp_path, "kept")[0x200000:][:5000] == part.read_bytes()
    assert flash_of(tmp_path, "renewed")[0x200000:][:5000] == b"\xff" * 5000


def test_a_factory_image_is_what_a_new_board_holds(start, tmp_path: Path) -> None:
    factory = tmp_path / "factory.bin"
    factory.write_bytes(b"factory made")
    start(board("new", factory=factory))
    assert flash_of(tmp_path, "new").startswith(b"factory made\xff\xff")


@pytest.mark.parametrize(
    ("boards", "message"),
    [
        ((board("b", "esp99"),), "no virtual board with chip 'esp99'; there are esp32"),
        ((board("b", mac="nonsense"),), "not a MAC address: 'nonsense'"),
        ((board("b", flash_size=3 << 20),), "no flash chip of 3145728 bytes"),
        ((board("b", flash_size=1 << 18),), "more than b's flash"),
        ((board("b", factory=Path("/nowhere/at/all")),), "factory image: .*No such file"),
        ((board("b"), board("b")), "more than one board is called b"),
    ],
    ids=["chip", "mac", "size", "too small", "factory", "twice"],
)
def test_a_bench_that_can_not_start_says_why(start, boards, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        start(*boards)


def test_two_benches_do_not_share_a_boards_folder(start) -> None:
    start(board("mine"))
    with pytest.raises(BenchError, match="in use by another bench"):
        start(board("other"), board("mine"))
    start(board("other"))


def test_a_pty_presses_reset_each_time_it_is_opened_however_soon(start) -> None:
    pty = start(board("b")).boards["b"].pty
    console(pty, b"ready")
    handle = os.open(pty, os.O_RDWR | os.O_NOCTTY)
    for _ in range(20):
        said = b""
        while b"ready" not in said:
            assert select.select([handle], [], [], PATIENCE_S)[0], f"no boot after {said}"
            said += os.read(handle, 4096)
        os.close(handle)
        handle = os.open(pty, os.O_RDWR | os.O_NOCTTY)
    os.close(handle)


def test_a_pty_that_others_open_and_close_too_stays_open_and_presses_no_reset(start) -> None:
    pty = start(board("b")).boards["b"].pty
    with serial.Serial(pty, 115200, timeout=PATIENCE_S) as first:
        first.read_until(b"ready, ")
        first.read_until(b"\r\n")
        for _ in range(3):
            others = [os.open(pty, os.O_RDWR | os.O_NOCTTY) for _ in range(3)]
            for other in others:
                os.close(other)
            first.write(b"still here\n")
            assert first.read_until(b"\r\n") == b"still here?\r\n"


def test_of_several_openings_at_once_as_many_may_be_closed_one_after_the_other(start) -> None:
    """The kernel tells of them as of one where nobody has asked in between."""
    bench = start(board("b"))
    pty = bench.boards["b"].pty
    console(pty, b"ready")
    with serial.Serial(pty, 115200, timeout=PATIENCE_S) as first:
        first.read_until(b"ready, ")
        first.read_until(b"\r\n")
        os.kill(bench._process.pid, signal.SIGSTOP)
        others = [os.open(pty, os.O_RDWR | os.O_NOCTTY) for _ in range(3)]
        os.kill(bench._process.pid, signal.SIGCONT)
        for other in others:
            first.write(b"still here\n")
            assert first.read_until(b"\r\n") == b"still here?\r\n"
            os.close(other)
        first.write(b"still here\n")
        assert first.read_until(b"\r\n") == b"still here?\r\n"
    console(pty, b"ready")


def test_a_pty_that_is_opened_while_the_bench_stands_still_is_opened_once(start) -> None:
    """Counted twice, it would not be seen to be closed, and the next to open it be left alone."""
    bench = start(board("b"))
    pty = bench.boards["b"].pty
    console(pty, b"ready")
    os.kill(bench._process.pid, signal.SIGSTOP)
    time.sleep(0.3)  # what a closing has left to be done a moment later is due
    with serial.Serial(pty, 115200, timeout=PATIENCE_S) as opened:
        os.kill(bench._process.pid, signal.SIGCONT)
        assert opened.read_until(b"ready").endswith(b"ready")
    console(pty, b"ready")


def test_a_flash_file_of_another_size_is_not_taken(start) -> None:
    start(board("b")).stop()
    with pytest.raises(BenchError, match=r"holds 4194304 bytes, but b's flash has 8388608"):
        start(board("b", flash_size=8 << 20))


def test_an_order_for_a_board_that_there_is_not_is_refused(start) -> None:
    bench = start(board("b"))
    with pytest.raises(BenchError, match="no board 'x' on this bench; there are b"):
        bench.power("x", on=False)
    bench.power("b", on=True)


def test_a_board_without_power_is_silent_and_boots_when_it_comes_back(start) -> None:
    bench = start(board("b"))
    port = bench.boards["b"].pty
    console(port, b"ready")
    bench.power("b", on=False)
    with serial.serial_for_url(port, 115200, timeout=0.3) as opened:
        assert opened.read(1) == b""
        bench.power("b", on=True)
        opened.timeout = PATIENCE_S
        assert opened.read_until(b"POWERON_RESET").endswith(b"POWERON_RESET")


def test_faults_can_be_set_and_lifted_while_the_bench_runs(start) -> None:
    bench = start(board("b"))
    port = bench.boards["b"].pty
    bench.set_faults("b", [SilentLine(fault="silent")])
    with serial.serial_for_url(port, 115200, timeout=0.3) as opened:
        assert opened.read(1) == b""
    bench.set_faults("b", [])
    console(port, b"ready")


def test_opening_the_pty_resets_the_board_into_its_application(start) -> None:
    port = start(board("b")).boards["b"].pty
    console(port, b"ready")  # from here on the pty has the rate: a busy host may set it too late for the first bytes
    for _ in range(3):
        assert console(port, b"ready").startswith(b"ets Jul 29 2019")


def test_a_board_survives_the_death_of_whoever_talks_to_it(start, tmp_path: Path) -> None:
    part = tmp_path / "part.bin"
    part.write_bytes(os.urandom(1 << 20))
    bench = start(board("b"))
    for port in bench.boards["b"].pty, bench.boards["b"].url:
        _kill_in_the_middle_of_a_write(port, part, tmp_path / "b" / "flash.bin")
        part.write_bytes(os.urandom(1 << 20))
    part.write_bytes(part.read_bytes()[:5000])
    assert "Hash of data verified" in esptool(bench.boards["b"].pty, "write-flash", 0x100000, part)


def _kill_in_the_middle_of_a_write(port: str, part: Path, flash: Path) -> None:
    before = flash.read_bytes()
    for _ in range(TRIES):  # more than one where a busy board's answer was too late for it
        victim = start_esptool(port, "--chip", "esp32", "write-flash", "--no-compress", 0x100000, part)
        while victim.poll() is None and flash.read_bytes() == before:
            time.sleep(0.02)
        victim.kill()
        said, _ = victim.communicate()
        if flash.read_bytes() != before:
            return
    raise AssertionError(said)


def test_one_client_at_a_time_has_the_rfc2217_port(start) -> None:
    where = address(start(board("b")).boards["b"].url)
    with socket.create_connection(where) as first:
        assert first.recv(1)
        assert _refused(where)
        first.sendall(b"still there")
    wait_for(lambda: not _refused(where))


def _refused(where: tuple[str, int]) -> bool:
    with socket.create_connection(where) as client:
        client.settimeout(PATIENCE_S)
        try:
            return client.recv(1) == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize("noise", [b"\xff\xf0", b"\xff\xfa\x2c\x01\xff\xf0", b"\xff\xfa\x2c\x03\x63\xff\xf0"])
def test_a_client_that_speaks_broken_telnet_is_let_go_and_the_board_goes_on(start, noise: bytes) -> None:
    bench = start(board("b"))
    with socket.create_connection(address(bench.boards["b"].url)) as client:
        client.settimeout(PATIENCE_S)
        client.sendall(noise)
        with pytest.raises(ConnectionError):
            while client.recv(1000):
                pass
            raise ConnectionError
    console(bench.boards["b"].pty, b"ready")


OWNER = """
import sys, time
from pathlib import Path
from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec, BoardSpec
spec = BenchSpec(state=Path(sys.argv[1]), boards=(BoardSpec(board_id="b", chip="esp32"),))
bench = Bench.start(spec)
print(bench.boards["b"].url, flush=True)
time.sleep(60)
"""


def test_a_bench_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        where = address(owner.stdout.readline().strip())
        socket.create_connection(where).close()
        owner.kill()
    wait_for(lambda: _gone(where))
    Bench.start(BenchSpec(state=tmp_path, boards=(board("b"),), wait_s=PATIENCE_S)).stop()  # its ports close first


def _gone(where: tuple[str, int]) -> bool:
    try:
        socket.create_connection(where).close()
    except ConnectionError:
        return True
    return False


SERVE = """
import signal, sys
from pathlib import Path
from drivers.virtual.bench import serve
from drivers.virtual.spec import BenchSpec, BoardSpec
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
spec = BenchSpec(state=Path(sys.argv[1]), boards=(BoardSpec(board_id="b", chip="esp32c3"),))
serve(spec, lambda boards: print(boards["b"].url, flush=True))
print("ended")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_bench_in_the_foreground_ends_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", SERVE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        assert served.stdout.readline().startswith("rfc2217://127.0.0.1:")
        served.send_signal(number)
        assert served.stdout.read() == "ended\n"
        assert served.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_the_terminal_signals_does_not_reach_into_a_bench_that_somebody_owns(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "drivers.virtual.bench"]
    spec = BenchSpec(state=tmp_path, boards=(board("b"),))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(spec.model_dump_json() + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["boards"]
        process.send_signal(number)
        process.stdin.write('{"order": "power", "board_id": "b", "on": false}\nnonsense\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["error"] is None
        assert "Invalid JSON" in json.loads(process.stdout.readline())["error"]
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0


def test_output_that_nobody_hears_is_lost_and_does_not_hold_up_the_board(start) -> None:
    bench = start(board("b"))
    handle = os.open(bench.boards["b"].pty, os.O_RDWR | os.O_NOCTTY)
    try:
        for _ in range(200):
            os.write(handle, b"unknown command\n" * 20)  # each is answered, and nobody reads the answers
            select.select([], [handle], [], PATIENCE_S)
    finally:
        os.close(handle)
    console(bench.boards["b"].pty, b"ready")
