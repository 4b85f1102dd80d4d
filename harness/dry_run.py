"""`--dry-run`: what would be done to each chosen device, and when, in words, from the same plan and the same items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from drivers import load_driver
from drivers.base import Capabilities
from harness import history
from harness.ledger import LedgerError
from harness.rollout.policy import RolloutPolicy
from harness.rollout.state import GateState
from harness.rollout.waves import Rollout
from harness.rollout.wording import limit_words
from harness.safekeeping import can_not_be_taken_back
from harness.snapshot import DevicePlan, Plan
from harness.store import Store


class DryRun:
    """Takes the place of running the items."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def pytest_report_header(self) -> str:
        return f"dry run of {self._plan.batch_name}: no board is touched"

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        reporter: Any = session.config.pluginmanager.getplugin("terminalreporter")
        store = Store(self._plan.store_dir)
        devices = [device for item in session.items if (device := _device_of(item))]
        left_out = self._quarantined()
        for line in rollout(self._plan.rollout, [device.device_id for device in devices], left_out):
            reporter.write_line(line)
        for device in devices:
            for line in describe(device, store) if device.device_id not in left_out else ():
                reporter.write_line(line)
        return True

    def _quarantined(self) -> Mapping[str, str]:
        try:
            return history.quarantined(self._plan, create=False)
        except LedgerError:  # there is none before the first run
            return {}


def _device_of(item: pytest.Item) -> DevicePlan | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("device_plan") if callspec else None


def rollout(policy: RolloutPolicy, device_ids: Sequence[str], left_out: Mapping[str, str]) -> Iterator[str]:
    """The waves with their devices, a line each, and what the gates ask. `left_out`: not to be run, with the reason."""
    yield from (f"{device_id}: {left_out[device_id]}" for device_id in device_ids if device_id in left_out)
    state = Rollout(policy, device_ids, excluded=left_out).state()
    for wave in state.waves:
        yield f"wave {wave.number} of {len(state.waves)}: {', '.join(wave.devices)}"
    if state.waves and (gates := state.waves[0].gates):
        yield f"gates of each wave: {_gates(gates)}"
    if len(state.waves) > 1 and state.gates:
        yield f"gates of the whole batch: {_gates(state.gates)}"


def _gates(gates: Sequence[GateState]) -> str:
    return "; ".join(f"{gate.name}: {limit_words(gate)}" for gate in gates)


def describe(device: DevicePlan, store: Store) -> Iterator[str]:
    """The device's steps, a line each, with what `store` knows of the board."""
    place = "a virtual board" if device.virtual else device.place
    can = load_driver(device.device_type).capabilities
    has_way_back = device.backup and not can_not_be_taken_back(device, store)
    yield f"{device.device_id} ({device.device_type}) on {place}"
    yield f"  identify  {_identity(device)}"
    yield f"  backup    {_backup(device, can, has_way_back=has_way_back)}"
    for image in device.images:
        skipped = "" if device.reflash else ", unless the board holds it already"
        yield f"  flash     {image.path.name}, {image.size} bytes at {image.address:#x}{skipped}"
    yield f"  verify    {_verify(can) if device.verify else 'no: verify_after_flash is off'}"
    yield f"  boot      {_boot(device)}"
    for path in device.tests:
        yield f"  test      {path}"
    yield f"  failing   {_failing(device, has_way_back=has_way_back)}"


def _identity(device: DevicePlan) -> str:
    expected = device.expected
    wanted = {"MAC or serial": expected.serial, "revision": expected.revision, "flash size": expected.flash_size}
    return ", ".join(
        [f"chip {device.chip}", *(f"{name} {value}" for name, value in wanted.items() if value is not None)]
    )


def _backup(device: DevicePlan, can: Capabilities, *, has_way_back: bool) -> str:
    if not device.backup:
        return "no: backup_before_flash is off"
    if not has_way_back:
        return "none: the board can not be read back, and no earlier firmware of it is known"
    if not can.can_read_back:
        if can.has_slots and can.can_revert:
            return "its other slot, else the last good image: the board can not be read back"
        known = f"the last good image, else {device.previous.path.name}" if device.previous else "the last good image"
        return f"{known}: the board can not be read back"
    return "the whole flash" if device.backup_scope == "flash" else "what the images cover"


def _verify(can: Capabilities) -> str:
    if can.can_hash:
        return "by the digest of the board"
    if can.can_read_back:
        return "by reading back"
    return "as the board checks what it receives" if can.can_verify else "not possible before it runs"


def _boot(device: DevicePlan) -> str:
    wanted = [f"version {device.version}"] if device.expect.require_version else []
    wanted += [repr(pattern) for pattern in device.expect.patterns]
    return f"{' and '.join(wanted) or 'nothing in particular'} within {device.expect.version_within:g} s"


def _failing(device: DevicePlan, *, has_way_back: bool) -> str:
    attempts = f"up to {device.retry_policy.attempts} attempts"
    return f"{attempts}, then {'the backup is restored' if device.rollback and has_way_back else 'no rollback'}"
