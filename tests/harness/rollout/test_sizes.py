"""How devices are put in waves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.rollout.policy import WaveSize
from harness.rollout.sizes import split, split_again
from tests.harness.rollout.fleet import names
from tests.harness.rollout.policies import sizes


def wave_sizes(*entries: int | str) -> tuple[WaveSize, ...]:
    return tuple(
        WaveSize(percent=float(entry[:-1])) if isinstance(entry, str) else WaveSize(devices=entry) for entry in entries
    )


@pytest.mark.parametrize(
    ("count", "entries", "expected"),
    [
        (100, (1, 5, "10%", "50%", "100%"), [1, 5, 10, 50, 34]),
        (40, (1, 5, 10, 24), [1, 5, 10, 24]),
        (12, (5,), [5, 5, 2]),
        (3, (1, 5, "10%"), [1, 2]),
        (7, ("10%",), [1] * 7),
        (7, (), [7]),
        (0, (5,), []),
        (0, (), []),
    ],
)
def test_sizes_are_taken_in_order_and_the_last_is_repeated(count, entries, expected):
    assert [len(wave) for wave in split(names(count), wave_sizes(*entries))] == expected


@pytest.mark.parametrize(
    ("count", "percent", "first"), [(1000, 32.2, 322), (1000, 66.7, 667), (1000, 66.71, 668), (3, 33.3, 1)]
)
def test_a_share_is_rounded_up_from_what_was_written_not_from_its_binary_value(count, percent, first):
    assert len(split(names(count), [WaveSize(percent=percent)])[0]) == first


@given(st.integers(0, 200), st.lists(sizes, max_size=5))
def test_every_device_is_in_one_wave_in_order_and_none_is_empty(count, entries):
    waves = split(names(count), entries)
    assert [device_id for wave in waves for device_id in wave] == names(count)
    assert all(waves)


@given(st.integers(0, 30), st.lists(sizes, max_size=4), st.sets(st.integers(0, 40)))
def test_cut_again_everybody_stays_in_his_wave_and_newcomers_join_the_last(count, wanted, chosen):
    before = split(names(count), wanted)
    if not before:
        return
    devices = [f"d{number}" for number in sorted(chosen)]
    again = split_again(devices, before)
    assert sorted(device for wave in again for device in wave) == sorted(devices)
    assert all(again)
    kept = [tuple(device for device in wave if device in devices) for wave in before]
    newcomers = tuple(device for device in devices if device not in names(count))
    assert again == [wave for wave in (*kept[:-1], (*kept[-1], *newcomers)) if wave]


def test_cut_again_without_a_change_the_waves_are_as_they_were():
    before = split(names(12), wave_sizes(1, 3, "100%"))
    assert split_again(names(12), before) == before
