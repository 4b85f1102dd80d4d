"""Time limits end what hangs, whatever the library around it catches."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from drivers.base import Category, PhaseTimeout
from harness.deadline import limit


def block_forever() -> None:
    """A read that never gets a byte, as pyserial waits for one."""
    reader, writer = os.pipe()
    try:
        select.select([reader], [], [])
    finally:
        os.close(reader)
        os.close(writer)


def test_a_hanging_read_ends_as_a_timeout_that_names_what_hung():
    with (
        pytest.raises(PhaseTimeout, match=r"the flash phase took longer than 0\.05 s") as raised,
        limit(0.05, "the flash phase"),
    ):
        block_forever()
    assert raised.value.category is Category.TIMEOUT


def test_a_library_that_catches_every_exception_does_not_swallow_the_limit():
    with pytest.raises(PhaseTimeout), limit(0.05, "the reset"):
        try:
            block_forever()
        except Exception:
            block_forever()


def test_an_outer_limit_ends_an_inner_one_that_has_time_left():
    with pytest.raises(PhaseTimeout, match="the whole device"), limit(0.05, "the whole device"):
        with limit(60, "the boot phase"):
            block_forever()
        pytest.fail("the inner limit let go of what the outer one ended")


def test_after_an_inner_limit_the_outer_one_still_holds():
    with pytest.raises(PhaseTimeout, match="outer"), limit(0.2, "outer"):
        with pytest.raises(PhaseTimeout, match="inner"), limit(0.05, "inner"):
            block_forever()
        block_forever()


def test_a_block_that_ends_in_time_is_left_alone_afterwards():
    handler = signal.getsignal(signal.SIGALRM)
    with limit(60, "quick"):
        assert signal.getitimer(signal.ITIMER_REAL) > (0, 0)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is handler


def test_no_limit_outlives_its_block_whenever_an_outer_one_fires():
    """The alarm may come at any instruction, those with which an inner limit begins and ends included."""
    for number in range(200):
        with pytest.raises(PhaseTimeout, match="outer"), limit(0.001 + number * 1e-5, "outer"):
            while True:
                with limit(60, "inner"):
                    pass
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_call_that_never_returns_to_the_interpreter_ends_the_process():
    # A C call with signals blocked: what a driver stuck in the kernel looks like.
    code = """
import signal, time
import harness.deadline as deadline
deadline.GRACE_S = 0.2
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
with deadline.limit(0.1, "stuck"):
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
