"""What docs/families/ shows can be copied: only the firmware has to be the reader's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drivers import device_types
from tests.harness.lab import Lab

FAMILIES = Path(__file__).parents[2] / "docs/families"
PAGES = sorted(page.name for page in FAMILIES.glob("*.md") if page.name != "README.md")


@pytest.mark.parametrize("page", PAGES)
def test_the_batches_on_a_familys_page_lack_nothing_but_their_firmware(lab: Lab, page: str):
    blocks = re.findall(r"```yaml\n(.*?)```", (FAMILIES / page).read_text(), re.DOTALL)
    batches = [block for block in blocks if "targets:" in block]
    assert batches
    for batch in batches:
        problems = lab.problems(batch)
        assert [problem for problem in problems if not problem.endswith(" does not exist")] == []


def test_each_device_type_has_a_page():
    linked = re.findall(r"^\| \[(.*?)\]\(\w+\.md\)", (FAMILIES / "README.md").read_text(), re.MULTILINE)
    named = {name for types in linked for name in re.findall(r"`([\w-]+)`", types)}
    assert set(device_types()) <= named
