"""From a batch file and a site file to the plan of a run, or to everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path

from harness.batch import Batch
from harness.checks import check
from harness.config import Site
from harness.merge import Merger, Overrides, setting
from harness.opened import Opened
from harness.payload import Payloads
from harness.problems import BatchFileError
from harness.reading import Reading, read
from harness.rollout_plan import policy
from harness.site import ledger_problems, located_storage
from harness.snapshot import DevicePlan, Plan

__all__ = ["BatchFileError", "DevicePlan", "Overrides", "Plan", "load_plan"]


def load_plan(
    batch_path: Path, site_path: Path | None = None, overrides: Overrides | None = None, home: Path | None = None
) -> Plan:
    """The plan of a batch. Without a site file the built-in defaults hold, with runs and backups under `home`.

    Raises `BatchFileError` with every problem of both files and of what they name. Touches no board.
    """
    batch = read(_as_shown(batch_path), Batch)
    site = read(_as_shown(site_path), Site) if site_path else Reading(None, Site())
    problems = [*batch.problems, *site.problems]
    if batch.model is None or batch.source is None:
        raise BatchFileError(problems)
    merger = Merger(batch.model, site.model or Site(), overrides or Overrides(), batch_path.absolute().parent)
    opened = Opened(merger, batch.source, site.source)
    problems += check(opened)
    if site.source:
        problems += ledger_problems(opened.site.storage, site.source)
    payloads = Payloads(opened)
    devices = [device for index in range(len(batch.model.targets)) if (device := payloads.device(index))]
    problems += payloads.problems
    if problems:
        raise BatchFileError(problems)
    home = site_path.absolute().parent if site_path else home or Path.cwd()
    return _plan(opened, tuple(devices), batch_path, home)


def _as_shown(path: Path) -> Path:
    """As short as messages can name it from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _plan(opened: Opened, devices: tuple[DevicePlan, ...], batch_path: Path, home: Path) -> Plan:
    batch, site = opened.batch, opened.site
    places = located_storage(home, site.storage)
    return Plan.sealed(
        batch_name=batch.name,
        description=batch.description,
        version=", ".join(dict.fromkeys(device.version for device in devices)),
        batch_file=batch_path.absolute(),
        strategy=batch.strategy,
        rollout=policy(batch, site),
        rehearsal=opened.merger.overrides.simulate,
        quarantine_after=setting(batch, site, "error_handling", "quarantine_after"),
        devices=devices,
        runs_dir=places.runs_dir,
        store_dir=places.store_dir,
        ledger=places.ledger,
        log_level=site.logging.log_level,
    )
