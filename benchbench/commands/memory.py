"""bench traffic, resources and roofline: bytes traced, code compiled, roofs measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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

    from benchbench.access.shipped import Spec

File = Annotated[str, typer.Argument(metavar="[FILE]", help="A file of your own that defines example().")]
Op = Annotated[str, typer.Option("--op", help="A shipped operation: inception_dwconv or depthwise_conv.")]
Directions = Annotated[str, typer.Option("--direction", help="forward,backward.")]
Dtypes = Annotated[str, typer.Option("--dtype", help="fp32,fp16,bf16.")]
Layouts = Annotated[str, typer.Option("--layout", help="nchw,nhwc.")]
Shapes = Annotated[str, typer.Option("--shape", metavar="CxHxW,...", help="Default: the stages of --variant.")]
Variant = Annotated[str, typer.Option("--variant", help="T, S or B: their stage shapes.")]
KernelSize = Annotated[int, typer.Option("--kernel-size", help="0: the operation's own.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Processes at a time.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("traffic")(traffic)
    app.command("resources")(resources)
    app.command("roofline")(roofline)


def _specs(
    op: str, archs: str, directions: str, dtypes: str, layouts: str, shapes: str, variant: str, kernel_size: int
) -> list[Spec]:
    from benchbench.access import compiled, shipped
    from benchbench.plan import PlanError

    for arch in archs.split(","):
        compiled.capability(arch)
    known = {"direction": shipped.DIRECTIONS, "dtype": shipped.DTYPES, "layout": shipped.LAYOUTS}
    chosen = {"direction": directions, "dtype": dtypes, "layout": layouts}
    words = {name: _known(f"--{name}", text, known[name]) for name, text in chosen.items()}
    sizes = tuple(_shape(word) for word in shapes.split(",")) if shapes else tuple(shipped.shapes_of(variant))
    found = shipped.specs(
        op,
        archs=archs.split(","),
        directions=words["direction"],
        dtypes=words["dtype"],
        layouts=words["layout"],
        shapes=sizes,
        kernel_size=kernel_size,
    )
    if not found:
        raise PlanError(f"{op} ships no kernel for that: widen --direction, --dtype, --layout or --shape")
    return found


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
    sass: Annotated[bool, typer.Option("--sass", help="FILE: the machine code under its source lines.")] = False,
    jobs: Jobs = 1,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """What compiled kernels need of the machine, without a GPU: registers, spills, widths, instructions, occupancy."""
    from benchbench.plan import PlanError

    if sass and not file:
        raise PlanError("--sass shows the code of a FILE that defines example(): name one")
    with usage():
        if sass:
            from benchbench.access import example

            print("\n".join(example.sass_lines(file, arch=arch.split(",")[0])))
            return 0
        if file:
            from benchbench.access import example

            rows = example.resource_rows(file, archs=tuple(arch.split(",")))
        else:
            from benchbench.access.rows import resource_rows

            specs = _specs(op, arch, direction, dtype, layout, shape, variant, kernel_size)
            rows = resource_rows(specs, jobs=jobs)
    print_rows(_flat(rows, as_json=json), as_json=json, form=form, output=output)
    return 0


def traffic(
    file: File = "",
    op: Op = "inception_dwconv",
    direction: Directions = "",
    dtype: Dtypes = "",
    layout: Layouts = "",
    shape: Shapes = "",
    variant: Variant = "T",
    kernel_size: KernelSize = 0,
    jobs: Jobs = 1,
    limit: Annotated[str, typer.Option("--limit", help="FILE: refuse a grid that takes longer to trace.")] = "120s",
    plot: Annotated[Path | None, typer.Option("--plot", metavar="DIR", help="FILE: heat maps of its tensors.")] = None,
    l2_mib: Annotated[int, typer.Option("--l2-mib", min=1, help="FILE: size of the modelled L2.")] = 50,
    l2_line: Annotated[int, typer.Option("--l2-line", help="FILE: its line in bytes.")] = 128,
    sms: Annotated[int, typer.Option("--sms", min=1, help="FILE: multiprocessors that share it.")] = 132,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """What kernels ask of memory, traced address by address without a GPU: bytes, sectors, amplification."""
    from benchbench.access import rows
    from benchbench.commands.sweep import seconds
    from benchbench.plan import PlanError

    if plot is not None and not file:
        raise PlanError("--plot draws the heat maps of a FILE that defines example(): name one")
    with usage():
        if not file:
            specs = _specs(op, "sm_90", direction, dtype, layout, shape, variant, kernel_size)
            print_rows(_flat(rows.traffic_rows(specs, jobs=jobs), as_json=json), as_json=json, form=form, output=output)
            return 0
        l2 = {"size_bytes": l2_mib * 1024 * 1024, "line_bytes": l2_line, "sms": sms}
        found = rows.in_interpreter("example", {"path": file, "limit_s": seconds("--limit", limit), "l2": l2})
    if plot is not None:
        _draw_heat(found["heat"], plot)
    return _print_traffic(found, as_json=json, form=form, output=output)


def _draw_heat(maps: list[dict[str, Any]], folder: Path) -> None:
    from benchbench.reports.heat import heat
    from benchbench.reports.save import save

    for one in maps:
        for path in save(heat(one["kernel"], one["kind"], one["tensor"], one["touches"]), folder):
            note(str(path))


def _print_traffic(found: dict[str, Any], *, as_json: bool, form: str, output: Path | None) -> int:
    """Instruction by instruction and tensor by tensor; what reaches out of bounds is said last, and is a failure."""
    if as_json:
        print_json(found)
    else:
        print_rows(found["sites"], form=form, output=output, title="by instruction (requests and sectors are modelled)")
        print_rows(found["tensors"], form=form, title="by tensor")
        dram = found["dram"]
        print_rows([dram], form=form, title="DRAM behind the modelled L2")
    for line in found["out_of_bounds"]:
        note(f"out of bounds: {line}")
    return 1 if found["out_of_bounds"] else 0


SHOWN_APART = ("accesses", "sites", "spilled_at")


def _flat(rows: list[dict[str, Any]], *, as_json: bool) -> list[dict[str, Any]]:
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


def roofline(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Default: latest.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="DIR", help="Draw it too.")] = None,
    theme: Annotated[str, typer.Option("--theme", help="light or dark.")] = "light",
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """Points of runs under the roofs measured in the same runs: share of the roof, and what limits each."""
    import pandas

    from benchbench.commands.draw import stored
    from benchbench.reports import roofline as chart
    from benchbench.reports.save import save

    results, conditions = stored(store, runs)
    with usage():
        points, roofs = bars_of(store, runs, results)
        if plot is not None:
            drawn = chart.roofline(pandas.DataFrame(points), roofs, theme=theme, conditions=conditions)
            for path in save(drawn, plot):
                note(str(path))
    if json or form == "csv" or output is not None:
        print_rows(points, as_json=json, form=form, output=output)
    else:
        _print_bars(points, roofs)
    return 0 if points else 5


def bars_of(
    store: Path, runs: list[str] | None, results: pandas.DataFrame, *, trace: bool = False
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The bars of the good points, each with its name and case, and the roofs of the same runs."""
    from dataclasses import asdict

    from benchbench.access import moved
    from benchbench.access import roofline as model
    from benchbench.commands.results import rows_of
    from benchbench.reports import table

    good = rows_of(results[results["status"] == "ok"])
    roofs = model.roofs_from(good)
    traced = moved.traced_bytes(good, moved.traffic_of(good, trace=trace, told=said_traced))
    bars = [asdict(bar) for bar in model.bars(good, roofs, traced, imported=_counted(store, runs))]
    named = {row["key"]: {"name": table.name(row), "case": row["case"], **_layerwise(row)} for row in good}
    return [named[bar["key"]] | bar for bar in bars], asdict(roofs)


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


