"""What do the records say? Records in, one row of medians, intervals and rates for every point out.

The unit of replication is the round: a result is the median of its rounds' medians, and its interval comes from between
the rounds. Every key that was asked appears, whatever became of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchbench.record import Record
from benchbench.series import student_quantile

if TYPE_CHECKING:
    import pandas

Array = NDArray[np.float64]

# Below this many times the empty launch, a time is of the launch and not of the operation.
OVERHEAD_TIMES = 5
EMPTY_LAUNCH = "control_empty"
# Above this share of looks at the GPU under thermal or power events a point is throttled.
THROTTLED_SHARE = 0.05
# How much faster than PyTorch's copy memory may be: for as many bytes written as read, because that copy is not the
# best there can be; for the rest, because a stream in one direction spares the turn from reading to writing. No run of
# ours has measured either: they are chosen wide, for what they let through is still checked for right results.
COPY_HEADROOM = 1.1
ONE_WAY_HEADROOM = 1.25

# The column of a part of a marked run, between these.
_PART = ("part_", "_s")

# From the worst: what a row says when its rounds disagree.
SEVERITY = ("wrong", "impossible", "crash", "timeout", "oom", "fail", "skip", "ok")

_IDENTITY = ("key", "case", "version", "arm")
MEASURES = (
    "status", "reason", "rounds", "samples", "median_s", "low_s", "high_s", "within_spread", "between_spread",
    "host_median_s", "throughput_img_per_s", "throughput_low_img_per_s", "throughput_high_img_per_s", "bytes_per_s",
    "flops_per_s", "work_bytes", "work_flops", "items", "forward_s", "backward_s", "optimizer_s", "parts_share",
    "peak_memory_bytes", "energy_j", "joules_per_image", "joules_low_per_image", "joules_high_per_image", "compile_s",
    "warmup_class", "capped", "throttled", "overhead_bound", "backend_ran", "clock",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Point:
    """The records of one key and arm: the last of each round, those that give its times, and what became of all."""

    first: Record
    timed: tuple[Record, ...]
    rounds: tuple[Record, ...]
    status: str
    reason: str


def results(records: Sequence[Record], *, level: float = 0.95) -> pandas.DataFrame:
    """One row a key and arm, in the order in which the keys first appear; an axis is a column by its own name.

    Seconds, bytes, flops, joules, rates per second; NaN where there is nothing. ``median_s`` is the median of the
    medians of the rounds with status ok (of those that have samples, where none is ok); ``low_s`` and ``high_s`` are
    Student's t on their logarithms, NaN with one round; ``rounds`` and ``samples`` count what they rest on.
    ``within_spread`` is the standard deviation of the logarithms of the samples inside a round (the root of the mean
    variance of the rounds), ``between_spread`` that of the rounds' medians. ``status`` is the worst of the rounds' and
    ``reason`` says in how many. A round that was measured again counts by its last record, and ``reason`` says so. An
    axis named like a column of results gets "axis_" before its name. ``throttled``: heat or power held the clocks down
    in more than 5 % of a round's looks at the GPU; ``overhead_bound``: shorter than five empty launches.
    """
    import pandas

    points = [_point(attempts) for attempts in _grouped(records).values()]
    timed = [record for point in points for record in point.timed]
    sizes = np.array([len(point.timed) for point in points], dtype=np.int64)
    identity = {name: [getattr(point.first, name) for point in points] for name in _IDENTITY}
    measures: dict[str, Any] = {
        "status": [point.status for point in points],
        "reason": [point.reason for point in points],
        "rounds": sizes,
    }
    measures |= _work(points)
    measures |= _times(timed, sizes, level)
    measures |= _rates(measures)
    measures |= _energies(timed, sizes, measures["items"], level)
    measures |= _notes(points)
    measures["overhead_bound"] = _overhead_bound(identity["case"], measures["median_s"])
    axes = _axes([point.first.params for point in points])
    parts = _parts(timed, sizes)
    return pandas.DataFrame(identity | axes | {name: measures[name] for name in MEASURES} | parts)


def parts_of(columns: Iterable[Any]) -> dict[str, str]:
    """The columns of a frame of results that hold parts of calls: the part's name -> the column's."""
    first, last = _PART
    named = (str(column) for column in columns)
    return {name[len(first) : -len(last)]: name for name in named if name.startswith(first) and name.endswith(last)}


def _parts(timed: Sequence[Record], sizes: NDArray[np.int64]) -> dict[str, Array]:
    """The median of the rounds' medians of every part that any record has; NaN where a point has no such part."""
    named = dict.fromkeys(name for record in timed for name in record.parts_s)
    columns = {name: _each([record.parts_s.get(name, ()) for record in timed], _median) for name in named}
    return {f"{_PART[0]}{name}{_PART[1]}": _within(found, sizes, _known_median) for name, found in columns.items()}


