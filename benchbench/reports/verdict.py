"""Do the paper's claims hold on the measured machine, at each precision, layout and compile mode?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench import published, units
from benchbench.reports import rows
from benchbench.reports.limits import Controls, controls
from benchbench.reports.ratios import Ratio, speed_ratio

if TYPE_CHECKING:
    import pandas

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
NOT_MEASURED = "not measured"
BEST = "best of both"

_Network = tuple[str, int | None, str | None]
_Speeds = Mapping[_Network, dict[Any, Any]]
INCEPTION: _Network = ("inception_next_tiny", 11, "1/8")
RESNET: _Network = ("resnet50", None, None)
# The authors timed Facebook's form; timm's is what most people run.
FORMS = (("convnext_tiny.fb", "Facebook's"), ("convnext_tiny", "timm's"))
PARTS = ("1", "1/2", "3/8", "1/4", "1/8", "1/16")
# Half of a copy's rate for the least bytes: at less, most of the time is not explained by memory.
_MEMORY_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the paper as a ratio and the limit that decides it.

    printed: the paper's own figures for it. at_least: the claim holds from here on; at_most: up to here. Both are where
    a figure rounds to the claimed one, so that 1.57 counts as the printed 1.6.
    """

    name: str
    text: str
    printed: str
    at_least: float | None = None
    at_most: float | None = None

    def verdict(self, ratio: Ratio) -> str:
        """Holds or not where the whole interval says so, else undecided; always undecided without an interval."""
        if ratio.low is None or ratio.high is None:
            return UNDECIDED
        if self.at_least is not None:
            return HOLDS if ratio.low >= self.at_least else FAILS if ratio.high < self.at_least else UNDECIDED
        limit = math.inf if self.at_most is None else self.at_most
        return HOLDS if ratio.high <= limit else FAILS if ratio.low > limit else UNDECIDED

    @property
    def criterion(self) -> str:
        """The limit in words."""
        return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"


TRAINING = Claim("training", "InceptionNeXt-T trains 1.6x as fast as ConvNeXt-T", "901 / 575 = 1.57", at_least=1.55)
INFERENCE = Claim("inference", "InceptionNeXt-T infers 1.2x as fast as ConvNeXt-T", "2900 / 2413 = 1.20", at_least=1.15)
SLOW_CONVNEXT = Claim(
    "convnext", "ConvNeXt-T trains at only 60 % of the speed of ResNet-50", "575 / 969 = 0.59", at_most=0.65
)
SMALL_KERNEL = Claim("kernel", "ConvNeXt-T trains 1.4x as fast with 3x3 as with 7x7", "798 / 575 = 1.39", at_least=1.35)
PARTIAL = Claim(
    "partial",
    "convolving fewer channels keeps speeding up the training of ConvNeXt-T/k3",
    "798, 818, 847, 871, 901, 916 img/s; smallest step 1.02",
    at_least=1.0,
)
SHRINKS = Claim("shrinks", "the speed-up is smaller in inference than in training", "1.57 / 1.20 = 1.30", at_least=1.0)
MEMORY = Claim(
    "memory", "the 7x7 depthwise convolution is bound by memory, not by arithmetic", "", at_least=_MEMORY_SHARE
)
CLAIMS = (TRAINING, INFERENCE, SLOW_CONVNEXT, SMALL_KERNEL, PARTIAL, SHRINKS, MEMORY)


def verdicts(results: pandas.DataFrame, *, cache_bytes: float | None = None) -> list[dict[str, Any]]:
    """One flat object a claim and setting: claim, text, paper, the setting (precision, layout, compile, backend, batch,
    img_size, drop_path, form of ConvNeXt), value, low, high, criterion, verdict and what the value is.

    Settings are what both sides of a ratio share; ``layout`` "best of both" takes each side's better one, as the paper
    did. A claim that no measured pair can judge is one row, "not measured", that says what to measure. cache_bytes: of
    the machine's last-level cache, which decides what copies a cold point is held against.
    """
    frame = rows.own(rows.measured(rows.tidy(results)))
    found: list[dict[str, Any]] = []
    train, infer = (_settings(rows.networks(frame), mode) for mode in ("train", "infer"))
    for setting, speeds in train.items():
        found += _training(setting, speeds)
        found += _shrinks(setting, speeds, infer.get(setting, {}))
    for setting, speeds in infer.items():
        found += [_judged(INFERENCE, setting, ratio, form) for form, ratio in _over_convnext(speeds)]
    found += _memory(results, controls(results, cache_bytes))
    order = {claim.name: position for position, claim in enumerate(CLAIMS)}
    judged = {row["claim"] for row in found}
    missing = [_missing(claim) for claim in CLAIMS if claim.name not in judged]
    return sorted([*found, *missing], key=lambda row: (order[row["claim"]], _rank(row)))