def _counted(store: Path, words: list[str] | None) -> dict[str, float]:
    """The bytes that hardware counters counted, by key, where a profile was imported."""
    from benchbench.store import find

    counters = [find(store, word).counters() for word in words or ["latest"]]
    return {key: row["dram_bytes"] for each in counters for key, row in each.items() if "dram_bytes" in row}


def _print_bars(points: list[dict[str, Any]], roofs: dict[str, Any]) -> None:
    from benchbench import units

    rates = {
        "memory": units.bandwidth_text(roofs["memory_bytes_per_s"]),
        "cache": units.bandwidth_text(roofs["cache_bytes_per_s"]),
        "multiply-add": units.compute_text(roofs["fma_flops_per_s"]),
    }
    print_rows([{"roof": name, "measured": text} for name, text in rates.items()])
    shown = [
        {
            "what": point["name"],
            "least bytes": units.bytes_text(point["least_bytes"]),
            "best known": f"{units.bytes_text(point['known_bytes'])} ({point['provenance']})",
            "of the memory roof": units.share_text(point["share_of_memory_roof"]),
            "of the multiply-add roof": units.share_text(point["share_of_fma_roof"]),
            "limited by": point["limiter"] + (f"; {point['doubt']}" if point["doubt"] else ""),
        }
        for point in points
    ]
    print_rows(shown)
    layers = [point for point in points if point["layerwise_bytes"]]
    if layers:
        rate = roofs["memory_bytes_per_s"]
        print_rows(
            [
                {
                    "network": point["name"],
                    "mode": point["mode"],
                    "bytes, layer by layer": units.bytes_text(point["layerwise_bytes"]),
                    "of the memory roof": units.share_text(point["layerwise_bytes_per_s"] / rate),
                }
                for point in layers
            ],
            title="every layer's input read once and output written once: no floor, layers can be fused",
        )
