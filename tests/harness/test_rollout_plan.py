"""What the files say of the rollout becomes the policy that it follows; what does not fit together is said."""

from __future__ import annotations

import pytest

from harness.plan import Overrides
from harness.rollout.policy import Breaker, CanaryGate, ExitOn, Gates, Group, RolloutPolicy, WaveSize
from tests.harness.lab import MINIMAL, Lab


def policy(lab: Lab, batch: str = "", site: str | None = None) -> RolloutPolicy:
    return lab.plan(MINIMAL + batch, site).rollout


def test_a_plain_batch_is_one_wave_without_gates(lab: Lab):
    assert policy(lab) == RolloutPolicy(max_concurrent=10, breaker=Breaker(failures=3, pause_s=60))


def test_a_sequential_batch_is_one_device_at_a_time(lab: Lab):
    assert policy(lab, "strategy: sequential\n", "flash_settings: {max_concurrent: 4}\n").max_concurrent == 1


def test_a_gradual_batch_has_the_documented_sizes_where_it_is_silent(lab: Lab):
    found = policy(lab, "strategy: gradual\n")
    assert (found.waves, found.success_threshold) == ((WaveSize(devices=5),), 90)
    assert (found.soak_s, found.approve) == (0, False)


def test_waves_may_be_numbers_and_shares(lab: Lab):
    found = policy(lab, "strategy: gradual\nwaves: [1, 5, 10%, '12.5%', 100%]\nsoak: 30\napprove: true\n")
    assert found.waves == (
        WaveSize(devices=1),
        WaveSize(devices=5),
        WaveSize(percent=10),
        WaveSize(percent=12.5),
        WaveSize(percent=100),
    )
    assert (found.soak_s, found.approve, found.approval_timeout_s) == (30, True, 3600)


GATES = """\
quality_gates:
  min_success_rate: 80
  max_failure_rate: 20
  require_verification: true
  stop_on_failure_threshold: true
  canary: {max_failure_rate: 5}
performance_thresholds: {max_flash_time: 120, min_flash_time: 5, max_verification_time: 30}
exit_on: devices
"""


@pytest.mark.parametrize(("batch", "site"), [(GATES, ""), ("", GATES)])
def test_gates_may_stand_in_either_file(lab: Lab, batch, site):
    found = policy(lab, batch, site or None)
    assert found.gates == Gates(
        min_success_rate=80,
        max_failure_rate=20,
        require_verification=True,
        max_flash_time=120,
        min_flash_time=5,
        max_verification_time=30,
        canary=CanaryGate(max_failure_rate=5, confidence=95),
    )
    assert (found.stop_early, found.exit_on) == (True, ExitOn.DEVICES)


def test_the_batchs_gate_wins_over_the_sites_key_by_key(lab: Lab):
    gates = policy(lab, "quality_gates: {min_success_rate: 95}\n", GATES).gates
    assert (gates.min_success_rate, gates.max_failure_rate) == (95, 20)


@pytest.mark.parametrize(
    ("settings", "restores"),
    [
        ("", True),
        ("rollback_on_failure: false\n", False),
        ("rollback_settings: {restore_on_failed_gate: false}\n", False),
    ],
)
def test_a_failed_gate_takes_the_rollout_back_unless_told_otherwise(lab: Lab, settings, restores):
    assert policy(lab, settings).restore is restores


THREE_ON_HUBS = """\
name: Hubs
device_type: esp32
firmware_file: app.bin
groups:
  hub-1: {max_concurrent: 2, ports: ["/dev/serial/by-path/*-usb-0:1.*"]}
  elsewhere: {max_concurrent: 1, ports: ["/dev/nowhere*"]}
  rack: {max_concurrent: 3}
targets:
  - {device_id: A, connection_info: {port: "/dev/serial/by-path/pci-0-usb-0:1.1"}}
  - {device_id: B, connection_info: {port: "/dev/serial/by-path/pci-0-usb-0:2.1"}, groups: [rack]}
  - {device_id: C, connection_info: {port: "/dev/serial/by-path/pci-0-usb-0:1.4"}, groups: [rack]}
"""


