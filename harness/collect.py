"""A batch file becomes pytest items: `batches/demo.yaml::test_flash[ESP32_001]`, one per device, marked with its type.

The items come from the run's snapshot, never from the file: items travel between xdist's processes as bare indices,
and a batch file that is edited during a run would otherwise flash the wrong devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.fixtures import test_flash
from harness.snapshot import DevicePlan, Plan


class DeviceItem(pytest.Function):
    """One device of the batch. A real Function, so that fixtures, marks, -k and node ids work."""

    device_plan: DevicePlan

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.device_plan.device_id} on {self.device_plan.port}"


class BatchFile(pytest.File):
    """The batch file as pytest's collector; `plan` is the run's snapshot of it."""

    plan: Plan

    def collect(self) -> Iterator[DeviceItem]:
        for device in self.plan.devices:
            item = DeviceItem.from_parent(self, name=f"test_flash[{device.device_id}]", callobj=test_flash)
            item.device_plan = device
            item.add_marker(device.device_type)
            yield item


def batch_file(parent: pytest.Collector, path: Path, plan: Plan) -> BatchFile:
    collector: BatchFile = BatchFile.from_parent(parent, path=path)
    collector.plan = plan
    return collector
