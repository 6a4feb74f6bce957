"""Has a shipped kernel got worse since the committed baseline? Recompiled and retraced from source, no GPU needed.

python -m benchbench.access.static write --jobs 2     # a new baseline for the installed Triton
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchbench.access import rows, shipped, thresholds
from benchbench.access.shipped import Spec

Row = dict[str, Any]
# Registers and instructions may grow by this much: assembler versions differ by less.
GROWTH = 0.02
BASELINES = Path(__file__).parent / "baselines"


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


def baseline_file(folder: Path = BASELINES) -> Path:
    """The baseline of the installed Triton: one file a minor version."""
    import triton

    return folder / f"triton-{'.'.join(triton.__version__.split('.')[:2])}.json"


def gated_specs(ops: Sequence[str] = (), *, whole: bool = False) -> list[Spec]:
    """What CI compiles: sm_90 in full, two shapes on the other architectures; ``whole``: all of them."""
    found: list[Spec] = []
    for op in ops or tuple(shipped.ADAPTERS):
        every = shipped.adapter(op).gated_shapes
        found += shipped.specs(op, archs=("sm_90",), shapes=every)
        others = ("sm_80", "sm_100", "sm_120")
        found += shipped.specs(op, archs=others, shapes=every if whole else ("96x56x56", "384x14x14"))
    return found


def traced_specs(specs: Iterable[Spec]) -> list[Spec]:
    """The traces that go with these specs, on sm_90 only, because requested bytes know no architecture."""
    chosen = dict.fromkeys((s.op, s.direction, s.dtype, s.layout) for s in specs if s.arch == "sm_90")
    return [
        Spec(op, direction, dtype, layout, shape)
        for op, direction, dtype, layout in chosen
        for shape in shipped.adapter(op).traced_shapes
    ]


def collect(specs: Sequence[Spec], *, jobs: int = 1) -> dict[str, Row]:
    """key -> row of everything that these specs compile to and ask of memory."""
    traces = traced_specs(specs)
    found = {f"resources {key_of(s)}": r for s, r in zip(specs, rows.resource_rows(specs, jobs=jobs), strict=True)}
    found |= {f"traffic {key_of(s)}": r for s, r in zip(traces, rows.traffic_rows(traces, jobs=jobs), strict=True)}
    return found


def collect_file(path: str, *, archs: tuple[str, ...] = ("sm_90",)) -> dict[str, Row]:
    """The same of a file that defines ``example()``."""
    from benchbench.access import example

    name = Path(path).name
    compiled = example.resource_rows(path, archs=archs)
    found = {f"resources {name} {number} {row['kernel']} {row['arch']}": row for number, row in enumerate(compiled)}
    return {**found, f"traffic {name}": traffic_of_file(path)}


def traffic_of_file(path: str) -> Row:
    """What the example of a file asks of memory, as ``compare`` reads it."""
    traced = rows.in_interpreter("example", {"path": path})
    summed = {
        name: sum(tensor[name] for tensor in traced["tensors"])
        for name in ("requested_bytes", "program_sector_bytes", "unique_bytes")
    }
    kernel = traced["launches"][0]["kernel"]
    return {"kernel": kernel, **summed, "out_of_bounds": traced["out_of_bounds"], "sites": traced["statements"]}


def key_of(spec: Spec) -> str:
    """ "inception_dwconv forward sm_90 fp32 nchw 96x56x56"."""
    return " ".join(str(value) for value in asdict(spec).values() if value)


def write_baseline(found: Mapping[str, Row], file: Path) -> None:
    """Keep what ``compare`` needs, one row a line, so that a changed kernel is a readable difference."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(key)}: {json.dumps(_kept(row), sort_keys=True)}" for key, row in sorted(found.items())]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


KEPT = (
    "kernel",
    "registers",
    "spill_bytes",
    "local_accesses",
    "occupancy",
    "instructions_per_output",
    "instructions",
    "store_widths",
    "wide_load_share",
    "requested_bytes",
    "program_sector_bytes",
    "unique_bytes",
    "accesses",
    "sites",
)


def _kept(row: Row) -> Row:
    return {name: row[name] for name in KEPT if name in row}


def check_static(
    specs: Sequence[Spec] | None = None, *, baseline: Path | None = None, jobs: int = 1
) -> tuple[list[Finding], int]:
    """(findings, how many rows were compared). Recompiles and retraces the specs (default: what CI gates).

    Raises ValueError where this Triton has no baseline.
    """
    file = baseline or baseline_file()
    if not file.exists():
        raise ValueError(
            f"no baseline {file.name}: write one with python -m benchbench.access.static write, and commit it"
        )
    now = collect(gated_specs() if specs is None else specs, jobs=jobs)
    before: dict[str, Row] = json.loads(file.read_text())
    return beyond_thresholds(now) + compare(before, now), len(now)


