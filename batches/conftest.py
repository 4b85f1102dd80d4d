"""The examples need the demo's firmware; it is made when it is not there, so that plain pytest suffices."""

from __future__ import annotations

import pytest

from drivers.virtual.demo import make_demo_firmware

EXAMPLES = ("demo.yaml", "full-image.yaml", "gradual.yaml", "mixed.yaml", "network.yaml", "prod.yaml")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if any(name in argument for argument in config.args for name in EXAMPLES):
        make_demo_firmware(config.rootpath / "build" / "demo")
