"""What the Protocol promises of every board that updates itself, whichever way the image comes."""

from __future__ import annotations

import gzip
import socket
from pathlib import Path
from typing import Any

import pytest

from drivers import load_driver
from drivers.base import (
    BadImage,
    BootFailed,
    Category,
    ConnectionLost,
    DeviceError,
    NetworkFailed,
    PhaseTimeout,
    Segment,
    VerificationFailed,
)
from drivers.secrets import SecretUnavailable
from drivers.virtual.client import BenchError
from drivers.virtual.esp.firmware import build_app, build_bootloader, merged_image
from drivers.virtual.spec import (
    BitErrors,
    LineDrop,
    Panics,
    PowerLoss,
    SilentLine,
    SlowErase,
    StuckInApp,
    WrongChip,
    WrongMd5,
)
from harness.deadline import limit
from tests.drivers.ota.on_bench import MAC, NEW, OLD, PASSWORD_VARIABLE, STATUS, console_until, ignore, image, on_bench

TYPES = ("arduino-ota", "http-ota")
both = pytest.mark.parametrize("device_type", TYPES)
checked = pytest.mark.parametrize(
    ("device_type", "options"),
    [("arduino-ota", STATUS), ("http-ota", {**STATUS, "updater": "elegant3", "md5": True})],
    ids=["arduino", "elegant3"],
)


@both
def test_a_board_is_identified_updated_and_seen_to_run_the_new_firmware(tmp_path: Path, device_type: str):
    done: list[tuple[int, int]] = []
    with on_bench(tmp_path, device_type) as there, there.session() as session:
        identity = session.connect()
        assert (identity.chip, identity.serial) == ("esp32", MAC)
        assert there.driver.matches("esp32", identity)
        assert there.driver.matches(device_type, identity)
        assert not there.driver.matches("esp8266", identity)
        assert session.installed_version(0) == OLD
        assert session.holds(image()) is False
        session.write([image()], lambda now, of: done.append((now, of)))
        session.reset()
        said = console_until(session, NEW)
        assert said.startswith(f"status page: version {NEW}, chip esp32, mac {MAC}")
        assert OLD not in said
        assert there.driver.boot_failure(said) is None
        session.confirm()
        assert there.slot(1, len(image().data)) == image().data
        assert there.slot(0, len(image(OLD).data)) == image(OLD).data
    assert done[-1][0] == done[-1][1]
    assert [now for now, _ in done] == sorted(now for now, _ in done)


@both
def test_a_board_that_runs_the_image_already_says_so(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type) as there, there.session() as session:
        session.connect()
        assert session.holds(image(OLD)) is True
        session.reset()
        assert OLD in console_until(session, OLD)


@checked
def test_what_the_board_has_checked_it_holds(tmp_path: Path, device_type: str, options: dict[str, Any]):
    with on_bench(tmp_path, device_type, options) as there, there.session() as session:
        session.connect()
        session.write([image()], ignore)
        assert session.holds(image()) is True
        assert session.holds(image("1.2.1")) is None


def test_an_updater_that_checks_nothing_proves_nothing(tmp_path: Path):
    with on_bench(tmp_path, "http-ota", {**STATUS, "updater": "esp32"}) as there, there.session() as session:
        session.connect()
        session.write([image()], ignore)
        assert session.holds(image()) is None
        assert not there.driver.capabilities.can_verify


@both
def test_the_old_firmware_is_sent_again_where_no_slot_can_be_ordered_back(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type) as there, there.session() as session:
        session.connect()
        session.write([image()], ignore)
        session.reset()
        assert NEW in console_until(session, NEW)
        assert session.connect().serial == MAC
        assert session.revert(OLD) is False
        session.write([image(OLD)], ignore)
        session.reset()
        assert OLD in console_until(session, OLD)
        assert there.what_runs() == OLD
        assert there.slot(0, len(image(OLD).data)) == image(OLD).data


@both
def test_a_supply_that_drops_leaves_the_old_firmware_running(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type) as there, there.session() as session:
        session.connect()
        there.faults(PowerLoss(fault="power-loss", at_byte=100_000, off_s=0.2))
        with pytest.raises(DeviceError) as lost:
            session.write([image()], ignore)
        assert lost.value.category in (Category.CONNECTION, Category.TIMEOUT)
        assert lost.value.retryable
        session.connect()
        assert session.revert(OLD) is True
        assert session.installed_version(0) == OLD
        assert there.slot(0, len(image(OLD).data)) == image(OLD).data
        session.write([image()], ignore)
        assert there.slot(1, len(image().data)) == image().data


