"""What was found, on which machine, from which run? Writes docs/findings.md from results/ and nothing else.

    python benchmarks/findings.py [--results DIR] [--output FILE]

Each folder of results/ is one machine's sitting or campaign. In it are run folders of ``bench sweep``, and, where there
are any: trust*.json (gpu_trust.py --json), tests*.json (gpu_tests.py), sanitize*.json (gpu_sanitize.py), kernels*.json
(gpu_kernels.py), tune*.json (tune_kernels.py), aa*.json (``bench aa --json``), roofs*.json (``bench roofline --json``,
beside which stands what Nsight Compute has counted for the same points), and steps.csv with the columns step,
prediction, outcome, run: what was expected of a change before it was measured, and what became of it.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import network_goals
from documents import DOCUMENTS, bytes_part

from benchbench import units
from benchbench.reports import rows, table
from benchbench.reports.limits import cache_bytes_of, controls
from benchbench.reports.ratios import speed_ratio
from benchbench.reports.sentence import closing_sentence
from benchbench.reports.verdict import NOT_MEASURED, text_rows, verdicts
from benchbench.stats import parts_of, results
from benchbench.store import Run, runs

if TYPE_CHECKING:
    import pandas

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Findings

Written by `python benchmarks/findings.py` from `results/`, where every run that was made is kept; a test writes it
again and compares byte for byte. Medians of rounds, each a fresh process, with 95 % intervals between rounds;
[method.md](method.md) says how. What no run below holds was not measured."""
MACHINE = ("gpu", "cpu", "torch", "triton", "timm", "cuda", "cudnn", "driver", "python")


def findings(folder: Path) -> str:
    """The whole page; newest machine folder first, runs in the order in which they were made."""
    parts = [HEAD]
    for machine in sorted((child for child in folder.iterdir() if child.is_dir()), reverse=True):
        parts += machine_part(machine)
    return "\n\n".join(parts) + "\n"


def machine_part(folder: Path) -> Iterator[str]:
    """One machine: what it is, its checks, its kernels' goals and bytes, the steps of tuning, then run by run."""
    made = sorted(runs(folder), key=lambda run: run.id)
    yield f"## {folder.name}"
    if made:
        yield described(made[-1].asked()["description"])
        yield table.markdown([summed_up(run) for run in made]).rstrip()
    for name, (title, rows_of) in DOCUMENTS.items():
        for file in sorted(folder.glob(f"{name}*.json")):
            yield from titled(f"{title} ({file.name})", rows_of(json.loads(file.read_text())))
    counters = [run.counters() for run in made]
    counted = {key: row["dram_bytes"] for each in counters for key, row in each.items() if "dram_bytes" in row}
    for file in sorted(folder.glob("roofs*.json")):
        yield from bytes_part(file, counted)
    if (folder / "steps.csv").exists():
        with (folder / "steps.csv").open(newline="") as lines:
            yield from titled("Steps of tuning, predicted and measured", list(csv.DictReader(lines)))
    for run in made:
        yield from run_part(run)


def described(machine: Mapping[str, Any]) -> str:
    """The fields that decide what a figure is of, in one sentence."""
    device = machine.get("gpu") or machine.get("cpu")
    versions = [f"{name} {machine[name]}" for name in MACHINE[2:] if machine.get(name)]
    cores = machine.get("cpus")
    kind = "" if machine.get("gpu") else f", {cores} core{'s' * (cores != 1)}, **no GPU: for trying the tool**"
    return f"{device}{kind}; {', '.join(versions)}."


def summed_up(run: Run) -> dict[str, str]:
    """A row of the list of runs."""
    asked = run.asked()
    records, _ = run.read()
    good = sum(record.status == "ok" for record in records)
    return {
        "run": run.id,
        "begun (UTC)": datetime.fromtimestamp(asked["began"], UTC).strftime("%Y-%m-%d %H:%M"),
        "command": str(asked["command"]),
        "records": str(len(records)),
        "ok": str(good),
        "rounds": str(1 + max((record.round for record in records), default=-1)),
    }


