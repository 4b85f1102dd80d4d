"""Which value counts: built-in defaults < site < batch < device type < target < command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.batch import Batch, Expect, Target
from harness.config import FlashSettings, Site
from harness.merge import ALIASES, Merger, Overrides, concurrency, overlay, said, setting
from harness.snapshot import DevicePlan, PlannedImage

IMAGE = PlannedImage(path=Path("/app.bin"), address=0x10000, size=0x1000, sha256="0" * 64, version="1.2.0")
seconds = st.floats(0.5, 900, allow_nan=False)
FILES_ONLY = Overrides()
maybe_seconds = st.none() | seconds


def only(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def device(batch: dict, site: dict | None = None, overrides: Overrides = FILES_ONLY, **target: object) -> DevicePlan:
    target = {"device_id": "A", "device_type": "esp32", "connection_info": {"port": "/dev/a"}, **target}
    models = (Batch.model_validate({"name": "n", **batch, "targets": [target]}), Site.model_validate(site or {}))
    return Merger(*models, overrides, Path("/batches")).device(0, (IMAGE,), "1.2.0")


@given(maybe_seconds, maybe_seconds, maybe_seconds, maybe_seconds)
def test_the_nearest_timeout_counts(site, batch, by_type, target):
    plan = device(
        {**only(timeout=batch), "device_types": {"esp32": only(timeout=by_type)}},
        {"flash_settings": only(timeout=site)},
        **only(timeout=target),
    )
    given_values = [value for value in (target, by_type, batch, site, 300) if value is not None]
    assert plan.limits.device_s == given_values[0]


@given(st.lists(st.fixed_dictionaries({}, optional={"version_within": seconds, "settle": seconds}), max_size=4))
def test_a_later_layer_wins_key_by_key_and_only_with_what_it_says(layers):
    merged = overlay(Expect, *(Expect.model_validate(layer) for layer in layers))
    expected = {"version_within": 10, "settle": 1} | {key: value for layer in layers for key, value in layer.items()}
    assert {"version_within": merged.version_within, "settle": merged.settle} == expected


@given(maybe_seconds, maybe_seconds, maybe_seconds)
def test_overlaying_does_not_depend_on_how_it_is_grouped(one, two, three):
    layers = [Expect.model_validate(only(version_within=value)) for value in (one, two, three)]
    left = overlay(Expect, overlay(Expect, *layers[:2]), layers[2])
    right = overlay(Expect, layers[0], overlay(Expect, *layers[1:]))
    assert left == right == overlay(Expect, *layers)


@given(st.none() | st.integers(0, 20), st.none() | st.integers(0, 20), st.booleans())
def test_both_names_of_a_setting_count_and_the_batch_wins(site, batch, swap):
    sections = (("flash_settings", "max_retries"), ("error_handling", "max_retry_attempts"))
    (a, b), (c, d) = sections[::-1] if swap else sections
    plan = device({a: only(**{b: batch})}, {c: only(**{d: site})})
    given_values = [value for value in (batch, site, 3) if value is not None]
    assert plan.retry_policy.attempts == given_values[0] + 1


def test_every_name_of_a_setting_exists():
    for name, aliases in ALIASES.items():
        for alias in (name, *aliases):
            at_top = {"timeout": 1, "max_concurrent": 1, "rollback_on_failure": False}
            content = at_top if len(alias) == 1 else {alias[0]: {alias[1]: 1 if "max" in alias[1] else False}}
            if alias == ("flash_settings", "timeout"):
                content = {"flash_settings": {"timeout": 1}}
            target = {"device_id": "A", "connection_info": {"port": "x"}}
            batch = Batch.model_validate({"name": "n", "targets": [target], **content})
            assert setting(batch, Site(), *name) == said(batch, alias)


def test_no_retries_are_made_where_they_are_off():
    assert device({"error_handling": {"auto_retry": False, "max_retry_attempts": 5}}).retry_policy.attempts == 1


@pytest.mark.parametrize(
    ("target", "by_type", "site_type", "site_port", "rate"),
    [
        (115200, 230400, 460800, 57600, 115200),
        (None, 230400, 460800, 57600, 230400),
        (None, None, 460800, 57600, 460800),
        (None, None, None, 57600, 57600),
        (None, None, None, 921600, 460800),  # the built-in rate of the type, which a general one only lowers
        (None, None, None, None, 460800),
    ],
)
def test_the_transfer_rate_comes_from_the_nearest_that_says_one(target, by_type, site_type, site_port, rate):
    plan = device(
        {"device_types": {"esp8266": only(flash_baudrate=by_type)}},
        {
            "device_types": {"esp8266": only(flash_baudrate=site_type)},
            "interfaces": {"serial": only(flash_baudrate=site_port)},
        },
        device_type="esp8266",
        connection_info={"port": "/dev/a", **only(flash_baudrate=target)},
    )
    assert plan.flash_baudrate == rate


def test_a_batch_changes_single_keys_of_a_section_of_the_site():
    site = {"flash_settings": {"verify_after_flash": False, "backup_scope": "images"}}
    plan = device({"flash_settings": {"verify_after_flash": True}}, site)
    assert (plan.verify, plan.backup_scope) == (True, "images")


def test_limits_of_phases_follow_from_what_is_said():
    plan = device({"timeout": 60, "expect": {"version_within": 20}, "flash_settings": {"phase_timeouts": {"flash": 7}}})
    limits = plan.limits
    assert (limits.flash_s, limits.verify_s, limits.identify_s, limits.boot_s) == (7, 60, 35, 36)


def test_a_board_has_the_time_to_start_that_its_family_needs_unless_a_file_says():
    on_wlan = {"device_type": "esphome", "connection_info": {"host": "lamp"}}
    assert device({}, **on_wlan).expect.version_within == 60
    assert device({"expect": {"settle": 3}}, **on_wlan).expect.version_within == 60
    assert device({"expect": {"version_within": 20}}, **on_wlan).expect.version_within == 20
    assert device({}).expect.version_within == 10


def test_the_time_that_a_restart_may_take_is_part_of_the_boot():
    """MCUboot swaps two slots meanwhile."""
    plan = device({}, device_type="smp", connection_info={"host": "node"}, options={"restart_within": 90})
    assert plan.limits.boot_s == 90 + 10 + 1 + 15


def test_a_sequential_batch_is_one_at_a_time_whatever_the_site_allows():
    targets = [{"device_id": "A", "connection_info": {"port": "x"}}]
    batch = Batch.model_validate({"name": "n", "strategy": "sequential", "targets": targets})
    assert concurrency(batch, Site(flash_settings=FlashSettings(max_concurrent=10))) == 1


def test_a_real_port_has_no_twin_unless_one_is_asked_for():
    faults = {"virtual": {"faults": [{"fault": "silent"}]}}
    assert device(faults).virtual is None
    simulated = device(faults, overrides=Overrides(simulate=True))
    assert simulated.port == "virtual"
    assert simulated.virtual is not None
    assert [fault.fault for fault in simulated.virtual.faults] == ["silent"]


def test_a_twin_is_whom_the_batch_expects():
    expected = {"mac": "24-0A-C4-12-34-56", "flash_size": 0x800000}
    plan = device({}, overrides=Overrides(simulate=True), expected=expected)
    twin = plan.virtual
    assert twin is not None
    assert (twin.mac, twin.flash_size, twin.chip) == ("24:0a:c4:12:34:56", 0x800000, "esp32")
    assert (plan.expected.serial, plan.expected.flash_size) == (twin.mac, twin.flash_size)


@pytest.mark.parametrize(("device_type", "rate"), [("arduino", 57600), ("stm32", None)])
def test_a_twins_loader_has_the_one_rate_that_the_batch_believes_in(device_type: str, rate: int | None):
    target = {
        "device_id": "A",
        "device_type": device_type,
        "connection_info": {"port": "/dev/ttyUSB0", "flash_baudrate": 57600},
    }
    batch = Batch.model_validate({"name": "One", "targets": [target]})
    twin = Merger(batch, Site(), Overrides(simulate=True), Path("/")).device(0, (), "1").virtual
    assert twin is not None
    assert twin.flash_baudrate == rate


def test_another_board_can_be_put_in_a_twins_place():
    plan = device(
        {},
        expected={"mac": "24:0a:c4:12:34:56"},
        connection_info={"port": "virtual"},
        virtual={"mac": "24:0a:c4:00:00:01"},
    )
    assert plan.virtual is not None
    assert plan.virtual.mac != plan.expected.serial


def test_a_twins_flash_holds_the_images():
    large = IMAGE.model_copy(update={"size": 0x400000})
    batch = Batch.model_validate(
        {"name": "n", "targets": [{"device_id": "A", "device_type": "esp32", "connection_info": {"port": "virtual"}}]}
    )
    twin = Merger(batch, Site(), Overrides(), Path("/")).device(0, (large,), "1").virtual
    assert twin is not None
    assert twin.flash_size == 0x800000


@pytest.mark.parametrize(
    ("port", "said_keep", "simulate", "keep"),
    [
        ("virtual", None, False, True),
        ("virtual", False, False, False),
        ("/dev/a", None, True, False),
        ("/dev/a", True, True, True),
    ],
)
def test_a_bench_board_keeps_its_flash_and_a_rehearsals_twin_does_not(port, said_keep, simulate, keep):
    plan = device(
        {}, overrides=Overrides(simulate=simulate), connection_info={"port": port}, virtual=only(keep=said_keep)
    )
    assert plan.virtual is not None
    assert plan.virtual.keep is keep


def test_the_command_line_has_the_last_word():
    assert device({}, overrides=Overrides(reflash=True)).reflash


def test_targets_need_not_name_what_the_batch_says():
    target = Target.model_validate({"device_id": "A", "connection_info": {"port": "x"}})
    assert (target.device_type, target.version, target.firmware_file) == (None, None, None)
