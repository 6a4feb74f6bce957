"""What a run says in one sentence: how much faster InceptionNeXt-T is than ConvNeXt-T here, or the widest contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchbench import published
from benchbench.reports import names, rows
from benchbench.reports.ratios import speed_ratio
from benchbench.units import ratio_text

if TYPE_CHECKING:
    import pandas

_MODES = {"train": "training", "infer": "inference", "forward_backward": "forward plus backward"}
_PAIR = (("inception_next_tiny", 11, "1/8"), ("convnext_tiny", 7, "1"))


def closing(results: pandas.DataFrame) -> list[str]:
    """The last lines of a table: what all its rows share, and the closing sentence; only those that say something."""
    from benchbench.reports.table import caption

    shared = caption(results)
    return [line for line in (f"Everywhere: {shared}." if shared else "", closing_sentence(results)) if line]


def closing_sentence(results: pandas.DataFrame) -> str:
    """The last line of a command: "inception_next_tiny is 1.20x (1.19-1.21) convnext_tiny in training at tf32, ...".

    About the paper's pair of networks where both were measured at the same settings (training first, the paper's
    precision first, each in its better layout); else our kernels against stock ones; else the fastest of the networks
    or operators against the slowest at the same settings. With one round it says that there is no interval. Empty where
    no two measured points compare.
    """
    good = rows.own(rows.measured(rows.tidy(results)))
    pair = _the_pair(good) or _backends(good) or _extremes(rows.networks(good)) or _extremes(rows.operators(good))
    if pair is None:
        return ""
    first, second = pair
    return f"{_name(first, second)} is {_ratio(first, second)} {_name(second, first)} {_settings(first, second)}"


def headline(frame: pandas.DataFrame) -> str:
    """The same about the paper's pair alone, in the names of the chart; empty where the pair was not measured."""
    pair = _the_pair(rows.own(rows.measured(frame)))
    if pair is None:
        return ""
    first, second = pair
    layouts = sorted({str(row["layout"]) for row in pair if rows.value(row["layout"])})
    mode, where = _MODES.get(first["mode"], first["mode"]), ", ".join([str(first["precision"]), *layouts])
    return f"InceptionNeXt-T is {_ratio(first, second)} {names.network(str(second['model']))} in {mode} at {where}"


def _the_pair(good: pandas.DataFrame) -> tuple[dict[Any, Any], dict[Any, Any]] | None:
    """InceptionNeXt-T and ConvNeXt-T at equal settings, stock and eager first, as the paper has them."""
    best = rows.better_layout(rows.networks(good))
    # The form that the paper timed goes first where a run has both.
    best = best.sort_values("model", key=lambda models: ~models.astype(str).str.endswith(".fb"), kind="stable")
    found: list[dict[tuple[Any, ...], dict[Any, Any]]] = [{}, {}]
    for row in best.to_dict("records"):
        identity = published.combination(str(row["model"]), rows.whole(row["kernel_size"]), rows.value(row["ratio"]))
        if identity in _PAIR:
            found[_PAIR.index(identity)].setdefault(_same(row), row)
    shared = sorted(set(found[0]) & set(found[1]), key=lambda same: _order(found[0][same]))
    return (found[0][shared[0]], found[1][shared[0]]) if shared else None


def _backends(good: pandas.DataFrame) -> tuple[dict[Any, Any], dict[Any, Any]] | None:
    """The triton point of the largest operator against its aten point."""
    best = rows.better_layout(rows.operators(good))
    found: dict[str, dict[tuple[Any, ...], dict[Any, Any]]] = {"triton": {}, "aten": {}}
    for row in best.to_dict("records"):
        if row["backend"] in found:
            identity = (row["case"], row["shape"], rows.whole(row["kernel_size"]), rows.value(row["ratio"]))
            found[row["backend"]].setdefault((*identity, *_same(row, backend=False)), row)
    shared = sorted(
        set(found["triton"]) & set(found["aten"]),
        key=lambda same: (same[0] != "inception_dwconv", -float(found["aten"][same]["median_s"])),
    )
    return (found["triton"][shared[0]], found["aten"][shared[0]]) if shared else None


def _extremes(good: pandas.DataFrame) -> tuple[dict[Any, Any], dict[Any, Any]] | None:
    """The fastest against the slowest of the largest group with equal settings."""
    groups: dict[tuple[Any, ...], list[dict[Any, Any]]] = {}
    for row in rows.better_layout(good).to_dict("records"):
        groups.setdefault((*_same(row), rows.value(row["shape"])), []).append(row)
    whole = [group for group in groups.values() if len(group) > 1]
    if not whole:
        return None
    largest = min(whole, key=lambda group: (-len(group), _order(group[0])))
    ordered = sorted(largest, key=lambda row: (row["median_s"], str(row["key"])))
    return ordered[0], ordered[-1]


def _same(row: dict[Any, Any], *, backend: bool = True) -> tuple[Any, ...]:
    """What two points must share to be compared, as text that sorts."""
    axes = ("precision", "batch", "img_size", "mode", "compile", "cache", "optimizer", "drop_path", "arm")
    return tuple(str(rows.value(row.get(axis))) for axis in (*axes, *(("backend",) if backend else ())))


def _order(row: dict[Any, Any]) -> tuple[Any, ...]:
    precision = row["precision"]
    return (
        row["mode"] != "train",
        rows.PRECISIONS.index(precision) if precision in rows.PRECISIONS else 99,
        rows.value(row["backend"]) not in (None, "aten"),
        rows.value(row["compile"]) not in (None, "eager"),
        _same(row),
    )


def _ratio(first: dict[Any, Any], second: dict[Any, Any]) -> str:
    ratio = speed_ratio(first, second)
    if ratio is None:
        return ratio_text(None)
    text = ratio_text(ratio.value, ratio.low, ratio.high)
    return text if ratio.low is not None else f"{text} (no interval: one round)"


def _name(row: dict[Any, Any], other: dict[Any, Any]) -> str:
    model = rows.value(row["model"])
    text = str(model or row["case"])
    size, share = rows.whole(row["kernel_size"]), rows.value(row["ratio"])
    own = published.combination(text) if model else (text, None, None)
    if size is not None and size != own[1]:
        text += f" k{size}"
    if share is not None and share != own[2]:
        text += f" ({share})"
    if row["backend"] != other["backend"] and rows.value(row["backend"]):
        text += f" {row['backend']}"
    return text


def _settings(first: dict[Any, Any], second: dict[Any, Any]) -> str:
    mode = first["mode"]
    layouts = list(dict.fromkeys(str(row["layout"]) for row in (first, second) if rows.value(row["layout"])))
    parts = [str(first["precision"])] if rows.value(first["precision"]) else []
    parts += ["/".join(layouts)] if layouts else []
    parts += [f"batch {rows.whole(first['batch'])}"] if rows.value(first["batch"]) is not None else []
    parts += [str(first["shape"])] if rows.value(first["shape"]) else []
    parts += (
        [names.variant(None, rows.value(first["compile"]))] if names.variant(None, rows.value(first["compile"])) else []
    )
    return f"in {_MODES.get(mode, mode)} at {', '.join(parts)}" if parts else f"in {_MODES.get(mode, mode)}"