@pytest.mark.parametrize("overrides", [None, Overrides(simulate=True)])
def test_devices_belong_to_groups_by_port_or_by_name_also_in_a_rehearsal(lab: Lab, overrides):
    found = lab.plan(THREE_ON_HUBS, overrides=overrides).rollout.groups
    assert found == (
        Group(name="hub-1", max_concurrent=2, devices=("A", "C")),
        Group(name="rack", max_concurrent=3, devices=("B", "C")),
    )


def test_the_sites_groups_hold_for_every_batch_and_the_batchs_win(lab: Lab):
    site = "groups: {usb: {max_concurrent: 4, ports: ['/dev/ttyUSB*']}}\n"
    assert policy(lab, "", site).groups == (Group(name="usb", max_concurrent=4, devices=("ESP32_001",)),)
    batch = "groups: {usb: {max_concurrent: 1, ports: ['/dev/ttyUSB0']}}\n"
    assert policy(lab, batch, site).groups[0].max_concurrent == 1


@pytest.mark.parametrize(
    ("settings", "breaker"),
    [
        ("error_handling: {circuit_breaker: false}\n", None),
        ("error_handling: {breaker_failures: 5, breaker_pause: 10}\n", Breaker(failures=5, pause_s=10)),
    ],
)
def test_the_breaker_is_set_by_the_files(lab: Lab, settings, breaker):
    assert policy(lab, settings).breaker == breaker


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            "batch_size: 5\n",
            "batch_size: does nothing with `strategy: parallel`; remove it, or use `strategy: gradual`",
        ),
        ("strategy: sequential\nsoak: 5\n", "soak: does nothing with `strategy: sequential`"),
        ("strategy: gradual\nwaves: [1]\nbatch_size: 2\n", "waves: stands beside `batch_size`; give one of the two"),
        ("strategy: gradual\nwaves: []\n", "waves: expected at least one"),
        ("strategy: gradual\nwaves: [0]\n", "waves[1]: expected a number of devices such as 5, or a share"),
        ("strategy: gradual\nwaves: [0%]\n", "waves[1]: expected a number of devices such as 5, or a share"),
        ("strategy: gradual\nwaves: [1, 110%]\n", "waves[2]: expected a number of devices such as 5, or a share"),
        ("strategy: gradual\nwaves: [true]\n", "waves[1]: expected a number of devices such as 5, or a share"),
        ("strategy: gradual\napproval_timeout: 5\n", "approval_timeout: does nothing without `approve: true`"),
        ("strategy: gradual\nsuccess_threshold: 101\n", "success_threshold: must be at most 100 percent, got 101"),
        (
            "quality_gates: {canary: {max_failure_rate: 5, confidence: 100}}\n",
            "confidence: must be less than 100 percent",
        ),
        (
            "quality_gates: {require_verification: true}\nflash_settings: {verify_after_flash: false}\n",
            "flash_settings.verify_after_flash: contradicts `require_verification: true`",
        ),
        (
            "performance_thresholds: {min_flash_time: 10, max_flash_time: 5}\n",
            "min_flash_time: no device can pass: it must take 10 s at least and 5 s at most",
        ),
        ("groups: {hub: {max_concurrent: 0}}\n", "groups.hub.max_concurrent: must be at least 1, got 0"),
    ],
)
def test_what_does_not_fit_together_is_said_once(lab: Lab, settings, said):
    problems = lab.problems(MINIMAL + settings)
    assert len(problems) == 1
    assert said in problems[0]


def test_a_group_that_nobody_describes_is_a_mistake(lab: Lab):
    problems = lab.problems(THREE_ON_HUBS.replace("groups: [rack]", "groups: [rak]", 1))
    assert problems == ["batch.yaml:10:93: B: groups[1]: unknown group 'rak'; did you mean 'rack'?"]
