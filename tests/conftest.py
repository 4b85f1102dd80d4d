from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

WARNINGS = (
    "error",
    # pyserial 3.5's RFC2217 client, on threads that it starts
    "ignore:setDaemon:DeprecationWarning",
    "ignore:setName:DeprecationWarning",
)


# An example's time says how busy the machine is: those that write files took longer than 200 ms next to other tests.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Here and not in pytest.ini, where a library's warning would fail a user's batch."""
    for line in WARNINGS:
        config.addinivalue_line("filterwarnings", line)
