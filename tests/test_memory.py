"""How much memory a block used, and which batch fits."""

import pytest
import torch

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


def test_the_peak_of_a_block_is_what_lived_at_once() -> None:
    with memory.peak_memory("cpu") as peak:
        first = torch.zeros(1 << 20)
        second = torch.zeros(1 << 20)
        del first
        third = torch.zeros(1 << 18)
    assert peak == {"bytes": 8 << 20}
    del second, third


def test_the_peak_is_the_same_the_second_time_and_of_the_block_alone() -> None:
    kept = torch.zeros(1 << 20)
    peaks = []
    for _ in range(2):
        with memory.peak_memory("cpu") as peak:
            kept = kept.neg()
        peaks.append(peak["bytes"])
    assert peaks == [4 << 20, 4 << 20]


def test_nothing_allocated_is_nothing() -> None:
    assert memory.highest([]) == 0
    assert memory.highest([(2, -8), (1, 3), (3, 4)]) == 3


def test_what_a_gpu_held_before_the_point_is_not_in_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, answer in (("memory_allocated", 100), ("max_memory_allocated", 350)):
        monkeypatch.setattr(torch.cuda, name, lambda device, answer=answer: answer)
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda device: None)
    with memory.peak_memory("cuda:0", before=memory.held("cuda:0")) as peak:
        pass
    assert peak == {"bytes": 250}
    assert memory.held("cpu") == 0
