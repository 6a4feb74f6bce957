"""Has a shipped kernel got worse since the committed baseline? Recompiled and retraced from source, no GPU needed.

python -m benchbench.access.static write --jobs 2     # a new baseline for the installed Triton
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.access import baseline, thresholds
from benchbench.access.baseline import Item

Row = dict[str, Any]
# Registers and instructions may grow by this much: assembler versions differ by less.
GROWTH = 0.02


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that got worse: in which kernel, at which source line, what it was and is. failed: not only a note."""

    kernel: str
    key: str
    what: str
    before: Any
    now: Any
    place: str = ""
    failed: bool = True

    def __str__(self) -> str:
        where = f" at {self.place}" if self.place else ""
        return f"{self.kernel}{where}: {self.what}, {self.before} -> {self.now} ({self.key})"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, and how: rows made again, how many of these from other sources than the baseline's, rows kept.

    baseline is the file's name, "" where this Triton has none: then a sample was held to the thresholds alone.
    """

    findings: list[Finding]
    made: int
    changed: int
    kept: int
    baseline: str

    @property
    def failed(self) -> list[Finding]:
        """The findings that are more than notes."""
        return [finding for finding in self.findings if finding.failed]


def check_static(
    words: Sequence[str] = (),
    *,
    whole: bool = False,
    file: Path | None = None,
    jobs: int = 1,
    told: Callable[[str], None] | None = None,
) -> Checked:
    """Make again what changed since the baseline, and a sample of the rest; compare; hold every row to the thresholds.

    words: as for ``baseline.gated``. whole: make everything again, the other architectures in full. told: called with
    a line now and then. Raises ValueError for a word that nothing has, and for a stale baseline: one with rows that
    nothing gated has, or of which no row is of the present sources.
    """
    file = file or baseline.baseline_file()
    items = baseline.gated(words, whole=whole)
    if not file.exists():
        now = _made([item for item in items if item.is_sampled], jobs, told)
        return Checked(_absolute(now), len(now), 0, 0, "")
    before = baseline.read(file)
    _refuse_stale(before, file)
    standing = {item.key for item in items if before.get(item.key, {}).get("made_from") == item.made_from}
    again = [item for item in items if whole or item.key not in standing or item.is_sampled]
    now = _made(again, jobs, told)
    taken = {item.key: before[item.key] for item in items if item.key not in now}
    missed = [] if whole else _missing(before, now)
    findings = [*missed, *_absolute(now | taken), *compare(before, now)]
    changed = len([key for key in now if key not in standing])
    findings = sorted(findings, key=lambda finding: not finding.failed)
    return Checked(findings, len(now), changed, len(taken), file.name)


def _made(items: Sequence[Item], jobs: int, told: Callable[[str], None] | None) -> dict[str, Row]:
    count = itertools.count(1)

    def each(row: Row) -> None:
        number = next(count)
        if told is not None and (number % 10 == 0 or number == len(items)):
            told(f"{number} of {len(items)} rows made again")

    return baseline.collect(items, jobs=jobs, told=each)


def _refuse_stale(before: Mapping[str, Row], file: Path) -> None:
    every = {item.key: item for item in baseline.gated(whole=True)}
    again = "write it anew with python -m benchbench.access.static write, and commit it"
    unknown = [key for key in before if key not in every]
    if unknown:
        raise ValueError(
            f"{file.name} is stale: {len(unknown)} of its rows are of nothing that is gated ({unknown[0]}): {again}"
        )
    if not any(row.get("made_from") == every[key].made_from for key, row in before.items()):
        raise ValueError(f"{file.name} is stale: none of its {len(before)} rows is of the present sources: {again}")


def _missing(before: Mapping[str, Row], now: Mapping[str, Row]) -> list[Finding]:
    return [
        Finding(row["kernel"], key, "has no row in the baseline", None, "new")
        for key, row in now.items()
        if key not in before
    ]


def _absolute(now: Mapping[str, Row]) -> list[Finding]:
    """What is wrong with rows whatever they were before."""
    return beyond_thresholds(now) + [finding for key, row in now.items() for finding in _faults(key, row)]


def beyond_thresholds(now: Mapping[str, Row]) -> list[Finding]:
    """What the thresholds of the fused mixer forbid, whatever it was before; spills are everybody's (``_faults``)."""
    return [
        Finding(row["kernel"], key, f"{what} beyond its threshold", limit, value)
        for key, row in now.items()
        if " inception_dwconv " in key
        for what, limit, value in thresholds.violations(row)
        if what != "spilled bytes"
    ]


def compare(before: Mapping[str, Row], now: Mapping[str, Row]) -> list[Finding]:
    """What got worse in ``now``, failures first; then, as notes, what got better. A row must be on both sides."""
    found: list[Finding] = []
    for key, row in now.items():
        if key in before:
            look = _resources if key.startswith("resources") else _traffic
            found += look(key, baseline.kept(before[key]), row)
    return sorted(found, key=lambda finding: not finding.failed)


