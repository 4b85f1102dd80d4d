"""The SMP driver on virtual boards: test, confirm and revert; each fault; a cut at each step."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.base import (
    BadImage,
    BootFailed,
    Category,
    DeviceError,
    Link,
    NetworkFailed,
    PhaseTimeout,
    Region,
    Segment,
    VerificationFailed,
    WrongBoard,
)
from drivers.ota.smp import SMP, SmpOptions, SmpSession
from drivers.ota.smp_errors import BoardBusy
from drivers.virtual.client import Bench
from drivers.virtual.ota import smp_firmware
from drivers.virtual.spec import (
    BenchSpec,
    BitErrors,
    BoardSpec,
    LineDrop,
    Panics,
    PowerLoss,
    SilentLine,
    SlowErase,
    Speed,
    WrongMd5,
)
from harness.deadline import limit
from tests.stock import imgtool_sign
from tests.udp_relay import relay

OLD = smp_firmware.factory_image()
NEW = Segment(0, smp_firmware.image("1.2.0+4"), "new.signed.bin")
Open = Callable[..., SmpSession]


def ignore(_done: int, _total: int) -> None:
    pass


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench.start(BenchSpec(state=tmp_path, boards=(BoardSpec(board_id="Z", chip="smp"),))) as running:
        yield running


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def opened(bench: Bench, lines: list[str]) -> Open:
    def make(
        host: str = "", connect_s: float = 20, read_s: float = 20, chip: str = "smp", **options: object
    ) -> SmpSession:
        url = f"net://{host or bench.boards['Z'].host}"
        chosen = SmpOptions.model_validate({"restart_within": 60, **options})
        link = Link(url, 0, 0, chip=chip, options=chosen, connect_timeout_s=connect_s, read_timeout_s=read_s)
        return SMP.open(link, lines.append)

    return make


@pytest.fixture
def session(opened: Open) -> SmpSession:
    one = opened()
    one.connect()
    return one


def slot(tmp_path: Path, number: int) -> bytes:
    return (tmp_path / "Z" / f"slot{number}.bin").read_bytes()


def runs(tmp_path: Path, image: bytes) -> bool:
    return slot(tmp_path, 0).startswith(image)


def update(session: SmpSession, segment: Segment = NEW) -> None:
    """What the procedure does before the boot check."""
    if not session.holds(segment):
        session.write([segment], ignore)
    assert session.holds(segment)
    session.reset()


def console(session: SmpSession) -> str:
    with limit(30, "the console"):
        while not (said := session.read_console(0.2)):
            pass
    return said.decode()


def test_an_image_of_imgtool_is_tested_seen_to_run_and_confirmed(session: SmpSession, tmp_path: Path):
    image = imgtool_sign(os.urandom(70_000), "2.5.1+7", tmp_path)
    segment = Segment(0, image, "zephyr.signed.bin")
    assert SMP.inspect([segment]).version == "2.5.1+7"
    seen: list[tuple[int, int]] = []
    assert session.installed_version(0) == "0.0.0"
    assert session.holds(segment) is False
    session.write([segment], lambda *step: seen.append(step))
    assert seen[-1] == (len(image), len(image))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert session.holds(segment) is True, "written, and not running yet"
    assert runs(tmp_path, OLD)
    session.reset()
    assert SMP.reported_version(console(session)) == "2.5.1+7"
    assert session.read_console(0.1) == b"", "nothing new"
    session.confirm()
    assert "slot 0 version 2.5.1+7 active confirmed" in console(session)
    assert runs(tmp_path, image)


def test_a_reset_without_confirmation_takes_it_back(bench: Bench, session: SmpSession, tmp_path: Path):
    update(session)
    assert runs(tmp_path, NEW.data)
    bench.power("Z", on=False)
    bench.power("Z", on=True)
    with limit(30, "the old firmware"):
        while session.read_console(0.2) == b"" or session.installed_version(0) != "0.0.0":
            pass
    assert runs(tmp_path, OLD)
    with pytest.raises(BootFailed, match="does not run any more"):
        session.confirm()


def test_a_confirmed_image_outlives_a_power_cut(bench: Bench, session: SmpSession, opened: Open, tmp_path: Path):
    update(session)
    session.confirm()
    bench.power("Z", on=False)
    bench.power("Z", on=True)
    other = opened()
    other.connect()
    assert other.holds(NEW)
    assert runs(tmp_path, NEW.data)


def test_a_failed_check_lets_the_board_go_back(session: SmpSession, opened: Open, tmp_path: Path):
    update(session)
    assert session.revert("0.0.0") is True
    assert runs(tmp_path, OLD)
    session.reset()  # the procedure restarts a board that it has restored
    assert session.installed_version(0) == "0.0.0"
    again = opened()
    again.connect()
    assert again.holds(NEW) is False


def test_an_update_that_was_confirmed_is_taken_back_for_good(bench, session: SmpSession, opened: Open, tmp_path: Path):
    update(session)
    session.confirm()
    later = opened()
    later.connect()
    assert later.revert("0.0.0") is True
    bench.power("Z", on=False)
    bench.power("Z", on=True)
    later.connect()
    assert later.installed_version(0) == "0.0.0"
    assert runs(tmp_path, OLD)


def test_where_no_slot_has_it_an_image_that_is_written_then_stays(bench, session: SmpSession, tmp_path: Path):
    for version in ("1.1.0", "1.2.0"):
        session.connect()
        update(session, Segment(0, smp_firmware.image(version), version))
        session.confirm()
    assert session.revert("0.0.0") is False
    session.write([Segment(0, OLD, "backup")], ignore)
    session.reset()
    bench.power("Z", on=False)
    bench.power("Z", on=True)
    session.connect()
    assert session.installed_version(0) == "0.0.0"
    assert runs(tmp_path, OLD)


def test_a_board_on_probation_is_not_reset_by_who_comes_later(session: SmpSession, opened: Open, tmp_path: Path):
    update(session)
    later = opened()  # the first one's process has died
    later.connect()
    assert later.holds(NEW) is True
    later.reset()
    assert later.installed_version(0) == "1.2.0+4"
    later.confirm()
    assert runs(tmp_path, NEW.data)


STEPS: dict[str, Callable[[SmpSession], None]] = {
    "nothing": lambda session: None,
    "half an upload": lambda session: half_an_upload(session),
    "upload": lambda session: session.write([NEW], ignore),
    "mark": lambda session: mark(session),
    "reset": lambda session: update(session),
    "confirm": lambda session: (update(session), session.confirm()),
}


def half_an_upload(session: SmpSession) -> None:
    class CutError(BaseException):
        pass

    def cut(done: int, _total: int) -> None:
        if done > len(NEW.data) // 2:
            raise CutError

    with pytest.raises(CutError):
        session.write([NEW], cut)


def mark(session: SmpSession) -> None:
    session.write([NEW], ignore)
    session._board.test(session._wanted or b"")


@pytest.mark.parametrize("cut_after", STEPS)
def test_who_comes_after_a_cut_finishes_the_update(cut_after: str, session: SmpSession, opened: Open, tmp_path: Path):
    STEPS[cut_after](session)
    later = opened()
    later.connect()
    update(later)
    later.confirm()
    assert later.installed_version(0) == "1.2.0+4"
    assert runs(tmp_path, NEW.data)


@pytest.mark.parametrize("cut_after", STEPS)
def test_who_comes_after_a_cut_goes_back(cut_after: str, session: SmpSession, opened: Open, bench, tmp_path: Path):
    STEPS[cut_after](session)
    later = opened()
    later.connect()
    assert later.revert("0.0.0") is True
    bench.power("Z", on=False)
    bench.power("Z", on=True)
    later.connect()
    assert later.installed_version(0) == "0.0.0"
    assert runs(tmp_path, OLD)


def test_firmware_that_crashes_is_taken_back_by_mcuboot_and_said_so(bench: Bench, session: SmpSession, tmp_path: Path):
    bench.set_faults("Z", [Panics(fault="panics", versions=("1.2.0+4",))])
    with pytest.raises(BootFailed, match="took it back") as raised:
        update(session)
    assert raised.value.category is Category.VERIFICATION
    session.connect()
    assert session.revert("0.0.0") is True
    assert runs(tmp_path, OLD)


def test_an_image_that_rots_in_its_slot_is_refused_by_mcuboot(session: SmpSession, tmp_path: Path):
    session.write([NEW], ignore)
    with (tmp_path / "Z" / "slot1.bin").open("r+b") as file:
        file.seek(0x1000)
        file.write(b"rot")
    with pytest.raises(BootFailed, match="MCUboot refused it"):
        session.reset()
    assert runs(tmp_path, OLD)


def test_a_power_cut_in_the_middle_leaves_the_old_firmware_and_the_next_try_succeeds(bench, session, tmp_path: Path):
    bench.set_faults("Z", [PowerLoss(fault="power-loss", at_byte=20_000, off_s=0.3)])
    session.write([NEW], ignore)  # the board is back before anybody gives up, and has forgotten the upload
    assert slot(tmp_path, 1).startswith(NEW.data)
    session.reset()
    session.confirm()
    assert runs(tmp_path, NEW.data)


def test_a_board_that_loses_its_power_for_good_is_a_network_error_and_is_as_it_was(bench, opened: Open, tmp_path: Path):
    session = opened(read_s=4)
    session.connect()
    bench.set_faults("Z", [PowerLoss(fault="power-loss", at_byte=20_000)])
    with pytest.raises(NetworkFailed, match="no answer") as raised:
        session.write([NEW], ignore)
    assert raised.value.retryable
    assert slot(tmp_path, 1)[:20_000] == NEW.data[:20_000]
    assert slot(tmp_path, 1)[20_000:20_100] == b"\xff" * 100
    bench.power("Z", on=True)
    session.connect()
    assert session.revert("0.0.0") is True
    assert runs(tmp_path, OLD)


def test_a_line_that_drops_is_waited_for(bench: Bench, session: SmpSession, tmp_path: Path):
    bench.set_faults("Z", [LineDrop(fault="line-drop", after_bytes=30_000, times=1)])
    update(session)
    assert runs(tmp_path, NEW.data)


def test_datagrams_that_are_damaged_are_sent_again(bench: Bench, session: SmpSession, tmp_path: Path):
    bench.set_faults("Z", [BitErrors(fault="bit-errors", rate=0.0001)])
    session.write([NEW], ignore)
    bench.set_faults("Z", [])
    assert slot(tmp_path, 1).startswith(NEW.data)


def test_a_slow_erasure_is_waited_for(bench: Bench, session: SmpSession, tmp_path: Path):
    session.write([NEW], ignore)
    bench.set_faults("Z", [SlowErase(fault="slow-erase", seconds=2.5, times=1)])
    session.connect()
    session.write([Segment(0, smp_firmware.image("1.3.0"), "next")], ignore)
    assert slot(tmp_path, 1).startswith(smp_firmware.image("1.3.0"))


def test_a_digest_that_lies_fails_the_write(bench: Bench, session: SmpSession, tmp_path: Path):
    bench.set_faults("Z", [WrongMd5(fault="wrong-md5")])
    with pytest.raises(VerificationFailed):
        session.write([NEW], ignore)
    assert runs(tmp_path, OLD)


def test_a_silent_board_is_a_network_error_within_the_time_to_connect(bench: Bench, opened: Open):
    bench.set_faults("Z", [SilentLine(fault="silent")])
    session = opened(connect_s=1)
    with limit(30, "connecting"), pytest.raises(NetworkFailed, match="no answer") as raised:
        session.connect()
    assert raised.value.retryable
    assert raised.value.category is Category.NETWORK
    with pytest.raises(NetworkFailed, match="connect first"):
        session.installed_version(0)


def test_a_host_that_does_not_exist_is_a_network_error(opened: Open):
    with pytest.raises(NetworkFailed):
        opened(host="no.such.host.invalid:1337").connect()


def test_a_time_limit_passes_through_and_leaves_nothing_alive(bench: Bench, session: SmpSession):
    bench.set_faults("Z", [SilentLine(fault="silent")])
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(PhaseTimeout), limit(0.3, "the version"):
        session.installed_version(0)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    with pytest.raises(NetworkFailed, match="connect first"):
        session.holds(NEW)
    bench.set_faults("Z", [])
    session.connect()
    assert session.installed_version(0) == "0.0.0"


def every(nth: int) -> Callable[[bytes], int]:
    count = iter(range(1_000_000))
    return lambda _data: 0 if next(count) % nth == nth - 1 else 1


def test_lost_and_doubled_datagrams_do_no_harm(bench: Bench, opened: Open, tmp_path: Path):
    with relay(bench.boards["Z"].host, there=lambda _: 2, back=every(9)) as host:
        session = opened(host)
        session.connect()
        session.write([NEW], ignore)
        assert slot(tmp_path, 1).startswith(NEW.data)


RESET = (0, 5)  # group and command


def test_a_reset_whose_answer_is_lost_is_not_repeated_to_the_board_that_restarted(bench, opened: Open, tmp_path: Path):
    """It would take the image on probation back."""
    resets: list[bytes] = []

    def count(data: bytes) -> int:
        if (int.from_bytes(data[4:6], "big"), data[7]) == RESET:
            resets.append(data)
        return 1

    def lose(data: bytes) -> int:
        return 0 if (int.from_bytes(data[4:6], "big"), data[7]) == RESET else 1

    with relay(bench.boards["Z"].host, there=count, back=lose) as host:
        session = opened(host)
        session.connect()
        update(session)
        session.confirm()
    assert len(resets) == 1
    assert runs(tmp_path, NEW.data)


def test_a_reset_that_is_lost_is_repeated(bench: Bench, opened: Open, tmp_path: Path):
    lost: list[bytes] = []

    def lose_first(data: bytes) -> int:
        if (int.from_bytes(data[4:6], "big"), data[7]) != RESET or lost:
            return 1
        lost.append(data)
        return 0

    with relay(bench.boards["Z"].host, there=lose_first) as host:
        session = opened(host)
        session.connect()
        update(session)
    assert lost
    assert runs(tmp_path, NEW.data)


def test_nothing_is_written_where_somebody_elses_image_is_on_probation(session: SmpSession, opened: Open):
    update(session)
    other = opened()
    other.connect()
    with pytest.raises(BoardBusy, match="on probation") as raised:
        other.write([Segment(0, smp_firmware.image("5.0.0"), "other")], ignore)
    assert not raised.value.retryable


def test_an_image_that_does_not_fit_is_refused_before_it_is_sent(session: SmpSession, tmp_path: Path):
    with pytest.raises(BadImage, match="the slot 483328"):
        session.write([Segment(0, smp_firmware.image("5.0.0", 490_000), "large.bin")], ignore)
    assert set(slot(tmp_path, 1)) == {0xFF}


@pytest.fixture
def other_boards(tmp_path: Path) -> Iterator[Bench]:
    boards = (
        BoardSpec(board_id="OLD", chip="smp", options={"legacy_rc": True, "os_info": False}),
        BoardSpec(board_id="NODE", chip="smp", options={"node_name": "sensor-17", "hardware": "frdm_k64f/mk64f12"}),
        BoardSpec(board_id="OVER", chip="smp", flash_size=0x20000, options={"overwrite_only": True}),
    )
    with Bench.start(BenchSpec(state=tmp_path / "others", boards=boards)) as running:
        yield running


def test_firmware_of_before_zephyr_3_3_is_updated_too(other_boards: Bench, opened: Open, tmp_path: Path):
    session = opened(other_boards.boards["OLD"].host)
    session.connect()
    update(session)
    session.confirm()
    assert (tmp_path / "others" / "OLD" / "slot0.bin").read_bytes().startswith(NEW.data)


def test_a_boot_loader_that_can_not_go_back_is_updated_only_where_the_batch_says_so(other_boards, opened, tmp_path):
    host = other_boards.boards["OVER"].host
    with pytest.raises(WrongBoard, match="can not go back") as raised:
        opened(host).connect()
    assert "without_revert" in raised.value.advice
    session = opened(host, without_revert=True)
    session.connect()
    update(session)
    session.confirm()
    assert session.revert("0.0.0") is False, "no slot holds it any more"
    session.write([Segment(0, OLD, "backup")], ignore)
    session.reset()
    assert session.installed_version(0) == "0.0.0"
    assert (tmp_path / "others" / "OVER" / "slot0.bin").read_bytes().startswith(OLD)


def test_every_frame_is_in_the_log_where_it_is_asked_for(bench: Bench, lines: list[str]):
    link = Link(f"net://{bench.boards['Z'].host}", 115200, 115200, trace=True, options=SmpOptions())
    SMP.open(link, lines.append).connect()
    assert any(re.fullmatch(r"to the board: op 0 group 1 command 0 sequence \d+, 1 bytes", line) for line in lines)
    assert any(line.startswith("from the board: op 1 group 1 command 0") for line in lines)


def test_who_answers_is_compared_with_what_the_batch_says(other_boards: Bench, opened: Open):
    host = other_boards.boards["NODE"].host
    identity = opened(host, chip="frdm_k64f", hardware="mk64f12", node_name="sensor-17").connect()
    assert SMP.matches("frdm_k64f", identity)
    with pytest.raises(WrongBoard, match=r"node name is sensor-17, expected sensor-18"):
        opened(host, node_name="sensor-18").connect()
    with pytest.raises(WrongBoard, match=r"hardware is frdm_k64f/mk64f12, expected nrf52840dk"):
        opened(host, hardware="nrf52840dk").connect()
    assert not SMP.matches("nrf52840", opened(host, chip="nrf52840").connect())


def test_firmware_that_does_not_say_its_name_is_refused_where_a_name_is_asked_for(other_boards, opened: Open):
    with pytest.raises(WrongBoard, match="not said by its firmware"):
        opened(other_boards.boards["OLD"].host, node_name="sensor-17").connect()


def test_a_board_can_neither_be_read_back_nor_hashed_nor_spoken_to(session: SmpSession):
    for refused in (
        lambda: session.read(Region(0, 16), ignore),
        lambda: session.digest(Region(0, 16)),
        lambda: session.write_console(b"version\n"),
    ):
        with pytest.raises(DeviceError):
            refused()
    assert session.slow_down() is False
    session.close()


def test_the_reported_version_is_the_running_images(session: SmpSession):
    said = "image 0 slot 0 version 1.2.0+4 active\nimage 0 slot 1 version 1.1.0 confirmed\n"
    assert SMP.reported_version(said) == "1.2.0+4"
    assert SMP.reported_version(said + "image 0 slot 0 version 1.1.0 active confirmed\n") == "1.1.0"
    assert SMP.reported_version("image 0 slot 1 version 1.1.0 confirmed\n") is None
    assert re.search(r"^image 0 slot 0 version 0\.0\.0 active confirmed$", console(session), re.MULTILINE)


def test_a_realistic_board_takes_its_time_to_swap(tmp_path: Path):
    image = Segment(0, smp_firmware.image("1.2.0", 2048), "small")
    factory = tmp_path / "factory.bin"
    factory.write_bytes(smp_firmware.image("1.1.0", 2048))
    board = BoardSpec(board_id="SLOW", chip="smp", speed=Speed.REALISTIC, flash_size=0x4000, factory=factory)
    with Bench.start(BenchSpec(state=tmp_path, boards=(board,))) as bench:
        session = SMP.open(Link(f"net://{bench.boards['SLOW'].host}", 0, 0, options=SmpOptions()), lambda _: None)
        session.connect()
        update(session, image)
        session.confirm()
    assert (tmp_path / "SLOW" / "slot0.bin").read_bytes().startswith(image.data)


def test_a_name_is_looked_up_once_a_session(bench: Bench, opened: Open, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    real = socket.getaddrinfo

    def lookup(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if host == "board.test" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    session = opened(bench.boards["Z"].host.replace("127.0.0.1", "board.test"))
    session.connect()
    assert session.installed_version(0)
    assert asked.count("board.test") == 1


def test_a_board_with_a_network_core_is_refused_by_name():
    from smp.image_management import ImageState

    from drivers.ota.smp_link import as_slots

    images = [ImageState(slot=0, version="1.0.0", image=number, hash=b"x" * 32, active=not number) for number in (0, 1)]
    with pytest.raises(WrongBoard, match="network core"):
        as_slots(images)


def test_nobody_at_the_port_is_a_network_error(opened: Open):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NetworkFailed):
            opened(host=f"127.0.0.1:{taken.getsockname()[1]}", connect_s=1).connect()
