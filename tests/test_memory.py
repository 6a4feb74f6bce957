"""How much memory a block used, and which batch fits."""

import pytest

from benchbench import memory


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100, 128, 1000, 4097])
def test_the_largest_batch_fits_and_is_within_an_eighth_of_what_does(limit: int) -> None:
    found = memory.largest_batch(lambda batch: batch <= limit)
    assert found <= limit
    assert found > limit * 7 / 8 - 1


def test_where_no_image_fits_it_is_out_of_memory() -> None:
    with pytest.raises(MemoryError, match="batch of 1"):
        memory.largest_batch(lambda batch: False)


def test_a_batch_without_a_limit_ends_at_the_most() -> None:
    assert memory.largest_batch(lambda batch: True, most=256) == 256


def test_the_peak_of_a_block_is_what_it_touched_at_most() -> None:
    with memory.peak_memory("cpu") as peak:
        touched = bytearray(64 << 20)
        del touched
    if "bytes" not in peak:
        pytest.skip("this system does not reset its peak of resident memory")
    assert 60 << 20 < peak["bytes"] < 80 << 20
