"""A run is found by its id, by a part of it, or as the last one; a folder that is none is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import runs
from harness.runs import NoSuchRun, RunFolder, UnreadablePlan
from tests.harness.lab import Lab


def make(lab: Lab, run_id: str, batch: str = "batch.yaml") -> RunFolder:
    folder = RunFolder(lab.folder / "runs" / run_id)
    folder.path.mkdir(parents=True)
    plan = lab.plan()
    folder.save_plan(plan.model_copy(update={"batch_file": lab.folder / batch}))
    return folder


@pytest.fixture
def three(lab: Lab) -> Path:
    make(lab, "20261101-100000-demo-aaaa")
    make(lab, "20261102-100000-prod-bbbb", "prod.yaml")
    make(lab, "20261103-100000-demo-cccc").become_latest()
    (lab.folder / "runs" / "20261104-100000-demo-dddd").mkdir()  # killed before it had a plan
    return lab.folder / "runs"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("20261101-100000-demo-aaaa", "20261101-100000-demo-aaaa"),
        ("bbbb", "20261102-100000-prod-bbbb"),
        ("last", "20261103-100000-demo-cccc"),
    ],
)
def test_a_run_is_found_by_what_names_it_alone(three: Path, name: str, found: str):
    assert runs.find(three, name).run_id == found


def test_the_last_run_of_a_batch_is_not_anothers(three: Path, lab: Lab):
    assert runs.find(three, "last", lab.folder / "prod.yaml").run_id == "20261102-100000-prod-bbbb"
    (three / "20261103-100000-demo-cccc" / "plan.json").write_text("{}")  # of another version
    assert runs.find(three, "last", lab.folder / "batch.yaml").run_id == "20261101-100000-demo-aaaa"


def test_the_last_run_is_the_one_that_was_begun_last_whatever_the_clock_said_then(three: Path, lab: Lab):
    make(lab, "20191103-100000-demo-ffff").become_latest()  # a machine that had no time from the network yet
    assert runs.find(three, "last").run_id == "20191103-100000-demo-ffff"
    assert runs.find(three, "last", lab.folder / "batch.yaml").run_id == "20191103-100000-demo-ffff"
    assert runs.find(three, "last", lab.folder / "prod.yaml").run_id == "20261102-100000-prod-bbbb"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("demo", "more than one run 'demo'"),
        ("eeee", "no run 'eeee' in .*; there are: 20261103-100000-demo-cccc, 20261102-100000-prod-bbbb"),
    ],
)
def test_a_name_that_fits_none_or_several_is_refused_with_what_there_is(three: Path, name: str, said: str):
    with pytest.raises(NoSuchRun, match=said):
        runs.find(three, name)


def test_without_any_run_there_is_no_last_one(tmp_path: Path):
    with pytest.raises(NoSuchRun, match="no run in "):
        runs.find(tmp_path / "nowhere", "last")


def test_a_damaged_plan_is_one_clear_error(three: Path):
    folder = runs.find(three, "aaaa")
    folder.plan_file.write_text('{"devices": 3}')
    with pytest.raises(UnreadablePlan, match="is damaged, or of another version"):
        folder.load_plan()
