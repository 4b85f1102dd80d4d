"""The batch of this pytest session: found in the arguments on the controller, in the run's folder on a worker."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from drivers.virtual.client import Bench, BenchError
from drivers.virtual.spec import BenchSpec
from harness import runs
from harness.batch import BatchFileError
from harness.clock import Clock
from harness.config import SITE_FILE
from harness.control import Control, user
from harness.journal import JournalBusy
from harness.plan import Overrides, load_plan
from harness.run_log import RunLog
from harness.runs import RunFolder
from harness.site import storage
from harness.snapshot import Plan

_LAST_BENCH_S = 30.0
_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class BatchRun:
    """What this process works on. `folder` is absent where nothing will be done to a board (--collect-only)."""

    batch_file: Path
    plan: Plan
    worker: str
    run_folder: RunFolder | None = None
    bench: Bench | None = None
    resumed: bool = False
    taken_back_by: str = ""
    """Who has ordered that the run's updates be taken back; empty where nobody has."""
    clock: Clock = field(default_factory=Clock.by_the_wall)

    @property
    def folder(self) -> RunFolder:
        assert self.run_folder is not None, "only a run that is started has a folder"
        return self.run_folder


_KEY = pytest.StashKey[BatchRun]()


def run_of(config: pytest.Config) -> BatchRun:
    """The batch of this session; only where there is one."""
    return config.stash[_KEY]


def find_run(config: pytest.Config) -> BatchRun | None:
    """The batch of this session, None in a session without (the project's own tests)."""
    return config.stash.get(_KEY, None)


def read_batch(config: pytest.Config) -> BatchRun | None:
    """On the controller: read the batch file among pytest's arguments, if there is one.

    Raises `pytest.UsageError`, which pytest prints without a traceback and turns into exit status 4.
    """
    path = _batch_argument(config)
    if path is None:
        return None
    if config.getoption("take_back") and not config.getoption("resume"):
        raise pytest.UsageError("--take-back needs the run whose boards are to be restored: --resume RUN")
    try:
        run = _resumed(config, path) if config.getoption("resume") else _new(config, path)
    except BatchFileError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_KEY] = run
    return run


def _new(config: pytest.Config, path: Path) -> BatchRun:
    return BatchRun(path, load_plan(path, _site_file(config), _overrides(config), config.rootpath), worker="main")


def _resumed(config: pytest.Config, path: Path) -> BatchRun:
    """The run as it was planned: whatever has become of the batch file, the boards get what they were to get."""
    for option in ("simulate", "reflash", "dry_run"):
        if config.getoption(option):
            raise pytest.UsageError(
                f"--resume goes on with a run as it was begun; leave --{option.replace('_', '-')} out"
            )
    try:
        folder = runs.find(storage(_site_file(config), config.rootpath).runs_dir, config.getoption("resume"), path)
        plan = folder.load_plan()
    except (runs.NoSuchRun, runs.UnreadablePlan, OSError) as error:
        raise pytest.UsageError(f"--resume: {error}") from error
    if plan.batch_file != path:
        raise pytest.UsageError(f"--resume: run {folder.run_id} is one of {plan.batch_file}")
    if not path.exists():  # each of xdist's workers would end at once, and pytest by an internal error
        raise pytest.UsageError(
            f"--resume: {path} is gone. pytest needs a file of that name, of which nothing will be read: touch {path}"
        )
    by = user() if config.getoption("take_back") else ""
    if by and not plan.rollout.restore:
        raise pytest.UsageError(
            f"--take-back: run {folder.run_id} was planned without it (rollback_on_failure, restore_on_failed_gate)"
        )
    return BatchRun(path, plan, worker="main", run_folder=folder, resumed=True, taken_back_by=by)


def _batch_argument(config: pytest.Config) -> Path | None:
    """Only a file that is named is a batch: `pytest batches/` must never update every fleet that it finds."""
    named = {(config.invocation_params.dir / arg.split("::", 1)[0]) for arg in config.args}
    batches = sorted(path for path in named if path.suffix in _YAML)
    if len(batches) > 1:
        raise pytest.UsageError(f"one batch a run: got {', '.join(str(path) for path in batches)}")
    return batches[0].resolve() if batches else None


def unnamed_batches(config: pytest.Config) -> str:
    """What to say to a session that was given a folder with batches in it, and has found nothing to do; else empty."""
    folders = [config.invocation_params.dir / argument for argument in config.args]
    if find_run(config) or not any(path.suffix in _YAML for folder in folders for path in folder.glob("*.*")):
        return ""
    return "a batch is a file that is named on the command line: pytest FOLDER/BATCH.yaml"


def _site_file(config: pytest.Config) -> Path | None:
    chosen = config.getoption("site_config")
    if chosen:
        return Path(chosen)
    default = config.rootpath / SITE_FILE
    return default if default.exists() else None


