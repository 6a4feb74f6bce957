"""Starts the rounds that ab, aa and check need, and hands their medians to the gate: a screen, then the suspects."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchbench.gate import compare, paired
from benchbench.gate.rule import Rule
from benchbench.gate.verdict import Verdicts
from benchbench.plan import PlanError, Point
from benchbench.record import Record
from benchbench.run import Outcome, Turn
from benchbench.stats import EMPTY_LAUNCH, round_medians

Array = NDArray[np.float64]
Measure = Callable[[Sequence[Turn]], Outcome]
Read = Callable[[], Sequence[Record]]


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a comparison: its points, in the order of the other side's, and where its code is."""

    name: str
    points: tuple[Point, ...]
    controls: tuple[Point, ...] = ()
    python: str = ""
    folder: str = ""
    overlay: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the gate says of one point; ratio is time now over time before, above 1 is slower."""

    key: str
    verdict: str
    ratio: float
    low: float
    high: float
    smallest_change: float
    rounds: int
    rounds_needed: float
    margin: float
    key_before: str = ""


def turns_of(a: Arm, b: Arm, rounds: range, points: Sequence[int] | None = None) -> list[Turn]:
    """The rounds of two arms in ABBA order, a fresh process an arm a round. points: places of those to measure."""
    turns = []
    for number in rounds:
        for name in paired.order(number + 1)[number]:
            arm = a if name == "A" else b
            chosen = arm.points if points is None else tuple(arm.points[i] for i in points)
            turns.append(Turn((*arm.controls, *chosen), number, arm.name, arm.python, arm.folder, arm.overlay))
    return turns


def measure_pairs(
    a: Arm, b: Arm, measure: Measure, read: Read, *, rules: Rules, screen: int, confirm: int
) -> list[Judged]:
    """Screen all points in pairs, measure the flagged ones again on fresh rounds, and decide.

    measure: runs turns and appends their records; read: the records so far. An arm that dies half-way leaves NaN.
    """
    if not measure(turns_of(a, b, range(screen))).complete:
        return []
    before, now = _arms(a, b, read(), range(screen))
    flagged = np.zeros(len(a.points), dtype=bool)
    for places, rule in rules.groups([point.key for point in b.points]):
        flagged[places] = paired.to_measure_again(before[places], now[places], rule)
    again = range(screen, screen + confirm)
    if flagged.any() and not measure(turns_of(a, b, again, np.flatnonzero(flagged).tolist())).complete:
        return []
    records = read()
    fresh_before, fresh_now = _arms(a, b, records, again)
    fixed = [[point for point in arm.controls if _is_fixed(point.key)] for arm in (a, b)]
    controls = [_medians(arm.name, fixed[i], records, range(screen + confirm)) for i, arm in enumerate((a, b))]
    judged: list[Judged] = []
    for places, rule in rules.groups([point.key for point in b.points]):
        verdicts = paired.decide(
            before[places],
            now[places],
            fresh_before[places],
            fresh_now[places],
            controls_a=controls[0] if fixed[0] else None,
            controls_b=controls[1] if fixed[0] else None,
            rule=rule,
            confirm_rounds=confirm,
        )
        keys = [(b.points[i].key, a.points[i].key) for i in places]
        judged += _judged(keys, verdicts, rule)
    return judged


def _is_fixed(key: str) -> bool:
    """Whether a control is a fixed piece of work, which tells of the machine; an empty launch tells of the launch."""
    return not key.startswith(f"{EMPTY_LAUNCH}@")


def check_against(
    baseline: Sequence[Record],
    current: Sequence[Record],
    fresh: Sequence[Record],
    keys: Sequence[str],
    *,
    controls: Sequence[str],
    rules: Rules,
) -> list[Judged]:
    """Verdicts on stored rounds against a stored baseline; ``fresh`` are the suspects' rounds, measured again."""
    judged: list[Judged] = []
    controls = list(filter(_is_fixed, controls))
    arms = [medians_of(records, keys) for records in (baseline, current, fresh)]
    before, now = (medians_of(records, controls) for records in (baseline, current))
    for places, rule in rules.groups(keys):
        verdicts = compare.check(
            arms[0][places],
            arms[1][places],
            arms[2][places] if arms[2].size else None,
            controls_baseline=before if len(controls) else None,
            controls_current=now if len(controls) else None,
            rule=rule,
        )
        judged += _judged([(keys[i], keys[i]) for i in places], verdicts, rule)
    return judged


def suspects(baseline: Sequence[Record], current: Sequence[Record], keys: Sequence[str], rules: Rules) -> list[str]:
    """The keys that must be measured again before anybody is alarmed."""
    before, now = medians_of(baseline, keys), medians_of(current, keys)
    found: list[str] = []
    for places, rule in rules.groups(keys):
        again = compare.to_measure_again(before[places], now[places], rule)
        found += [keys[i] for i, flag in zip(places, again, strict=True) if flag]
    return found


def compare_stored(
    before: Sequence[Record], current: Sequence[Record], keys: Sequence[str], *, controls: Sequence[str], rules: Rules
) -> list[Judged]:
    """Verdicts on two stored runs at their common keys; nothing is measured, so a change is not confirmed."""
    controls = list(filter(_is_fixed, controls))
    arms = [medians_of(records, keys) for records in (before, current)]
    moved = [medians_of(records, controls) if controls else None for records in (before, current)]
    judged: list[Judged] = []
    for places, rule in rules.groups(keys):
        verdicts = compare.compare(
            arms[0][places], arms[1][places], controls_before=moved[0], controls_current=moved[1], rule=rule
        )
        judged += _judged([(keys[i], keys[i]) for i in places], verdicts, rule)
    return judged


