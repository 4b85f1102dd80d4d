"""A batch file becomes pytest items: `batches/demo.yaml::test_flash[ESP32_001]`, one per device.

The items come from the run's snapshot, never from the file: items travel between xdist's processes as bare indices,
and a batch file that is edited during a run would otherwise flash the wrong devices.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import item


def batch_file(parent: pytest.Collector, path: Path) -> pytest.Module:
    """The batch file as a module whose content is `item`: real functions, so fixtures, marks, -k and --lf work."""
    collector: pytest.Module = pytest.Module.from_parent(parent, path=path)
    collector.obj = item
    return collector