@both
def test_a_line_that_drops_is_a_lost_connection_and_another_try_mends_it(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type) as there, there.session() as session:
        session.connect()
        there.faults(LineDrop(fault="line-drop", after_bytes=50_000, times=1))
        with pytest.raises(ConnectionLost):
            session.write([image()], ignore)
        with pytest.raises(ConnectionLost, match="connect first"):
            session.write([image()], ignore)
        session.connect()
        assert session.revert(None) is True
        session.write([image()], ignore)
        session.reset()
        assert NEW in console_until(session, NEW)


@both
@pytest.mark.parametrize("page", [STATUS, {"restart_s": 0.2}], ids=["page", "no page"])
def test_an_upload_that_broke_off_says_nothing_of_those_before_it(
    tmp_path: Path, device_type: str, page: dict[str, Any]
):
    """The board runs a firmware that was judged bad; the way back breaks off. What it had is not what runs on."""
    drop = LineDrop(fault="line-drop", after_bytes=50_000, times=1)
    old = OLD if page is STATUS else None
    with on_bench(tmp_path, device_type, page) as there, there.session() as session:
        session.connect()
        session.write([image()], ignore)
        assert there.comes_to_run(NEW)
        there.faults(drop)
        with pytest.raises(ConnectionLost):
            session.write([image(OLD)], ignore)
        session.connect()
        assert session.revert(old) is False
        with there.session(untouched=False) as later:  # of the next process
            later.connect()
            there.faults(drop)
            with pytest.raises(ConnectionLost):
                later.write([image(OLD)], ignore)
            later.connect()
            assert later.revert(old) is False
        assert there.comes_to_run(NEW)


@both
def test_firmware_of_the_same_version_is_told_by_its_digest(tmp_path: Path, device_type: str):
    again = image(OLD, size=0x9000)
    with on_bench(tmp_path, device_type) as there, there.session() as session:
        session.connect()
        assert session.revert(OLD) is True
        session.write([again], ignore)
        session.connect()
        assert session.revert(OLD) is False
        session.write([image(OLD)], ignore)
        session.connect()
        assert session.revert(None) is True
        assert there.slot(0, len(image(OLD).data)) == image(OLD).data


@pytest.mark.parametrize("untouched", [True, False])
def test_a_page_without_a_digest_does_not_tell_firmware_of_the_same_version(tmp_path: Path, untouched: bool):
    """An ESP8266 does not tell the MD5 of its image."""
    options = {**STATUS, "updater": "esp8266"}
    with (
        on_bench(tmp_path, "http-ota", options, chip="esp8266") as there,
        there.session(untouched=untouched, version=OLD) as session,
    ):
        session.connect()
        assert session.revert(OLD) is untouched, "nothing was sent yet"
        session.write([image(OLD, chip="esp8266", size=0x9000)], ignore)
        session.connect()
        assert session.revert(OLD) is False


@both
def test_a_silent_board_is_given_up_in_time(tmp_path: Path, device_type: str):
    silent = SilentLine(fault="silent")
    with on_bench(tmp_path, device_type, faults=(silent,)) as there:
        session = there.driver.open(there.link(connect_timeout_s=0.5, read_timeout_s=0.5), there.lines.append)
        with pytest.raises((NetworkFailed, PhaseTimeout)) as dead, limit(30, "the test"):
            session.connect()
        assert dead.value.retryable


@checked
def test_flipped_bits_are_seen_by_the_board(tmp_path: Path, device_type: str, options: dict[str, Any]):
    with on_bench(tmp_path, device_type, options) as there, there.session() as session:
        session.connect()
        there.faults(BitErrors(fault="bit-errors", rate=5e-5))
        with pytest.raises(DeviceError):
            session.write([image()], ignore)
        there.faults()
        session.connect()
        assert session.revert(OLD) is True
        assert there.slot(0, len(image(OLD).data)) == image(OLD).data


@checked
def test_a_wrong_digest_is_a_failed_verification(tmp_path: Path, device_type: str, options: dict[str, Any]):
    with on_bench(tmp_path, device_type, options) as there, there.session() as session:
        session.connect()
        there.faults(WrongMd5(fault="wrong-md5", times=1))
        with pytest.raises(VerificationFailed, match="MD5"):
            session.write([image()], ignore)
        session.connect()
        assert session.holds(image()) is None
        assert session.revert(None) is True
        assert there.what_runs() == OLD


@both
def test_slow_erasing_is_waited_for_or_ends_as_a_time_out(tmp_path: Path, device_type: str):
    slow = SlowErase(fault="slow-erase", seconds=1.0, times=1)
    with on_bench(tmp_path, device_type) as there:
        there.faults(slow)
        with there.session() as session:
            session.connect()
            session.write([image()], ignore)
            session.reset()
            assert NEW in console_until(session, NEW)
        there.faults(slow.model_copy(update={"seconds": 30.0}))
        with there.session(read_timeout_s=4) as session, limit(60, "the test"):
            session.connect()
            with pytest.raises((PhaseTimeout, ConnectionLost)):
                session.write([image("1.3.0")], ignore)


