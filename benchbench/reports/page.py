"""One Markdown page of a run: what it found, on what machine, figures, tables, what limits, and all that failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchbench import units
from benchbench.reports import rows, table
from benchbench.reports.chart import Chart
from benchbench.reports.limits import Controls, cache_bytes_of, controls, limit, summary
from benchbench.reports.sentence import closing_sentence

if TYPE_CHECKING:
    import pandas

LONGEST_TABLE = 200
_NAMED_FAILURES = 6
_READING = (
    "Times and throughputs are the median of the rounds' medians, a round being a fresh process; in brackets the 95 %"
    " interval from between the rounds (none with one round). *Spread* is the standard deviation of the logarithms of"
    " the rounds' medians."
)


def page(
    results: pandas.DataFrame,
    description: Mapping[str, Any],
    *,
    title: str = "A run of bench",
    conditions: str = "",
    charts: Sequence[tuple[Chart, str]] = (),
) -> str:
    """The page as text.

    results: the frame of ``stats.results``. description: of the machine, nested mappings allowed; what is None is left
    out. conditions: the preset in words. charts: each with the name of its picture, relative to the page; the data are
    linked beside it under the same name with .csv.
    """
    frame = rows.tidy(results)
    known = controls(frame, cache_bytes_of(description))
    sections = [
        [f"# {table.escaped(title)}"],
        _opening(frame, conditions),
        _machine(description),
        _figures(charts),
        *_tables(frame, known),
        _limits(frame, known),
        _failures(frame),
        ["## How to read this", "", _READING],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _opening(frame: pandas.DataFrame, conditions: str) -> list[str]:
    counts = frame["status"].value_counts()
    listed = ", ".join(f"{counts[status]} {status}" for status in sorted(counts.index, key=lambda s: (s != "ok", s)))
    sentence = closing_sentence(frame)
    lines = [f"**{table.escaped(sentence)}.**", ""] if sentence else []
    lines += [f"{table.escaped(conditions)}", ""] if conditions else []
    return [*lines, f"{len(frame)} points: {listed}." if len(frame) else "Nothing was measured."]


def _machine(description: Mapping[str, Any]) -> list[str]:
    said = [{"": name.replace("_", " "), "value": value} for name, value in flattened(description)]
    if not said:
        return ["## Machine", "", "Not described."]
    return ["## Machine", "", table.markdown(said).rstrip()]


def flattened(description: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The fields of a description as text, nested names joined by a dot; sizes in bytes are read as such."""
    for name, value in description.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        elif value not in (None, "", [], ()):
            yield f"{prefix}{name}", _field(str(name), value)


def _field(name: str, value: Any) -> str:
    if name.endswith("_bytes") and isinstance(value, int | float) and not isinstance(value, bool):
        return units.bytes_text(value)
    return ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)


def _figures(charts: Sequence[tuple[Chart, str]]) -> list[str]:
    if not charts:
        return []
    lines = ["## Figures"]
    for chart, picture in charts:
        stem = picture.rsplit(".", 1)[0]
        lines += ["", f"![{chart.name}]({picture})", "", f"Data: [{stem}.csv]({stem}.csv)"]
        lines += ["", *(f"- {table.escaped(note)}" for note in chart.notes)] if chart.notes else []
    return lines


def _tables(frame: pandas.DataFrame, known: Controls) -> Iterator[list[str]]:
    networks, operators = rows.networks(frame), rows.operators(frame)
    others = frame.drop(index=[*networks.index, *operators.index])
    for title, part in (("Networks", networks), ("Operators", operators), ("Controls and other cases", others)):
        if part.empty:
            continue
        part = rows.ordered(part)
        said = table.rows(part)
        limits = [limit(record, known) for record in part.to_dict("records")]
        if any(limits):
            said = [{**row, "limited by": text or units.MISSING} for row, text in zip(said, limits, strict=True)]
        shared = table.caption(part)
        lines = [f"## {title}", "", *([f"Everywhere: {table.escaped(shared)}.", ""] if shared else [])]
        lines.append(table.markdown(said[:LONGEST_TABLE]).rstrip())
        if len(said) > LONGEST_TABLE:
            lines += ["", f"{LONGEST_TABLE} of {len(said)} rows; `bench show --format csv` prints all."]
        yield lines


def _limits(frame: pandas.DataFrame, known: Controls) -> list[str]:
    said = summary(frame, known)
    if not said:
        return []
    about = []
    if known.empty_s is not None:
        about.append(f"An empty launch took {units.time_text(known.empty_s)}.")
    if known.copies:
        rates = sorted({units.bandwidth_text(rate): rate for _, rate in known.copies}.items(), key=lambda one: one[1])
        about.append(f"Copies ran at {' to '.join(dict.fromkeys((rates[0][0], rates[-1][0])))}.")
    return ["## What limits", "", *([" ".join(about), ""] if about else []), *(f"- {line}" for line in said)]


def _failures(frame: pandas.DataFrame) -> list[str]:
    """Failures and skips, grouped by what they say, the most frequent first."""
    bad = frame[frame["status"] != "ok"]
    if bad.empty:
        return ["## Failures and skips", "", "None."]
    groups: dict[tuple[str, str], list[str]] = {}
    for record in bad.to_dict("records"):
        reason = str(rows.value(record["reason"]) or "no reason recorded")
        groups.setdefault((str(record["status"]), reason), []).append(table.name(record))
    lines = ["## Failures and skips", ""]
    order = sorted(groups.items(), key=lambda item: (item[0][0] == "skip", -len(item[1]), item[0]))
    for (status, reason), who in order:
        shown = list(dict.fromkeys(who))
        more = f" and {len(shown) - _NAMED_FAILURES} more" if len(shown) > _NAMED_FAILURES else ""
        listed = table.escaped(", ".join(shown[:_NAMED_FAILURES]) + more)
        lines.append(f"- **{status}**, {len(who)}: {table.escaped(reason)} ({listed})")
    return lines