def beyond_thresholds(now: Mapping[str, Row]) -> list[Finding]:
    """What the thresholds of the fused mixer forbid, whatever it was before."""
    return [
        Finding(row["kernel"], key, f"{what} beyond its threshold", limit, value)
        for key, row in now.items()
        if " inception_dwconv " in key
        for what, limit, value in thresholds.violations(row)
    ]


def compare(before: Mapping[str, Row], now: Mapping[str, Row]) -> list[Finding]:
    """What got worse in ``now``, failures first; then, as notes, what got better or is new.

    Rows that only ``before`` has are not looked at: a run may gate a part of the matrix.
    """
    found: list[Finding] = []
    for key, row in now.items():
        found += _absolute(key, row)
        if key not in before:
            found.append(Finding(row["kernel"], key, "has no baseline", None, "new", failed=False))
            continue
        found += _resources(key, before[key], row) if key.startswith("resources") else _traffic(key, before[key], row)
    return sorted(found, key=lambda finding: not finding.failed)


def _absolute(key: str, row: Row) -> list[Finding]:
    """What is wrong whatever it was before."""
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
    for (kind, tensors), width in _narrowest(before).items():
        narrow = [a for a in now["accesses"] if a[0] == kind and a[1] == tensors and a[2] < width]
        if narrow:
            least = min(narrow, key=lambda access: int(access[2]))
            what = f"a narrower {kind} of {tensors}, in bytes a thread"
            found.append(Finding(now["kernel"], key, what, width, least[2], least[4]))
    return found


def _narrowest(row: Row) -> dict[tuple[str, str], int]:
    least: dict[tuple[str, str], int] = {}
    for kind, tensors, width, *_ in row["accesses"]:
        least[kind, tensors] = min(width, least.get((kind, tensors), width))
    return least


def _traffic(key: str, before: Row, now: Row) -> list[Finding]:
    found = []
    for name in ("requested_bytes", "program_sector_bytes", "unique_bytes"):
        old, new = before[name], now[name]
        if new > old:
            found.append(Finding(now["kernel"], key, f"more {name.replace('_', ' ')}", old, new, _grown(before, now)))
        elif new < old:
            what = f"fewer {name.replace('_', ' ')}: write the baseline anew to keep it"
            found.append(Finding(now["kernel"], key, what, old, new, failed=False))
    return found


def _grown(before: Row, now: Row) -> str:
    """The source line whose requested bytes grew most; statements are matched by their text, lines may have moved."""
    old: dict[tuple[str, str, str], int] = {}
    for kind, tensor, requested, _, statement in before["sites"]:
        old[kind, tensor, statement] = old.get((kind, tensor, statement), 0) + requested
    growth = [
        (requested - old.get((kind, tensor, statement), 0), place)
        for kind, tensor, requested, place, statement in now["sites"]
    ]
    return str(max(growth)[1]) if growth and max(growth)[0] > 0 else ""


def main(arguments: Sequence[str]) -> int:
    """write [--jobs N] [--whole] [WORD ...]: renew the rows of the shipped kernels in this Triton's baseline.

    Words narrow it down to operations, directions, types, layouts, architectures and shapes; other rows stay.
    """
    words = list(arguments)
    if not words or words[0] != "write":
        print(__doc__)
        return 2
    jobs = int(words[words.index("--jobs") + 1]) if "--jobs" in words else 1
    narrow = [word for word in words[1:] if not word.startswith("--") and not word.isdigit()]
    every = gated_specs(whole="--whole" in words)
    unknown = [word for word in narrow if not any(word in _words(spec) for spec in every)]
    chosen = [spec for spec in every if _matches(spec, narrow, every)]
    if unknown or not chosen:
        print(f"nothing is gated that matches {' '.join(unknown or narrow)}", file=sys.stderr)
        return 2
    file = baseline_file()
    kept: dict[str, Row] = json.loads(file.read_text()) if file.exists() and narrow else {}
    write_baseline({**kept, **collect(chosen, jobs=jobs)}, file)
    print(file)
    return 0


def _words(spec: Spec) -> tuple[str, ...]:
    return spec.op, spec.direction, spec.dtype, spec.layout, spec.arch, spec.shape


def _matches(spec: Spec, words: Sequence[str], every: Sequence[Spec]) -> bool:
    """Whether, for each kind of word given, one of them is the spec's."""
    kinds = zip(*map(_words, every), strict=True)
    named = [[word for word in words if word in values] for values in map(set, kinds)]
    return all(not kind or value in kind for value, kind in zip(_words(spec), named, strict=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
