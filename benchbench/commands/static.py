"""bench check --static: have the shipped kernels got worse since the committed baseline? No GPU is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.commands.terminal import note, print_rows, say, usage

if TYPE_CHECKING:
    from benchbench.access.static import Checked


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
    if found.findings or as_json or output is not None:
        print_rows([asdict(one) for one in found.findings], as_json=as_json, form=form, output=output, limit=None)
    for line in _lines(found):
        say(line)
    if not found.baseline:
        return 2
    return 1 if found.failed and not warn_only else 0


def _lines(found: Checked) -> list[str]:
    write = "python -m benchbench.access.static write"
    failures = f"{len(found.failed)} failures, {len(found.findings) - len(found.failed)} notes"
    if not found.baseline:
        return [
            f"{found.made} rows, a sample, held to the thresholds: {failures}",
            "nothing was compared: the installed Triton has no baseline: install the one of constraints.txt, or run "
            f"{write}, and commit the file",
        ]
    counted = (
        f"{found.made} rows made again from source, {found.kept} taken from {found.baseline} "
        f"because nothing that they are made from has changed: {failures}"
    )
    if not found.changed:
        return [counted]
    other = f"{found.changed} rows are of other sources than the baseline's"
    return [counted, f"{other}: if the change is meant, run {write}, and commit the file"]