@both
def test_firmware_that_does_not_come_up_is_not_seen(tmp_path: Path, device_type: str):
    """The boards of a plain core: their boot loader starts it again and again."""
    with on_bench(tmp_path, device_type) as there, there.session(connect_timeout_s=4) as session:
        session.connect()
        there.faults(Panics(fault="panics", versions=(NEW,)))
        session.write([image()], ignore)
        session.reset()
        assert console_until(session, ".", 1.5) == ""
        with pytest.raises(NetworkFailed):
            session.connect()


@both
def test_without_a_page_a_board_that_does_not_answer_again_has_not_come_up(
    tmp_path: Path, device_type: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(PASSWORD_VARIABLE, "correct horse battery")
    options = {"restart_s": 0.2, "password": {"env": PASSWORD_VARIABLE}}
    options |= {"username": "admin"} if device_type == "http-ota" else {}
    with on_bench(tmp_path, device_type, options) as there, there.session(connect_timeout_s=4) as session:
        session.connect()
        session.write([image("1.1.9")], ignore)
        session.reset()
        assert "version is not known" in console_until(session, "known")
        session.connect()
        there.faults(Panics(fault="panics", versions=(NEW,)))
        session.write([image()], ignore)
        with pytest.raises(BootFailed, match="has not answered"):
            session.reset()


@both
def test_a_boot_loader_that_goes_back_is_seen(tmp_path: Path, device_type: str):
    options = {**STATUS}
    with on_bench(tmp_path, device_type, options, board={"auto_rollback": True}) as there, there.session() as session:
        session.connect()
        there.faults(Panics(fault="panics", versions=(NEW,)))
        session.write([image()], ignore)
        session.reset()
        said = console_until(session, OLD)
        assert OLD in said
        assert NEW not in said
        session.connect()
        assert session.revert(OLD) is True
        assert session.revert(NEW) is False
        assert there.slot(0, len(image(OLD).data)) == image(OLD).data


@both
def test_firmware_that_goes_away_after_it_was_seen_has_failed(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type) as there, there.session() as session:
        session.connect()
        session.write([image()], ignore)
        session.reset()
        said = console_until(session, NEW)
        there.bench.power("board", on=False)
        said += console_until(session, "stopped answering")
        assert there.driver.boot_failure(said) == "the board has stopped answering"


@both
def test_a_firmware_that_changes_after_it_was_seen_has_failed(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type) as there, there.session() as session:
        session.connect()
        session.reset()
        said = console_until(session, OLD)
        with there.session() as other:
            other.connect()
            other.write([image()], ignore)
        said += console_until(session, "another firmware")
        failure = there.driver.boot_failure(said)
        assert failure is not None
        assert f"{NEW} after {OLD}" in failure


@both
def test_an_image_that_is_too_big_is_refused_by_the_board(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type) as there, there.session(connect_timeout_s=4) as session:
        session.connect()
        with pytest.raises((BadImage, NetworkFailed)):
            session.write([image(size=0x150000)], ignore)
        session.connect()
        assert session.revert(OLD) is True


@both
def test_without_a_page_nothing_is_said_of_versions(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type, {"restart_s": 0.2}) as there, there.session() as session:
        identity = session.connect()
        assert identity.serial == ""
        assert identity.chip == device_type
        assert session.installed_version(0) is None
        assert session.holds(image()) is None
        session.write([image()], ignore)
        session.reset()
        assert session.revert(NEW) is False
        assert there.comes_to_run(NEW)


@both
def test_two_images_are_one_too_many(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type) as there, there.session() as session:
        session.connect()
        with pytest.raises(BadImage, match="one image"):
            session.write([image(), image()], ignore)


@both
def test_a_host_that_is_not_there_is_a_failed_network(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type) as there:
        there.bench.power("board", on=False)
        session = there.driver.open(there.link(connect_timeout_s=0.5, read_timeout_s=0.5), there.lines.append)
        with pytest.raises(NetworkFailed) as dead, limit(30, "the test"):
            session.connect()
        assert dead.value.category is Category.NETWORK


@both
def test_a_name_is_looked_up_once_and_stays_who_it_was(
    tmp_path: Path, device_type: str, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    real = socket.getaddrinfo

    def lookup(host: str, port: int, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        if host != "board.test":
            return real(host, port, *rest, **more)
        return [each for number in ("::1", "127.0.0.1") for each in real(number, port, *rest, **more)]

    with on_bench(tmp_path, device_type) as there:
        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        link = there.link()
        link = type(link)(**{**vars(link), "port": link.port.replace("127.0.0.1", "board.test")})
        session = there.driver.open(link, there.lines.append)
        session.connect()
        session.write([image()], ignore)
        session.reset()
        assert NEW in console_until(session, NEW)
        session.connect()
        session.close()
    assert asked.count("board.test") == 1
    assert "board.test is 127.0.0.1" in there.lines


@both
def test_boards_have_ipv6_addresses_too(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type, board={"host": "::1"}) as there, there.session() as session:
        assert "[::1]" in there.port
        assert session.connect().serial == MAC
        session.write([image()], ignore)
        session.reset()
        assert NEW in console_until(session, NEW)


@both
def test_a_time_limit_ends_an_upload_and_leaves_no_half_session(tmp_path: Path, device_type: str):
    with on_bench(tmp_path, device_type) as there, there.session(read_timeout_s=30) as session:
        session.connect()
        there.faults(SlowErase(fault="slow-erase", seconds=20, times=1))
        with pytest.raises(PhaseTimeout), limit(1, "the upload"):
            session.write([image()], ignore)
        with pytest.raises(ConnectionLost, match="connect first"):
            session.holds(image())


@both
def test_a_secret_that_is_not_there_fails_before_the_board_is_touched(
    tmp_path: Path, device_type: str, monkeypatch: pytest.MonkeyPatch
):
    secret = {"password": {"env": PASSWORD_VARIABLE}, **({"username": "admin"} if device_type == "http-ota" else {})}
    with on_bench(tmp_path, device_type, {**STATUS, **secret}) as there:
        monkeypatch.delenv(PASSWORD_VARIABLE)
        with pytest.raises(SecretUnavailable, match=PASSWORD_VARIABLE):
            there.driver.open(there.link(), there.lines.append)


@both
@pytest.mark.parametrize("fault", [WrongChip(fault="wrong-chip", chip="esp32c3"), StuckInApp(fault="stuck-in-app")])
def test_faults_that_such_a_board_can_not_have_are_refused_by_name(
    tmp_path: Path, device_type: str, fault: WrongChip | StuckInApp
):
    with pytest.raises(BenchError, match=fault.fault), on_bench(tmp_path, device_type, faults=(fault,)):
        pass


@both
@pytest.mark.parametrize("options", [{"chip": "esp31"}, {"unknown": 1}, {"password": {"env": "NOT_SET_ANYWHERE"}}])
def test_a_board_refuses_options_that_it_does_not_know(tmp_path: Path, device_type: str, options: dict[str, Any]):
    with pytest.raises(BenchError, match="board"), on_bench(tmp_path, device_type, board=options):
        pass


@both
def test_a_signed_image_that_runs_already_is_not_taken_for_a_boot_loader_that_went_back(
    tmp_path: Path, device_type: str
):
    """The page's MD5 is that of the image alone, before and after."""
    signed = Segment(0, image(OLD).data + b"\xe7\x02" + bytes(4094), "signed.bin")
    with on_bench(tmp_path, device_type) as there, there.session() as session:
        session.connect()
        assert session.holds(signed) is False
        session.write([signed], ignore)
        session.reset()
        assert OLD in console_until(session, OLD)
        assert session.holds(signed) is None
        assert session.holds(image()) is False


@both
def test_what_no_application_image_is_is_refused_before_anything_is_sent(device_type: str):
    driver = load_driver(device_type)
    parts = {
        "a boot loader": build_bootloader("esp32", NEW),
        "a merged image": merged_image("esp32c3", "demo", NEW),
        "an image for address 0x1000": merged_image("esp32", "demo", NEW),
        "a cut image": image().data[:-1000],
        "something else": b"UF2\n" * 100,
        "gzip of an ESP32 image": gzip.compress(image().data),
    }
    for name, data in parts.items():
        with pytest.raises(BadImage):
            driver.inspect(driver.parse(name, data, 0))
    facts = driver.inspect(driver.parse("demo.bin", image().data, 0))
    assert (facts.chip, facts.project, facts.version) == ("esp32", "demo", NEW)
    packed = gzip.compress(image(chip="esp8266").data)
    assert driver.inspect(driver.parse("demo.bin.gz", packed, 0)).chip == "esp8266"


@both
def test_the_description_of_an_arduino_sketch_is_that_of_its_libraries(device_type: str):
    sketch = build_app("esp32s3", "arduino-lib-builder", "esp-idf: v5.4.1")
    facts = load_driver(device_type).inspect([Segment(0, sketch, "sketch.bin")])
    assert (facts.chip, facts.project, facts.version) == ("esp32s3", None, None)
