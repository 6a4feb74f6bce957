"""How much of the measuring time does the timer spend on itself? Prints the share for an operation of 1 ms.

    python benchmarks/loop_overhead.py [--device cuda:0] [--seconds 1e-3]

On a CPU the operation is a loop that watches the clock; on a GPU a kernel that waits. The cache is warm: emptying it is
not the loop's. What counts as overhead is everything between the first sample and the last that no clock timed:
backlog, synchronisation, reading events, looking at the interval.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from benchbench.timer import EventClock, HostClock, Policy, clock_for, measure


def operation(clock: EventClock | HostClock, seconds: float) -> Callable[[], None]:
    """A call that takes this long on the clock's device."""
    if isinstance(clock, EventClock):
        return lambda: clock.hold(seconds)

    def spin() -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass

    return spin


def overhead(device: str, seconds: float) -> tuple[float, int]:
    """Share of the measuring time outside timed work, and the samples it was measured on."""
    clock = clock_for(device)
    assert isinstance(clock, EventClock | HostClock)
    # A width that is never reached: all looks are taken, at every number of samples up to the cap.
    policy = Policy(cache="warm", half_width=1e-9, max_samples=500)
    samples = measure(operation(clock, seconds), policy=policy, clock=clock)
    return 1 - samples.timed_s / samples.elapsed_s, len(samples.samples_s)


def main() -> None:
    parser = argparse.ArgumentParser(description="the share of the measuring time that the timer spends on itself")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=1e-3)
    asked = parser.parse_args()
    share, count = overhead(asked.device, asked.seconds)
    print(f"{asked.device}, {asked.seconds * 1e3:g} ms a call, {count} samples: {share:.2%} outside timed work")


if __name__ == "__main__":
    main()
