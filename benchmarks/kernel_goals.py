"""What the Inception mixer's kernels must reach on a GPU: the goals G1 to G13, judged from seconds of rounds. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STAGES = ("s1", "s2", "s3", "s4")
ITEMSIZE = {"fp32": 4, "bf16": 2, "fp16": 2}
LAYOUTS = ("nchw", "nhwc")
COMPILED_STAGES = ("s1", "s3")
STATISTICS_DTYPE = "bf16"


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table: what is divided by what, and what it must reach. below: it must not exceed ``must``."""

    name: str
    text: str
    must: float
    below: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A measured ratio with the lowest and highest of the rounds, or why there is none."""

    goal: Goal
    point: str
    value: float | None
    low: float = 0.0
    high: float = 0.0
    reason: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return (
            "met" if (self.value <= self.goal.must if self.goal.below else self.value >= self.goal.must) else "MISSED"
        )


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """Median of above / below round by round, with the lowest and the highest."""
    ratios = sorted(a / b for a, b in zip(above, below, strict=True))
    return statistics.median(ratios), ratios[0], ratios[-1]


def judged(
    mixers: Mapping[str, Mapping[str, Sequence[float]]],
    compiled: Mapping[str, Mapping[str, Sequence[float]]],
    weights: Mapping[str, Mapping[str, Sequence[float]]],
) -> list[Result]:
    """The goals G1 to G13, point by point, from seconds of rounds. Pure."""
    results: list[Result] = []

    def add(goal: Goal, point: str, found: Mapping[str, Sequence[float]] | None, above: str, below: str) -> None:
        if not found or above not in found or below not in found:
            results.append(Result(goal, point, None, reason="no time, or it does not run here"))
        else:
            results.append(Result(goal, point, *ratio(found[above], found[below])))

    for stage in STAGES:
        for dtype in ITEMSIZE:
            wide = dtype == "fp32"
            for layout in LAYOUTS:
                point, last = f"{stage} {dtype} {layout}", layout == "nhwc"
                found = mixers.get(point)
                for goal, above, below in share_goals(stage, wide, last):
                    add(goal, point, found, above, below)
                if not last:
                    add(Goal("G6", "stock / ours forward", 2.5 if wide else 4.0), point, found, "stock", "ours")
                    add(
                        Goal("G7", "stock / ours backward", 5.0 if wide else 9.0),
                        point,
                        found,
                        "stock backward",
                        "ours backward",
                    )
                elif not wide:
                    add(Goal("G8", "stock NHWC / ours forward", 4.0), point, found, "stock", "ours")
                    both = None if found is None else summed(found)
                    add(Goal("G8", "stock NHWC / ours forward + backward", 5.0), point, both, "stock", "ours")
                if dtype == STATISTICS_DTYPE:
                    goal = Goal("G13", "stock with BatchNorm / ours with its statistics", 2.8)
                    add(goal, point, found, "stock statistics", "ours statistics")
                if wide:
                    add(Goal("G10", "stock / ours under autocast", 3.0), point, found, "stock amp", "ours amp")
    for stage in COMPILED_STAGES:
        point = f"{stage} bf16 nchw"
        found = compiled.get(point)
        add(Goal("G9", "compiled / ours forward", 2.5), point, found, "compiled", "ours")
        add(Goal("G9", "compiled / ours backward", 5.0), point, found, "compiled backward", "ours backward")
    for dtype, must in (("fp32", 8.0), ("bf16", 15.0)):
        add(Goal("G11", "stock / ours weight gradient", must), f"1x11 s1 {dtype}", weights.get(dtype), "stock", "ours")
    results += [no_cliff(stage, mixers) for stage in STAGES]
    return results


def share_goals(stage: str, wide: bool, last: bool) -> list[tuple[Goal, str, str]]:
    """The goals that are shares of the copy, at one point."""
    forward = Goal("G1", "share of copy, forward", 0.90)
    if last:
        forward = Goal("G3", "share of copy, forward", 0.80 if stage == "s1" else 0.88)
    elif not wide:
        forward = Goal("G2", "share of copy, forward", {"s3": 0.85, "s4": 0.75}.get(stage, 0.88))
    goals = [] if stage == "s4" and wide and not last else [(forward, "copy", "ours")]
    if wide and not last:
        goals.append(
            (Goal("G4", "share of copy, backward", 0.75 if stage == "s4" else 0.85), "copy backward", "ours backward")
        )
    elif not wide:
        must = {"s3": 0.75, "s4": 0.65}.get(stage, 0.80)
        goals.append((Goal("G5", "share of copy, backward", must), "copy backward", "ours backward"))
    return goals


def summed(found: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Forward and backward together, round by round."""
    whole = {}
    for name in ("ours", "stock"):
        if name in found and f"{name} backward" in found:
            whole[name] = [a + b for a, b in zip(found[name], found[f"{name} backward"], strict=True)]
    return whole


def no_cliff(stage: str, mixers: Mapping[str, Mapping[str, Sequence[float]]]) -> Result:
    """The slowest type and layout over the fastest, seconds a byte."""
    goal = Goal("G12", "slowest / fastest, seconds a byte", 1.25, below=True)
    points = [f"{stage} {dtype} {layout}" for dtype in ITEMSIZE for layout in LAYOUTS]
    if not all("ours" in mixers.get(point, {}) for point in points):
        return Result(goal, stage, None, reason="not every type and layout was measured")
    each = [statistics.median(mixers[point]["ours"]) / ITEMSIZE[point.split()[1]] for point in points]
    value = max(each) / min(each)
    return Result(goal, stage, value, value, value)


def printed(results: Sequence[Result]) -> str:
    lines = [f"{'goal':5}{'point':22}{'what':42}{'must':>6}  {'found':>7}  {'of the rounds':15}verdict"]
    for one in results:
        value = "-" if one.value is None else f"{one.value:.2f}"
        spread = "" if one.value is None else f"{one.low:.2f} to {one.high:.2f}"
        what = one.goal.text + (" (at most)" if one.goal.below else "")
        lines.append(
            f"{one.goal.name:5}{one.point:22}{what:42}{one.goal.must:>6.2f}  {value:>7}  {spread:15}{one.verdict}"
        )
    count = {verdict: sum(one.verdict == verdict for one in results) for verdict in ("met", "MISSED", "not measured")}
    lines.append(", ".join(f"{number} {verdict}" for verdict, number in count.items()))
    return "\n".join(lines)
