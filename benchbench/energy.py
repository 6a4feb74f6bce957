"""How many joules does one call take? From the GPU's total-energy counter, between two of its ticks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchbench.nvml import Gpu

BLOCKS = 5
# The counter ticks every 20 to 100 ms, so that a block has at least five ticks.
BLOCK_S = 0.5
# Between two looks at the counter the GPU is kept busy this long: a tick is then seen soon after it happened.
BURST_S = 0.002
# A counter that has not moved for so long does not count.
SILENCE_S = 2.0


def joules_per_call(
    gpu: Gpu | None,
    launch: Callable[[], Any],
    synchronize: Callable[[], Any],
    *,
    blocks: int = BLOCKS,
    block_s: float = BLOCK_S,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, ...]:
    """Joules of one call, one value a block of calls that follow one another; () where the GPU has no such counter.

    The calls run without a pause and over a warm cache, so this is the energy of sustained work, the GPU's share while
    it waits included, and not that of the samples, between which the cache is flushed. A block lasts from one tick of
    the counter to another: what is left of its resolution is one burst of calls. Unlike the samples of time, values of
    neighbouring blocks share the heat of the die: their spread is not that of rounds.
    """
    if gpu is None or gpu.energy_j() is None:
        return ()
    burst = _calls_in(BURST_S, launch, synchronize, clock)

    def work() -> int:
        for _ in range(burst):
            launch()
        synchronize()
        return burst

    values: list[float] = []
    tick = _next_tick(gpu, work, clock)
    for _ in range(blocks):
        if tick is None:
            return tuple(values)
        began_j, began_s, calls = tick[0], clock(), 0
        while True:
            tick = _next_tick(gpu, work, clock)
            if tick is None:
                return tuple(values)
            calls += tick[1]
            if clock() - began_s >= block_s:
                break
        values.append((tick[0] - began_j) / calls)
    return tuple(values)


def _next_tick(gpu: Gpu, work: Callable[[], int], clock: Callable[[], float]) -> tuple[float, int] | None:
    """Work until the counter moves: (joules, calls made meanwhile); None where it stands still."""
    before, began_s, calls = gpu.energy_j(), clock(), 0
    while clock() - began_s < SILENCE_S:
        calls += work()
        now = gpu.energy_j()
        if before is None or now is None:
            return None
        if now != before:
            return now, calls
    return None


def _calls_in(
    seconds: float, launch: Callable[[], Any], synchronize: Callable[[], Any], clock: Callable[[], float]
) -> int:
    """How many calls take about this long; at least one."""
    synchronize()
    calls = 1
    while True:
        began_s = clock()
        for _ in range(calls):
            launch()
        synchronize()
        taken_s = clock() - began_s
        if taken_s >= seconds / 2 or calls >= 1 << 16:
            return max(1, round(calls * seconds / max(taken_s, 1e-9)))
        calls *= 2