def _faults(key: str, row: Row) -> list[Finding]:
    """Spills, and accesses out of bounds."""
    found = []
    if row.get("spill_bytes") or row.get("local_accesses"):
        spilled = (row.get("spilled_at") or [""])[0]
        found.append(Finding(row["kernel"], key, "spills, in bytes", 0, row["spill_bytes"], spilled))
    for line in row.get("out_of_bounds") or ():
        found.append(Finding(row["kernel"], key, "reaches out of bounds", "", line))
    return found


def _resources(key: str, before: Row, now: Row) -> list[Finding]:
    found = []
    for name in ("registers", "instructions_per_output", "instructions"):
        old, new = before.get(name), now.get(name)
        if old and new and new > old * (1 + GROWTH):
            found.append(Finding(now["kernel"], key, f"more {name.replace('_', ' ')}", old, new))
        if old and new is None and name in now:
            found.append(Finding(now["kernel"], key, f"no {name.replace('_', ' ')}: {now.get('reason')}", old, None))
    if now["occupancy"] < before["occupancy"]:
        found.append(Finding(now["kernel"], key, "less occupancy", before["occupancy"], now["occupancy"]))
    return found + _narrower(key, before, now)


def _narrower(key: str, before: Row, now: Row) -> list[Finding]:
    """Tensors of which more loads or stores are narrow than were, at the line that has most more of them."""
    old = {tuple(access[:4]): access[4] for access in before["access_counts"]}
    new = {tuple(access[:4]): access[4] for access in baseline.kept(now)["access_counts"]}
    found = []
    for kind, tensors in sorted({(kind, tensors) for kind, tensors, *_ in old}):
        widest = max(width for one, other, width, _ in old if (one, other) == (kind, tensors))
        for width in sorted({name[2] for name in new if name[:2] == (kind, tensors) and name[2] < widest}):
            was, is_now = (_times(side, kind, tensors, width) for side in (old, new))
            if is_now > was * (1 + GROWTH):
                grown = {n: count - old.get(n, 0) for n, count in new.items() if n[:3] == (kind, tensors, width)}
                statement = max(grown, key=lambda name: grown[name])[3]
                place = next(a[4] for a in now["accesses"] if (*a[:3], a[5]) == (kind, tensors, width, statement))
                what = f"more narrow accesses: {kind}s of {tensors}, {width} bytes a thread"
                found.append(Finding(now["kernel"], key, what, was, is_now, place))
    return found


def _times(side: Mapping[tuple[Any, ...], int], kind: str, tensors: str, width: int) -> int:
    return sum(count for name, count in side.items() if name[:3] == (kind, tensors, width))


def _traffic(key: str, before: Row, now: Row) -> list[Finding]:
    found = []
    for name in ("requested_bytes", "program_sector_bytes", "unique_bytes", "parameter_bytes"):
        old, new = before.get(name), now.get(name)
        if old is None or new is None:
            continue
        if new > old:
            found.append(Finding(now["kernel"], key, f"more {name.replace('_', ' ')}", old, new, _grown(before, now)))
        elif new < old:
            what = f"fewer {name.replace('_', ' ')}: write the baseline anew to keep it"
            found.append(Finding(now["kernel"], key, what, old, new, failed=False))
    return found


def _grown(before: Row, now: Row) -> str:
    """The source line whose requested bytes grew most; statements are matched by their text, lines may have moved."""
    old = {tuple(site[:3]): site[3] for site in before["site_bytes"]}
    new = {tuple(site[:3]): site[3] for site in baseline.kept(now)["site_bytes"]}
    growth = {name: requested - old.get(name, 0) for name, requested in new.items()}
    most = max(growth, key=lambda name: growth[name], default=None)
    if most is None or growth[most] <= 0:
        return ""
    return str(next(site[3] for site in now["sites"] if (site[0], site[1], site[4]) == most))


def main(arguments: Sequence[str]) -> int:
    """write [--jobs N] [--whole] [WORD ...]: renew the rows of this Triton's baseline whose sources have changed.

    Words narrow it down to kinds, operations, directions, types, layouts, architectures and shapes: those rows are made
    again in any case, and no others.
    """
    words = list(arguments)
    if not words or words[0] != "write":
        print(__doc__)
        return 2
    jobs = int(words[words.index("--jobs") + 1]) if "--jobs" in words else 1
    narrow = [word for word in words[1:] if not word.startswith("--") and not word.isdigit()]
    file = baseline.baseline_file()
    try:
        every = baseline.gated(whole="--whole" in words)
        chosen = baseline.gated(narrow, whole="--whole" in words)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    before = baseline.read(file) if file.exists() else {}
    gated = {item.key for item in (*every, *baseline.gated(whole=True))}
    kept = {key: row for key, row in before.items() if key in gated}
    again = [i for i in chosen if narrow or kept.get(i.key, {}).get("made_from") != i.made_from]
    found = {**kept, **_made(again, jobs, lambda line: print(line, file=sys.stderr, flush=True))}
    baseline.write(found, file)
    for finding in _absolute(found):
        print(f"kept{', and fails the gate' if finding.failed else ''}: {finding}", file=sys.stderr)
    print(f"{file}: {len(again)} rows made, {len(found)} in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
