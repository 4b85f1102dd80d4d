"""The places that a site file names, for commands that have no batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config import Storage
from harness.problems import BatchFileError
from harness.site import storage
from tests.harness.lab import Lab


def ledger_of(lab: Lab, address: str) -> str:
    return storage(lab.write("site/lab.yaml", f"storage: {{ledger: '{address}'}}\n"), Path("/elsewhere")).ledger


def test_without_a_site_file_the_built_in_places_are_under_home():
    assert storage(None, Path("/home/lab")) == Storage(
        runs_dir=Path("/home/lab/runs"), store_dir=Path("/home/lab/store"), ledger="/home/lab/runs/ledger.sqlite"
    )


def test_relative_places_start_at_the_site_files_folder(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    path = lab.write("site/lab.yaml", "storage: {runs_dir: ../runs, store_dir: /srv/store, ledger: history.db}\n")
    monkeypatch.chdir(lab.folder)
    for name in (path, Path("site/lab.yaml")):
        assert storage(name, Path("/elsewhere")) == Storage(
            runs_dir=lab.folder / "runs", store_dir=Path("/srv/store"), ledger=str(lab.folder / "site/history.db")
        )


@pytest.mark.parametrize(
    ("address", "located"),
    [
        ("sqlite:///history.db", "sqlite:///{site}/history.db"),
        ("sqlite:////srv/history.db?timeout=5", "sqlite:////srv/history.db?timeout=5"),
        ("postgresql+psycopg://lab@db.example/ledger", "postgresql+psycopg://lab@db.example/ledger"),
        ("postgresql://db.example:5432/ledger?service=lab", "postgresql://db.example:5432/ledger?service=lab"),
        ("postgresql:///ledger", "postgresql:///ledger"),
    ],
)
def test_a_databases_url_is_kept_and_a_file_in_it_is_located(lab: Lab, address: str, located: str):
    assert ledger_of(lab, address) == located.format(site=lab.folder / "site")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://lab:hunter2@db.example/ledger",
        "postgresql://lab:hunt/er2hunter2@db.example/ledger",
        "postgresql://lab@db.example/ledger?password=hunter2",
        "postgresql://lab@db.example/ledger?a=b&sslpassword=hunter2",
        "mysql+pymysql://lab:hunter2@db.example/ledger?passwd=hunter2",
    ],
)
def test_a_password_in_the_url_is_refused_at_its_place_and_not_repeated(lab: Lab, address: str):
    with pytest.raises(BatchFileError, match=r"lab\.yaml:1:19: storage\.ledger: a password .*PGPASSWORD") as caught:
        ledger_of(lab, address)
    assert "hunter2" not in str(caught.value)


def test_mistakes_elsewhere_in_the_file_stop_nobody_from_finding_a_run(lab: Lab):
    path = lab.write("lab.yaml", "flash_settings: {timeout: soon}\nstorage: {ledger: /srv/history.db}\n")
    assert storage(path, lab.folder).ledger == "/srv/history.db"


@pytest.mark.parametrize("text", ["strage: {ledger: /srv/x}", "storage: {leger: /srv/x}", "storage: 5", "a: [", "- a"])
def test_a_file_that_may_mean_another_place_is_refused(lab: Lab, text: str):
    with pytest.raises(BatchFileError, match=r"lab\.yaml:[12]:1"):
        storage(lab.write("lab.yaml", text + "\n"), lab.folder)


def test_a_file_that_is_missing_is_refused(lab: Lab):
    with pytest.raises(BatchFileError, match="can not be read"):
        storage(lab.folder / "none.yaml", lab.folder)