def _grouped(records: Iterable[Record]) -> dict[tuple[str, str], list[Record]]:
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.key, record.arm), []).append(record)
    return groups


def _point(attempts: list[Record]) -> _Point:
    last = {record.round: record for record in attempts}
    rounds = tuple(last[number] for number in sorted(last))
    timed = tuple(record for record in rounds if record.status == "ok" and record.samples_s)
    timed = timed or tuple(record for record in rounds if record.samples_s)
    status = min((record.status for record in rounds), key=SEVERITY.index)
    return _Point(attempts[0], timed, rounds, status, _reason(attempts, rounds, status))


def _reason(attempts: Sequence[Record], rounds: Sequence[Record], status: str) -> str:
    """Every status that is not ok with the number of its rounds, then the doubts of the good ones."""
    parts = []
    for bad in SEVERITY[:-1]:
        found = [record for record in rounds if record.status == bad]
        if found:
            where = (
                "" if bad == "skip" and len(found) == len(rounds) else f"{bad} in {len(found)} of {len(rounds)} rounds"
            )
            parts.append(": ".join(part for part in (where, found[0].reason) if part))
    parts += dict.fromkeys(record.reason for record in rounds if record.status == "ok" and record.reason)
    if len(attempts) > len(rounds):
        kept = {id(record) for record in rounds}
        before = Counter(record.status for record in attempts if id(record) not in kept)
        parts.append("measured again after " + ", ".join(f"{n} {name}" for name, n in before.items()))
    return "; ".join(parts)


def _axes(params: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for point in params for name in point)
    taken = {*_IDENTITY, *MEASURES}
    return {f"axis_{name}" if name in taken else name: [point.get(name) for point in params] for name in names}


def _each(series: Sequence[Sequence[float]], reduce: Callable[[Array], Array]) -> Array:
    """``reduce`` of every series, (k, n) -> (k,) for all of one length at once; NaN for an empty one."""
    found = np.full(len(series), np.nan)
    lengths = np.fromiter(map(len, series), dtype=np.int64, count=len(series))
    for length in np.unique(lengths[lengths > 0]):
        where = np.flatnonzero(lengths == length)
        found[where] = reduce(np.array([series[i] for i in where.tolist()], dtype=np.float64))
    return found


def _within(values: Array, sizes: NDArray[np.int64], reduce: Callable[[Array], Array]) -> Array:
    """``reduce`` of the rounds of every point, whose values follow one another; NaN for a point without a round."""
    found = np.full(len(sizes), np.nan)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 0]):
        where = np.flatnonzero(sizes == size)
        found[where] = reduce(values[starts[where][:, None] + np.arange(size)])
    return found


def _median(values: Array) -> Array:
    return np.asarray(np.median(values, axis=-1), dtype=np.float64)


def _known_median(values: Array) -> Array:
    """The median of what is not NaN; NaN where nothing is."""
    ordered = np.sort(values, axis=-1)
    known = np.isfinite(ordered).sum(axis=-1)
    low, high = np.maximum(known - 1, 0) // 2, np.maximum(known // 2, 0)
    rows = np.arange(len(values))
    high = np.minimum(high, values.shape[-1] - 1)
    return np.asarray((ordered[rows, low] + ordered[rows, high]) / 2, dtype=np.float64)


def _log_deviation(values: Array) -> Array:
    """Standard deviation of the logarithms; NaN for one value."""
    if values.shape[-1] < 2:
        return np.full(len(values), np.nan)
    # A clock too coarse for the operation may give 0: then there is no spread to speak of, which is NaN and no warning.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(values).std(axis=-1, ddof=1), dtype=np.float64)


def _between(values: Array, sizes: NDArray[np.int64], level: float) -> tuple[Array, Array, Array]:
    """Spread, low and high of every point from its rounds' values: Student's t on logarithms, NaN with one round."""
    spread = _within(values, sizes, _log_deviation)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = np.exp(_within(values, sizes, lambda rows: np.asarray(np.log(rows).mean(axis=-1), dtype=np.float64)))
    student = np.array([student_quantile(0.5 + level / 2, int(n) - 1) if n > 1 else np.nan for n in sizes])
    half = student * spread / np.sqrt(np.maximum(sizes, 1))
    return spread, centre * np.exp(-half), centre * np.exp(half)


