"""What is committed of the shipped kernels, which rows of it still stand, and which must be made again?

A row stands where its ``origin`` is the committed one. Some rows, one of every kernel, are made again in any case: they
show what no hash of a source does, such as another assembler or another way of counting.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchbench.access import origin, rows, shipped
from benchbench.access.shipped import Spec

Row = dict[str, Any]
BASELINES = Path(__file__).parent / "baselines"
OTHER_ARCHITECTURES = ("sm_80", "sm_100", "sm_120")
# The shapes that are gated on the other architectures: the widest plane, and one whose rows fit a thread.
OTHERS_SHAPES = ("96x56x56", "384x14x14")


@dataclass(frozen=True, slots=True)
class Item:
    """One gated row: "resources" or "traffic" of a spec."""

    kind: str
    spec: Spec

    @property
    def key(self) -> str:
        """ "resources inception_dwconv forward fp32 nchw 96x56x56 sm_90"."""
        return f"{self.kind} {key_of(self.spec)}"

    @property
    def made_from(self) -> str:
        """The hash of what the row is made from."""
        return (origin.compiled_from if self.kind == "resources" else origin.traced_from)(self.spec)

    @property
    def is_sampled(self) -> bool:
        """Whether the row is made again though nothing that it is made from has changed."""
        spec = self.spec
        if self.kind == "traffic":
            return spec.dtype == "fp32" and spec.shape == shipped.adapter(spec.op).traced_shapes[-1]
        if spec.arch != "sm_90" and (spec.op, spec.layout, spec.direction) != ("depthwise_conv", "nhwc", "forward"):
            return False
        return (spec.dtype, spec.shape) == ("fp32", "384x14x14")


def key_of(spec: Spec) -> str:
    """ "inception_dwconv forward fp32 nchw 96x56x56 sm_90"."""
    return " ".join(str(value) for value in asdict(spec).values() if value)


def gated(words: Sequence[str] = (), *, whole: bool = False) -> list[Item]:
    """What CI gates: sm_90 in full, two shapes on the other architectures; ``whole``: all of them in full.

    words narrow it down to kinds, operations, directions, types, layouts, architectures and shapes. Raises ValueError
    for a word that nothing gated has, and for words that leave nothing.
    """
    specs = gated_specs(whole=whole)
    every = [Item("resources", spec) for spec in specs] + [Item("traffic", spec) for spec in traced_specs(specs)]
    unknown = [word for word in words if not any(word in _words(item) for item in every)]
    found = [item for item in every if matches(item, words, every)]
    if unknown or not found:
        raise ValueError(
            f"nothing is gated that matches {' '.join(unknown or words)}: words are such as {_some(every)}"
        )
    return found


def _some(items: Sequence[Item]) -> str:
    return " ".join(_words(items[0]))


def gated_specs(ops: Sequence[str] = (), *, whole: bool = False) -> list[Spec]:
    """The specs that are compiled. Raises ValueError for an operation that ships no kernel."""
    found: list[Spec] = []
    for op in ops or tuple(shipped.ADAPTERS):
        adapter = shipped.adapter(op)
        others = adapter.gated_shapes if whole else OTHERS_SHAPES
        found += shipped.specs(op, archs=("sm_90",), shapes=adapter.gated_shapes)
        found += shipped.specs(op, archs=OTHER_ARCHITECTURES, shapes=others)
        # A pass with an epilogue is gated where it is traced; its loads and sums are those of the pass without.
        more = tuple(direction for direction in adapter.directions if direction not in shipped.DIRECTIONS)
        archs = ("sm_90", *OTHER_ARCHITECTURES) if whole else ("sm_90",)
        found += shipped.specs(op, archs=archs, shapes=adapter.traced_shapes, directions=more)
    return found


def traced_specs(specs: Iterable[Spec]) -> list[Spec]:
    """The traces that go with these specs, on sm_90 only, because requested bytes know no architecture."""
    chosen = dict.fromkeys((s.op, s.direction, s.dtype, s.layout) for s in specs if s.arch == "sm_90")
    return [
        Spec(op, direction, dtype, layout, shape)
        for op, direction, dtype, layout in chosen
        for shape in shipped.adapter(op).traced_shapes
    ]


def _words(item: Item) -> tuple[str, ...]:
    spec = item.spec
    return item.kind, spec.op, spec.direction, spec.dtype, spec.layout, spec.arch, spec.shape


def matches(item: Item, words: Sequence[str], every: Sequence[Item]) -> bool:
    """Whether, for each kind of word given, one of them is the item's."""
    kinds = zip(*map(_words, every), strict=True)
    named = [[word for word in words if word in values] for values in map(set, kinds)]
    return all(not kind or value in kind for value, kind in zip(_words(item), named, strict=True))


