"""The site file: every key of its documented form is honoured or refused by name; names of one setting agree."""

from __future__ import annotations

import pytest
import yaml

from drivers import load_driver
from harness.config import SITE_FILE
from harness.not_yet import TABLE
from tests.harness.lab import MINIMAL, Lab

DOCUMENTED = """\
interfaces:
  serial: {type: serial, baudrate: 115200, flash_baudrate: 921600, timeout: 30}
  network: {type: network, timeout: 30, port: 80}
  usb: {type: usb, timeout: 60}
flash_settings:
  {max_concurrent: 10, timeout: 300, max_retries: 3, verify_after_flash: true, backup_before_flash: true}
device_types:
  esp32:
    {interface: serial, flash_baudrate: 921600, chip: esp32, flash_address: "0x10000", max_firmware_size: 3145728}
quality_gates:
  min_success_rate: 80
  max_failure_rate: 20
  require_verification: true
  stop_on_failure_threshold: true
firmware_validation:
  validate_before_flash: true
  check_file_size: true
  verify_checksum: true
  validate_signature: false
  check_compatibility: true
performance_thresholds: {max_flash_time: 120, min_flash_time: 5, max_verification_time: 30}
error_handling:
  {auto_retry: true, max_retry_attempts: 3, retry_delay: 5, exponential_backoff: true, circuit_breaker: true}
rollback_settings: {auto_rollback: true, backup_before_flash: true, rollback_on_failure: true, rollback_timeout: 60}
security:
  api_key_auth: true
  rate_limiting: true
  max_api_calls: 100
  ip_restrictions: []
  validate_signature: true
  check_vulnerabilities: true
  scan_for_secrets: true
  verify_certificates: true
  audit_logging: true
  log_level: INFO
  secure_connections: true
performance:
  max_concurrent: 10
  worker_thread_pool_size: 20
  connection_pooling: true
  parallel_verification: true
  enable_caching: true
  cache_timeout: 300
  enable_compression: true
  optimize_for_ssd: true
  connection_timeout: 30
  read_timeout: 60
  max_connections_per_host: 5
logging: {log_level: DEBUG, detailed_logging: true, verbose_output: true}
notifications:
  slack: {enabled: true, webhook_url: "https://hooks.slack.com/services/x", channel: "#firmware-updates"}
  email: {enabled: true, smtp_server: smtp.company.com, recipients: [team@company.com]}
"""

REFUSED = {
    "security": 11,
    "performance": 8,  # all but the limits of connections
    "notifications": 2,
    "logging": 2,
}


def test_what_is_not_built_is_refused_by_its_name_and_all_else_is_honoured(lab: Lab):
    problems = lab.problems(MINIMAL, DOCUMENTED)
    sections = [problem.split(" ")[1].split(".")[0].rstrip(":") for problem in problems]
    assert {section: sections.count(section) for section in sections} == REFUSED
    assert not any("unknown key" in problem for problem in problems)
    assert any(
        "notifications.slack: notifications are not built yet; remove the key" in problem for problem in problems
    )


def test_the_documented_site_file_without_what_is_not_built_is_good(lab: Lab):
    content = yaml.safe_load(DOCUMENTED)
    for section in REFUSED.keys() - {"logging", "performance"}:
        del content[section]
    limits = ("connection_timeout", "read_timeout", "max_connections_per_host")
    content["performance"] = {key: content["performance"][key] for key in limits}
    del content["logging"]["detailed_logging"], content["logging"]["verbose_output"]
    assert lab.problems(MINIMAL, yaml.safe_dump(content)) == []


@pytest.mark.parametrize(
    ("batch", "site", "said"),
    [
        ("", "firmware_validation: {validate_signature: true}", "signatures are not checked yet; remove the key"),
        ("", "firmware_validation: {verify_checksum: false}", "checksums are always verified; remove the key, or true"),
        ("", "notifications: {}", "notifications: notifications are not built yet; remove the key"),
    ],
)
def test_a_key_that_is_not_built_is_refused_in_either_file(lab: Lab, batch, site, said):
    problems = lab.problems(MINIMAL + batch, site or None)
    assert len(problems) == 1
    assert said in problems[0]


@pytest.mark.parametrize("interface", ["network", "usb"])
def test_a_type_is_on_the_interface_of_its_family(lab: Lab, interface):
    (problem,) = lab.problems(MINIMAL, f"device_types: {{esp32: {{interface: {interface}}}}}")
    assert "device_types.esp32.interface: esp32 boards are on serial lines; say serial, or remove it" in problem


@pytest.mark.parametrize("connection", ["{host: 192.168.1.100}", "{mount_point: /media/RPI-RP2}"])
def test_a_connection_of_another_family_is_one_mistake(lab: Lab, connection):
    (problem,) = lab.problems(MINIMAL.replace("{port: /dev/ttyUSB0}", connection))
    assert "esp32 boards are on serial lines" in problem


def test_asking_for_nothing_is_no_mistake(lab: Lab):
    site = "error_handling: {circuit_breaker: false}\nfirmware_validation: {validate_signature: false}\n"
    assert lab.problems(MINIMAL, site) == []


def test_the_table_says_for_each_key_why_and_what_to_do():
    assert all(entry.why and entry.hint for entry in TABLE)
    assert len({(entry.path, str(entry.value)) for entry in TABLE}) == len(TABLE)


@pytest.mark.parametrize(
    ("site", "said"),
    [
        (
            "flash_settings: {max_retries: 3}\nerror_handling: {max_retry_attempts: 5}\n",
            "site.yaml:2:38: error_handling.max_retry_attempts: says 5, but flash_settings.max_retries on line 1",
        ),
        (
            "rollback_settings:\n  auto_rollback: true\n  rollback_on_failure: false\n",
            "site.yaml:3:24: rollback_settings.rollback_on_failure: says false, but rollback_settings.auto_rollback on",
        ),
        (
            "flash_settings: {backup_before_flash: true}\nrollback_settings: {backup_before_flash: false}\n",
            "site.yaml:2:42: rollback_settings.backup_before_flash: says false, but flash_settings.backup_before_flash",
        ),
    ],
)
def test_two_names_of_one_setting_must_agree(lab: Lab, site, said):
    (problem,) = lab.problems(MINIMAL, site)
    assert problem.startswith(said)
    assert problem.endswith("they are two names of one setting; keep one of them")


def test_a_batch_may_contradict_the_site(lab: Lab):
    site = "flash_settings: {timeout: 100}\nrollback_settings: {auto_rollback: true}\n"
    plan = lab.plan(MINIMAL + "timeout: 50\nrollback_on_failure: false\n", site)
    assert (plan.devices[0].limits.device_s, plan.devices[0].rollback) == (50, False)


def test_an_unknown_device_type_is_a_mistake_in_the_site_file_too(lab: Lab):
    assert lab.problems(MINIMAL, "device_types: {esp23: {}}\n") == [
        "site.yaml:1:16: device_types.esp23: unknown device type 'esp23'; did you mean 'esp32'?"
    ]


def test_without_a_site_file_the_built_in_types_are_known(lab: Lab):
    (device,) = lab.plan().devices
    assert device.images[0].address == load_driver("esp32").defaults.flash_address
    assert device.flash_baudrate == 921600


def test_the_projects_own_site_file_says_what_is_built_in(lab: Lab, request):
    """So that nobody's batch changes its meaning with the file's absence."""
    site = (request.config.rootpath / SITE_FILE).read_text()
    with_file, without = lab.plan(MINIMAL, site), lab.plan(MINIMAL)
    assert with_file.devices == without.devices
    assert with_file.rollout == without.rollout
