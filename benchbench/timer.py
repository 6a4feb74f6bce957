"""How long does one call take? Samples on the device's clock and on the host's, until the median is known well enough.

``measure`` is the whole procedure: warm up until the times settle, then sample, look at the interval of the median
every few samples, and stop when it is narrow. It knows no GPU: a ``Clock`` marks points on the device's timeline, so
that tests put a scripted device in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from statistics import median
from typing import Any

from benchbench import series
from benchbench.clocks import Clock, EventClock, HostClock, clock_for

__all__ = ["Clock", "EventClock", "HostClock", "Policy", "Samples", "Stopping", "clock_for", "measure"]

Part = tuple[str, Callable[[], Any]]
Marked = Callable[[Callable[[str], None]], Any]

# The backlog is this much longer than the launches it hides, and never longer than the cap.
_HOLD_MARGIN = 1.5
_HOLD_CAP_S = 0.1
# A backlog that does not hold is doubled twice; then, or where the queue of launches (some thousand) was full, fewer
# calls are put behind one.
_HOLD_FACTOR_CAP = 4 * _HOLD_MARGIN
_MOST_BEHIND_ONE_HOLD = 1000
# One host sample lasts at least this long, so that the synchronisation around it weighs little.
_HOST_SAMPLE_S = 2e-3
_HOST_CALLS = (5, 50)


@dataclass(frozen=True, slots=True)
class Policy:
    """When to begin and when to stop. Times in seconds; widths as shares of the median.

    half_width, level:  stop when the interval of the median at this level is no wider than half_width to each side;
    look_every:         samples between two looks; min_samples: before the first stop; max_samples and time_cap_s: stop
                        in any case (min_samples are always taken), and say so.
    warmup_floor_s, warmup_cap_s: seconds of the operation's own work before the first sample, at least and at most.
    cache:              "cold": the cache is flushed before every call; "warm": calls follow one another.
    """

    half_width: float = 0.005
    level: float = 0.95
    look_every: int = 10
    min_samples: int = 20
    max_samples: int = 2000
    time_cap_s: float = 3.0
    warmup_floor_s: float = 0.1
    warmup_cap_s: float = 1.0
    cache: str = "cold"

    def __post_init__(self) -> None:
        if self.cache not in ("cold", "warm"):
            raise ValueError(f"cache is cold or warm, got {self.cache!r}")
        if self.look_every < 1 or not 1 <= self.min_samples <= self.max_samples:
            raise ValueError("expected look_every >= 1 and 1 <= min_samples <= max_samples")
        if not 0 <= self.warmup_floor_s <= self.warmup_cap_s:
            raise ValueError("expected 0 <= warmup_floor_s <= warmup_cap_s")
        if not (self.half_width > 0 and 0 < self.level < 1):
            raise ValueError("expected half_width > 0 and a level between 0 and 1")


@dataclass(frozen=True, slots=True)
class Samples:
    """What was measured; every time is kept, in order, in seconds of one call.

    samples_s:      on the device's clock. host_samples_s: as the host sees them, launches included: with a warm cache
                    the mean of calls that follow one another, with a cold one single calls between synchronisations.
                    On a CPU they are samples_s.
    ended_s:        when each sample of samples_s was over, on the clock's ``now``: where a monitor's looks tell in what
                    state the device was.
    phases:         the parts of each sample, by name; they add up to samples_s.
    parts:          the parts of the marked run beside each sample, by name; they are in no other time.
    clock:          what took samples_s: "events" (behind a backlog) or "host".
    warmup_class:   flat, warming, slowing, bimodal or unsteady: the series from the first warm-up call on.
    warmup_s, warmup_calls: work done before the first sample.
    capped:         stopped by the cap; low_s and high_s, the interval of the median, are wider than asked.
    gaps:           samples whose launch the device may have had to wait for, because the backlog was at its cap.
    elapsed_s:      from the first sample to the last, everything included; timed_s: the part of it that was timed.
    """

    samples_s: tuple[float, ...]
    host_samples_s: tuple[float, ...]
    ended_s: tuple[float, ...]
    phases: Mapping[str, tuple[float, ...]]
    parts: Mapping[str, tuple[float, ...]]
    clock: str
    warmup_class: str
    warmup_s: float
    warmup_calls: int
    capped: bool
    low_s: float
    high_s: float
    gaps: int
    elapsed_s: float
    timed_s: float


class _Meter:
    """Takes samples of one operation, and learns from each batch how long a backlog the next one needs."""

    def __init__(self, clock: Clock, parts: Sequence[Part], *, cold: bool, marked: Marked | None = None) -> None:
        self.clock = clock
        self.parts = parts
        self.cold = cold
        self.marked = marked
        self.hold_s = 0.0
        self.hold_factor = _HOLD_MARGIN
        self.issue_s = self.run_s = float("inf")
        self.most = _MOST_BEHIND_ONE_HOLD
        self.gaps = 0
        self.ended: list[float] = []
        self.apart: list[dict[str, float]] = []

    def take(self, count: int) -> list[list[float]]:
        """``count`` samples: the seconds of each part of each."""
        rows: list[list[float]] = []
        while len(rows) < count:
            rows += self._batch(min(self.most, count - len(rows)))
        return rows

    def _batch(self, count: int) -> list[list[float]]:
        """Samples behind one backlog."""
        clock = self.clock
        marks, reached, spans = [], [], []
        clock.hold(self.hold_s)
        began = clock.now()
        for _ in range(count):
            if self.cold:
                clock.flush()
            row = [clock.mark()]
            for _, call in self.parts:
                # The output lives until the call has been marked, so that freeing it is in no time.
                output = call()
                row.append(clock.mark())
                del output
            reached.append(clock.reached(row[0]))
            marks.append(row)
            spans.append(self._marked_run())
        issued = clock.now() - began
        clock.synchronize()
        over, last = clock.now(), spans[-1][-1][1] if self.marked else marks[-1][-1]
        self.ended += [over - clock.between(row[-1], last) for row in marks]
        rows = [[clock.between(a, b) for a, b in pairwise(row)] for row in marks]
        apart = [self._summed(run) for run in spans]
        self.apart += apart
        self._learn([sum(row) + sum(run.values()) for row, run in zip(rows, apart, strict=True)], issued, reached)
        return rows

    def _marked_run(self) -> list[tuple[str, Any]]:
        """The marks of the run beside a sample, each with the name of the part that it ends; the first ends nothing."""
        if self.marked is None:
            return []
        if self.cold:
            self.clock.flush()
        marks = [("", self.clock.mark())]
        output = self.marked(lambda name: marks.append((name, self.clock.mark())))
        del output
        return marks

    def _summed(self, marks: Sequence[tuple[str, Any]]) -> dict[str, float]:
        """Seconds by part: what ended several times is added up, what has no name included."""
        found: dict[str, float] = {}
        for (_, begun), (name, ended) in pairwise(marks):
            found[name] = found.get(name, 0.0) + self.clock.between(begun, ended)
        return found

    def _learn(self, times: list[float], issued: float, reached: list[bool]) -> None:
        """How long the device must be held, so that it comes to no call before the host has issued all of it.

        A call that the device comes to early has no gaps if the device takes well longer for it than the host: then
        the host was waiting for room in the queue, and not the device for the host.
        """
        if self.clock.name == "host":
            return
        held, count = self.hold_s > 0, len(times)
        # The least is the host's own pace, and the device's; what is above was spent waiting for each other.
        self.issue_s, self.run_s = min(self.issue_s, issued / count), min(self.run_s, *times)
        late = sum(early and one < _HOLD_MARGIN * self.issue_s for early, one in zip(reached, times, strict=True))
        self.gaps += late
        waited_for_room = issued > _HOLD_MARGIN * count * self.issue_s
        if late and (waited_for_room or self.hold_factor >= _HOLD_FACTOR_CAP or self.hold_s >= _HOLD_CAP_S):
            self.most = max(1, count // 2)
        elif late and held:
            self.hold_factor *= 2
        need = self.issue_s + max(0.0, (self.issue_s - self.run_s) * (min(count, self.most) - 1))
        self.hold_s = min(_HOLD_CAP_S, self.hold_factor * need)

    def host(self, calls: int) -> tuple[list[float], float]:
        """Host samples, and the seconds they took: one of ``calls`` calls in a row, or, cold, two of one call each."""
        clock = self.clock
        found = []
        for _ in range(2 if self.cold else 1):
            if self.cold:
                clock.flush()
            clock.synchronize()
            began = clock.now()
            for _ in range(1 if self.cold else calls):
                for _, call in self.parts:
                    call()
            clock.synchronize()
            found.append(clock.now() - began)
        return ([one if self.cold else one / calls for one in found], sum(found))


class Stopping:
    """When a median is known well enough: its interval was narrow at two looks running, or a cap was reached.

    One narrow look is not enough: series that are narrow by chance stop first, and their intervals cover less than
    they say (the simulation in tests/test_timer.py shows both).
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.interval = (0.0, 0.0)
        self.capped = False
        self._was_narrow = False

    def next_look(self, count: int) -> int:
        """How many samples to take before the next look, where there are ``count``."""
        policy = self.policy
        first = ceil(policy.min_samples / 2)
        goal = first if count < first else policy.min_samples if count < policy.min_samples else policy.max_samples
        return max(1, min(policy.look_every, goal - count))

    def look(self, times: Sequence[float], elapsed_s: float) -> bool:
        """Look at all samples so far; is it time to stop?"""
        policy = self.policy
        low, high = self.interval = series.median_interval(times, policy.level)
        narrow = high - low <= 2 * policy.half_width * median(times)
        settled, self._was_narrow = narrow and self._was_narrow, narrow
        if len(times) < policy.min_samples:
            return False
        self.capped = not settled and (len(times) >= policy.max_samples or elapsed_s >= policy.time_cap_s)
        return settled or self.capped


