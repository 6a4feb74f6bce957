"""What the scripts of a campaign wrote, as rows of tables: one function a document, chosen by its file's name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launch_choices import RULES, share, text

from benchbench import units
from benchbench.reports import table


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


def tuned_rows(document: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What tune_kernels.py --json chose at each place, what it saves, and how much was tried for it."""
    found = []
    for one in document:
        times, chosen = one["again"] or one["seconds"], text(one["chosen"])
        ratio = "{:.3f} (at most {:.3f})".format(*share(times, chosen)) if RULES in times else "not measured"
        wrong = [name for name, why in one["left_out"].items() if why.startswith("WRONG")]
        found.append(
            {
                "place": " ".join(one["place"].values()),
                "chosen": chosen,
                "of the rules' time": ratio,
                "timed": str(len(set(one["seconds"]) - {"copy"})),
                "left out": str(len(one["left_out"])),
                "wrong answers": ", ".join(wrong) or "none",
            }
        )
    return found


def self_rows(document: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The same code against itself: spreads between processes, rounds that a change needs, and false alarms."""
    spreads = sorted(row["spread"] for row in document if row["spread"] is not None)
    if not spreads:
        return []
    row = {"points": str(len(document)), "rounds": str(max(one["rounds"] for one in document))}
    row |= {f"spread {q:.0%}": units.spread_text(spreads[round(q * (len(spreads) - 1))]) for q in (0.1, 0.5, 0.9)}
    for change in ("1%", "2%", "3%", "5%"):
        needed = sorted(one[f"rounds_for_{change}"] for one in document if one[f"rounds_for_{change}"] is not None)
        row[f"rounds for {change}"] = str(needed[len(needed) // 2]) if needed else "-"
    return [row | {"false alarms": str(sum(one["verdict"] in ("slower", "faster") for one in document))}]


DOCUMENTS: Mapping[str, tuple[str, Callable[[Any], list[dict[str, str]]]]] = {
    "trust": ("Checks of the measuring itself", trust_rows),
    "tests": ("Tests on the GPU", test_rows),
    "sanitize": ("Our kernels under compute-sanitizer", sanitizer_rows),
    "kernels": ("Kernels against their goals", goal_rows),
    "tune": ("Launches of the mixer, chosen over the rules' own", tuned_rows),
    "aa": ("The same code against itself", self_rows),
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
