"""Whether what the files say of the rollout fits together. As in `checks`: every problem, and no board is touched."""

from __future__ import annotations

from collections.abc import Iterator

from harness.batch import Strategy
from harness.merge import names_of, said, setting
from harness.opened import Opened
from harness.problems import Problem, did_you_mean
from harness.rollout_plan import groups_of

_GRADUAL_ONLY = ("batch_size", "waves", "success_threshold", "soak", "approve", "approval_timeout")


def gradual_keys_are_used(opened: Opened) -> Iterator[Problem]:
    """A key that nothing would follow is a mistake, not a comment."""
    if "strategy" in opened.source.lost:
        return
    for key in _GRADUAL_ONLY:
        if said(opened.batch, (key,)) is not None and opened.batch.strategy is not Strategy.GRADUAL:
            message = f"does nothing with `strategy: {opened.batch.strategy}`"
            yield opened.source.problem((key,), message, "remove it, or use `strategy: gradual`")


def one_way_of_waves(opened: Opened) -> Iterator[Problem]:
    if opened.batch.waves is not None and opened.batch.batch_size is not None:
        yield opened.source.problem(("waves",), "stands beside `batch_size`", "give one of the two")


def approval_is_asked_for(opened: Opened) -> Iterator[Problem]:
    if opened.batch.approval_timeout is not None and not opened.batch.approve:
        yield opened.source.problem(
            ("approval_timeout",), "does nothing without `approve: true`", "add that, or remove it"
        )


def groups_are_known(opened: Opened) -> Iterator[Problem]:
    known = groups_of(opened.batch, opened.site)
    for index, target in enumerate(opened.batch.targets):
        for position, name in enumerate(target.groups):
            if name not in known:
                close = did_you_mean(name, known)
                hint = f"did you mean {close!r}?" if close else "describe it under `groups`, here or in the site file"
                yield opened.source.problem(("targets", index, "groups", position), f"unknown group {name!r}", hint)


def verification_is_on(opened: Opened) -> Iterator[Problem]:
    """A gate that no device could pass."""
    required, verify = ("quality_gates", "require_verification"), ("flash_settings", "verify_after_flash")
    if not setting(opened.batch, opened.site, *required) or setting(opened.batch, opened.site, *verify):
        return
    for source, model in ((opened.source, opened.batch), (opened.site_source, opened.site)):
        if source is not None and said(model, verify) is not None:
            yield source.problem(verify, "contradicts `require_verification: true`", "change one of the two")
            return


def flash_times_leave_room(opened: Opened) -> Iterator[Problem]:
    low, high = (
        setting(opened.batch, opened.site, "performance_thresholds", key)
        for key in ("min_flash_time", "max_flash_time")
    )
    if low is None or high is None or low < high:
        return
    for source, model in ((opened.source, opened.batch), (opened.site_source, opened.site)):
        for name in (("performance_thresholds", "min_flash_time"), ("performance_thresholds", "max_flash_time")):
            if source is not None and said(model, name) is not None:
                message = f"no device can pass: it must take {low:g} s at least and {high:g} s at most"
                yield source.problem(name, message, "change one of the two")
                return


def one_at_a_time(opened: Opened) -> Iterator[Problem]:
    """A site's general limit does not contradict a sequential batch; the batch's own does."""
    if opened.batch.strategy is not Strategy.SEQUENTIAL:
        return
    for name in names_of(("flash_settings", "max_concurrent")):
        value = said(opened.batch, name)
        if value is not None and value > 1:
            message = f"{value} at the same time contradicts `strategy: sequential`"
            yield opened.source.problem(name, message, "remove it, or use `strategy: parallel`")


RULES = (
    gradual_keys_are_used,
    one_way_of_waves,
    approval_is_asked_for,
    groups_are_known,
    verification_is_on,
    flash_times_leave_room,
    one_at_a_time,
)
