from __future__ import annotations

import pytest

WARNINGS = (
    "error",
    # pyserial 3.5's RFC2217 client, on threads that it starts
    "ignore:setDaemon:DeprecationWarning",
    "ignore:setName:DeprecationWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    """Here and not in pytest.ini, where a library's warning would fail a user's batch."""
    for line in WARNINGS:
        config.addinivalue_line("filterwarnings", line)
