"""A folder with batch files, a site file and firmware: what the tests of batches read."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from harness.plan import BatchFileError, Overrides, Plan, load_plan
from tests.harness.esp_images import app_image

MINIMAL = """\
name: Minimal
device_type: esp32
firmware_file: app.bin
targets:
  - device_id: ESP32_001
    connection_info: {port: /dev/ttyUSB0}
"""


class Lab:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("app.bin", app_image())

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dedent(content).encode() if isinstance(content, str) else content)
        return path

    def plan(self, batch: str | bytes = MINIMAL, site: str | None = None, overrides: Overrides | None = None) -> Plan:
        site_path = self.write("site.yaml", site) if site is not None else None
        return load_plan(self.write("batch.yaml", batch), site_path, overrides)

    def problems(
        self, batch: str | bytes = MINIMAL, site: str | None = None, overrides: Overrides | None = None
    ) -> list[str]:
        """What is wrong, each as `batch.yaml:3:1: …`; empty when nothing is."""
        try:
            self.plan(batch, site, overrides)
        except BatchFileError as error:
            return [str(problem).replace(f"{self.folder}/", "") for problem in error.problems]
        return []
