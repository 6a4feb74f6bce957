"""What was found, on which machine, from which run? Writes docs/findings.md from results/ and nothing else.

    python benchmarks/findings.py [--results DIR] [--output FILE]

Each folder of results/ is one machine's sitting or campaign. In it are run folders of ``bench sweep``, and, where there
are any: trust*.json (gpu_trust.py --json), tests*.json (gpu_tests.py), sanitize*.json (gpu_sanitize.py), kernels*.json
(gpu_kernels.py), roofs*.json (``bench roofline --json``, beside which stands what Nsight Compute has counted for the
same points), and steps.csv with the columns step, prediction, outcome, run: what was expected of a change before it was
measured, and what became of it.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    sides: dict[str, dict[tuple[str, ...], dict[Any, Any]]] = {"aten": {}, "triton": {}}
    for record in rows.ordered(good).to_dict("records"):
        side = sides.get(str(rows.value(record["backend"])))
        if side is not None:
            side[(str(record["case"]), *(str(rows.value(record[axis])) for axis in axes))] = record
    found = []
    for place, ours in sides["triton"].items():
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
                    for a in ("mode", "precision", "layout", "cache", "compile")
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


def goal_rows(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """The goals of kernel_goals.py as gpu_kernels.py --json wrote them; wrong answers first."""
    columns = ("goal", "point", "what", "must", "found", "verdict")
    answers = [
        *(("-", line, "a wrong answer", "", "", "WRONG") for line in document["wrong"]),
        *(("-", point, "the right answer", "", "no time", "not checked") for point in document["unchecked"]),
    ]
    return [
        *(dict(zip(columns, answer, strict=True)) for answer in answers),
        *(
            {
                "goal": goal["goal"]["name"],
                "point": goal["point"],
                "what": goal["goal"]["text"],
                "must": f"{'at most' if goal['goal']['below'] else 'at least'} {goal['goal']['must']:.2f}",
                "found": units.ratio_text(goal["value"], goal["low"], goal["high"])
                if goal["value"] is not None
                else goal["reason"],
                "verdict": goal["verdict"],
            }
            for goal in document["goals"]
        ),
    ]


def trust_rows(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """The figures of gpu_trust.py --json, and how its tests ended."""
    figures = [
        {
            "check": figure["name"],
            "found": f"{figure['value']:.4g} {figure['unit']}",
            "verdict": "holds" if figure["holds"] else "FAILS",
        }
        for figure in document["figures"]
    ]
    passed = document["tests_exit_status"] == 0
    return [*figures, {"check": "tests marked gpu", "found": "", "verdict": "pass" if passed else "FAIL"}]


def test_rows(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """How many tests of gpu_tests.py --json ended how, then each failure, then why others were skipped."""
    outcomes = ("passed", "failed", "skipped", "not_run")
    return [
        *({"ended": name.replace("_", " "), "tests": str(document[name]), "said": ""} for name in outcomes),
        *({"ended": "FAIL", "tests": one["test"], "said": one["error"]} for one in document["failures"]),
        *({"ended": "skipped", "tests": str(number), "said": why} for why, number in document["skips"].items()),
    ]


def sanitizer_rows(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the tools of gpu_sanitize.py --json found, first of all whether they find what was planted."""
    planted = "found" if document["planted_errors"] else "NOT FOUND"
    found = [{"tool": "memcheck", "points": "a planted fault", "errors": planted, "warnings": "", "said": ""}]
    for one in document["tools"]:
        points = f"{one['done']} of {one['points']}"
        found.append({"tool": one["tool"], "points": points, **{n: str(one[n]) for n in ("errors", "warnings")}})
        found += [{"tool": one["tool"], "said": line.strip("= ")} for line in one["said"]]
    return found


DOCUMENTS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], list[dict[str, str]]]]] = {
    "trust": ("Checks of the measuring itself", trust_rows),
    "tests": ("Tests on the GPU", test_rows),
    "sanitize": ("Our kernels under compute-sanitizer", sanitizer_rows),
    "kernels": ("Kernels against their goals", goal_rows),
}
"""The documents of the scripts, by the beginnings of their files' names."""


def bytes_part(file: Path, counted: Mapping[str, float]) -> Iterator[str]:
    """The roofs of a roofs*.json, and the bytes of its points: least, traced, and counted by key where they were."""
    points = json.loads(file.read_text())
    if not points:
        return
    yield f"### Roofs and bytes ({file.name})"
    rates = (
        ("memory", units.bandwidth_text(points[0]["memory_roof_bytes_per_s"])),
        ("cache", units.bandwidth_text(points[0]["cache_roof_bytes_per_s"])),
        ("float32 multiply-adds", units.compute_text(points[0]["fma_roof_flops_per_s"])),
    )
    yield table.markdown([{"roof": name, "measured": text} for name, text in rates]).rstrip()
    yield table.markdown([bytes_row(point, counted.get(point["key"])) for point in points]).rstrip()


def bytes_row(point: Mapping[str, Any], counted: float | None) -> dict[str, str]:
    """A point of ``bench roofline --json`` and its DRAM bytes; time x bandwidth (M2) is no count and is left out."""
    least, traced = point["least_bytes"], point["known_bytes"] if point["provenance"] == "M1" else None
    return {
        "what": point["name"],
        "mode": str(point["mode"]),
        "least": units.bytes_text(least),
        "traced": units.bytes_text(traced),
        "counted in DRAM": units.bytes_text(counted),
        "counted / least": units.ratio_text(counted / least if counted else None),
        "counted / traced": units.ratio_text(counted / traced if counted and traced else None),
        "of the memory roof": units.share_text(point["share_of_memory_roof"]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="write docs/findings.md from results/")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "findings.md")
    asked = parser.parse_args()
    asked.output.write_text(findings(asked.results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
