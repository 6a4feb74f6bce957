"""Which of our kernels does a command look at? The options of bench traffic and resources, and what they choose."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchbench.commands.terminal import note

if TYPE_CHECKING:
    from benchbench.access.shipped import Spec

File = Annotated[str, typer.Argument(metavar="[FILE]", help="A file of your own that defines example().")]
Op = Annotated[str, typer.Option("--op", help="A shipped operation: inception_dwconv or depthwise_conv.")]
Directions = Annotated[str, typer.Option("--direction", help="forward,backward; statistics: forward with BatchNorm's.")]
Dtypes = Annotated[str, typer.Option("--dtype", help="fp32,fp16,bf16.")]
Layouts = Annotated[str, typer.Option("--layout", help="nchw,nhwc.")]
Shapes = Annotated[str, typer.Option("--shape", metavar="CxHxW,...", help="Default: the stages of --variant.")]
Variant = Annotated[str, typer.Option("--variant", help="T, S or B: their stage shapes.")]
KernelSize = Annotated[int, typer.Option("--kernel-size", min=0, help="0: the operation's own.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Processes at a time.")]

# Rows that come at once are kept ones: a line each would say nothing.
SECONDS_BETWEEN_NOTES = 2.0
SHOWN_APART = ("accesses", "sites", "spilled_at")


def specs_of(
    op: str, archs: str, directions: str, dtypes: str, layouts: str, shapes: str, variant: str, kernel_size: int
) -> list[Spec]:
    """The kernels that the options choose. Raises PlanError or ValueError for a word that none has, and for none."""
    from benchbench.access import compiled, shipped
    from benchbench.plan import PlanError

    for arch in archs.split(","):
        compiled.capability(arch)
    _known("--op", op, tuple(shipped.ADAPTERS))
    known = {"direction": shipped.adapter(op).directions, "dtype": shipped.DTYPES, "layout": shipped.LAYOUTS}
    chosen = {"direction": directions or ",".join(shipped.DIRECTIONS), "dtype": dtypes, "layout": layouts}
    words = {name: _known(f"--{name}", text, known[name]) for name, text in chosen.items()}
    stages = _known("--variant", variant, ("T", "S", "B"))
    sizes = tuple(_shape(word) for word in shapes.split(",")) if shapes else tuple(shipped.shapes_of(",".join(stages)))
    found = shipped.specs(
        op,
        archs=archs.split(","),
        directions=words["direction"],
        dtypes=words["dtype"],
        layouts=words["layout"],
        shapes=sizes,
        kernel_size=kernel_size,
    )
    if kernel_size and kernel_size % 2 == 0:
        raise PlanError(f"--kernel-size {kernel_size}: expected an odd size, or 0 for the operation's own")
    for spec in found:
        if op == "inception_dwconv" and spec.branch < 1:
            raise PlanError(
                f"--shape {spec.shape}: an eighth of its channels is none: 8 channels or more have branches"
            )
    if not found:
        raise PlanError(f"{op} ships no kernel for that: widen --direction, --dtype, --layout or --shape")
    return found


def one_of(specs: list[Spec], option: str) -> Spec:
    """The only kernel among them. Raises PlanError where an option that looks at one kernel was given several."""
    from benchbench.plan import PlanError

    if len(specs) == 1:
        return specs[0]
    several = {
        f"--{name}": sorted({getattr(spec, name) for spec in specs})
        for name in ("arch", "direction", "dtype", "layout", "shape")
    }
    words = [f"{name} {found[0]}" for name, found in several.items() if len(found) > 1]
    raise PlanError(f"{option} looks at one kernel, and {len(specs)} are chosen: add {' '.join(words)}, or name a FILE")


def _known(option: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    from benchbench.case import nearest
    from benchbench.plan import PlanError

    words = tuple(text.split(",")) if text else known
    for word in words:
        if word not in known:
            raise PlanError(f"{option} {word!r}: {nearest(word, known)}")
    return words


def _shape(text: str) -> str:
    from benchbench.case import shape

    return shape(text)


def counting(total: int, verb: str) -> Callable[[dict[str, Any]], None]:
    """A line now and then for rows as they are finished, because each takes seconds."""
    state = {"done": 0, "said": time.monotonic()}

    def told(row: dict[str, Any]) -> None:
        state["done"] += 1
        if time.monotonic() - state["said"] >= SECONDS_BETWEEN_NOTES:
            state["said"] = time.monotonic()
            what = f"{row['kernel']}, {row['direction']} at {row['shape']}, {row['dtype']}, {row['layout']}"
            note(f"{state['done']} of {total} {verb}: {what}")

    return told


def for_people(as_json: bool, form: str, output: Path | None) -> bool:
    """Whether a table is read by people, on the terminal or pasted: names are short there, and numbers rounded."""
    return not as_json and form in ("table", "md") and output is None


def flat(rows: list[dict[str, Any]], *, as_json: bool) -> list[dict[str, Any]]:
    """Rows without the lists that only the static gate reads; for people without what is the same as the name."""
    return [
        {name: _cell(value, as_json=as_json) for name, value in row.items() if name not in SHOWN_APART} for row in rows
    ]


def _cell(value: Any, *, as_json: bool) -> Any:
    if as_json:
        return value
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return " ".join(f"{name} {count}" for name, count in value.items())
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