def run_part(run: Run) -> Iterator[str]:
    """One run: its sentence, ours beside stock, spreads, and the paper's claims that it can judge."""
    frame = results(run.read()[0])
    cache_bytes = cache_bytes_of(run.asked()["description"])
    yield f"### {run.id}"
    if sentence := closing_sentence(frame):
        yield f"{sentence}."
    yield from titled("Ours beside stock", pair_rows(frame, cache_bytes), level=4)
    networks = rows.ordered(rows.measured(rows.tidy(frame))).to_dict("records")
    yield from titled("Networks against their goals", network_goals.goal_rows(networks), level=4)
    yield from titled("Networks", table.rows(rows.networks(rows.tidy(frame))), level=4)
    yield from titled("Blocks taken apart", part_rows(frame), level=4)
    yield from titled("Spread between processes", spread_rows(frame), level=4)
    judged = [row for row in verdicts(frame, cache_bytes=cache_bytes) if row["verdict"] != NOT_MEASURED]
    yield from titled("The paper's claims", text_rows(judged), level=4)


def titled(title: str, found: Sequence[Mapping[str, str]], *, level: int = 3) -> Iterator[str]:
    """A heading and a table; nothing for no rows."""
    if found:
        yield f"{'#' * level} {title}"
        yield table.markdown(found).rstrip()


def pair_rows(frame: pandas.DataFrame, cache_bytes: float | None = None) -> list[dict[str, str]]:
    """Each point of our kernels whose stock twin was measured in the same run, with the share of the copy rate."""
    good = rows.measured(rows.tidy(frame))
    axes = [axis for axis in rows.axes_of(good) if axis != "backend"]
    known = controls(frame, cache_bytes)
    sides: dict[str, dict[tuple[str, ...], dict[Any, Any]]] = {"aten": {}, **{name: {} for name in network_goals.OURS}}
    for record in rows.ordered(good).to_dict("records"):
        side = sides.get(str(rows.value(record["backend"])))
        if side is not None:
            side[(str(record["case"]), *(str(rows.value(record[axis])) for axis in axes))] = record
    found = []
    for place, ours in (pair for name in network_goals.OURS for pair in sides[name].items()):
        stock = sides["aten"].get(place)
        ratio = speed_ratio(ours, stock) if stock else None
        if stock is None or ratio is None:
            continue
        rate = known.copy_rate_at(ours)
        share = ours["bytes_per_s"] / rate if rate and not rows.value(ours["model"]) else None
        found.append(
            {
                "what": table.name(ours),
                "at": ", ".join(
                    str(rows.value(ours[a]))
                    for a in ("backend", "mode", "precision", "layout", "cache", "compile")
                    if rows.value(ours.get(a))
                ),
                "stock": units.time_text(stock["median_s"], stock["low_s"], stock["high_s"]),
                "ours": units.time_text(ours["median_s"], ours["low_s"], ours["high_s"]),
                "stock / ours": units.ratio_text(ratio.value, ratio.low, ratio.high),
                "of the copy rate": units.share_text(share),
            }
        )
    return found


def part_rows(frame: pandas.DataFrame) -> list[dict[str, str]]:
    """Each block whose parts were timed inside its own run: the shares of their sum, and the sum over the block."""
    columns = parts_of(frame.columns)
    good = rows.ordered(rows.measured(rows.tidy(frame)))
    found = []
    for record in good.to_dict("records"):
        parts = {name: value for name, column in columns.items() if (value := rows.value(record[column])) is not None}
        if not parts:
            continue
        whole = sum(parts.values())
        found.append(
            {
                "what": table.name(record),
                "mode": str(record["mode"]),
                "block": units.time_text(record["median_s"], rows.value(record["low_s"]), rows.value(record["high_s"])),
                **{name: units.share_text(value / whole) for name, value in parts.items()},
                "parts / block": f"{record['parts_share']:.3f}",
            }
        )
    return found


def spread_rows(frame: pandas.DataFrame) -> list[dict[str, str]]:
    """Quantiles over the points of the spread between rounds, for each kind of point."""
    good = rows.measured(rows.tidy(frame))
    kinds: Iterable[tuple[str, Any]] = (
        ("networks", rows.networks(good)),
        ("operators", rows.operators(good)),
        ("controls", good[good["case"].str.startswith("control_")]),
    )
    found = []
    for kind, part in kinds:
        spread = part["between_spread"].dropna()
        if len(spread):
            quantiles = {f"{q:.0%}": units.spread_text(float(spread.quantile(q))) for q in (0.1, 0.5, 0.9)}
            found.append({"points": f"{len(spread)} {kind}", **quantiles})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="write docs/findings.md from results/")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "findings.md")
    asked = parser.parse_args()
    asked.output.write_text(findings(asked.results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
