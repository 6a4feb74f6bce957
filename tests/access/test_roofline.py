"""Roofs and bars from results with known answers."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")

from benchbench.access.roofline import Roofs, bar, bars, limiter, plateau_rows, roofs_from

GB = 10**9


def stream(case: str, moved: int, rate: float, **more: Any) -> dict[str, Any]:
    return {"case": case, "key": case, "work_bytes": moved, "work_flops": 0, "median_s": moved / rate, **more}


RUN = [
    stream("roof_copy", 8 * 10**6, 9000 * GB),
    stream("roof_copy", 32 * 10**6, 8000 * GB),
    stream("roof_copy", 512 * 10**6, 3000 * GB),
    stream("roof_copy", 2 * GB, 3900 * GB),
    stream("roof_triad", 3 * GB, 4000 * GB),
    {"case": "roof_fma", "key": "f", "work_bytes": 1, "work_flops": 60 * 10**12, "median_s": 1.0},
    {
        "case": "roof_matmul",
        "key": "m",
        "work_bytes": 1,
        "work_flops": 700 * 10**12,
        "median_s": 1.0,
        "precision": "bf16",
    },
]


def test_the_memory_roof_is_the_plateau_of_the_largest_sizes() -> None:
    roofs = roofs_from(RUN)
    assert roofs.memory_bytes_per_s == 4000 * GB
    assert (roofs.cache_bytes_per_s, roofs.cache_up_to_bytes) == (9000 * GB, 32 * 10**6)
    assert (roofs.fma_flops_per_s, roofs.tensor_flops_per_s) == (60 * 10**12, {"bf16": 700 * 10**12})
    assert roofs.ridge == 15


def test_failed_points_are_no_roofs() -> None:
    broken = [{**RUN[0], "median_s": None}, {**RUN[1], "median_s": float("nan")}, RUN[4]]
    assert roofs_from(broken).memory_bytes_per_s == 4000 * GB
    with pytest.raises(ValueError, match="no copy or triad roof was measured"):
        roofs_from(broken[:2])


def test_a_bar_reaches_from_the_least_bytes_to_what_the_time_allows() -> None:
    point = {"case": "depthwise_conv", "key": "k", "work_bytes": 4 * GB, "work_flops": 8 * GB, "median_s": 2e-3}
    found = bar(point, roofs_from(RUN))
    assert (found.intensity_high, found.intensity_low) == (2, 1)
    assert (found.known_bytes, found.provenance) == (8 * GB, "M2")
    assert found.share_of_memory_roof == pytest.approx(0.5)
    assert found.limiter.startswith("neither roof")


def test_traced_bytes_replace_the_bound_from_time() -> None:
    point = {"case": "depthwise_conv", "key": "k", "work_bytes": 4 * GB, "work_flops": 8 * GB, "median_s": 2e-3}
    (found,) = bars([*RUN, point], roofs_from(RUN), {"k": 7 * GB})
    assert (found.known_bytes, found.provenance) == (7 * GB, "M1")
    assert found.limiter == "memory, 1.8 times the bytes that it needs"


def test_a_point_faster_than_copying_is_doubted_unless_it_fits_the_cache() -> None:
    large = {"case": "c", "key": "k", "work_bytes": 4 * GB, "work_flops": 0, "median_s": 5e-4}
    small = {"case": "c", "key": "k", "work_bytes": 16 * 10**6, "work_flops": 0, "median_s": 2e-6}
    roofs = roofs_from(RUN)
    assert "faster than this machine copies" in bar(large, roofs).doubt
    assert bar(small, roofs).doubt == ""
    assert bar(small, roofs).limiter == "the cache"
    assert bar(large, roofs).provenance == "M0"


@pytest.mark.parametrize(
    ("memory", "arithmetic", "amplification", "words"),
    [
        (0.9, 0.1, None, "memory"),
        (0.2, 0.8, None, "arithmetic"),
        (0.2, 0.1, None, "neither roof"),
        (0.3, 0.1, 3.0, "memory, 3.0 times"),
        (None, 0.1, None, "unknown"),
    ],
)
def test_the_limiter_in_words(memory: float | None, arithmetic: float, amplification: float | None, words: str) -> None:
    assert limiter(memory, arithmetic, amplification, fits_cache=False).startswith(words)


def test_without_an_arithmetic_roof_there_is_no_ridge() -> None:
    assert Roofs(4e12, None, 0, None, {}).ridge is None


def test_plateaus_are_listed_by_size() -> None:
    found = plateau_rows(reversed(RUN))
    sizes = [row["work_bytes"] for row in found if row["case"] == "roof_copy"]
    assert sizes == [
        8 * 10**6,
        32 * 10**6,
        512 * 10**6,
        2 * GB,
    ]


@pytest.mark.parametrize(
    ("cache", "sizes", "doubted"),
    [(None, (1e6, 3e7), True), (9e10, (1e6, 3e7), False), (None, (1e6, 3e9), False), (None, (), False)],
)
def test_a_memory_roof_that_may_be_the_caches_is_doubted(
    cache: float | None, sizes: tuple[float, ...], doubted: bool
) -> None:
    from benchbench.commands.memory import one_plateau

    said = one_plateau({"cache_bytes_per_s": cache}, [{"work_bytes": int(size)} for size in sizes])
    assert bool(said) is doubted
    assert not doubted or "the largest copy moved 30.00 MB" in said
