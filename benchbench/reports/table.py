"""The results as a table that people read: one row a point, failed ones included, what all rows share said once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchbench import units
from benchbench.reports import names
from benchbench.reports import rows as choose
from benchbench.stats import parts_of

if TYPE_CHECKING:
    import pandas

# Axes that the name of a point already says.
_NAMED = ("model", "kernel_size", "ratio", "shape")
_UNITS = {"batch": "batch {}", "img_size": "{} px", "cache": "{} cache"}
# Words that say by themselves which axis they are on.
_PLAIN = ("precision", "layout", "mode", "backend", "compile", "optimizer")


def rows(results: pandas.DataFrame) -> list[dict[str, str]]:
    """The results as text, networks first, then operators by stage.

    What a point is, the axes that vary, the median time and the throughput with their intervals, the parts of a block,
    bytes a second, the spread between rounds, and the status with its reason where it is not ok.

    All rows have the same columns; a column that no row fills is left out, and what was not measured is "-".
    """
    frame = choose.tidy(results)
    varying = [name for name in _settings(frame) if len(_values(frame, name)) > 1]
    found = [_row(record, varying) for record in choose.ordered(frame).to_dict("records")]
    filled = [name for name in (found[0] if found else ()) if any(row[name] != units.MISSING for row in found)]
    return [{name: row[name] for name in filled} for row in found]


def caption(results: pandas.DataFrame) -> str:
    """What all rows share, in one line: "tf32, batch 128, 224 px, aten, eager"."""
    frame = choose.tidy(results)
    said = []
    for name in _settings(frame):
        values = _values(frame, name)
        if len(values) == 1:
            words = "{}" if name in _PLAIN else name.replace("_", " ") + " {}"
            said.append(_UNITS.get(name, words).format(values[0]))
    return ", ".join(said)


def markdown(table: Sequence[Mapping[str, str]]) -> str:
    """Rows as a Markdown table, whatever the cells hold; empty text for no rows."""
    if not table:
        return ""
    names_ = list(table[0])
    lines = ["| " + " | ".join(escaped(name) for name in names_) + " |", "|" + " --- |" * len(names_)]
    lines += ["| " + " | ".join(escaped(str(row.get(name, ""))) for name in names_) + " |" for row in table]
    return "\n".join(lines) + "\n"


def status(record: Mapping[Any, Any]) -> str:
    """The status, why where it is not ok, and the doubts where it is: "ok (warming, capped)"."""
    word, reason = str(choose.value(record.get("status")) or "ok"), choose.value(record.get("reason"))
    if word != "ok":
        return f"{word}: {reason}" if reason else word
    warmup = choose.value(record.get("warmup_class"))
    doubts = [str(warmup)] if warmup not in (None, "flat") else []
    doubts += ["capped"] if choose.value(record.get("capped")) in (True, 1) else []
    doubts += [str(reason)] if reason else []
    return f"ok ({', '.join(doubts)})" if doubts else "ok"


def name(record: Mapping[Any, Any]) -> str:
    """What a row is about: "InceptionNeXt-T", "ConvNeXt-T/k3 (1/8)", "depthwise k7 96x56x56", "control copy 1024"; a
    block of a network is "ConvNeXt-T/k7 block 96x56x56"."""
    model = choose.value(record.get("model"))
    size, share = choose.whole(record.get("kernel_size")), choose.value(record.get("ratio"))
    if model is not None:
        shape = choose.value(record.get("shape"))
        return names.network(str(model), size, share, sizes=size is not None) + (f" block {shape}" if shape else "")
    parts = [names.operation(str(record.get("case")))]
    parts += [f"k{size}"] if size is not None else []
    parts += [f"({share})"] if share is not None else []
    return " ".join([*parts, *([str(record["shape"])] if choose.value(record.get("shape")) else [])])


def _row(record: Mapping[Any, Any], varying: Sequence[str]) -> dict[str, str]:
    known = {column: choose.value(record[column]) for column in choose.MEASURED}
    right, parts = record["status"] in ("ok", "impossible"), parts_of(record)
    if not right:
        known = dict.fromkeys(known)
    return {
        "what": name(record),
        **{column: _setting(record[column]) for column in varying},
        "time": units.time_text(known["median_s"], known["low_s"], known["high_s"]),
        "throughput": units.throughput_text(
            known["throughput_img_per_s"], known["throughput_low_img_per_s"], known["throughput_high_img_per_s"]
        ),
        **{part: units.time_text(choose.value(record[column]) if right else None) for part, column in parts.items()},
        # The bytes of a network are those of its images and logits alone: no bandwidth.
        "bandwidth": units.bandwidth_text(None if choose.value(record["model"]) else known["bytes_per_s"] or None),
        "peak memory": units.bytes_text(known["peak_memory_bytes"]),
        "energy an image": units.energy_text(known["joules_per_image"]),
        "spread": units.spread_text(known["between_spread"]),
        "rounds": units.count_text(choose.value(record["rounds"])),
        "status": status(record),
    }


def _settings(frame: pandas.DataFrame) -> list[str]:
    ordered = [axis for axis in choose.AXES if axis in frame.columns]
    others = [axis for axis in choose.axes_of(frame) if axis not in ordered]
    return [axis for axis in (*ordered, *others) if axis not in _NAMED]


def _values(frame: pandas.DataFrame, column: str) -> list[Any]:
    """The distinct values of an axis; that some rows lack it does not make it vary."""
    return [int(v) if isinstance(v, float) and v.is_integer() else v for v in choose.distinct(frame, column)]


def _setting(cell: Any) -> str:
    found = choose.value(cell)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    return units.MISSING if found is None else str(found)


def escaped(cell: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    text = " ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("<", "&lt;").replace("`", "\\`")
