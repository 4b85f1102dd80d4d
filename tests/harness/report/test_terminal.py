"""The last words on the terminal: what failed, what the board is on, what to do; emergencies last and loud."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.record import RunRecord
from harness.report.terminal import print_summary, summary_lines
from tests.harness.builders import LOST, run_of, untouched, updated


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
