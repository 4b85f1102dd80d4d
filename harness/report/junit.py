"""`junit.xml`, as Jenkins reads it: it keeps to junit-10.xsd of Jenkins' xunit plugin.

Our own, not pytest's `--junitxml`: that one loses the devices of dead workers and has no place for attempts. The schema
knows no properties of a testcase, so each device is a testsuite of its own inside the run's, with one testcase.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

from harness.record import DeviceRecord, ErrorRecord, Outcome, RunRecord
from harness.report import rollout, words
from harness.report.acts import seconds_spent
from harness.report.figures import rate
from harness.report.files import write_text
from harness.report.firmware import on_what
from harness.rollout.state import GateState, Verdict
from harness.rollout.wording import gate_words

_AS_ERROR = frozenset({Outcome.UNTOUCHED, Outcome.EMERGENCY, Outcome.RUNNING})
_AS_SKIPPED = frozenset({Outcome.RESTORED, Outcome.NOT_RUN})
"""Neither: a restored board did nothing wrong, but whoever counts the passed cases must not take it for updated."""


def write(record: RunRecord, path: Path) -> None:
    """Raises `OSError`; what was at `path` before is then still there."""
    root = tree(record)
    ET.indent(root)
    write_text(path, ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n")


def tree(run: RunRecord) -> ET.Element:
    """The document's root, a `testsuites`."""
    root = _element("testsuites", name=run.batch_name)
    suite = _suite(root, run.batch_name, run.started, _run_seconds(run))
    suite.set("id", run.run_id)
    suite.set("file", run.batch_file)
    _properties(suite, _run_facts(run))
    for device in run.devices:
        _device(suite, run, device)
    _gates(root, run)
    for suite in (root, *root.iter("testsuite")):
        _count(suite)
    return root


def _gates(root: ET.Element, run: RunRecord) -> None:
    """A suite of its own, with a case for each gate that was asked for: what a gate allows is no device's failure."""
    asked = rollout.all_gates(run)
    if asked:
        suite = _suite(root, "quality gates", run.started, 0)
        suite.set("file", run.batch_file)
        for where, gate in asked:
            suite.append(_gate(run, where, gate))


def _gate(run: RunRecord, where: str, gate: GateState) -> ET.Element:
    case = _element(
        "testcase",
        name=f"{where}: {gate.name}" if where else gate.name,
        classname=f"{Path(run.batch_file).stem}.gates",
        time="0.000",
    )
    told = gate_words(gate)
    if gate.verdict is Verdict.FAILED:
        failure = ET.SubElement(case, "failure", message=words.one_line(told), type=words.printable(gate.name))
        failure.text = words.printable(rollout.halted(run)) or None
    elif gate.verdict is Verdict.OPEN:
        case.append(_element("skipped", message=rollout.VERDICT_WORDS[gate.verdict]))
    _text(case, "system-out", told)
    return case


def _device(parent: ET.Element, run: RunRecord, device: DeviceRecord) -> None:
    suite = _suite(parent, device.device_id, device.started, seconds_spent(device))
    suite.set("file", run.batch_file)
    facts = _device_facts(run, device)
    _properties(suite, facts)
    case = _element("testcase", name=device.device_id, classname=f"{Path(run.batch_file).stem}.{device.device_type}")
    case.set("time", f"{seconds_spent(device) or 0:.3f}")
    suite.append(case)
    _verdict(case, run, device)
    _earlier_attempts(case, device)
    _text(case, "system-out", "\n".join(_narrative(device, facts)))
    _text(case, "system-err", "\n".join(device.log))


def _verdict(case: ET.Element, run: RunRecord, device: DeviceRecord) -> None:
    if device.outcome in _AS_SKIPPED:
        case.append(_element("skipped", message=_why_skipped(run, device)))
        return
    what = words.cause(device)
    if device.outcome.succeeded:
        if device not in rollout.not_restored(run):
            return
        what = rollout.why_not_restored(device)
    tag = "error" if device.outcome in _AS_ERROR else "failure"
    kind = f"{device.error.category}: {device.error.kind}" if device.error else str(device.outcome)
    element = _element(tag, message=words.one_line(what), type=kind)
    lines = [what, f"{device.outcome}: {words.state(device)}", words.what_to_do(run, device)]
    element.text = words.printable("\n".join(filter(None, lines)))
    case.append(element)


