"""What a comparison says to a CI: exit code, annotations, job summary, JUnit."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from benchbench.commands.progress import label
from benchbench.units import ratio_text, share_text

if TYPE_CHECKING:
    from benchbench.campaign import Judged

WORST = 10
SUMMARY_BYTES = 900 * 1024


def exit_code(
    verdicts: Sequence[str], *, failed: bool, strict: bool, warn_only: bool = False, any_change: bool = False
) -> int:
    """0 no regression, 1 slower, 3 points failed, 4 invalid, 5 nothing compared, 6 undecided with strict.

    If several apply: 4, 1, 3, 6, 5.
    """
    alarm = {"slower", "faster"} if any_change else {"slower"}
    if "invalid" in verdicts:
        return 4
    if alarm & set(verdicts) and not warn_only:
        return 1
    if failed:
        return 3
    if strict and "undecided" in verdicts:
        return 6
    return 0 if verdicts else 5


def sentence(judged: Sequence[Judged]) -> str:
    """How many of which verdict, and the worst by name."""
    if not judged:
        return "nothing was compared: the two have no measured point in common"
    counts = Counter(one.verdict for one in judged)
    said = ", ".join(
        f"{counts[word]} {word}" for word in ("slower", "faster", "same", "undecided", "invalid") if counts[word]
    )
    worst = _slower(judged)
    return f"{said}; worst: {_said(worst[0])}" if worst else said


def annotate(judged: Sequence[Judged], title: str) -> None:
    """Under GitHub Actions: the worst ten as annotations, a closing line, a job summary, and outputs."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    worst = _slower(judged)
    for one in worst[:WORST]:
        print(f"::error title=slower::{escaped(_said(one))}")
    print(f"::notice title=bench::{escaped(sentence(judged))}")
    for variable, text in (
        ("GITHUB_STEP_SUMMARY", summary(judged, title)),
        ("GITHUB_OUTPUT", f"slower={len(worst)}\nverdict={'slower' if worst else 'not slower'}\n"),
    ):
        path = os.environ.get(variable)
        if path:
            with open(path, "a", encoding="utf-8") as file:
                file.write(text)


def summary(judged: Sequence[Judged], title: str) -> str:
    """Markdown with the verdict first, the changed points next, under the size that GitHub shows."""
    lines = [
        f"## {sentence(judged)}",
        "",
        title,
        "",
        "| point | verdict | time ratio | smallest change seen |",
        "| --- " * 4 + "|",
    ]
    ranked = sorted(judged, key=lambda one: (one.verdict == "same", one.verdict == "undecided", -one.ratio))
    size = sum(len(line.encode()) + 1 for line in lines)
    for number, one in enumerate(ranked):
        ratio, least = ratio_text(one.ratio, one.low, one.high), share_text(one.smallest_change)
        line = f"| {label(one.key).replace('|', '/')} | {one.verdict} | {ratio} | {least} |"
        size += len(line.encode()) + 1
        if size > SUMMARY_BYTES:
            lines.append(f"\n{len(ranked) - number} more points are in the run.")
            break
        lines.append(line)
    return "\n".join(lines) + "\n"


def junit(judged: Sequence[Judged], title: str) -> str:
    """JUnit XML: a test case a point; slower is a failure, invalid an error, undecided skipped."""
    counts = Counter(one.verdict for one in judged)
    suite = ElementTree.Element(
        "testsuite",
        name=f"bench: {title}",
        tests=str(len(judged)),
        failures=str(counts["slower"]),
        errors=str(counts["invalid"]),
        skipped=str(counts["undecided"]),
    )
    kinds = {"slower": "failure", "invalid": "error", "undecided": "skipped"}
    for one in judged:
        case = ElementTree.SubElement(suite, "testcase", classname=one.key.partition("@")[0], name=one.key)
        if one.verdict in kinds:
            ElementTree.SubElement(case, kinds[one.verdict], message=_said(one))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _slower(judged: Sequence[Judged]) -> list[Judged]:
    return sorted((one for one in judged if one.verdict == "slower"), key=lambda one: -one.ratio)


def _said(one: Judged) -> str:
    return f"{label(one.key)} takes {ratio_text(one.ratio, one.low, one.high)} its time before"


def escaped(text: str) -> str:
    """As GitHub's workflow commands want it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
