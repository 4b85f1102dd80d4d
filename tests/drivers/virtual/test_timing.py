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


def _seconds(job) -> float:
    async def timed() -> float:
        start = time.monotonic()
        await job()
        return time.monotonic() - start

    return asyncio.run(timed())


def test_fast_never_waits() -> None:
    pace = Pace(Speed.FAST)

    async def much() -> None:
        await pace.charge(1000)
        await pace.until(pace.arrival("in", 1 << 20, 9600))

    assert _seconds(much) < 0.5


def test_realistic_waits_and_lets_bytes_pass_one_after_the_other() -> None:
    pace = Pace(Speed.REALISTIC)

    async def some() -> None:
        await pace.charge(0.05)
        arrivals = [pace.arrival("in", 1152, 115200) for _ in range(2)]
        assert arrivals[1] - arrivals[0] == pytest.approx(0.1)
        await pace.until(arrivals[1])

    assert _seconds(some) >= 0.25
