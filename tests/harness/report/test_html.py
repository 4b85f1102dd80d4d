"""The HTML report as a person meets it: in a browser, made by a real pytest run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from drivers.base import Identity
from harness.record import RunNote, RunRecord
from harness.rollout.state import GroupState, GroupStatus, RolloutState, Verdict
from tests.harness.builders import EPOCH, LOST, mixed_run, not_restored, not_run, restored, run_of, untouched, updated
from tests.harness.report.browser import chromium
from tests.harness.report.fleet import write_page
from tests.harness.report.rollouts import IDS, WHY, halted_rollout, rate

DEVICES = [f"ESP32_00{n}" for n in range(1, 9)]
ATTACK = '</pre></script><img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'


def row(browser: Chrome, device_id: str) -> WebElement:
    return next(
        body
        for body in browser.find_elements(By.CSS_SELECTOR, "#results-table > tbody")
        if body.find_element(By.CSS_SELECTOR, ".col-device").text == device_id
    )


def shown_devices(browser: Chrome) -> list[str]:
    return [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#results-table .col-device")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One device of each ending, run by two workers, of which one dies; made once."""
    folder = tmp_path_factory.mktemp("page")
    journals = folder / "journals"
    journals.mkdir()
    return write_page(folder, mixed_run(journals), "-n", "2", dying=("ESP32_007",))


@pytest.fixture
def opened(browser: Chrome, page: Path) -> Chrome:
    browser.get(page.as_uri())
    return browser


def test_every_device_has_one_row_even_those_of_a_dead_worker_and_those_that_did_not_run(opened: Chrome) -> None:
    assert sorted(shown_devices(opened)) == DEVICES


def test_a_device_whose_worker_died_has_one_row_though_its_item_ran_again(browser: Chrome, tmp_path: Path) -> None:
    run = run_of([updated(tmp_path, device_id).record() for device_id in DEVICES[:3]])
    browser.get(write_page(tmp_path, run, "-n", "2", dying_once=("ESP32_002",)).as_uri())

    assert sorted(shown_devices(browser)) == DEVICES[:3]
    assert "3 Passed" in browser.find_element(By.CSS_SELECTOR, ".filters").text
    row(browser, "ESP32_002").find_element(By.CSS_SELECTOR, ".col-device").click()
    assert "its worker died; a new one goes on" in row(browser, "ESP32_002").text


def test_without_xdist_the_page_is_the_same(browser: Chrome, tmp_path: Path, run: RunRecord) -> None:
    browser.get(write_page(tmp_path, run).as_uri())

    assert sorted(shown_devices(browser)) == DEVICES


def test_rows_of_one_result_keep_the_order_of_the_batch(opened: Chrome) -> None:
    good = [device_id for device_id in shown_devices(opened) if device_id in DEVICES[:3]]

    assert good == DEVICES[:3]


def test_a_row_tells_outcome_identity_versions_and_attempts(opened: Chrome) -> None:
    text = row(opened, "ESP32_002").text

    for told in ("✔ updated", "esp32", "ESP32-D0WD-V3 v3.1", "24:6f:28:00:00:02, 4 MiB", "1.1.0 → 1.2.0", "32.0 s"):
        assert told in text


def test_a_timeline_shows_each_phase_of_each_attempt_on_the_scale_of_the_longest_device(opened: Chrome) -> None:
    titles = [
        title.get_attribute("textContent")
        for title in row(opened, "ESP32_002").find_elements(By.CSS_SELECTOR, ".bf-timeline title")
    ]
    longest = row(opened, "ESP32_002").find_elements(By.CSS_SELECTOR, "g > rect")[-1].rect
    drawing = row(opened, "ESP32_002").find_element(By.CSS_SELECTOR, ".bf-timeline").rect

    assert "flash (attempt 1): failed, 3.0 s" in titles
    assert "flash (attempt 2): passed, 20.0 s" in titles
    assert longest["x"] + longest["width"] == pytest.approx(drawing["x"] + drawing["width"], abs=1)


def test_console_and_log_are_behind_a_click(opened: Chrome) -> None:
    device = row(opened, "ESP32_001")
    assert "app: demo 1.2.0" not in device.text

    device.find_element(By.CSS_SELECTOR, ".col-result").click()
    device = row(opened, "ESP32_001")
    assert device.find_element(By.CSS_SELECTOR, ".bf-details").is_displayed()
    device.find_element(By.CSS_SELECTOR, ".bf-details summary").click()

    assert "app: demo 1.2.0" in device.find_element(By.CSS_SELECTOR, ".bf-console").text


def test_a_click_on_the_words_in_a_cell_opens_the_row_too(opened: Chrome) -> None:
    row(opened, "ESP32_003").find_element(By.CSS_SELECTOR, ".col-device").click()

    assert row(opened, "ESP32_003").find_element(By.CSS_SELECTOR, ".bf-details").is_displayed()


