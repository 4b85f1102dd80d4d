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


def test_orders_to_a_run_that_heard_of_none_of_them_are_dropped(tmp_path: Path):
    control = Control(tmp_path / "control")
    control.clear()
    control.give(Order.CANCEL)
    control.give(Order.APPROVE)
    control.clear()
    assert [control.take(order) for order in Order] == [None, None]


def test_an_order_that_can_not_be_left_is_an_error(tmp_path: Path):
    (tmp_path / "control").write_text("no folder")
    with pytest.raises(OSError, match="control"):
        Control(tmp_path / "control").give(Order.APPROVE)
