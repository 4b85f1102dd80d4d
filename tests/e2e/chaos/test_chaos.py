from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.chaos.__main__ import run

SECONDS = 60
SEED = 1


def test_whatever_dies_at_whatever_moment_every_board_is_on_a_firmware_that_the_reports_name(tmp_path: Path):
    said: list[str] = []
    tally = run(tmp_path / "chaos", SECONDS, SEED, said.append)
    if tally.failures or not tally.blows:
        pytest.fail("\n".join(said), pytrace=False)
