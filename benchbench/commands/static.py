"""bench check --static: have the shipped kernels got worse since the committed baseline? No GPU is needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench import units
from benchbench.commands.chosen import for_people
from benchbench.commands.ci import escaped
from benchbench.commands.terminal import note, print_rows, say, usage

if TYPE_CHECKING:
    from benchbench.access.static import Checked, Finding

PACKAGE = Path(__file__).parents[1]
ANNOTATED = 10


def check_kernels(
    words: Sequence[str],
    *,
    whole: bool,
    jobs: int,
    warn_only: bool,
    as_json: bool,
    form: str,
    output: Path | None,
) -> int:
    """Print the findings and how they were come by. 1 where something failed, 2 where this Triton has no baseline."""
    from benchbench.access.static import check_static

    with usage():
        found = check_static(words, whole=whole, jobs=jobs, told=note)
    if for_people(as_json, form, output):
        if found.findings:
            print_rows([readable(one) for one in found.findings], form=form, limit=None)
    else:
        print_rows([asdict(one) for one in found.findings], as_json=as_json, form=form, output=output, limit=None)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in annotated(found.failed):
            print(line)
    for line in _lines(found):
        say(line)
    if not found.baseline:
        return 2
    return 1 if found.failed and not warn_only else 0


def readable(finding: Finding) -> dict[str, str]:
    """A finding for people: numbers rounded, growth in per cent, the place beside the kernel."""
    before, now = (_number(value) for value in (finding.before, finding.now))
    both = isinstance(finding.before, (int, float)) and isinstance(finding.now, (int, float)) and finding.before
    return {
        "": "FAIL" if finding.failed else "note",
        "kernel": finding.kernel,
        "at": finding.place,
        "what": finding.what,
        "before": before,
        "now": now,
        "change": units.change_text(finding.now / finding.before) if both and finding.now != finding.before else "",
        "row": finding.key,
    }


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else units.number_text(value)


def annotated(failed: Sequence[Finding]) -> list[str]:
    """The first ten failures for GitHub to show in a pull request, at the line of the kernel where one is the cause."""
    found = []
    for one in failed[:ANNOTATED]:
        file, _, line = one.place.partition(":")
        # Files of two operations have the same name.
        folder = PACKAGE / "kernels" / "".join(one.key.split()[1:2])
        path = next((f"{path.relative_to(PACKAGE.parent)}" for path in folder.rglob(file)), "") if file else ""
        where = f"file={path},line={line}," if path else ""
        found.append(f"::error {where}title={one.kernel}::{escaped(str(one))}")
    return found


def _lines(found: Checked) -> list[str]:
    write = "python -m benchbench.access.static write"
    failures = f"{len(found.failed)} failures, {len(found.findings) - len(found.failed)} notes"
    if not found.baseline:
        return [
            f"{found.made} rows, a sample, held to the thresholds: {failures}",
            "nothing was compared: the installed Triton has no baseline: install the one of constraints.txt, or run "
            f"{write}, and commit the file",
        ]
    taken = " because nothing that they are made from has changed" if found.kept else ""
    counted = f"{found.made} rows made again from source, {found.kept} taken from {found.baseline}{taken}: {failures}"
    if not found.changed:
        return [counted]
    other = f"{found.changed} rows are of other sources than the baseline's"
    return [counted, f"{other}: if the change is meant, run {write}, and commit the file"]