def _warm_up(meter: _Meter, policy: Policy) -> tuple[list[float], float, int]:
    """Call until the floor is reached, the times have settled and the backlog holds, or until the cap.

    Returns the times, their sum, and the number of calls.

    The very first call teaches the meter how long a backlog to keep; its time counts as work and is not in the series.
    """
    began = meter.clock.now()
    first = spent = sum(meter.take(1)[0])
    times: list[float] = []
    # A trend does not show in fewer.
    look = 2 * policy.look_every
    while spent < policy.warmup_cap_s and meter.clock.now() - began < policy.time_cap_s:
        last = times[-1] if times else first
        gaps = meter.gaps
        rows = meter.take(_fitting(policy.look_every, policy.warmup_cap_s - spent, last))
        times += [sum(row) for row in rows]
        spent = first + sum(times)
        if spent < policy.warmup_floor_s or len(times) < look or meter.gaps > gaps:
            continue
        if series.warmup(times).end <= len(times) - policy.look_every:
            break
        # Each look costs time in proportion to the calls so far.
        look = ceil(1.2 * len(times))
    return times, spent, len(times) + 1


def _fitting(count: int, left_s: float, one_s: float) -> int:
    """As many of ``count`` calls as fit into the time left; at least one."""
    return count if one_s <= 0 else max(1, min(count, ceil(left_s / one_s)))