def _times(timed: Sequence[Record], sizes: NDArray[np.int64], level: float) -> dict[str, Any]:
    medians = _each([record.samples_s for record in timed], _median)
    inside = _each([record.samples_s for record in timed], _log_deviation)
    spread, low, high = _between(medians, sizes, level)
    counts = np.array([len(record.samples_s) for record in timed], dtype=np.float64)

    def middle(name: str) -> Array:
        return _within(_each([getattr(record, name) for record in timed], _median), sizes, _known_median)

    return {
        "samples": np.nan_to_num(_within(counts, sizes, lambda rows: rows.sum(axis=-1))).astype(np.int64),
        "median_s": _within(medians, sizes, _median),
        "low_s": low,
        "high_s": high,
        "within_spread": np.sqrt(_within(inside**2, sizes, lambda rows: rows.mean(axis=-1))),
        "between_spread": spread,
        "host_median_s": middle("host_samples_s"),
        "forward_s": middle("forward_s"),
        "backward_s": middle("backward_s"),
        "optimizer_s": middle("optimizer_s"),
        "parts_share": _within(_each([_shares(record) for record in timed], _median), sizes, _known_median),
    }


def _shares(record: Record) -> list[float]:
    """The parts of each marked run, together, over the sample beside it."""
    runs = zip(*record.parts_s.values(), strict=True)
    return [sum(run) / whole for run, whole in zip(runs, record.samples_s, strict=False) if whole > 0]


def _work(points: Sequence[_Point]) -> dict[str, Array]:
    """Bytes, flops and items of one call, from the first record of the point that says them."""
    works = [next((record.work for record in point.rounds if record.work), {}) for point in points]
    return {
        "work_bytes": np.array([_sum(w, "bytes_read", "bytes_written") for w in works], dtype=np.float64),
        "work_flops": np.array([_sum(w, "flops") for w in works], dtype=np.float64),
        "items": np.array([_sum(w, "items") for w in works], dtype=np.float64),
    }


def _sum(work: Mapping[str, int | None], *names: str) -> float:
    """NaN where one is unknown, as the bytes of what another tool measured are."""
    known = [value for value in map(work.get, names) if value is not None]
    return float(sum(known)) if len(known) == len(names) else float("nan")


