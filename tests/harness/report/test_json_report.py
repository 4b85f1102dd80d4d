"""`report.json` has the documented shape, and is never found half-written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.record import RunRecord
from harness.report import json_report
from harness.rollout.state import GroupState, GroupStatus
from tests.harness.builders import EPOCH, run_of
from tests.harness.report.rollouts import WHY, halted_rollout


@pytest.fixture
def report(run: RunRecord, tmp_path: Path) -> dict[str, Any]:
    json_report.write(run, tmp_path / "report.json")
    return json.loads((tmp_path / "report.json").read_text())


def device(report: dict[str, Any], device_id: str) -> dict[str, Any]:
    return next(each for each in report["devices"] if each["device_id"] == device_id)


def test_summary_and_statistics(report: dict[str, Any]) -> None:
    assert report["batch_id"] == "20260923-101320-fleet-c0de"
    assert report["summary"] == {
        "total_count": 8,
        "success_count": 3,
        "failure_count": 4,
        "success_rate": 42.86,
        "total_time": 33.01,
        "skipped_count": 1,
        "unchanged_count": 1,
        "rolled_back_count": 1,
        "restored_count": 0,
        "emergency_count": 2,
        "retried_count": 2,
        "firmware": [
            {"version": "1.2.0", "certainty": "known", "count": 3, "outcomes": {"updated": 2, "unchanged": 1}},
            {"version": "1.1.0", "certainty": "known", "count": 1, "outcomes": {"rolled-back": 1}},
            {"version": None, "certainty": "as-before", "count": 2, "outcomes": {"untouched": 1, "not-run": 1}},
            {"version": None, "certainty": "unknown", "count": 2, "outcomes": {"emergency": 2}},
        ],
    }
    assert report["statistics"]["average_flash_time"] == 16.5
    assert report["statistics"]["error_categories"] == {
        "timeout": 0,
        "connection": 1,
        "permission": 0,
        "verification": 2,
        "flash": 0,
        "network": 0,
        "other": 1,
    }


def test_a_device_tells_identity_versions_attempts_and_phases(report: dict[str, Any]) -> None:
    retried = device(report, "ESP32_002")

    assert retried["identity"]["serial"] == "24:6f:28:00:00:02"
    assert (retried["version_before"], retried["version_after"]) == ("1.1.0", "1.2.0")
    assert [attempt["baud"] for attempt in retried["attempts"]] == [921600, 460800]
    assert retried["attempts"][0]["error"]["category"] == "connection"
    assert [phase["time"] for phase in retried["phases"] if phase["phase"] == "flash"] == [3.0, 20.0]


def test_a_failed_device_tells_its_category_and_advice(report: dict[str, Any]) -> None:
    error = device(report, "ESP32_004")["error"]

    assert error["category"] == "verification"
    assert error["message"]
    assert error["advice"]


def test_emergencies_are_named_with_what_to_do(report: dict[str, Any]) -> None:
    assert [each["device_id"] for each in report["emergencies"]] == ["ESP32_006", "ESP32_007"]
    assert all("Do not use or ship" in each["advice"] for each in report["emergencies"])


def test_a_rollout_is_told_wave_by_wave_and_gate_by_gate(tmp_path: Path) -> None:
    report = json_report.as_json(halted_rollout(tmp_path))
    waves = report["waves"]

    assert (report["halted"], report["restoring"]) == (WHY, True)
    assert [(wave["status"], len(wave["devices"])) for wave in waves] == [
        ("passed", 1),
        ("passed", 5),
        ("failed", 10),
        ("waiting", 24),
    ]
    assert [(wave["success_count"], wave["failure_count"]) for wave in waves] == [(1, 0), (5, 0), (4, 2), (0, 0)]
    assert waves[2]["gates"][0] | {"figure": 67} == {
        "name": "success_threshold",
        "verdict": "failed",
        "figure": 67,
        "limit": 90.0,
        "unit": "percent",
        "detail": "4 of 6 devices, 2 failed",
    }
    assert [gate["name"] for gate in report["gates"]] == ["max_flash_time", "min_success_rate"]
    assert {"at": EPOCH + 1335, "text": WHY, "loud": True} in report["notes"]


def test_a_restored_device_tells_its_wave_and_how_its_update_had_ended(tmp_path: Path) -> None:
    told = device(json_report.as_json(halted_rollout(tmp_path)), "ESP32_003")

    assert (told["wave"], told["update_outcome"], told["outcome"]) == (2, "updated", "restored")
    assert (told["version_before"], told["version_wanted"], told["version_after"]) == ("1.1.0", "1.2.0", "1.1.0")
    assert told["time"] == pytest.approx(22.4, abs=0.1)  # the half hour's wait in between is no work


def test_every_key_is_documented(report: dict[str, Any], tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "reports.md").read_text()
    group = GroupState(name="hub-1", status=GroupStatus.PAUSED, reason="3 errors in a row [connection]", until=EPOCH)
    run = halted_rollout(tmp_path)
    rollout = json_report.as_json(replace(run, rollout=run.rollout.model_copy(update={"groups": (group,)})))

    assert [key for key in sorted(_keys(rollout)) if f"`{key}`" not in text] == []
    assert [key for key in sorted(_keys(report)) if f"`{key}`" not in text] == []


def _keys(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*(_keys(each) for each in value))
    if not isinstance(value, dict):
        return set()
    return {key for key in value if key != "figures"} | set().union(
        *(_keys(each) for key, each in value.items() if key != "figures")
    )


def test_what_was_there_stays_when_the_report_can_not_be_written(tmp_path: Path, run: RunRecord) -> None:
    path = tmp_path / "report.json"
    path.mkdir()
    (path / "kept").write_text("")

    with pytest.raises(OSError, match=r"report\.json"):
        json_report.write(run, path)

    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == []


def test_an_empty_run_has_no_times(tmp_path: Path) -> None:
    json_report.write(run_of([]), tmp_path / "r.json")

    assert json.loads((tmp_path / "r.json").read_text())["statistics"]["average_flash_time"] is None
