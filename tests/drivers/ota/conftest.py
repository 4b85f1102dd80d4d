from __future__ import annotations

import pytest

from tests.drivers.ota.on_bench import PASSWORD, PASSWORD_VARIABLE


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment that the driver and the bench run in."""
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
