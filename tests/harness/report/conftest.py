from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from harness.record import RunRecord
from tests.harness.builders import mixed_run
from tests.harness.report.browser import chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    """One device of each ending."""
    folder = tmp_path / "journals"
    folder.mkdir()
    return mixed_run(folder)
