"""What the accelerated networks must reach on a GPU: the goals G15 and G16, judged from the points of one run. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchbench import units
from benchbench.reports import rows
from benchbench.reports.ratios import Ratio, speed_ratio

OURS = ("triton", "triton-blocks")
INCEPTION, CONVNEXT = "inception_next_tiny", "convnext_tiny"
# The kernel sizes with which the two networks were published.
KERNELS = {INCEPTION: 11, CONVNEXT: 7}
TF32 = ("tf32",)
AMP = ("amp-fp16", "amp-bf16")


@dataclass(frozen=True, slots=True)
class Goal:
    """Ours must be so many times as fast as stock of the model named, where mode, precision and compilation are these.

    compiled: torch.compile on both sides; else neither.
    """

    name: str
    mode: str
    precisions: tuple[str, ...]
    against: str
    must: float
    compiled: bool = False


GOALS = (
    Goal("G15", "train", TF32, INCEPTION, 1.10),
    Goal("G15", "train", AMP, INCEPTION, 1.20),
    Goal("G16", "infer", AMP, CONVNEXT, 1.20),
    Goal("G16", "infer", AMP, CONVNEXT, 1.15, compiled=True),
)


def goal_rows(records: Sequence[Mapping[Any, Any]]) -> list[dict[str, str]]:
    """A row for each goal and each of our backends that the run can judge: at equal precision, layout and compiling."""
    return [row for goal in GOALS for row in _judged(goal, records)]


def _judged(goal: Goal, records: Sequence[Mapping[Any, Any]]) -> Iterator[dict[str, str]]:
    for ours in _points(goal, records, INCEPTION, OURS):
        for stock in _points(goal, records, goal.against, ("aten",)):
            ratio = speed_ratio(ours, stock) if _setting(ours) == _setting(stock) else None
            if ratio is None:
                continue
            yield {
                "goal": goal.name,
                "ours": f"{INCEPTION} {ours['backend']}",
                "over stock": goal.against,
                "at": ", ".join([goal.mode, *_setting(ours)]),
                "must": f"at least {goal.must:.2f}",
                "found": units.ratio_text(ratio.value, ratio.low, ratio.high),
                "verdict": verdict(ratio, goal.must),
            }


def verdict(ratio: Ratio, must: float) -> str:
    """Whether the interval of a ratio lies above what it must reach, below, or on both sides."""
    if ratio.low is None or ratio.high is None:
        return "undecided: no interval"
    return "met" if ratio.low >= must else "MISSED" if ratio.high < must else "undecided"


def _points(
    goal: Goal, records: Sequence[Mapping[Any, Any]], model: str, backends: Sequence[str]
) -> list[Mapping[Any, Any]]:
    return [
        record
        for record in records
        if rows.value(record.get("model")) == model
        and rows.value(record.get("kernel_size")) in (None, KERNELS[model])
        and rows.value(record.get("backend")) in backends
        and rows.value(record.get("mode")) == goal.mode
        and rows.value(record.get("precision")) in goal.precisions
        and ((rows.value(record.get("compile")) or "eager") != "eager") == goal.compiled
    ]


def _setting(record: Mapping[Any, Any]) -> tuple[str, ...]:
    return tuple(str(rows.value(record.get(axis))) for axis in ("precision", "layout", "compile"))
