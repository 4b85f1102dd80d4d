from __future__ import annotations

import asyncio
import time

import pytest

from drivers.virtual import timing
from drivers.virtual.spec import Speed
from drivers.virtual.timing import Pace


def test_a_byte_takes_ten_bits() -> None:
    assert timing.wire_s(11520, 115200) == pytest.approx(1.0)


def test_the_table_adds_up_to_what_was_measured() -> None:
    assert timing.erase_s(1_000_000) + timing.program_s(1_000_000) == pytest.approx(8.6)
    assert timing.md5_s(1_000_000) == pytest.approx(3.302)
    assert timing.chip_erase_s(4_000_000) == pytest.approx(10)


def test_finding_a_sector_blank_is_far_cheaper_than_erasing_it() -> None:
    assert timing.erase_s(4096) > 50 * timing.BLANK_CHECK_S


def test_fast_never_waits() -> None:
    pace = Pace(Speed.FAST)

    async def much() -> None:
        await pace.charge(1000)
        await pace.until(pace.arrival("in", 1 << 20, 9600))

    with pytest.raises(StopIteration):  # it ends without having given way to the event loop once
        much().send(None)


def test_realistic_lets_bytes_pass_one_after_the_other() -> None:
    pace = Pace(Speed.REALISTIC)
    first, second = (pace.arrival("in", 1_152_000, 115200) for _ in range(2))  # long: asked for later, it is the same
    assert second - first == pytest.approx(100)


def test_realistic_waits() -> None:
    pace = Pace(Speed.REALISTIC)

    async def some() -> None:
        await pace.charge(0.05)
        await pace.until(pace.arrival("in", 2304, 115200))

    began = time.monotonic()
    asyncio.run(some())
    assert time.monotonic() - began >= 0.25
