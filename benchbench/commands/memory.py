"""bench resources and roofline: code compiled, roofs measured; bench traffic is beside them."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchbench.commands import readable, traffic
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

if TYPE_CHECKING:
    import pandas


# With more kernels than these, the instruction mix of each is for --json.
FEW_ROWS = 4


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("traffic")(traffic.traffic)
    app.command("resources")(resources)
    app.command("roofline")(roofline)


def resources(
    file: File = "",
    op: Op = "inception_dwconv",
    arch: Annotated[str, typer.Option("--arch", help="sm_80,sm_90,sm_100,sm_120.")] = "sm_90",
    direction: Directions = "",
    dtype: Dtypes = "",
    layout: Layouts = "",
    shape: Shapes = "",
    variant: Variant = "T",
    kernel_size: KernelSize = 0,
    sass: Annotated[
        bool, typer.Option("--sass", help="The machine code of a FILE or a kernel under its source lines.")
    ] = False,
    jobs: Jobs = 1,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """What compiled kernels need of the machine, without a GPU: registers, spills, widths, instructions, occupancy."""
    from benchbench.access import example, rows

    # What a file of the user's prints is not what was asked for.
    with usage(), contextlib.redirect_stdout(sys.stderr):
        specs = [] if file else specs_of(op, arch, direction, dtype, layout, shape, variant, kernel_size)
        if sass and file:
            text = [line for one in arch.split(",") for line in example.sass_lines(file, arch=one)]
        elif sass:
            text = example.shipped_sass_lines(one_of(specs, "--sass"))
        elif file:
            found = example.resource_rows(file, archs=tuple(arch.split(",")))
        else:
            found = rows.resource_rows(specs, jobs=jobs, told=counting(len(specs), "compiled"))
    if sass:
        with usage():
            _print_lines(text, as_json=json, output=output)
        return 0
    if not for_people(json, form, output):
        print_rows(flat(found, as_json=json), as_json=json, form=form, output=output)
        return 0
    print_rows(readable.own_resource_table(found) if file else readable.resource_table(found), form=form)
    if file:
        print_rows(readable.access_table(found), form=form, title="by load and store of the machine code")
    if form == "md":
        print()
    for line in readable.remarks(found) if file or len(found) <= FEW_ROWS else []:
        print(line)
    return 0


def _print_lines(lines: list[str], *, as_json: bool, output: Path | None) -> None:
    if output is not None:
        output.write_text("\n".join(lines) + "\n")
    elif as_json:
        print_json([{"line": line} for line in lines])
    else:
        print("\n".join(lines))


def roofline(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Default: latest.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="DIR", help="Draw it too.")] = None,
    theme: Annotated[str, typer.Option("--theme", help="light or dark.")] = "light",
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine's roofs and our operators first, as a new run.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="--measure: cuda:0 or cpu.")] = "",
    ncu: Annotated[bool, typer.Option("--ncu", help="Count the points' bytes with Nsight Compute first.")] = False,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """Points of runs under the roofs measured in the same runs: share of the roof, and what limits each."""
    import pandas

    from benchbench.access.roofline import plateau_rows
    from benchbench.commands.draw import stored
    from benchbench.commands.results import rows_of
    from benchbench.reports import roofline as chart
    from benchbench.reports.save import save
    from benchbench.store import NotFound

    if measure:
        from benchbench.commands.roofs import measured_now

        runs = [measured_now(store, device, tuple(imports or ()))]
    try:
        results, conditions = stored(store, runs)
    except NotFound as error:
        raise NotFound(f"{error}" if runs else f"{error}, or measure roofs and operators with --measure") from None
    if ncu:
        _count(store, runs)
    with usage():
        points, roofs = bars_of(store, runs, results)
        streams = plateau_rows(rows_of(results))
        if plot is not None:
            drawn = chart.roofline(pandas.DataFrame(points), roofs, theme=theme, conditions=conditions)
            for path in save(drawn, plot):
                note(str(path))
    if doubt := one_plateau(roofs, streams):
        note(doubt)
    if not for_people(json, form, output):
        rates = {
            "memory_roof_bytes_per_s": roofs["memory_bytes_per_s"],
            "cache_roof_bytes_per_s": roofs["cache_bytes_per_s"],
            "fma_roof_flops_per_s": roofs["fma_flops_per_s"],
        }
        print_rows([point | rates for point in points], as_json=json, form=form, output=output)
        return 0 if points else 5
    print_rows(readable.stream_table(streams), form=form, title="copies and triads, in the same run")
    print_rows(readable.roof_table(roofs), form=form, title="roofs")
    if points:
        print_rows(readable.bar_table(points), form=form, title="points under them")
    else:
        note("no point of this run moves bytes that are known: bench roofline --measure measures our operators too")
    if layers := readable.layer_table(points, roofs):
        print_rows(
            layers,
            form=form,
            title="every layer's input read once and output written once: no floor, layers can be fused",
        )
    return 0 if points else 5


# The plateaus of caches end well below this: the largest last-level caches hold about 1 GB.
BEYOND_ANY_CACHE = 2 * 1024**3


def one_plateau(roofs: dict[str, Any], streams: list[dict[str, Any]]) -> str:
    """The doubt about a memory roof of which nothing tells that it is not the cache's; empty where there is none."""
    largest = max((one["work_bytes"] for one in streams), default=0)
    if roofs["cache_bytes_per_s"] is not None or not largest or largest >= BEYOND_ANY_CACHE:
        return ""
    from benchbench.units import bytes_text

    return (
        f"one plateau only: the largest copy moved {bytes_text(largest)}, which a cache may hold, so that the memory "
        "roof may be the cache's: bench roofline --measure copies more"
    )


