"""Which launches of the Inception mixer are worth trying beside the rules' own, and which of them won? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchbench.kernels.inception_dwconv.launch import Choices, Plan

BRANCHES = ("square", "row", "column")
# 0 is all that a thread can have; 80 and 168 let one more and one less block of 128 threads onto a multiprocessor.
REGISTERS = (0, 80, 168)
# Outputs of a thread, beyond which compiling takes minutes and registers run out: of a tile, a column, a run of a line.
MOST_OF_TILE, MOST_OF_COLUMN, MOST_OF_RUN = 64, 28, 16
# What a choice must save in every round to count, above what the rounds of one sitting differ by.
LEAST_GAIN = 0.01
Times = Mapping[str, Sequence[float]]
RULES = "rules"


def neighbours(plan: Plan) -> list[dict[str, int]]:
    """One choice each: every open constant halved and doubled where that makes a launch, and the registers."""
    found = [{name: value} for name, values in _open(plan) for value in values]
    return [*found, *({"maxnreg": most} for most in REGISTERS if (most or None) != plan.maxnreg)]


def _open(plan: Plan) -> Iterator[tuple[str, list[int]]]:
    """The constants that a choice may overrule, and the values near theirs that they may have."""
    constants, g = plan.constants, plan.geometry

    def near(name: str, most: int, step: int = 1) -> tuple[str, list[int]]:
        value = int(constants[name])
        return name, [v for v in (value // 2, 2 * value) if step <= v <= most and v % step == 0]

    if plan.layout == "nchw":
        for part in BRANCHES:
            name = part.upper()
            if part == "column":
                yield near("COLUMN_S", min(g.height, MOST_OF_COLUMN))
            else:
                rows, columns, vector = (int(constants[f"{name}_{key}"]) for key in ("S", "SEG", "V"))
                yield near(f"{name}_S", min(g.height, MOST_OF_TILE // columns))
                yield near(f"{name}_SEG", min(g.width, MOST_OF_TILE // rows), vector)
            if plan.direction == "backward":
                yield near(f"{name}_TILES", 64)
        if plan.direction != "statistics":
            yield near("COPY", 1 << 15, 512)
        return
    for part in BRANCHES:
        yield near(f"SHARE_{part.upper()}", min(g.width if part == "row" else g.height, MOST_OF_RUN))
        if plan.direction == "backward":
            yield near(f"STEPS_{part.upper()}", 64)
    if plan.direction == "backward":
        yield near("ACROSS", 32)
    if plan.direction != "statistics":
        yield near("COPY_COUNT", 32)


def text(choices: Choices) -> str:
    """ "ROW_S=2 COPY=2048" of {"ROW_S": 2, "COPY": 2048}; the rules' own name of none."""
    return " ".join(f"{name}={value}" for name, value in choices.items()) or RULES


def share(times: Times, name: str) -> tuple[float, float]:
    """Seconds of a launch over those of the rules' own in the same round: the median, and the worst round."""
    each = sorted(a / b for a, b in zip(times[name], times[RULES], strict=True))
    return median(each), each[-1]


def winners(times: Times, tried: Sequence[Choices]) -> dict[str, int]:
    """The choices that gained in every round, the best of each constant; together they are the next to try."""
    gained: dict[str, tuple[float, int]] = {}
    for choices in tried:
        if len(choices) != 1 or text(choices) not in times:
            continue
        ((name, value),) = choices.items()
        middle, worst = share(times, text(choices))
        if worst < 1 - LEAST_GAIN and middle < gained.get(name, (1.0, 0))[0]:
            gained[name] = (middle, value)
    return {name: value for name, (_, value) in gained.items()}


def best(times: Times, tried: Sequence[Choices]) -> dict[str, int]:
    """The choices of the fastest launch that gained in every round; none where the rules' own is not beaten."""
    measured = [dict(choices) for choices in tried if choices and text(choices) in times]
    won = [choices for choices in measured if share(times, text(choices))[1] < 1 - LEAST_GAIN]
    return min(won, key=lambda choices: share(times, text(choices))[0], default={})