@dataclass(frozen=True, slots=True)
class Rules:
    """The rule of a comparison, and another margin for some points: ``per`` is (pattern, margin), the first that fits.

    A pattern is of a case's name or of a whole key.
    """

    rule: Rule
    per: tuple[tuple[str, float], ...] = ()

    def groups(self, keys: Sequence[str]) -> Iterator[tuple[NDArray[np.intp], Rule]]:
        """Places of the points that share a rule, with it. Raises PlanError for a pattern that fits nothing."""
        margins = np.array([self._margin(key) for key in keys])
        for pattern, _ in self.per:
            if not any(_fits(key, pattern) for key in keys):
                raise PlanError(f"--per {pattern!r} fits no point: see bench show for the keys")
        for margin in sorted(set(margins.tolist())):
            wider = max(self.rule.same_within, 2 * margin)
            yield np.flatnonzero(margins == margin), replace(self.rule, margin=margin, same_within=wider)

    def _margin(self, key: str) -> float:
        return next((margin for pattern, margin in self.per if _fits(key, pattern)), self.rule.margin)


def _fits(key: str, pattern: str) -> bool:
    return fnmatchcase(key, pattern) or fnmatchcase(key.partition("@")[0], pattern)


def _arms(a: Arm, b: Arm, records: Sequence[Record], rounds: range) -> tuple[Array, Array]:
    return _medians(a.name, a.points, records, rounds), _medians(b.name, b.points, records, rounds)


def _medians(arm: str, points: Sequence[Point], records: Sequence[Record], rounds: range) -> Array:
    """(points, rounds) median seconds of one arm, NaN for what was not measured, or not well."""
    inside = [record for record in records if record.round in rounds]
    keys, medians = round_medians(inside, arm=arm)
    numbers = sorted({record.round for record in inside if record.arm == arm})
    found = np.full((len(points), len(rounds)), np.nan)
    row = {key: i for i, key in enumerate(keys)}
    columns = [number - rounds.start for number in numbers]
    for place, point in enumerate(points):
        if point.key in row and columns:
            found[place, columns] = medians[row[point.key]]
    return found


def medians_of(records: Sequence[Record], keys: Sequence[str]) -> Array:
    """(keys, rounds) of stored records, rows in the order of the keys."""
    known, medians = round_medians(records)
    row = {key: i for i, key in enumerate(known)}
    found = np.full((len(keys), medians.shape[-1] if medians.size else 0), np.nan)
    for place, key in enumerate(keys):
        if key in row:
            found[place] = medians[row[key]]
    return found


def _judged(keys: Sequence[tuple[str, str]], found: Verdicts, rule: Rule) -> list[Judged]:
    return [
        Judged(
            key,
            str(found.verdict[i]),
            float(found.ratio[i]),
            float(found.low[i]),
            float(found.high[i]),
            float(found.smallest_change[i]),
            int(found.rounds[i]),
            float(found.rounds_needed[i]),
            rule.margin,
            before if before != key else "",
        )
        for i, (key, before) in enumerate(keys)
    ]


@contextmanager
def revision(repository: Path, name: str) -> Iterator[dict[str, Any]]:
    """A git revision in a throwaway worktree: the folder, and the overlay where the repository is benchbench's own.

    Raises PlanError for a folder that is no repository, or a revision that does not exist.
    """
    root = _git(repository, "rev-parse", "--show-toplevel")
    if root is None:
        raise PlanError(f"{repository} is no git repository: compare settings (axis=value), or run bench inside one")
    commit = _git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if commit is None:
        raise PlanError(f"no git revision {name!r} in {Path(root).name}: see git log, or write settings as axis=value")
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        tree = Path(scratch) / "tree"
        if _git(Path(root), "worktree", "add", "--detach", str(tree), commit) is None:
            raise PlanError(f"git cannot check out {name!r} in a worktree: try git worktree prune")
        try:
            yield {"folder": str(tree), "overlay": _overlay(Path(root), tree, Path(scratch) / "overlay")}
        finally:
            _git(Path(root), "worktree", "remove", "--force", str(tree))


def _overlay(root: Path, tree: Path, overlay: Path) -> str:
    """In benchbench's own repository only the kernels and the networks come from the revision: the ruler stays."""
    if not (tree / "benchbench" / "case.py").is_file() or Path(__file__).resolve().parents[1] != root.resolve():
        return ""
    overlay.mkdir()
    for name in ("kernels", "models"):
        if (tree / "benchbench" / name).is_dir():
            (overlay / name).symlink_to(tree / "benchbench" / name)
    return str(overlay)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where it fails."""
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def pairs(a: Sequence[Point], b: Sequence[Point], changed: Mapping[str, Any]) -> list[tuple[Point, Point]]:
    """The points of two settings that differ in nothing but the changed axes. Raises PlanError where there are none."""

    def rest(point: Point) -> tuple[Any, ...]:
        kept = {name: value for name, value in point.params.items() if name not in changed}
        return point.case, tuple(sorted(kept.items()))

    first = {rest(point): point for point in a if not point.skip}
    found = [(first[rest(point)], point) for point in b if not point.skip and rest(point) in first]
    if not found:
        raise PlanError("the two settings have no points in common: see each with bench sweep -n")
    return found