def _why_skipped(run: RunRecord, device: DeviceRecord) -> str:
    if device.outcome is Outcome.NOT_RUN:
        return device.reason or "did not run"
    return f"{words.state(device)}: it had been {device.update_outcome}, but {rollout.why_taken_back(run)}"


def _earlier_attempts(case: ET.Element, device: DeviceRecord) -> None:
    """Surefire names an attempt that failed before one that passed `flaky`, before one that failed a `rerun`."""
    tag = "flakyFailure" if rollout.update_of(device).succeeded else "rerunFailure"
    for attempt in device.attempts:
        if attempt.error is not None:
            element = _element(tag, message=words.one_line(attempt.error.message), type=str(attempt.error.category))
            _text(element, "stackTrace", f"attempt {attempt.number} at {attempt.baud} baud: {_told(attempt.error)}")
            case.append(element)


def _told(error: ErrorRecord) -> str:
    return f"{error.kind} [{error.category}]: {error.message}"


def _narrative(device: DeviceRecord, facts: Iterable[tuple[str, str]]) -> Iterable[str]:
    """The facts first: Jenkins cuts the output of passing cases in the middle, and keeps a thousand characters."""
    yield from (f"{name}: {value}" for name, value in facts)
    for phase in device.phases:
        speed = f" {words.speed(rate(phase))}" if rate(phase) else ""
        told = f" {_told(phase.error)}" if phase.error else ""
        yield f"{words.phase_name(phase)} {phase.outcome} {words.duration(phase.seconds)}{speed}{told}"
    if device.console:
        yield f"--- console ---\n{device.console}"


def _run_facts(run: RunRecord) -> list[tuple[str, str]]:
    facts = {
        "run": run.run_id,
        "version": run.version,
        "strategy": run.strategy,
        "description": run.description,
        "simulated": "yes" if run.simulated else "no",
        "rehearsal": "yes" if run.rehearsal else "",
        "interrupted": run.interrupted,
        "halted": run.rollout.halted,
        "waves": str(len(rollout.waves(run)) or ""),
        **{f"wave {wave.state.number}": rollout.wave_text(wave) for wave in rollout.waves(run)},
        "boards": on_what(run),
    }
    return [(name, value) for name, value in facts.items() if value]


def _device_facts(run: RunRecord, device: DeviceRecord) -> list[tuple[str, str]]:
    identity = device.identity
    wave = run.rollout.wave_of(device.device_id) if rollout.in_waves(run) else None
    update = rollout.update_of(device)
    facts = {
        "outcome": str(device.outcome),
        "update_outcome": None if update in (device.outcome, Outcome.NOT_RUN) else str(update),
        "wave": str(wave) if wave else None,
        "device_type": device.device_type,
        "port": device.port,
        "chip": identity.chip if identity else None,
        "revision": identity.revision if identity else None,
        "serial": identity.serial if identity else None,
        "flash_size": str(identity.flash_size) if identity and identity.flash_size else None,
        "version_wanted": device.wanted_version,
        "version_before": device.version_before,
        "version_after": device.version_after,
        "attempts": str(len(device.attempts)),
        "worker": device.worker,
        "note": device.reason,
    }
    return [(name, value) for name, value in facts.items() if value]


def _suite(parent: ET.Element, name: str, started: float | None, seconds: float | None) -> ET.Element:
    suite = _element("testsuite", name=name, time=f"{seconds or 0:.3f}")
    if started is not None:
        suite.set("timestamp", words.moment(started))
    parent.append(suite)
    return suite


def _count(suite: ET.Element) -> None:
    """The counts of the cases in it, however deep: so they can not say anything else than the cases do."""
    cases = list(suite.iter("testcase"))
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
    if suite.tag == "testsuite":
        suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))


def _run_seconds(run: RunRecord) -> float:
    return (run.ended or run.started) - run.started


def _properties(parent: ET.Element, facts: Iterable[tuple[str, str]]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in facts:
        properties.append(_element("property", name=name, value=value))


def _text(parent: ET.Element, tag: str, text: str) -> None:
    if text:
        ET.SubElement(parent, tag).text = words.printable(text)


def _element(tag: str, **attributes: str) -> ET.Element:
    return ET.Element(tag, {name: words.printable(value) for name, value in attributes.items()})