def test_a_failed_device_shows_error_category_advice_attempts_and_rates(opened: Chrome) -> None:
    details = row(opened, "ESP32_005").find_element(By.CSS_SELECTOR, ".bf-details").text
    assert "identify: No serial data received." in details
    assert "connection" in details
    assert "What to do: Check the cable" in details
    assert "460800 baud" in details

    rolled_back = row(opened, "ESP32_004").find_element(By.CSS_SELECTOR, ".bf-details").text
    assert "102.4 KiB/s" in rolled_back


def test_a_failure_that_no_journal_knows_of_is_shown_in_pytests_words(
    browser: Chrome, tmp_path: Path, run: RunRecord
) -> None:
    browser.get(write_page(tmp_path, run, broken=("ESP32_008",)).as_uri())

    assert "a fixture of the lab's own is broken" in row(browser, "ESP32_008").text


def test_the_head_names_emergencies_before_anything_else(opened: Chrome) -> None:
    block = opened.find_element(By.CSS_SELECTOR, "div.bf-emergency")
    verdict = opened.find_element(By.CSS_SELECTOR, ".bf-verdict")

    assert "ESP32_006" in block.text
    assert "ESP32_007" in block.text
    assert "/dev/ttyUSB6" in block.text
    assert "Do not use or ship this board" in block.text
    assert block.rect["y"] < verdict.rect["y"] < opened.find_element(By.ID, "results-table").rect["y"]


def test_the_head_tells_counts_figures_categories_and_who_did_not_run(opened: Chrome) -> None:
    head = opened.find_element(By.CSS_SELECTOR, ".bf-summary").text

    for told in ("42.9 %", "16.5 s", "10.0 s", "23.0 s", "verification", "ESP32_008", "the run was interrupted"):
        assert told in head


def test_a_run_without_failures_says_so_and_shows_no_emergency(browser: Chrome, tmp_path: Path) -> None:
    run = run_of([updated(tmp_path, device_id).record() for device_id in DEVICES[:3]])
    browser.get(write_page(tmp_path, run).as_uri())

    assert "All 3 devices are on 1.2.0" in browser.find_element(By.CSS_SELECTOR, ".bf-verdict").text
    assert not browser.find_elements(By.CSS_SELECTOR, "div.bf-emergency")


@pytest.fixture(scope="module")
def halted_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("halted")
    journals = folder / "journals"
    journals.mkdir()
    return write_page(folder, halted_rollout(journals))


@pytest.fixture
def halted(browser: Chrome, halted_page: Path) -> Chrome:
    browser.get(halted_page.as_uri())
    return browser


def test_a_halted_rollout_says_so_at_the_top_with_what_the_boards_are_on(halted: Chrome) -> None:
    loud = halted.find_element(By.CSS_SELECTOR, ".bf-halted")
    verdict = halted.find_element(By.CSS_SELECTOR, ".bf-verdict").text

    assert loud.text == f"■ HALTED: {WHY}"
    assert "Halted in wave 3 of 4 and taken back" in verdict
    assert "Boards: 12 on 1.1.0 (2 rolled back, 10 restored), 28 on the firmware that they had (not run)" in verdict
    assert loud.rect["y"] < halted.find_element(By.CSS_SELECTOR, ".bf-rollout").rect["y"]


def test_waves_are_told_with_their_counts_and_gates(halted: Chrome) -> None:
    waves = [row.text for row in halted.find_elements(By.CSS_SELECTOR, ".bf-waves tbody tr")]

    assert len(waves) == 4
    assert waves[2].startswith("3 10 ✘ failed 14:34:50 14:35:35 4 2 4 ✘ failed success_threshold: 66.67 %")
    assert waves[3] == "4 24 ○ not started - - - - - -"


def test_the_gates_of_the_batch_have_figure_limit_and_verdict_in_words(halted: Chrome) -> None:
    gates = [row.text for row in halted.find_elements(By.CSS_SELECTOR, ".bf-gates tbody tr")]

    assert gates == [
        "✔ passed max_flash_time 12.3 s at most 60 s allowed slowest: ESP32_004",
        "○ not decided min_success_rate 83.33 % at least 80 % wanted 10 of 12 devices, 2 failed",
    ]


def test_what_happened_is_told_in_order_and_what_matters_is_bold(halted: Chrome) -> None:
    notes = halted.find_elements(By.CSS_SELECTOR, ".bf-notes tbody tr")

    assert notes[0].text == "14:13:20 +0 s wave 1 of 4 starts: 1 device"
    assert [note.text for note in halted.find_elements(By.CSS_SELECTOR, ".bf-notes strong")] == [
        WHY,
        "restoring 10 devices, newest wave first",
    ]


def test_a_restored_devices_row_tells_both_what_it_was_and_why_it_was_taken_back(halted: Chrome) -> None:
    restored = row(halted, "ESP32_003 wave 2")

    assert "↺ restored\nwas ✔ updated" in restored.text
    assert "1.1.0 → 1.2.0 → 1.1.0" in restored.text
    assert "taken back, since success_threshold failed in wave 3" in restored.text
    assert "It had been updated; it was taken back since" in restored.text
    assert "UTC, after a pause of 11 min 45 s" in restored.text


