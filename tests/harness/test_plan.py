"""The plan of a run: what it holds, and the digest by which workers know that they act on the same one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.batch import Batch
from harness.plan import BatchFileError, Overrides, Plan, load_plan
from tests.harness.esp_images import app_image
from tests.harness.lab import MINIMAL, Lab

REAL_FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def test_a_plan_holds_what_the_image_is_and_says(lab: Lab):
    (device,) = lab.plan().devices
    data = app_image()
    (image,) = device.images
    assert (image.size, image.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (image.chip, image.project, image.version) == ("esp32", "demo", "1.2.0")
    assert image.path == lab.folder / "app.bin"


def test_the_version_comes_from_the_image_when_nobody_says_it(lab: Lab):
    plan = lab.plan()
    assert (plan.version, plan.devices[0].version) == ("1.2.0", "1.2.0")


def test_an_application_goes_to_the_address_of_its_type(lab: Lab):
    assert lab.plan().devices[0].images[0].address == 0x10000
    lab.write("app8266.bin", app_image("esp8266"))
    batch = MINIMAL.replace("esp32", "esp8266", 1).replace("app.bin", "app8266.bin")
    assert lab.plan(batch).devices[0].images[0].address == 0x0
    moved = lab.plan(MINIMAL, site="device_types: {esp32: {flash_address: '0x20000'}}\n")
    assert moved.devices[0].images[0].address == 0x20000


MIXED = """\
name: Mixed
version: "1.2.0"
device_types:
  esp32: {firmware_file: app.bin}
  esp8266: {firmware_file: app8266.bin}
targets:
  - {device_id: A, device_type: esp32, connection_info: {port: virtual}}
  - {device_id: B, device_type: esp8266, connection_info: {port: virtual}}
  - {device_id: C, device_type: esp32, connection_info: {port: virtual}, firmware_file: other.bin}
"""


def test_a_mixed_fleet_gets_its_firmware_by_type_and_a_target_may_have_its_own(lab: Lab):
    lab.write("app8266.bin", app_image("esp8266"))
    lab.write("other.bin", app_image(project="other"))
    names = [device.images[0].path.name for device in lab.plan(MIXED).devices]
    assert names == ["app.bin", "app8266.bin", "other.bin"]


def test_devices_stay_in_the_order_of_the_file(lab: Lab):
    names = ["Z", "A", "M", "B"]
    targets = "".join(f"  - {{device_id: {name}, connection_info: {{port: virtual}}}}\n" for name in names)
    plan = lab.plan(MINIMAL[: MINIMAL.index("  - ")] + targets)
    assert [device.device_id for device in plan.devices] == names


def test_the_main_image_is_the_application(lab: Lab):
    lab.write("large.bin", b"\x00" * 5000)
    images = "images: [{file: large.bin, address: 0x100000}, {file: app.bin, address: 0x10000}]"
    (device,) = lab.plan(MINIMAL.replace("firmware_file: app.bin", images)).devices
    assert device.main_image.path.name == "app.bin"


@pytest.mark.parametrize("switch", ["validate_before_flash", "check_compatibility"])
def test_an_image_may_be_forced_on_a_board(lab: Lab, switch):
    lab.write("app.bin", app_image("esp32c3"))
    assert lab.problems()
    batch = MINIMAL + f'version: "9"\nfirmware_validation: {{{switch}: false}}\n'
    assert lab.plan(batch).devices[0].version == "9"


def test_the_size_check_can_be_turned_off(lab: Lab):
    site = "device_types: {esp32: {max_firmware_size: 1000}}\n"
    assert "app.bin has 1104 bytes, more than the 1000 that esp32 may have" in lab.problems(MINIMAL, site)[0]
    assert lab.problems(MINIMAL, site + "firmware_validation: {check_file_size: false}\n") == []


def test_results_are_kept_where_the_site_file_says_from_its_own_folder(lab: Lab):
    plan = lab.plan(MINIMAL, site="storage: {runs_dir: r, store_dir: /var/store}\nlogging: {log_level: DEBUG}\n")
    assert (plan.runs_dir, plan.store_dir) == (lab.folder / "r", Path("/var/store"))
    assert plan.ledger == str(lab.folder / "runs/ledger.sqlite")
    assert plan.log_level == "DEBUG"


def test_a_path_may_begin_at_home(lab: Lab, monkeypatch):
    monkeypatch.setenv("HOME", str(lab.folder))
    assert lab.problems(MINIMAL.replace("app.bin", "~/app.bin")) == []


def test_a_plan_travels_as_json_unchanged(lab: Lab):
    plan = lab.plan(
        MIXED.replace("app8266", "app").replace("other", "app").replace("device_type: esp8266", "device_type: esp32")
    )
    again = Plan.model_validate_json(plan.model_dump_json())
    assert again == plan
    assert again.computed_digest() == again.digest


def test_two_readings_of_the_same_files_have_one_digest(lab: Lab):
    assert lab.plan().digest == lab.plan().digest


def test_rebuilt_firmware_changes_the_digest(lab: Lab):
    before = lab.plan().digest
    lab.write("app.bin", app_image(size=2048))
    assert lab.plan().digest != before


def test_ports_of_a_bench_change_the_digest(lab: Lab):
    plan = lab.plan(MINIMAL.replace("/dev/ttyUSB0", "virtual"))
    moved = plan.with_ports({"ESP32_001": {"port": "rfc2217://localhost:4000"}})
    assert moved.devices[0].port == "rfc2217://localhost:4000"
    assert moved.digest == moved.computed_digest() != plan.digest


@REAL_FILES
@given(
    st.sampled_from(
        [
            ("timeout: 61\n", None),
            ("description: other\n", None),
            ("max_concurrent: 3\n", None),
            ("expect: {settle: 2}\n", None),
            ("rollback_on_failure: false\n", None),
            ("", Overrides(reflash=True)),
            ("", Overrides(simulate=True)),
        ]
    )
)
def test_whatever_changes_what_is_done_changes_the_digest(lab: Lab, change):
    more, overrides = change
    assert lab.plan(MINIMAL + more, overrides=overrides).digest != lab.plan().digest


KEYS = st.sampled_from([*Batch.model_fields, "fault", "port", "file", "address", "mac", "host", "quality_gates", "<<"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["esp32", "app.bin"])
)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


def is_a_plan_or_says_why_not(lab: Lab, content: str | bytes) -> None:
    path = lab.folder / "any.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        said = load_plan(path, overrides=Overrides(simulate=True)).digest
    except BatchFileError as error:
        said = "".join(problem.message for problem in error.problems)
    assert said


@REAL_FILES
@given(st.text() | st.binary())
def test_any_text_is_a_plan_or_says_why_not(lab: Lab, content):
    is_a_plan_or_says_why_not(lab, content)


@REAL_FILES
@given(st.dictionaries(KEYS, TREES))
def test_any_values_under_known_keys_are_a_plan_or_say_why_not(lab: Lab, content):
    is_a_plan_or_says_why_not(lab, yaml.safe_dump(content, allow_unicode=True))


@REAL_FILES
@given(
    st.integers(0, len(MINIMAL)), st.integers(0, 12), st.text(max_size=6) | st.sampled_from(list(":-{}[]&*!|>#'\"%@"))
)
def test_a_good_batch_with_a_slip_of_the_hand_is_a_plan_or_says_why_not(lab: Lab, at, cut, typed):
    is_a_plan_or_says_why_not(lab, MINIMAL[:at] + typed + MINIMAL[at + cut :])
