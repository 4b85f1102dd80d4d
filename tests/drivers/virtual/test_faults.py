from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drivers.virtual.faults import Faults
from drivers.virtual.spec import (
    BitErrors,
    LineDrop,
    PowerLoss,
    SilentLine,
    SlowErase,
    StuckInApp,
    WrongChip,
    WrongMd5,
)


def faults(*these) -> Faults:
    return Faults(these, "seed")


def test_a_healthy_board_has_none() -> None:
    healthy = faults()
    assert not healthy.silent
    assert healthy.chip is None
    assert healthy.line_drops_after() is None
    assert healthy.digest(b"x" * 16) == b"x" * 16
    assert healthy.noisy(b"data") == b"data"
    assert healthy.programmable(100) == (100, None)
    assert healthy.erase_delay_s() == 0
    assert not healthy.reset_ignored()


def test_a_fault_without_times_never_ends() -> None:
    broken = faults(WrongMd5(fault="wrong-md5"))
    assert all(broken.digest(b"x" * 16) != b"x" * 16 for _ in range(20))


def test_a_fault_ends_after_its_times() -> None:
    broken = faults(WrongMd5(fault="wrong-md5", times=2), StuckInApp(fault="stuck-in-app", times=1))
    assert [broken.digest(b"x" * 16) == b"x" * 16 for _ in range(4)] == [False, False, True, True]
    assert [broken.reset_ignored() for _ in range(3)] == [True, False, False]


def test_silence_counts_the_starts_of_the_loader() -> None:
    broken = faults(SilentLine(fault="silent", times=1))
    assert broken.silent
    broken.started(in_loader=False)
    assert broken.silent
    broken.started(in_loader=True)
    assert broken.silent
    broken.started(in_loader=True)
    assert not broken.silent


def test_the_line_drops_as_often_as_asked() -> None:
    broken = faults(LineDrop(fault="line-drop", after_bytes=7, times=1))
    assert broken.line_drops_after() == 7
    broken.line_dropped()
    assert broken.line_drops_after() is None


@given(st.integers(0, 300), st.lists(st.integers(1, 50), min_size=1))
def test_power_is_lost_after_exactly_so_many_programmed_bytes(at_byte: int, sizes: list[int]) -> None:
    broken = faults(PowerLoss(fault="power-loss", at_byte=at_byte, off_s=1.5))
    programmed = 0
    for size in sizes:
        done, lost = broken.programmable(size)
        programmed += done
        if lost is not None:
            assert programmed == at_byte
            assert lost.off_s == 1.5
            assert broken.programmable(1000) == (1000, None), "it happens once"
            return
        assert done == size
    assert programmed == sum(sizes) < at_byte


def test_slow_erase_and_wrong_chip_say_what_they_are() -> None:
    broken = faults(SlowErase(fault="slow-erase", seconds=2.5), WrongChip(fault="wrong-chip", chip="esp32s3"))
    assert broken.erase_delay_s() == 2.5
    assert broken.chip == "esp32s3"


def test_bit_errors_flip_single_bits_at_about_their_rate() -> None:
    broken = faults(BitErrors(fault="bit-errors", rate=0.01))
    data = bytes(1000)
    flips = [bit for _ in range(50) for bit in broken.noisy(data) if bit]
    assert 300 < len(flips) < 700, "50,000 bytes at 1 %"
    assert all(bit.bit_count() == 1 for bit in flips)


def test_the_rarest_bit_error_is_still_one() -> None:
    assert faults(BitErrors(fault="bit-errors", rate=1e-300)).noisy(bytes(1000)) == bytes(1000)


def test_bit_errors_end_after_so_many_flips() -> None:
    broken = faults(BitErrors(fault="bit-errors", rate=1.0, times=3))
    assert sum(byte != 0 for byte in broken.noisy(bytes(100))) == 3
    assert broken.noisy(bytes(100)) == bytes(100)


def test_the_same_board_has_the_same_noise_again() -> None:
    first, second = (Faults([BitErrors(fault="bit-errors", rate=0.05)], "board") for _ in range(2))
    assert first.noisy(bytes(500)) == second.noisy(bytes(500))
