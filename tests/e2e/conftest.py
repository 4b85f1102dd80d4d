from __future__ import annotations

from pathlib import Path

import pytest

from drivers.virtual.demo import make_demo_firmware
from tests.e2e.project import Project


@pytest.fixture(scope="session")
def demo_firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's images, made once."""
    folder = tmp_path_factory.mktemp("firmware")
    make_demo_firmware(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, demo_firmware: Path) -> Project:
    """A fresh checkout without batches."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["harness.plugin"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    return Project(tmp_path, demo_firmware)
