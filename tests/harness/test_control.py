"""An order is taken once, by whoever the run belongs to, and names who gave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.control import Control, Order


def test_an_order_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOGNAME", "grace")
    control = Control(tmp_path / "control")
    assert control.take(Order.CANCEL) is None
    control.give(Order.CANCEL)
    control.give(Order.CANCEL)
    assert control.take(Order.APPROVE) is None
    assert control.take(Order.CANCEL) == "grace"
    assert control.take(Order.CANCEL) is None


def test_orders_that_a_run_did_not_hear_of_are_dropped_but_not_those_given_since(tmp_path: Path):
    control = Control(tmp_path / "control")
    control.drop(control.waiting())
    control.give(Order.CANCEL)
    control.give(Order.APPROVE)
    unheard = control.waiting()
    control.give(Order.CANCEL)
    control.drop(unheard)
    assert [control.take(order) is not None for order in Order] == [True, False]


def test_an_order_that_can_not_be_left_is_an_error(tmp_path: Path):
    (tmp_path / "control").write_text("no folder")
    with pytest.raises(OSError, match="control"):
        Control(tmp_path / "control").give(Order.APPROVE)