def test_a_row_of_a_device_that_did_not_run_says_why(halted: Chrome) -> None:
    assert WHY in row(halted, "ESP32_040 wave 4").find_element(By.CSS_SELECTOR, ".col-timeline").text


def test_a_device_has_one_row_and_is_counted_once_though_two_items_were_run_for_it(halted: Chrome) -> None:
    shown = [device.split()[0] for device in shown_devices(halted)]

    assert sorted(shown) == sorted(IDS)
    assert "2 Failed" in halted.find_element(By.CSS_SELECTOR, ".filters").text
    assert "38 Skipped" in halted.find_element(By.CSS_SELECTOR, ".filters").text


def test_a_plain_run_has_no_section_of_a_rollout(opened: Chrome) -> None:
    assert not opened.find_elements(By.CSS_SELECTOR, ".bf-rollout, .bf-halted, .bf-wave, .bf-rehearsal")


def test_boards_that_could_not_be_taken_back_are_told(browser: Chrome, tmp_path: Path) -> None:
    left = [not_restored(tmp_path).record(), updated(tmp_path, "ESP32_009").record()]
    run = run_of(left, rollout=RolloutState(halted="wave 2 failed", restoring=True))
    browser.get(write_page(tmp_path, run).as_uri())
    told = browser.find_element(By.CSS_SELECTOR, ".bf-not-restored").text

    assert "ESP32_002 /dev/ttyUSB2 not restored: No serial data received." in told
    assert "ESP32_009 /dev/ttyUSB9 not restored: its turn never came" in told


def test_a_rehearsal_says_so_before_anything_else(browser: Chrome, tmp_path: Path) -> None:
    browser.get(write_page(tmp_path, run_of([updated(tmp_path).record()], rehearsal=True)).as_uri())
    head = browser.find_element(By.CSS_SELECTOR, ".bf-summary")

    assert head.text.startswith("A rehearsal: every board was a virtual twin")


def test_nothing_that_a_board_or_a_batch_says_becomes_markup(browser: Chrome, tmp_path: Path) -> None:
    error = replace(LOST, message=ATTACK, advice=ATTACK, kind=ATTACK)
    hostile = replace(
        untouched(tmp_path, error=error).record(),
        console=ATTACK + "\x1b[31m\x00",
        log=(ATTACK,),
        port=ATTACK,
        device_type=ATTACK,
        reason=ATTACK,
        version_before=ATTACK,
        identity=Identity(ATTACK, ATTACK, ATTACK, 1),
    )
    gate = rate(Verdict.FAILED, 0, 1, ATTACK)
    group = GroupState(name=ATTACK, status=GroupStatus.GIVEN_UP, reason=ATTACK)
    rollout = RolloutState(gates=(gate,), groups=(group,), halted=ATTACK, restoring=True)
    notes = (RunNote(EPOCH, ATTACK, loud=True),)
    said = dict.fromkeys(("batch_name", "description", "batch_file", "version"), ATTACK)
    run = run_of([hostile, restored(tmp_path).record(), not_run(reason=ATTACK)], rollout=rollout, notes=notes, **said)
    browser.get(write_page(tmp_path, run).as_uri())
    for summary in browser.find_elements(By.CSS_SELECTOR, ".bf-details summary"):
        summary.click()

    console = browser.find_element(By.CSS_SELECTOR, ".bf-console").text
    assert console == ATTACK + "\\x1b[31m\\x00"
    assert browser.title == ATTACK
    assert not [image for image in browser.find_elements(By.TAG_NAME, "img") if image.get_attribute("src")]


def test_the_page_asks_for_nothing_from_elsewhere(opened: Chrome) -> None:
    assert opened.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)") == []


def without_scripts_and_styles(page: Path, folder: Path) -> Path:
    """As Jenkins serves it."""
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
    blocked = folder / "blocked.html"
    blocked.write_text(page.read_text().replace("<head>", f"<head>{policy}", 1))
    return blocked


def test_where_scripts_and_styles_are_blocked_the_page_still_tells_of_every_device(page: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile", "--blink-settings=scriptEnabled=false") as browser:
        browser.get(without_scripts_and_styles(page, tmp_path).as_uri())
        text = browser.find_element(By.CSS_SELECTOR, ".bf-summary").text
        drawings = browser.find_elements(By.CSS_SELECTOR, ".bf-summary svg.bf-timeline")

    assert [device_id for device_id in DEVICES if device_id in text] == DEVICES
    assert "EMERGENCY" in text
    assert len(drawings) == len(DEVICES) - 1  # one did not run


def test_where_they_are_blocked_the_rollout_is_told_all_the_same(halted_page: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile", "--blink-settings=scriptEnabled=false") as browser:
        browser.get(without_scripts_and_styles(halted_page, tmp_path).as_uri())
        text = browser.find_element(By.CSS_SELECTOR, ".bf-summary").text

    for told in (f"HALTED: {WHY}", "✘ failed success_threshold: 66.67 %", "was ✔ updated", "ESP32_040 wave 4"):
        assert told in text
