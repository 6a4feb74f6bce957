"""The modelled L2 on patterns whose traffic is known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("triton")

from benchbench.access.cache import L2, modelled_dram
from benchbench.access.traffic import Step


def steps(*programs: list[tuple[str, list[int]]], launch: int = 0) -> list[Step]:
    """A step an entry: (kind, sector numbers)."""
    return [
        Step(launch, number, kind, np.array(sectors, dtype=np.int64))
        for number, program in enumerate(programs)
        for kind, sectors in program
    ]


def l2(lines: int, *, line: int = 32, sms: int = 1) -> L2:
    return L2(size_bytes=lines * line, line_bytes=line, sms=sms, programs_per_sm=1)


def test_what_fits_is_fetched_once() -> None:
    read = [("load", [n]) for n in range(8)] * 5
    found = modelled_dram(steps(read), l2(8))
    assert (found.read_bytes, found.hit_sectors, found.missed_sectors) == (8 * 32, 32, 8)


def test_cyclic_reuse_of_one_line_too_many_never_hits() -> None:
    read = [("load", [n]) for n in range(9)] * 5
    found = modelled_dram(steps(read), l2(8))
    assert (found.read_bytes, found.hit_sectors) == (45 * 32, 0)


def test_the_least_recently_used_line_goes_first() -> None:
    # 0 1 0 2 fits two lines: 2 evicts 1, so 0 still hits and 1 does not.
    found = modelled_dram(steps([("load", [n]) for n in (0, 1, 0, 2, 0, 1)]), l2(2))
    assert (found.hit_sectors, found.missed_sectors) == (2, 4)


def test_lines_are_evicted_whole_and_fetched_by_sectors() -> None:
    # Two lines of four sectors; one sector of each of three lines evicts, but no neighbour is fetched.
    found = modelled_dram(
        steps([("load", [0]), ("load", [1]), ("load", [4]), ("load", [8]), ("load", [0])]), l2(2, line=128)
    )
    assert found.read_bytes == 5 * 32


def test_stores_are_written_back_once_and_fetch_nothing() -> None:
    found = modelled_dram(steps([("store", [0]), ("store", [0]), ("store", [1])]), l2(4))
    assert (found.read_bytes, found.written_bytes) == (0, 64)


def test_a_dirty_line_that_is_evicted_is_written_back_each_time() -> None:
    found = modelled_dram(steps([("store", [n]) for n in (0, 1, 0, 1)]), l2(1))
    assert found.written_bytes == 4 * 32


def test_a_load_after_a_store_hits() -> None:
    found = modelled_dram(steps([("store", [0]), ("load", [0])]), l2(1))
    assert (found.read_bytes, found.written_bytes, found.hit_sectors) == (0, 32, 1)


def test_an_atomic_fetches_and_dirties() -> None:
    found = modelled_dram(steps([("atomic", [0])]), l2(1))
    assert (found.read_bytes, found.written_bytes) == (32, 32)


def test_programs_at_once_share_what_programs_in_turn_lose() -> None:
    """Both programs walk the same 4 sectors through a cache of 2: side by side each sector is fetched once."""
    walk = [("load", [n]) for n in range(4)]
    assert modelled_dram(steps(walk, walk), l2(2, sms=1)).read_bytes == 8 * 32
    assert modelled_dram(steps(walk, walk), l2(2, sms=2)).read_bytes == 4 * 32


def test_a_waiting_program_starts_where_one_ends() -> None:
    short, long = [("load", [0])], [("load", [n]) for n in (1, 2, 3)]
    # Two places: short | long, then the third program takes the place of the first; it reads sector 1 right after
    # the long program did, while it is still there.
    found = modelled_dram(steps(short, long, [("load", [1])]), l2(2, sms=2))
    assert (found.hit_sectors, found.missed_sectors) == (1, 4)


def test_the_cache_is_kept_between_launches() -> None:
    both = steps([("load", [0])]) + steps([("load", [0])], launch=1)
    assert modelled_dram(both, l2(1)).read_bytes == 32


def test_nothing_traced_is_nothing_moved() -> None:
    assert modelled_dram([], l2(1)).moved_bytes == 0


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"line_bytes": 48}, "multiple of 32"),
        ({"size_bytes": 64}, "does not hold one line"),
        ({"sms": 0}, "at least one multiprocessor"),
    ],
)
def test_an_impossible_cache_is_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        L2(**sizes)
