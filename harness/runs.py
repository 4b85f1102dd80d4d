"""A run's folder: the snapshot of its plan, its firmware, its devices' journals, its reports.

runs/<id>/plan.json              what was asked for; nothing changes it once the run has begun
          images/<sha256>.bin    the firmware, as it was when the run began
          devices/<device>.jsonl the journals, run.jsonl that of the run as a whole
          control/               what a running run is told: cancel, approve
          report.html  junit.xml  report.json
runs/latest                      a link to the newest run, the one that was begun or resumed last
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from drivers import load_driver
from drivers.base import Segment
from harness.snapshot import DevicePlan, Plan, PlannedImage

LAST = "last"
"""The name of the newest run."""
_LATEST = "latest"
"""A link to the run that was begun or resumed last."""


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def plan_file(self) -> Path:
        return self.path / "plan.json"

    @property
    def run_journal(self) -> Path:
        return self.path / "run.jsonl"

    @property
    def control(self) -> Path:
        return self.path / "control"

    @property
    def html(self) -> Path:
        return self.path / "report.html"

    @property
    def junit(self) -> Path:
        return self.path / "junit.xml"

    @property
    def json(self) -> Path:
        return self.path / "report.json"

    def journal(self, device_id: str) -> Path:
        return self.path / "devices" / f"{device_id}.jsonl"

    def save_plan(self, plan: Plan) -> None:
        """Write the snapshot. Raises `OSError`."""
        temporary = self.plan_file.with_suffix(".tmp")
        temporary.write_text(plan.model_dump_json(indent=1))
        temporary.replace(self.plan_file)

    def become_latest(self) -> None:
        """`runs/latest` points here from now on. Raises `OSError`."""
        link = self.path.parent / f".latest-{os.getpid()}"
        link.symlink_to(self.path.name)
        link.replace(self.path.parent / _LATEST)

    def load_plan(self) -> Plan:
        """Raises `UnreadablePlan`."""
        try:
            return Plan.model_validate_json(self.plan_file.read_bytes())
        except (OSError, ValueError) as error:
            raise UnreadablePlan(f"{self.plan_file} is damaged, or of another version: {error}") from error

    def keep_images(self, plan: Plan) -> None:
        """Copy the firmware, so that a file rebuilt during the run changes nothing in it. Raises `OSError`."""
        for image in {image.sha256: image for device in plan.devices for image in device.files}.values():
            data = image.path.read_bytes()
            if hashlib.sha256(data).hexdigest() != image.sha256:
                raise OSError(f"{image.path} has changed since it was checked; run again")
            self._image(image.sha256).write_bytes(data)

    def check_images(self, plan: Plan) -> None:
        """Raises `OSError` where the firmware that the run began with is not there any more, or is another."""
        for image in {image.sha256: image for device in plan.devices for image in device.files}.values():
            if hashlib.sha256(self._image(image.sha256).read_bytes()).hexdigest() != image.sha256:
                raise OSError(f"{self._image(image.sha256)} is damaged")

    def images(self, device: DevicePlan) -> tuple[Segment, ...]:
        """What the device is to hold, by its driver's reading of the files."""
        return tuple(segment for image in device.images for segment in self._segments(device, image))

    def previous(self, device: DevicePlan) -> tuple[Segment, ...]:
        """What the batch says that it holds now; empty where the batch is silent."""
        return self._segments(device, device.previous) if device.previous else ()

    def _segments(self, device: DevicePlan, image: PlannedImage) -> tuple[Segment, ...]:
        data = self._image(image.sha256).read_bytes()
        return load_driver(device.device_type).parse(image.path.name, data, image.given_address)

    def _image(self, sha256: str) -> Path:
        return self.path / "images" / f"{sha256}.bin"


class NoSuchRun(Exception):
    """The message says what there is instead."""


class UnreadablePlan(Exception):
    """A run's plan is damaged, or of another version of the harness."""


def known(runs_dir: Path) -> list[RunFolder]:
    """The runs of a folder that have begun, the newest first: what `latest` points to, then as their names say."""
    if not runs_dir.is_dir():
        return []
    newest = (runs_dir / _LATEST).resolve().name  # a clock that was set back, or two runs in one second, would hide it
    folders = sorted(
        (path for path in runs_dir.iterdir() if not path.is_symlink()),
        key=lambda path: (path.name == newest, path.name),
        reverse=True,
    )
    return [folder for folder in map(RunFolder, folders) if folder.plan_file.exists()]


def find(runs_dir: Path, name: str, batch_file: Path | None = None) -> RunFolder:
    """A run by its id, by a part of it that no other has, or as `last`: the newest (of a batch). Raises `NoSuchRun`."""
    runs = known(runs_dir)
    if name == LAST:
        runs = runs if batch_file is None else [run for run in runs if _is_of(run, batch_file)]
        if not runs:
            raise NoSuchRun(f"no run{f' of {batch_file}' if batch_file else ''} in {runs_dir}")
        return runs[0]
    exact = [run for run in runs if run.run_id == name]
    found = exact or [run for run in runs if name in run.run_id]
    if len(found) != 1:
        shown = ", ".join(run.run_id for run in (found or runs)[:5])
        raise NoSuchRun(
            f"{'no' if not found else 'more than one'} run {name!r} in {runs_dir}; there are: {shown or 'none'}"
        )
    return found[0]


def _is_of(run: RunFolder, batch_file: Path) -> bool:
    try:
        return run.load_plan().batch_file == batch_file
    except UnreadablePlan:
        return False


def create(runs_dir: Path, batch_file: Path) -> RunFolder:
    """A new run's folder, with an id that sorts by time. Raises `OSError`."""
    stem = re.sub(r"[^A-Za-z0-9-]+", "-", batch_file.stem).strip("-")
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{stem}-{secrets.token_hex(2)}"
    path = runs_dir / run_id
    for folder in (path / "images", path / "devices"):
        folder.mkdir(parents=True)
    return RunFolder(path)
