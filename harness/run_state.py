"""What the controller has learned of a run: the journals, folded, and what no journal could say."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from harness.batchrun import BatchRun
from harness.journal import Event, Kind, read
from harness.record import DeviceRecord, Outcome, PhaseOutcome, RunRecord, fold, settle


class RunState:
    """One run, from its start. `record` may be asked for at any time; it is final once `end` was called."""

    def __init__(self, run: BatchRun) -> None:
        self._run = run
        self._plans = {device.device_id: device for device in run.plan.devices}
        self._started = time.time()
        self._ended: float | None = None
        self._chosen: frozenset[str] | None = None
        self._crashed: set[str] = set()
        self._endings: dict[str, Event] = {}
        self.interrupted = ""
        """What ended the run before its time, in words."""

    def choose(self, device_ids: frozenset[str]) -> None:
        """Only these are part of the run; -k and the like have left the others out."""
        self._chosen = device_ids

    def crashed(self, device_id: str) -> DeviceRecord | None:
        """The device's worker died. Its record, None where there is no such device."""
        self._crashed.add(device_id)
        return self.device(device_id)

    def has_crashed(self, device_id: str | None) -> bool:
        return device_id in self._crashed

    def said(self, device_id: str, ending: Mapping[str, object]) -> None:
        """What the item's report said of its end: its journal may have missed it, on a full disk or before it began."""
        self._endings[device_id] = Event(time.time(), Kind.ENDED, ending)

    def has_spoken(self, device_id: str) -> bool:
        """Whether the device's item has reported, be it only that it was skipped."""
        return device_id in self._endings

    def end(self) -> None:
        """The session is over: whatever has no end now will not get one."""
        self._ended = time.time()

    def record(self) -> RunRecord:
        plan = self._run.plan
        return RunRecord(
            run_id=self._run.folder.run_id,
            batch_name=plan.batch_name,
            batch_file=str(self._run.batch_file),
            description=plan.description,
            version=plan.version,
            strategy=plan.strategy,
            started=self._started,
            ended=self._ended,
            devices=tuple(self._devices()),
            simulated=any(device.virtual for device in plan.devices),
            interrupted=self.interrupted,
        )

    def _devices(self) -> Iterator[DeviceRecord]:
        for device_id in self._plans:
            device = self.device(device_id)
            if device and (self._chosen is None or device_id in self._chosen):
                yield device

    def device(self, device_id: str) -> DeviceRecord | None:
        """A device as its journal tells it, None where there is no such device."""
        plan = self._plans.get(device_id)
        if plan is None:
            return None
        blank = DeviceRecord(device_id, plan.device_type, plan.port, plan.version)
        record = fold(blank, read(self._run.folder.journal(device_id)))
        if record.outcome in (Outcome.RUNNING, Outcome.NOT_RUN) and device_id in self._endings:
            record = fold(record, [self._endings[device_id]])
        if device_id in self._crashed:
            return settle(record, "its worker process died", self._ended)
        if self._ended is not None:
            return settle(record, self.interrupted or "the run ended before it", self._ended)
        return record

    def where(self, device_id: str) -> str:
        """Where a device is, or was when it was cut short, in words."""
        device = self.device(device_id)
        running = [p.phase for p in device.phases if p.outcome is PhaseOutcome.RUNNING] if device else []
        return f"in the {running[-1]} phase" if running else "before its first phase"