def _overrides(config: pytest.Config) -> Overrides:
    return Overrides(simulate=config.getoption("simulate"), reflash=config.getoption("reflash"))


@dataclass(frozen=True)
class Started:
    """A run that has begun, and its journal, which is held until it ends."""

    run: BatchRun
    log: RunLog


def start(config: pytest.Config) -> Started:
    """On the controller: the run's folder, its firmware, its bench and its snapshot. Raises `pytest.UsageError`."""
    run = run_of(config)
    try:
        folder = run.run_folder or runs.create(run.plan.runs_dir, run.batch_file)
        if run.resumed:  # before it is begun again: a run that is refused stands as it ended
            folder.check_images(run.plan)
            _refuse_overtaken(run, folder)
        # What was ordered of a run that had ended, or was killed, says nothing of how it goes on; what is ordered from
        # the moment on that the journal is ours is meant for us.
        control = Control(folder.control)
        unheard = control.waiting()
        log = RunLog(folder, run.clock)
        control.drop(unheard)
        if not run.resumed:
            folder.keep_images(run.plan)
        planned = run.plan if run.resumed else run.plan.left_by(_left_half_written(run.plan))
        bench = _start_bench(planned, config.rootpath, keep=run.resumed)
        plan = planned.with_ports(
            {board_id: board.connection for board_id, board in bench.boards.items()} if bench else {}
        )
        folder.save_plan(plan)
    except JournalBusy as error:
        raise pytest.UsageError(f"run {folder.run_id} is still going on: batch-flash status {folder.run_id}") from error
    except (BenchError, OSError) as error:
        raise pytest.UsageError(f"the run can not start: {error}") from error
    started = replace(run, plan=plan, run_folder=folder, bench=bench)
    config.stash[_KEY] = started
    return Started(started, log)


def _left_half_written(plan: Plan) -> dict[str, str]:
    """Boards that an earlier run has left so, each with that run."""
    from harness.ledger import LedgerError
    from harness.leftovers import left_half_written

    try:
        return left_half_written(plan)
    except LedgerError as error:
        raise pytest.UsageError(str(error)) from error


def _refuse_overtaken(run: BatchRun, folder: RunFolder) -> None:
    """Going on with a run must not take a board back to what was planned before a later run updated it."""
    from harness.ledger import LedgerError
    from harness.leftovers import written_since

    try:
        later = written_since(run.plan, folder)
    except LedgerError as error:
        raise pytest.UsageError(str(error)) from error
    if later:
        some = ", ".join(f"{device_id} ({run})" for device_id, run in list(later.items())[:5])
        raise pytest.UsageError(
            f"--resume: later runs have written to boards of run {folder.run_id}: {some}; "
            + (
                "nothing was taken back: to have earlier firmware on them, run a batch with it"
                if run.taken_back_by
                else "run the batch anew: what is half-written is restored with the backup from before"
            )
        )


def _start_bench(plan: Plan, root: Path, *, keep: bool) -> Bench | None:
    """`keep`: the boards are as they were left, also those that begin each run as from the factory."""
    boards = tuple(device.virtual for device in plan.devices if device.virtual)
    if not boards:
        return None
    if keep:
        boards = tuple(board.model_copy(update={"keep": True}) for board in boards)
    # What a killed run has left behind may hold on to the boards for a while (bench.py's linger).
    return Bench.start(BenchSpec(state=root / ".bench", boards=boards, wait_s=_LAST_BENCH_S if keep else 0.0))


def join(config: pytest.Config, workerinput: dict[str, object]) -> None:
    """On a worker: take the run's snapshot from the controller; nothing when the session has no batch.

    Raises `pytest.UsageError` when the snapshot is not the one that the controller works on.
    """
    path = workerinput.get("batch_flash_run")
    if path is None:
        return
    folder = RunFolder(Path(str(path)))
    plan = folder.load_plan()
    if plan.computed_digest() != workerinput["batch_flash_digest"]:
        raise pytest.UsageError(f"{folder.plan_file} is not the plan of this run")
    config.option.maxfail = 0  # the controller counts; pytest would end this worker, and xdist the others
    clock = Clock(float(str(workerinput["batch_flash_clock"])))
    config.stash[_KEY] = BatchRun(Path(plan.batch_file), plan, str(workerinput["workerid"]), folder, clock=clock)


def describe_to_worker(run: BatchRun, workerinput: dict[str, object]) -> None:
    """On the controller: what `join` needs."""
    workerinput["batch_flash_run"] = str(run.folder.path)
    workerinput["batch_flash_digest"] = run.plan.digest
    workerinput["batch_flash_clock"] = run.clock.ahead_s
