"""bench plot and report: charts and pages from stored runs; they never measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchbench.commands.terminal import DEFAULT_STORE, AsJson, Imports, Store, note, print_json

if TYPE_CHECKING:
    import pandas

    from benchbench.reports.chart import Chart
    from benchbench.store import Run

CHARTS = ("figure1", "kernels", "ratio", "roofline", "access", "breakdown", "energy", "history")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("plot")(plot)
    app.command("report")(report)


def plot(
    chart: Annotated[str, typer.Argument(metavar="|".join(CHARTS))],
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN...]", help="Default: latest. history: keys, cases or patterns.")
    ] = None,
    x: Annotated[str, typer.Option("--x", help="figure1, energy: train or infer.")] = "train",
    everything: Annotated[bool, typer.Option("--all", help="figure1: every network, families, Pareto front.")] = False,
    energy: Annotated[bool, typer.Option("--energy", help="figure1: accuracy against joules an image.")] = False,
    precision: Annotated[str, typer.Option("--precision", help="Which, where several were measured.")] = "",
    shape: Annotated[str, typer.Option("--shape", help="access: which, where several were measured.")] = "",
    mode: Annotated[str, typer.Option("--mode", help="access: which, where several were measured.")] = "",
    overlay: Annotated[bool, typer.Option("--overlay/--no-overlay", help="figure1: the paper's points.")] = True,
    baseline: Annotated[str, typer.Option("--baseline", help="history: the pinned baseline.")] = "main",
    trace: Annotated[
        bool, typer.Option("--trace", help="access, roofline: trace our kernels where the repository has no trace.")
    ] = False,
    theme: Annotated[str, typer.Option("--theme", help="light or dark.")] = "light",
    formats: Annotated[str, typer.Option("--format", help="png,svg,pdf.")] = "png,svg,pdf",
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where the files go.")] = Path("."),
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
) -> int:
    """Draw a chart of one run, or of several together; its data go beside it as CSV."""
    from benchbench.case import nearest
    from benchbench.plan import PlanError
    from benchbench.reports.save import save
    from benchbench.store import StoreError

    if chart not in CHARTS:
        raise PlanError(f"no chart is called {chart!r}: {nearest(chart, CHARTS)}")
    name = "energy" if energy else chart
    try:
        if name == "history":
            drawn = _history(store, runs, baseline, theme)
        else:
            results, conditions = stored(store, runs)
            look: dict[str, Any] = {"theme": theme, "conditions": conditions}
            if name == "roofline":
                drawn = _roofline(store, runs, results, trace=trace, **look)
            elif name == "access":
                drawn = _access(store, runs, results, trace=trace, shape=shape, mode=mode, precision=precision, **look)
            else:
                chosen: dict[str, Any] = {
                    "x": x,
                    "precision": precision,
                    "overlay": overlay,
                    "everything": everything,
                }
                drawn = _draw(name, results, **chosen, **look)
        paths = save(drawn, output, formats=tuple(word.strip() for word in formats.split(",")))
    except ValueError as error:
        raise PlanError(str(error)) from None
    except OSError as error:
        raise StoreError(f"cannot write to {output}: {error.strerror}: choose another folder with -o") from None
    if json:
        print_json({"chart": chart, "files": [str(path) for path in paths], "notes": list(drawn.notes)})
    else:
        for path in paths:
            print(path)
        for line in drawn.notes:
            note(line)
    return 0 if len(drawn.data) else 5


def _draw(
    chart: str,
    results: pandas.DataFrame,
    *,
    x: str,
    overlay: bool,
    precision: str,
    everything: bool = False,
    **common: Any,
) -> Chart:
    from benchbench.reports import breakdown, energy, figure1, kernels, ratio

    common["precision"] = precision or None
    if chart == "figure1":
        return figure1.figure1(results, x=x, overlay=overlay, everything=everything, **common)
    if chart == "energy":
        return energy.energy(results, x=x, **common)
    plain: dict[str, Callable[..., Chart]] = {
        "kernels": kernels.kernels,
        "ratio": ratio.ratio,
        "breakdown": breakdown.breakdown,
    }
    return plain[chart](results, **common)


def _access(
    store: Path, runs: list[str] | None, results: pandas.DataFrame, *, trace: bool, precision: str, **chosen: str
) -> Chart:
    """With the bytes that are known: stock's by PyTorch's rules, ours as traced, and what hardware has counted."""
    import pandas

    from benchbench.access import moved
    from benchbench.commands.memory import counted_bytes, said_traced
    from benchbench.commands.results import rows_of
    from benchbench.reports.access import access
    from benchbench.reports.limits import cache_bytes_of
    from benchbench.store import find

    good = rows_of(results[results["status"] == "ok"])
    known = moved.moved_rows(good, moved.traffic_of(good, trace=trace, told=said_traced), counted_bytes(store, runs))
    machine = find(store, runs[0] if runs else "latest").asked().get("description", {})
    look: dict[str, Any] = {**chosen, "precision": precision or None, "cache_bytes": cache_bytes_of(machine)}
    return access(results, pandas.DataFrame(known) if known else None, **look)


def _roofline(
    store: Path, runs: list[str] | None, results: pandas.DataFrame, *, trace: bool, theme: str, conditions: str
) -> Chart:
    import pandas

    from benchbench.commands.memory import bars_of
    from benchbench.reports.roofline import roofline

    points, roofs = bars_of(store, runs, results, trace=trace)
    return roofline(pandas.DataFrame(points), roofs, theme=theme, conditions=conditions)


def _history(store: Path, cases: list[str] | None, baseline: str, theme: str) -> Chart:
    import pandas

    from benchbench import baselines
    from benchbench.commands.past import rows_of
    from benchbench.reports.history import history

    pinned = baselines.find(store, baseline, None)
    found = [row for case in cases or ["*"] for row in rows_of(store, pinned, case)]
    if not found:
        raise ValueError(
            f"baseline {baseline} has no point that is {', '.join(cases or ['*'])}: bench show {pinned.id}"
        )
    return history(pandas.DataFrame(found), theme=theme)


def stored(store: Path, words: list[str] | None) -> tuple[pandas.DataFrame, str]:
    """The results of the named runs (of none: the latest), and the conditions that every chart states."""
    from benchbench.commands.results import results_of
    from benchbench.store import find

    found = [find(store, word) for word in words or ("latest",)]
    return results_of(found), conditions_of(found[0])


def conditions_of(run: Run) -> str:
    """The machine and the preset of a run in words: "NVIDIA H200, torch 2.11.0"."""
    asked = run.asked()
    description = asked.get("description", {})
    device = description.get("gpu") or description.get("cpu") or description.get("device", "")
    versions = f"torch {description['torch']}" if description.get("torch") else ""
    return "; ".join(filter(None, (", ".join(filter(None, (str(device), versions))), asked.get("preset_note", ""))))


def report(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Default: latest.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where the page goes.")] = Path(
        "report"
    ),
    theme: Annotated[str, typer.Option("--theme", help="light or dark.")] = "light",
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
) -> int:
    """One Markdown page of a run: machine, figures, tables, failures and skips."""
    from benchbench.commands.results import results_of
    from benchbench.plan import PlanError
    from benchbench.reports.page import page
    from benchbench.reports.save import save
    from benchbench.store import StoreError, find

    found = [find(store, word) for word in runs or ("latest",)]
    results, conditions = results_of(found), conditions_of(found[0])
    try:
        charts = [
            _draw(chart, results, x=x, precision="", overlay=True, theme=theme, conditions=conditions)
            for chart, x in (("figure1", "train"), ("figure1", "infer"), ("kernels", "train"), ("ratio", "train"))
        ]
        drawn = [chart for chart in charts if len(chart.data)]
        paths = [path for chart in drawn for path in save(chart, output)]
        asked = found[0].asked()
        text = page(
            results,
            asked.get("description", {}),
            title=f"Run {found[0].id}",
            conditions=conditions,
            charts=[(chart, f"{chart.name}.png") for chart in drawn],
        )
        (output / "report.md").write_text(text)
    except ValueError as error:
        raise PlanError(str(error)) from None
    except OSError as error:
        raise StoreError(f"cannot write to {output}: {error.strerror}: choose another folder with -o") from None
    if json:
        print_json({"page": str(output / "report.md"), "files": [str(path) for path in paths]})
    else:
        print(output / "report.md")
    return 0
