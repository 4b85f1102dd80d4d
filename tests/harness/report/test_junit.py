"""`junit.xml` keeps to Jenkins' schema whatever a device says, and tells of every device and every attempt.

`junit-10.xsd` is the schema of Jenkins' xunit plugin (MIT, its licence is in the file), as pytest's sources carry it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from harness.record import DeviceRecord, ErrorRecord, Outcome, Phase, RunRecord
from harness.report import junit
from harness.rollout.state import RolloutState
from tests.harness.builders import BAD, not_restored, run_of, updated
from tests.harness.report.rollouts import WHY, halted_rollout

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).with_name("junit-10.xsd")))
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)  # surrogates, controls and all


@pytest.fixture
def document(run: RunRecord, tmp_path: Path) -> etree._Element:
    return written(run, tmp_path)


def written(run: RunRecord, folder: Path) -> etree._Element:
    """The document, which keeps to the schema."""
    junit.write(run, folder / "junit.xml")
    root = etree.parse(folder / "junit.xml").getroot()
    SCHEMA.assertValid(root)
    return root


def case(document: etree._Element, device_id: str) -> etree._Element:
    return document.find(f".//testcase[@name='{device_id}']")


def test_the_document_is_valid_and_has_a_case_for_each_device(document: etree._Element, run: RunRecord) -> None:
    names = [element.get("name") for element in document.iterfind(".//testcase")]

    assert names == [device.device_id for device in run.devices]
    assert {element.get("classname") for element in document.iterfind(".//testcase")} == {"fleet.esp32"}


def test_a_rolled_back_device_failed_and_an_untouched_or_unknown_one_is_an_error(document: etree._Element) -> None:
    found = {
        element.get("name"): [child.tag for child in element if child.tag in ("failure", "error", "skipped")]
        for element in document.iterfind(".//testcase")
    }

    assert found == {
        "ESP32_001": [],
        "ESP32_002": [],
        "ESP32_003": [],
        "ESP32_004": ["failure"],
        "ESP32_005": ["error"],
        "ESP32_006": ["error"],
        "ESP32_007": ["error"],
        "ESP32_008": ["skipped"],
    }


def test_the_counts_are_those_of_the_cases(document: etree._Element) -> None:
    suite = document.find("testsuite")

    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "8",
        "failures": "1",
        "errors": "3",
        "skipped": "1",
    }


def test_identity_and_versions_are_properties_of_the_devices_suite(document: etree._Element) -> None:
    suite = case(document, "ESP32_002").getparent()
    properties = {element.get("name"): element.get("value") for element in suite.iterfind("properties/property")}

    assert (
        properties.items()
        >= {
            "chip": "ESP32-D0WD-V3",
            "serial": "24:6f:28:00:00:02",
            "flash_size": str(4 << 20),
            "version_before": "1.1.0",
            "version_after": "1.2.0",
            "attempts": "2",
            "outcome": "updated",
        }.items()
    )


def test_an_attempt_that_failed_is_seen_whether_the_next_one_passed_or_not(document: etree._Element) -> None:
    flaky = case(document, "ESP32_002").findall("flakyFailure")
    again = case(document, "ESP32_005").findall("rerunFailure")

    assert [(each.get("type"), each.get("message")) for each in flaky] == [("connection", "No serial data received.")]
    assert len(again) == 1
    assert "attempt 1 at 921600 baud" in again[0].findtext("stackTrace")


def test_a_failure_tells_the_state_of_the_board_and_what_to_do(document: etree._Element) -> None:
    failure = case(document, "ESP32_004").find("failure")

    assert failure.get("type") == "verification: VerificationFailed"
    assert "back on 1.1.0, verified" in failure.text
    assert BAD.advice in failure.text


def test_a_device_that_did_not_run_says_why(document: etree._Element) -> None:
    assert case(document, "ESP32_008").find("skipped").get("message") == "the run was interrupted"


def test_console_output_is_in_system_out_after_the_facts(document: etree._Element) -> None:
    output = case(document, "ESP32_001").findtext("system-out")

    assert output.startswith("outcome: updated")
    assert output.index("version_after: 1.2.0") < output.index("app: demo 1.2.0")


@settings(max_examples=60, deadline=None)
@given(text=ANY_TEXT, outcome=st.sampled_from(Outcome))
def test_whatever_a_board_says_the_document_stays_valid(
    text: str, outcome: Outcome, tmp_path_factory: pytest.TempPathFactory
) -> None:
    error = replace(BAD, message=text, kind=text, advice=text)
    device = DeviceRecord("D1", text, text, outcome=outcome, error=error, reason=text, console=text, log=(text,))
    run = run_of([device], batch_name=text, description=text, interrupted=text)

    root = written(run, tmp_path_factory.mktemp("junit"))

    assert case(root, "D1") is not None


def test_control_characters_are_spelled_out_so_that_nothing_is_lost(tmp_path: Path) -> None:
    error = ErrorRecord(BAD.category, "E", "got \x00\x1b[31m", "", Phase.FLASH)
    device = DeviceRecord("D1", "esp32", "p", outcome=Outcome.UNTOUCHED, error=error, console="a\r\nb\x07")

    root = written(run_of([device]), tmp_path)

    assert case(root, "D1").find("error").get("message") == "flash: got \\x00\\x1b[31m"
    assert case(root, "D1").findtext("system-out").endswith("a\nb\\x07")


def test_gates_are_cases_of_a_suite_of_their_own(tmp_path: Path) -> None:
    suite = written(halted_rollout(tmp_path), tmp_path).find("testsuite[@name='quality gates']")
    found = {each.get("name"): [child.tag for child in each if child.tag != "system-out"] for each in suite}
    failed = suite.find("testcase/failure/..")

    assert {name: tags[0] for name, tags in found.items() if tags} == {
        "wave 3: success_threshold": "failure",
        "wave 4: success_threshold": "skipped",
        "wave 4: max_flash_time": "skipped",
        "min_success_rate": "skipped",
    }
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "10",
        "failures": "1",
        "skipped": "3",
    }
    assert "66.67 %, at least 90 % wanted" in failed.findtext("system-out")


def test_a_run_that_asked_for_no_gates_has_no_such_suite(document: etree._Element) -> None:
    assert len(document.findall("testsuite")) == 1


def test_the_passed_cases_are_the_boards_on_the_new_firmware_and_no_more(tmp_path: Path) -> None:
    devices = written(halted_rollout(tmp_path), tmp_path).find("testsuite")
    counts = {name: devices.get(name) for name in ("tests", "failures", "errors", "skipped")}

    assert counts == {"tests": "40", "failures": "2", "errors": "0", "skipped": "38"}


def test_a_restored_device_says_what_it_is_on_and_why_it_was_taken_back(tmp_path: Path) -> None:
    message = case(written(halted_rollout(tmp_path), tmp_path), "ESP32_003").find("skipped").get("message")

    assert message == ("taken back to 1.1.0, verified: it had been updated, but success_threshold failed in wave 3")


def test_a_device_that_could_not_be_taken_back_is_a_failure(tmp_path: Path) -> None:
    halted = RolloutState(halted="wave 2 failed", restoring=True)
    left = [not_restored(tmp_path).record(), updated(tmp_path, "ESP32_009").record()]
    root = written(run_of(left, rollout=halted), tmp_path)

    assert case(root, "ESP32_002").find("failure").get("message") == "not restored: No serial data received."
    assert case(root, "ESP32_009").find("failure").get("message") == "not restored: its turn never came"


def test_the_runs_properties_tell_its_waves_and_what_the_boards_are_on(tmp_path: Path) -> None:
    suite = written(halted_rollout(tmp_path), tmp_path).find("testsuite")
    properties = {each.get("name"): each.get("value") for each in suite.iterfind("properties/property")}

    assert properties["halted"] == WHY
    assert properties["waves"] == "4"
    assert properties["wave 2"] == "wave 2 of 4: 5 devices: 5 updated: passed; 5 restored"
    assert properties["boards"].startswith("12 on 1.1.0")


def test_an_empty_run_is_a_valid_document(tmp_path: Path) -> None:
    assert written(run_of([]), tmp_path).find("testsuite").get("tests") == "0"