def text_rows(judged: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The same as a table for people."""
    return [
        {
            "claim": str(row["text"]),
            "verdict": str(row["verdict"]),
            "here": (units.share_text if row["claim"] == MEMORY.name else units.ratio_text)(
                row["value"], row["low"], row["high"]
            ),
            "needed": f"at least {units.share_text(_MEMORY_SHARE)}"
            if row["claim"] == MEMORY.name
            else str(row["criterion"]),
            "paper": str(row["paper"]) or units.MISSING,
            "at": ", ".join(str(row[name]) for name in ("precision", "layout", "compile", "backend") if row[name])
            + (f", batch {row['batch']}" if row["batch"] else "")
            + (f", {row['img_size']} px" if row["img_size"] else ""),
            "form": str(row["form"] or units.MISSING),
            "what": str(row["what"]),
        }
        for row in judged
    ]


def contrast() -> str:
    """What timm's own published tables say about the pair in inference, in one sentence."""
    table: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in published.timm_throughput():
        if row["precision"] == "amp":
            key = (row["torch_compile"], row["hardware"], row["torch_version"], row["layout"], row["batch_size"])
            table.setdefault(key, {})[str(row["timm_name"])] = float(str(row["img_per_s"]))
    pairs = {
        compiled: [
            speeds["inception_next_tiny"] / speeds["convnext_tiny"]
            for key, speeds in table.items()
            if key[0] == compiled and len(speeds) == 2
        ]
        for compiled in ("no", "yes")
    }
    eager, compiled = (f"{min(pairs[kind]):.2f}-{max(pairs[kind]):.2f}" for kind in ("no", "yes"))
    return (
        f"timm's published tables (inference, AMP) put InceptionNeXt-T at {eager} times ConvNeXt-T in eager mode and at"
        f" {compiled} times compiled: precision, layout, compilation and the form of ConvNeXt decide the sign."
    )


def _training(setting: tuple[Any, ...], speeds: _Speeds) -> Iterator[dict[str, Any]]:
    for form, ratio in _over_convnext(speeds):
        yield _judged(TRAINING, setting, ratio, form)
    for model, form in FORMS:
        whole = speeds.get((model, 7, "1"))
        yield from _pair(SLOW_CONVNEXT, setting, whole, speeds.get(RESNET), form)
        yield from _pair(SMALL_KERNEL, setting, speeds.get((model, 3, "1")), whole, form)
        steps = _steps([(part, speeds.get((model, 3, part))) for part in PARTS])
        if steps:
            # All steps must be above 1, so the one with the lowest lower limit decides.
            name, ratio = min(steps, key=lambda step: step[1].low if step[1].low is not None else -math.inf)
            surest = min(steps, key=lambda step: step[1].high if step[1].high is not None else math.inf)
            refuted = PARTIAL.verdict(surest[1]) == FAILS
            name, ratio = surest if refuted else (name, ratio)
            which = "the only step measured" if len(steps) == 1 else f"the least sure of {len(steps)} steps"
            yield _judged(PARTIAL, setting, ratio, form, what=f"{which}, ratio {name}")


def _pair(
    claim: Claim, setting: tuple[Any, ...], first: dict[Any, Any] | None, second: dict[Any, Any] | None, form: str
) -> Iterator[dict[str, Any]]:
    ratio = speed_ratio(first, second) if first and second else None
    if ratio is not None:
        yield _judged(claim, setting, ratio, form)


def _over_convnext(speeds: _Speeds) -> Iterator[tuple[str, Ratio]]:
    for model, form in FORMS:
        first, second = speeds.get(INCEPTION), speeds.get((model, 7, "1"))
        ratio = speed_ratio(first, second) if first and second else None
        if ratio is not None:
            yield form, ratio


def _steps(parts: Sequence[tuple[str, dict[Any, Any] | None]]) -> list[tuple[str, Ratio]]:
    """Each share of the channels against the next larger one that was measured."""
    known = [(part, row) for part, row in parts if row is not None]
    steps = []
    for (larger, slow), (smaller, fast) in itertools.pairwise(known):
        ratio = speed_ratio(fast, slow)
        if ratio is not None:
            steps.append((f"{larger} to {smaller}", ratio))
    return steps


def _shrinks(setting: tuple[Any, ...], train: _Speeds, infer: _Speeds) -> Iterator[dict[str, Any]]:
    infers = dict(_over_convnext(infer))
    for form, ratio in _over_convnext(train):
        if form in infers:
            yield _judged(SHRINKS, setting, _quotient(ratio, infers[form]), form)


def _quotient(first: Ratio, second: Ratio) -> Ratio:
    """The ratio of two ratios of separate measurements; their intervals join as in ``ratios.speed_ratio``."""
    value = first.value / second.value
    if None in (first.low, first.high, second.low, second.high):
        return Ratio(value)
    a, b, c, d = (math.log(float(limit or 0)) for limit in (first.low, first.high, second.low, second.high))
    x, y = math.log(first.value), math.log(second.value)
    return Ratio(value, value * math.exp(-math.hypot(x - a, d - y)), value * math.exp(math.hypot(b - x, y - c)))


def _memory(results: pandas.DataFrame, known: Controls) -> Iterator[dict[str, Any]]:
    """The stock 7x7 depthwise convolution, forward: the least share of the copy rate over the measured shapes."""
    frame = rows.measured(rows.operators(rows.tidy(results)))
    stock = frame[(frame["case"] == "depthwise_conv") & (frame["kernel_size"] == 7) & (frame["mode"] == "forward")]
    groups: dict[tuple[Any, ...], list[tuple[str, Ratio]]] = {}
    for row in stock.to_dict("records"):
        copy = known.copy_rate_at(row)
        if copy is None or rows.value(row["bytes_per_s"]) is None:
            continue
        share = float(row["bytes_per_s"]) / copy
        limits = [rows.value(row[name]) for name in ("high_s", "low_s")]
        low, high = (None if end is None else share * float(row["median_s"]) / end for end in limits)
        setting = (*_setting(row), str(row["layout"]))
        groups.setdefault(setting, []).append((str(row["shape"]), Ratio(share, low, high)))
    for setting, shares in groups.items():
        shape, least = min(shares, key=lambda item: item[1].value)
        what = f"least bytes over the copy rate, the lowest of {len(shares)} shapes ({shape}); below the limit the"
        yield {
            **_judged(MEMORY, setting, least, "", what=f"{what} traffic or a roofline must decide"),
            # A low share shows that something else costs time, not that arithmetic does.
            "verdict": HOLDS if MEMORY.verdict(least) == HOLDS else UNDECIDED,
        }


def _settings(frame: pandas.DataFrame, mode: str) -> dict[tuple[Any, ...], dict[_Network, dict[Any, Any]]]:
    """The rows of one mode by setting, layout included, and network; the better of both layouts is a setting too."""
    frame = frame[frame["mode"] == mode]
    found: dict[tuple[Any, ...], dict[_Network, dict[Any, Any]]] = {}
    records = frame.to_dict("records")
    layouts = rows.distinct(frame, "layout")
    for row in records:
        found.setdefault((*_setting(row), str(rows.value(row["layout"]))), {}).setdefault(_network(row), row)
    if len(layouts) > 1:
        for row in rows.better_layout(frame).to_dict("records"):
            found.setdefault((*_setting(row), BEST), {}).setdefault(_network(row), row)
    return found


def _setting(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    named = ("precision", "compile", "backend", "batch", "img_size", "drop_path")
    values: list[Any] = [rows.value(row.get(name)) for name in named]
    return tuple(int(value) if isinstance(value, float) else value for value in values)


def _network(row: Mapping[Any, Any]) -> _Network:
    model = str(row["model"])
    _, size, share = published.combination(model, rows.whole(row["kernel_size"]), rows.value(row["ratio"]))
    return model, size, share


def _judged(
    claim: Claim, setting: tuple[Any, ...], ratio: Ratio, form: str, *, what: str = "ratio of img/s"
) -> dict[str, Any]:
    precision, compiled, backend, batch, img_size, drop_path, layout = setting
    return {
        "claim": claim.name,
        "text": claim.text,
        "verdict": claim.verdict(ratio),
        "value": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "criterion": claim.criterion,
        "paper": claim.printed,
        "precision": precision,
        "layout": layout,
        "compile": compiled,
        "backend": backend,
        "batch": batch,
        "img_size": img_size,
        "drop_path": drop_path,
        "form": form or None,
        "what": what if ratio.low is not None else f"{what}; no interval with one round",
    }


def _missing(claim: Claim) -> dict[str, Any]:
    empty = _judged(claim, (None,) * 7, Ratio(math.nan), "", what=_NEEDS[claim.name])
    return {**empty, "value": None, "verdict": NOT_MEASURED, "what": _NEEDS[claim.name]}


_NEEDS = {
    "training": "needs InceptionNeXt-T and ConvNeXt-T in training at the same settings",
    "inference": "needs InceptionNeXt-T and ConvNeXt-T in inference at the same settings",
    "convnext": "needs ConvNeXt-T and ResNet-50 in training at the same settings",
    "kernel": "needs ConvNeXt-T with 3x3 and 7x7 in training at the same settings",
    "partial": "needs ConvNeXt-T/k3 in training at two or more ratios",
    "shrinks": "needs InceptionNeXt-T and ConvNeXt-T in training and inference at the same settings",
    "memory": "needs the 7x7 depthwise convolution, forward, and the copy controls",
}


def _rank(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The paper's conditions first."""
    precision = row["precision"]
    position: Callable[[Any, Sequence[Any]], int] = lambda value, known: known.index(value) if value in known else 99  # noqa: E731
    return (
        position(precision, rows.PRECISIONS),
        position(row["compile"], ("eager",)),
        position(row["backend"], ("aten",)),
        position(row["layout"], (BEST, "nchw", "nhwc")),
        position(row["form"], [form for _, form in FORMS]),
        str(row),
    )