def _count(store: Path, runs: list[str] | None) -> None:
    from benchbench.commands.counting import count_now
    from benchbench.store import find

    for word in runs or ["latest"]:
        run = find(store, word)
        note(f"{len(count_now(run))} points of run {run.id} counted by Nsight Compute")


def bars_of(
    store: Path, runs: list[str] | None, results: pandas.DataFrame, *, trace: bool = False
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The bars of the good points, each with its name and case, and the roofs of the same runs."""
    from dataclasses import asdict

    from benchbench.access import moved
    from benchbench.access import roofline as model
    from benchbench.commands.results import rows_of

    good = rows_of(results[results["status"] == "ok"])
    roofs = model.roofs_from(good)
    traced = moved.traced_bytes(good, moved.traffic_of(good, trace=trace, told=said_traced))
    bars = [asdict(bar) for bar in model.bars(good, roofs, traced, counted=counted_bytes(store, runs))]
    names = _names(good)
    named = {row["key"]: {"name": names[row["key"]], "case": row["case"], **_layerwise(row)} for row in good}
    return sorted((named[bar["key"]] | bar for bar in bars), key=lambda bar: _in_order(bar["name"])), asdict(roofs)


TOLD_APART_BY = ("precision", "layout", "batch", "mode", "backend", "compile", "cache")


def _names(rows: list[dict[str, Any]]) -> dict[str, str]:
    """key -> what the row is about, and the axes that tell it from others that are about the same."""
    from benchbench.reports import table

    same: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        same.setdefault(table.name(row), []).append(row)
    found = {}
    for name, group in same.items():
        apart = [axis for axis in TOLD_APART_BY if len({str(row.get(axis)) for row in group}) > 1]
        for row in group:
            words = [f"batch {row[axis]:g}" if axis == "batch" else str(row[axis]) for axis in apart]
            found[row["key"]] = ", ".join([name, *words])
    return found


def _in_order(name: str) -> list[tuple[int, str]]:
    """Sorted by this, k3 comes before k11."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _layerwise(row: dict[str, Any]) -> dict[str, Any]:
    """The mode, and what a network would move and compute layer by layer, which is no floor; null where not known."""
    from benchbench.access.layerwise import layer_by_layer

    found = layer_by_layer(row)
    return {
        "mode": row.get("mode"),
        "layerwise_bytes": found.bytes_moved if found else None,
        "layerwise_flops": found.flops if found else None,
        "layerwise_bytes_per_s": found.bytes_moved / row["median_s"] if found else None,
    }


def said_traced(row: dict[str, Any]) -> None:
    """A line for a kernel that was traced, because each takes seconds."""
    note(f"traced {row['kernel']}, {row['direction']} at {row['shape']}, {row['dtype']}, {row['layout']}")


def counted_bytes(store: Path, words: list[str] | None) -> dict[str, tuple[float, str]]:
    """The bytes that hardware counters counted and their letter, by key, where a profile was imported or made."""
    from benchbench.store import find

    counters = [find(store, word).counters() for word in words or ["latest"]]
    return {
        key: (row["dram_bytes"], row.get("provenance", "M3"))
        for each in counters
        for key, row in each.items()
        if "dram_bytes" in row
    }