def _host_calls(one_s: float) -> int:
    """Calls that make one host sample."""
    return min(max(ceil(_HOST_SAMPLE_S / max(one_s, 1e-9)), _HOST_CALLS[0]), _HOST_CALLS[1])


def measure(
    launch: Callable[[], Any],
    *,
    policy: Policy,
    clock: Clock,
    phases: Sequence[Part] = (),
    marked: Marked | None = None,
) -> Samples:
    """Time one operation: ``launch`` and nothing else, or its ``phases`` one after another.

    With phases (forward, backward, optimizer) their sequence is called in place of ``launch``, and each is timed too.
    marked: the same operation, run once more after each sample; it calls its argument with the name of a part where
    that part ends, and the time since the mark before is the part's, or nobody's where the name is "". Exceptions of
    the operation pass through.
    """
    meter = _Meter(clock, tuple(phases) or (("call", launch),), cold=policy.cache == "cold", marked=marked)
    before, warmup_s, warmup_calls = _warm_up(meter, policy)
    meter.gaps, meter.ended, meter.apart = 0, [], []
    stopping = Stopping(policy)
    rows: list[list[float]] = []
    times: list[float] = []
    host: list[float] = []
    host_s, elapsed_s, began, stop = 0.0, 0.0, clock.now(), False
    while not stop:
        count = stopping.next_look(len(times))
        if len(times) >= policy.min_samples:
            count = _fitting(count, policy.time_cap_s - (clock.now() - began), times[-1])
        taken = meter.take(count)
        rows += taken
        times += [sum(row) for row in taken]
        if clock.name != "host":
            found, spent = meter.host(_host_calls(times[-1]))
            host += found
            host_s += spent
        elapsed_s = clock.now() - began
        stop = stopping.look(times, elapsed_s)
    return Samples(
        samples_s=tuple(times),
        host_samples_s=tuple(host or times),
        ended_s=tuple(meter.ended),
        phases={name: tuple(row[i] for row in rows) for i, (name, _) in enumerate(phases)},
        parts={name: tuple(run[name] for run in meter.apart) for name in meter.apart[0] if name},
        clock=clock.name,
        warmup_class=series.warmup(before + times).kind,
        warmup_s=warmup_s,
        warmup_calls=warmup_calls,
        capped=stopping.capped,
        low_s=stopping.interval[0],
        high_s=stopping.interval[1],
        gaps=meter.gaps,
        elapsed_s=elapsed_s,
        timed_s=sum(times) + host_s + sum(sum(run.values()) for run in meter.apart),
    )
