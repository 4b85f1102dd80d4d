"""What a batch makes of the options of pytest and xdist: some are set, some kept for ourselves, some refused."""

from __future__ import annotations

from typing import Any

import pytest

from harness.batchrun import BatchRun
from harness.item import UPDATE
from harness.problems import did_you_mean

MAXFAIL = pytest.StashKey[int]()
"""Failed devices after which no further one is started; 0: no such limit."""

NOTES = pytest.StashKey[list[str]]()
"""What the header is to say of options that the batch has changed."""

_NEEDED = {"pytest-xdist": "xdist", "pytest-html": "html"}
_SHOWN = ("collectonly", "showfixtures", "show_fixtures_per_test", "cacheshow")
_REFUSED = {
    "usepdb": "--pdb: a batch runs in worker processes, where there is no terminal",
    "looponfail": "--looponfail: boards are not written anew whenever a file changes; leave the option out",
    "tx": "--tx: a batch's workers are processes of this machine, whose ports it works on; leave the option out",
    "setuponly": "--setup-only: it would open the boards' ports for nothing; --dry-run says what would be done",
    "setupplan": "--setup-plan: --dry-run says what would be done to each device",
}
"""Options of pytest and xdist, by their names in `config.option`, each with what to say."""


def only_shows(option: Any) -> bool:
    """Whether pytest is to show something and no test is to be run."""
    return any(getattr(option, name, None) for name in _SHOWN)


def shape_session(config: pytest.Config, run: BatchRun) -> None:
    """Set pytest's own options as the batch needs them, before the plugins that they belong to read them."""
    missing = [name for name, plugin in _NEEDED.items() if not config.pluginmanager.has_plugin(plugin)]
    if missing:
        raise pytest.UsageError(f"a batch needs {' and '.join(missing)}, which this session has not loaded")
    _refuse_unknown_devices(config, run)
    option = config.option
    if only_shows(option) or option.dry_run:
        option.numprocesses, option.dist, option.tx = 0, "no", []
        return
    if option.dist not in ("no", "load"):
        raise pytest.UsageError(f"--dist {option.dist}: a batch has a scheduler of its own; leave the option out")
    for name, why in _REFUSED.items():
        if getattr(option, name, False):
            raise pytest.UsageError(why)
    config._inicache["verbosity_test_cases"] = "0"  # with -v, the items' names would be written into our lines
    # -x and --maxfail are ours to keep: xdist asks its scheduler for more items after it has ended the workers.
    config.stash[MAXFAIL], option.maxfail = option.maxfail or 0, 0
    config.stash[NOTES] = []
    limit = min(run.plan.rollout.max_concurrent, len(run.plan.devices))
    # A hard crash in this very process would leave no report: even one device at a time gets a worker.
    if option.numprocesses in (None, 0):
        how = "-n 0" if option.numprocesses == 0 else "without -n"
        config.stash[NOTES].append(f"{how}: one worker process, since a crash in this one would leave no report")
    asked = option.numprocesses or 1
    option.numprocesses = limit if asked in ("auto", "logical") else max(1, min(int(asked), limit))


def _refuse_unknown_devices(config: pytest.Config, run: BatchRun) -> None:
    """A worker that finds no such item says so to nobody, and then no device at all would be run."""
    known = {UPDATE, *(f"{UPDATE}[{device.device_id}]" for device in run.plan.devices)}
    for argument in config.args:
        file, _, name = argument.partition("::")
        if name and name not in known and (config.invocation_params.dir / file).resolve() == run.batch_file:
            close = did_you_mean(name, known)
            hint = f"; did you mean {file}::{close}?" if close else ""
            raise pytest.UsageError(f"{argument}: the batch has no such device{hint}")