def collect(items: Sequence[Item], *, jobs: int = 1, told: Callable[[Row], None] | None = None) -> dict[str, Row]:
    """key -> row of everything that these items compile to and ask of memory. told: called with each finished row."""
    found: dict[str, Row] = {}
    for kind, make in (("resources", rows.resource_rows), ("traffic", rows.traffic_rows)):
        mine = [item for item in items if item.kind == kind]
        made = make([item.spec for item in mine], jobs=jobs, told=told)
        found |= {item.key: row | {"made_from": item.made_from} for item, row in zip(mine, made, strict=True)}
    return found


# ---- the file -----------------------------------------------------------------------------------------------------


def baseline_file(folder: Path = BASELINES) -> Path:
    """The baseline of the installed Triton: one file a minor version."""
    import triton

    return folder / f"triton-{'.'.join(triton.__version__.split('.')[:2])}.json"


def read(file: Path) -> dict[str, Row]:
    """key -> row. Raises ValueError where there is no such file, or where it is no baseline."""
    if not file.exists():
        raise ValueError(
            f"no baseline {file.name}: write one with python -m benchbench.access.static write, and commit it"
        )
    try:
        found: dict[str, Row] = json.loads(file.read_text())
        whole = all(isinstance(row, dict) and "kernel" in row for row in found.values())
    except (ValueError, AttributeError):
        whole = False
    if not whole:
        raise ValueError(f"{file} is no baseline: write it anew with python -m benchbench.access.static write")
    return found


def standing_traffic() -> dict[Spec, Row]:
    """The committed traffic of the installed Triton, as far as its sources are the present ones."""
    file = baseline_file()
    found = read(file) if file.exists() else {}
    items = [item for item in gated() if item.kind == "traffic" and item.key in found]
    return {item.spec: found[item.key] for item in items if found[item.key].get("made_from") == item.made_from}


def write(found: Mapping[str, Row], file: Path) -> None:
    """Keep what the gate needs, one row a line, so that a changed kernel is a readable difference."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(key)}: {json.dumps(kept(row), sort_keys=True)}" for key, row in sorted(found.items())]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


FAULTS = ("reason", "spilled_at", "out_of_bounds")
KEPT = (
    *("kernel", "direction", "arch", "dtype", "layout", "shape", "made_from", *FAULTS),
    *("registers", "spill_bytes", "local_accesses", "occupancy", "bytes_in_flight", "instructions"),
    *("instructions_per_output", "instructions_over_parts", "store_widths", "wide_load_share", "identity_widths"),
    *("widest_bytes", "requested_bytes", "program_sector_bytes", "unique_bytes", "parameter_bytes", "floor_bytes"),
    *("access_counts", "site_bytes"),
)


def kept(row: Mapping[str, Any]) -> Row:
    """What a committed row has: faults where there are some; accesses and sites by statement, for lines move.

    access_counts: [kind, tensors, bytes a thread, statement, times]; site_bytes: [kind, tensor, statement, bytes].
    """
    found = {name: row[name] for name in KEPT if name in row and (row[name] or name not in FAULTS)}
    if "accesses" in row:
        counts = [((kind, tensors, width, text), times) for kind, tensors, width, times, _, text in row["accesses"]]
        found["access_counts"] = _summed(counts)
    if "sites" in row:
        asked = [((kind, tensor, text), count) for kind, tensor, count, _, text in row["sites"]]
        found["site_bytes"] = _summed(asked)
    return found


def _summed(counted: Iterable[tuple[tuple[Any, ...], int]]) -> list[list[Any]]:
    together: dict[tuple[Any, ...], int] = {}
    for name, count in counted:
        together[name] = together.get(name, 0) + count
    return [[*name, count] for name, count in sorted(together.items())]
