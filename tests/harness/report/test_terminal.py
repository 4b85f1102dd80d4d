"""The last words on the terminal: what failed, what the board is on, what to do; emergencies last and loud."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from harness.record import RunRecord
from harness.report.terminal import print_summary, summary_lines
from harness.rollout.state import GroupState, GroupStatus, RolloutState, WaveState, WaveStatus
from tests.harness.builders import EPOCH, LOST, not_restored, not_run, run_of, untouched, updated
from tests.harness.report.rollouts import WHY, halted_rollout, passed_rollout


def text(run: RunRecord) -> str:
    return "\n".join(line.text for line in summary_lines(run))


def test_the_first_line_counts_each_outcome(run: RunRecord) -> None:
    assert summary_lines(run)[0].text == (
        "8 devices: 2 updated, 1 unchanged, 1 rolled back, 1 untouched, 2 EMERGENCY, 1 not run; 42.9% success in 33.0 s"
    )


def test_a_failed_device_says_what_failed_what_it_is_on_and_what_to_do(run: RunRecord) -> None:
    lines = [line.text for line in summary_lines(run)]
    at = lines.index("↩ ESP32_004: verify: the flash at 0x10000 does not hold app.bin [verification]")

    assert lines[at + 1].strip() == "rolled back: back on 1.1.0, verified"
    assert lines[at + 2].strip() == "What is in flash differs from the image."


def test_a_rollout_has_a_line_for_each_wave_and_each_gate(tmp_path: Path) -> None:
    lines = [line.text for line in summary_lines(halted_rollout(tmp_path))]
    start = lines.index("wave 1 of 4: 1 device: 1 updated: passed; 1 restored")

    assert [line for line in lines[start:] if not line.startswith("  ✔")][:6] == [
        "wave 1 of 4: 1 device: 1 updated: passed; 1 restored",
        "wave 2 of 4: 5 devices: 5 updated: passed; 5 restored",
        "wave 3 of 4: 10 devices: 4 updated, 2 rolled back, 4 not run: failed; 4 restored",
        "  ✘ success_threshold: 66.67 %, at least 90 % wanted (4 of 6 devices, 2 failed)",
        "wave 4 of 4: 24 devices: not started",
        "the whole batch:",
    ]
    assert "  ✔ max_flash_time: 12.3 s, at most 60 s allowed (slowest: ESP32_004)" in lines
    assert lines[lines.index("the whole batch:") + 2].endswith("(10 of 12 devices, 2 failed): not decided")


def test_a_halt_is_loud_and_says_why(tmp_path: Path) -> None:
    halt = next(line for line in summary_lines(halted_rollout(tmp_path)) if line.text.startswith("HALTED"))

    assert halt.text == f"HALTED: {WHY}"
    assert halt.markup == {"red": True, "bold": True}


def test_devices_that_share_a_fate_share_a_line(tmp_path: Path) -> None:
    lines = [line.text for line in summary_lines(halted_rollout(tmp_path))]
    at = lines.index("↺ 10 devices: restored, since success_threshold failed in wave 3")

    assert lines[at + 1].strip() == "ESP32_001, ESP32_002, ESP32_003, ESP32_004, ESP32_005, ESP32_006 and 4 more"
    assert lines[at + 2] == f"○ 28 devices: not run: {WHY}"


def test_a_board_that_could_not_be_taken_back_is_loud(tmp_path: Path) -> None:
    run = run_of([not_restored(tmp_path).record()], rollout=RolloutState(halted="wave 2 failed", restoring=True))
    left = next(line for line in summary_lines(run) if "ESP32_002" in line.text)

    assert left.text == "✘ ESP32_002: on 1.2.0, verified; not restored: No serial data received."
    assert left.markup == {"red": True, "bold": True}


def test_a_group_that_was_given_up_is_told(tmp_path: Path) -> None:
    group = GroupState(name="hub-1", status=GroupStatus.GIVEN_UP, reason="3 errors in a row [connection]")
    run = run_of([updated(tmp_path).record()], rollout=RolloutState(groups=(group,)))

    assert "group hub-1 given up: 3 errors in a row [connection]" in text(run)


def test_waves_that_never_started_share_a_line(tmp_path: Path) -> None:
    waves = [WaveState(number=n, devices=(f"D{n}", f"E{n}"), started=EPOCH if n == 1 else None) for n in range(1, 9)]
    begun = waves[0].model_copy(update={"status": WaveStatus.FAILED})
    run = run_of([not_run("D1")], rollout=RolloutState(waves=(begun, *waves[1:])))

    assert "waves 2 to 8 of 8: 14 devices: not started" in text(run)


def test_the_end_says_what_the_boards_are_on_and_only_emergencies_come_later(tmp_path: Path, run: RunRecord) -> None:
    assert summary_lines(halted_rollout(tmp_path))[-1].text == (
        "boards: 12 on 1.1.0 (2 rolled back, 10 restored), 28 on the firmware that they had (not run)"
    )
    boards = [line.text for line in summary_lines(run)].index(
        "boards: 3 on 1.2.0 (2 updated, 1 unchanged), 1 on 1.1.0 (rolled back),"
        " 2 on the firmware that they had (1 untouched, 1 not run), 2 unknown (EMERGENCY)"
    )
    assert "UNKNOWN STATE" in summary_lines(run)[boards + 2].text


def test_a_rehearsal_does_not_speak_of_boards(tmp_path: Path) -> None:
    last = summary_lines(run_of([updated(tmp_path).record()], rehearsal=True))[-1]

    assert last.text == "virtual twins, no board was touched: 1 on 1.2.0 (updated)"


def test_failures_that_the_gates_allow_are_not_red(tmp_path: Path) -> None:
    first = summary_lines(passed_rollout(tmp_path))[0]

    assert first.markup == {"yellow": True, "bold": True}


def test_a_plain_run_says_nothing_of_waves_or_gates(run: RunRecord) -> None:
    assert not re.search(r"wave|gate|HALTED", text(run))


def test_a_device_that_did_not_run_says_why(run: RunRecord) -> None:
    assert "ESP32_008: not run: the run was interrupted" in text(run)


def test_boards_in_an_unknown_state_come_last_in_bold_red(run: RunRecord) -> None:
    lines = summary_lines(run)
    start = next(at for at, line in enumerate(lines) if "BOARDS IN AN UNKNOWN STATE" in line.text)
    block = lines[start:]

    assert lines[start].markup == {"red": True, "bold": True}
    assert [line.text.split()[1] for line in block if line.text.startswith("⚠")] == ["ESP32_006", "ESP32_007"]
    assert any("/dev/ttyUSB6" in line.text for line in block)


def test_a_good_run_is_green_and_has_no_such_block(tmp_path: Path) -> None:
    run = run_of([updated(tmp_path).record()])
    written: list[tuple[str, dict[str, bool]]] = []
    print_summary(run, lambda line, markup: written.append((line, markup)))

    assert written[0][1]["green"]
    assert "UNKNOWN" not in "".join(line for line, _ in written)


def test_a_board_can_not_steer_the_terminal(tmp_path: Path) -> None:
    error = replace(LOST, message="\x1b[2J\x07gone\nBOARDS ARE FINE")

    shown = summary_lines(run_of([untouched(tmp_path, error=error).record()]))

    assert "\\x1b[2J\\x07gone BOARDS ARE FINE" in shown[1].text
    assert all("\n" not in line.text and "\x1b" not in line.text for line in shown)