def _rates(found: Mapping[str, Any]) -> dict[str, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return _quotients(found)


def _quotients(found: Mapping[str, Any]) -> dict[str, Array]:
    return {
        "throughput_img_per_s": found["items"] / found["median_s"],
        "throughput_low_img_per_s": found["items"] / found["high_s"],
        "throughput_high_img_per_s": found["items"] / found["low_s"],
        "bytes_per_s": found["work_bytes"] / found["median_s"],
        "flops_per_s": found["work_flops"] / found["median_s"],
    }


def _energies(timed: Sequence[Record], sizes: NDArray[np.int64], items: Array, level: float) -> dict[str, Array]:
    """Joules a call and an image. A counter that did not move says nothing: 0 is unknown."""
    energies = np.array([record.energy_j or np.nan for record in timed], dtype=np.float64)
    middle = _within(energies, sizes, _known_median)
    _, low, high = _between(energies, sizes, level)
    return {
        "energy_j": middle,
        "joules_per_image": middle / items,
        "joules_low_per_image": low / items,
        "joules_high_per_image": high / items,
    }


def _notes(points: Sequence[_Point]) -> dict[str, list[Any]]:
    return {
        "peak_memory_bytes": [
            max((float(r.peak_memory_bytes) for r in p.rounds if r.peak_memory_bytes is not None), default=np.nan)
            for p in points
        ],
        # A later round may find in the compiler's cache on disk what the first one compiled.
        "compile_s": [max((r.compile_s for r in p.rounds if r.compile_s is not None), default=np.nan) for p in points],
        "warmup_class": [_agreed(record.warmup_class for record in point.timed) for point in points],
        "capped": [any(record.capped for record in point.timed) for point in points],
        "throttled": [any(_is_throttled(record) for record in point.timed) for point in points],
        "backend_ran": [_agreed(record.backend_ran for record in point.rounds) for point in points],
        "clock": [_agreed(record.clock for record in point.timed) for point in points],
    }


def _is_throttled(record: Record) -> bool:
    return (record.machine_state.get("limited_share") or 0.0) > THROTTLED_SHARE


def _overhead_bound(cases: Sequence[str], medians: Array) -> NDArray[np.bool_]:
    """Which points are hardly longer than the empty launch; none, where no empty launch was measured."""
    empty = medians[np.array([name == EMPTY_LAUNCH for name in cases], dtype=bool)]
    known = empty[np.isfinite(empty)]
    longest = float(known.max()) if len(known) else 0.0
    return np.asarray(is_overhead_bound(medians, longest), dtype=np.bool_)


def _agreed(words: Iterable[str]) -> str:
    """The one word of all rounds, or all that occur."""
    return ", ".join(dict.fromkeys(word for word in words if word))


def round_medians(records: Iterable[Record], *, arm: str = "") -> tuple[tuple[str, ...], Array]:
    """The keys of one arm and the median seconds of their rounds: (keys, rounds), NaN where a round gave no good time.

    The columns are the round numbers that occur, in order, the same for all keys, so that two arms of equal rounds are
    paired by column. What the gate decides on.
    """
    points = [_point(attempts) for (_, found), attempts in _grouped(records).items() if found == arm]
    numbers = sorted({record.round for point in points for record in point.rounds})
    column = {number: i for i, number in enumerate(numbers)}
    good = [
        (row, column[record.round], record.samples_s)
        for row, point in enumerate(points)
        for record in point.timed
        if record.status == "ok"
    ]
    medians = np.full((len(points), len(numbers)), np.nan)
    if good:
        rows, columns, samples = zip(*good, strict=True)
        medians[list(rows), list(columns)] = _each(samples, _median)
    # A clock too coarse for the operation is no time to compare.
    return tuple(point.first.key for point in points), np.where(medians > 0, medians, np.nan)


def least_seconds(work: Mapping[str, int], copies: Sequence[tuple[int, float]]) -> float | None:
    """The least time in which memory can have moved these bytes, by copies around the same footprint.

    copies: (bytes moved, seconds), of the same round; of the same cache policy, or warm ones, which are the faster.
    None where the footprint is outside the copies, or nothing is moved: memory of another size, another part of it in
    the cache, is no evidence.
    """
    read, written = work["bytes_read"], work["bytes_written"]
    moved, both_ways = read + written, 2 * min(read, written)
    seconds = _copy_seconds(moved, copies)
    if seconds is None:
        return None
    return seconds * (both_ways / COPY_HEADROOM + (moved - both_ways) / ONE_WAY_HEADROOM) / moved


def _copy_seconds(moved: int, copies: Sequence[tuple[int, float]]) -> float | None:
    """What a copy of this footprint takes at least, between those that were measured.

    The smaller of two estimates, because a cache ends somewhere between: as if the copy above were only shorter, and as
    if the copies below went on as they do.
    """
    fastest = {size: min(spent for other, spent in copies if other == size) for size, _ in copies if size > 0}
    if moved in fastest:
        return fastest[moved]
    below = sorted(size for size in fastest if size < moved)
    above = [size for size in fastest if size > moved]
    if moved <= 0 or not below or not above:
        return None
    last = below[-1]
    slope = (fastest[last] - fastest[below[-2]]) / (last - below[-2]) if len(below) > 1 else 0.0
    return min(fastest[min(above)] * moved / min(above), fastest[last] + max(slope, 0.0) * (moved - last))


def impossible(record: Record, copies: Sequence[tuple[int, float]]) -> str | None:
    """Why the time of a record cannot be, or None. No bound on flops: fast algorithms compute less than the definition.

    A case that may leave its input where it is (an alias, a view) declares the smaller Work itself. copies: as for
    ``least_seconds``.
    """
    if not record.samples_s or record.work is None:
        return None
    least, found = least_seconds(record.work, copies), median(record.samples_s)
    if least is None or found >= least:
        return None
    moved = record.work["bytes_read"] + record.work["bytes_written"]
    return (
        f"{found:.3g} s is impossible: by the copies of this round, moving its {moved} bytes takes at least "
        f"{least:.3g} s; it did less, or elsewhere"
    )


def is_overhead_bound(seconds: Any, empty_launch_s: float) -> Any:
    """Whether a time (or each of an array) says more about launching than about the operation."""
    return seconds < OVERHEAD_TIMES * empty_launch_s
