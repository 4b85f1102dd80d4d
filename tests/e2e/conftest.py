from __future__ import annotations

import signal
from pathlib import Path

import pytest

from drivers.virtual.demo import make_demo_firmware
from tests.e2e.project import Project


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_reaches_the_runs() -> None:
    """A shell starts what it puts into the background with SIGINT ignored, and every run would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


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
