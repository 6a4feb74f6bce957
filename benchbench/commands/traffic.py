"""bench traffic: what kernels ask of memory, every address traced in the interpreter."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchbench.commands import readable
from benchbench.commands.chosen import (
    Directions,
    Dtypes,
    File,
    Jobs,
    KernelSize,
    Layouts,
    Op,
    Shapes,
    Variant,
    counting,
    flat,
    for_people,
    one_of,
    specs_of,
)
from benchbench.commands.terminal import (
    DEFAULT_STORE,
    AsJson,
    Format,
    Imports,
    Output,
    Store,
    note,
    print_json,
    print_rows,
    usage,
)


def traffic(
    file: File = "",
    op: Op = "inception_dwconv",
    direction: Directions = "",
    dtype: Dtypes = "",
    layout: Layouts = "",
    shape: Shapes = "",
    variant: Variant = "T",
    kernel_size: KernelSize = 0,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images, for our kernels.")] = 2,
    jobs: Jobs = 1,
    lines: Annotated[bool, typer.Option("--lines", help="One of our kernels by source line, as a FILE is.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="DIR", help="Heat maps of touched addresses, of a FILE or a kernel."),
    ] = None,
    limit: Annotated[str, typer.Option("--limit", help="Refuse a grid that takes longer to trace.")] = "120s",
    l2_mib: Annotated[int, typer.Option("--l2-mib", min=1, help="Size of the modelled L2.")] = 50,
    l2_line: Annotated[int, typer.Option("--l2-line", help="Its line in bytes.")] = 128,
    sms: Annotated[int, typer.Option("--sms", min=1, help="Multiprocessors that share it.")] = 132,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """What kernels ask of memory, traced address by address without a GPU: bytes, sectors, amplification.

    Our kernels in a table; a FILE of yours, or one of ours with --lines or --plot, instruction by instruction.
    """
    from benchbench.access import rows
    from benchbench.commands.sweep import seconds

    with usage():
        specs = [] if file else specs_of(op, "sm_90", direction, dtype, layout, shape, variant, kernel_size)
        if not file and not lines and plot is None:
            found = rows.traffic_rows(specs, jobs=jobs, told=counting(len(specs), "traced"), batch=batch)
            shown = readable.traffic_table(found) if for_people(json, form, output) else flat(found, as_json=json)
            print_rows(shown, as_json=json, form=form, output=output)
            return _said_outside([line for row in found for line in row["out_of_bounds"]])
        l2 = {"size_bytes": l2_mib * 1024 * 1024, "line_bytes": l2_line, "sms": sms}
        asked: dict[str, Any] = {"limit_s": seconds("--limit", limit), "l2": l2}
        if file:
            detail = rows.in_interpreter("file", asked | {"path": file}, told=note)
        else:
            spec = one_of(specs, "--plot" if plot is not None else "--lines")
            detail = rows.in_interpreter("shipped", asked | {"spec": asdict(spec), "batch": batch}, told=note)
        if plot is not None:
            _draw_heat(detail["heat"], plot)
    _print_detail(detail, l2, as_json=json, form=form, output=output)
    return _said_outside(detail["out_of_bounds"])


def _draw_heat(maps: list[dict[str, Any]], folder: Path) -> None:
    from benchbench.reports.heat import heat
    from benchbench.reports.save import save

    drawn: set[tuple[str, ...]] = set()
    for one in maps:
        what = (one["kernel"], one["kind"], one["tensor"])
        if not one["touches"]:
            note(f"no heat map of {one['kind']}s of {one['tensor']}: its memory is shared, or not read by its elements")
            continue
        # A kernel that is launched again gets a file of its own.
        again = f" launch {one['launch']}" if what in drawn else ""
        drawn.add(what)
        for path in save(heat(f"{one['kernel']}{again}", one["kind"], one["tensor"], one["touches"]), folder):
            note(str(path))


def _print_detail(found: dict[str, Any], l2: dict[str, int], *, as_json: bool, form: str, output: Path | None) -> None:
    """Instruction by instruction, tensor by tensor, and what is left of it behind a cache; a CSV has the first."""
    if as_json and output is None:
        print_json(found)
    elif not for_people(as_json, form, output):
        print_rows(found["sites"], as_json=as_json, form=form, output=output)
    elif not found["tensors"]:
        print(readable.sentence(found, l2))
    else:
        print_rows(
            readable.site_table(found["sites"]), form=form, title="by instruction (requests and sectors are modelled)"
        )
        print_rows(readable.tensor_table(found["tensors"]), form=form, title="by tensor")
        print(f"\n{readable.sentence(found, l2)}")


def _said_outside(lines: list[str]) -> int:
    """What reaches out of bounds is said last, and is a failure."""
    for line in lines:
        note(f"out of bounds: {line}")
    return 1 if lines else 0
