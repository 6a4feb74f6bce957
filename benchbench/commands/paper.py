"""bench table and verdict: the paper's tables beside ours, and its claims judged."""

from __future__ import annotations

from collections.abc import Sequence
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
    print_rows,
    usage,
)

if TYPE_CHECKING:
    import pandas

    from benchbench.published.entries import Entry
    from benchbench.reports.paper_table import Build

Runs = Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Measured runs; may be left out.")]
Precision = Annotated[str, typer.Option("--precision", help="Which, where several were measured.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("table")(table)
    app.command("verdict")(verdict)


def table(
    number: Annotated[str, typer.Argument(metavar="N", help="1, 2, 4, 5, 6, 7 or 8.")],
    runs: Runs = None,
    row: Annotated[
        list[str] | None, typer.Option("--row", metavar="NAME", help="This row: the paper's name or ours; repeatable.")
    ] = None,
    precision: Precision = "",
    build: Annotated[bool, typer.Option("--build/--no-build", help="Build every row and count it.")] = True,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """The paper's table N with what was counted and measured here beside it."""
    from benchbench.plan import PlanError
    from benchbench.published.entries import entries, entries_named
    from benchbench.reports import paper_table

    word = number.removeprefix("table").strip()
    if not word.isdigit():
        raise PlanError(f"no table {number!r}: name one by its number, such as table 4")
    with usage():
        chosen = entries_named(int(word), row or ())
        results = _results(store, runs)
        built = _built(chosen) if build else {}
        whole = paper_table.paper_rows(int(word), results, built, precision=precision or None)
        rows = [one for one, entry in zip(whole, entries(int(word)), strict=True) if entry in chosen]
    if json or form == "csv" or (output is not None and output.suffix in (".csv", ".json")):
        print_rows(rows, as_json=json, form=form, output=output)
        return 0
    print_rows(paper_table.text_rows(rows), form=form, output=output, title=f"Table {word} of the paper, and ours")
    for line in paper_table.footnotes(rows) + ([] if results is None else paper_table.elsewhere(whole, results)):
        note(line)
    return 0


def _built(chosen: Sequence[Entry]) -> dict[Entry, Build]:
    """Each row's network built in this call and counted on the meta device; Table 2 has convolutions, no networks."""
    return {entry: _build(entry) for entry in chosen if entry.table != 2}


def _build(entry: Entry) -> Build:
    from benchbench.models.build import build
    from benchbench.models.count import count
    from benchbench.reports.paper_table import Build

    height, width = _size(entry.img_size)
    try:
        for name in dict.fromkeys((entry.network, entry.counted)):
            model = build(name, kernel_size=entry.kernel_size, ratio=entry.ratio, img_size=max(height, width))
        counts = count(model, height=height, width=width)
    except (ValueError, ImportError) as error:
        return Build(False, note=str(error))
    return Build(True, counts.parameters, counts.macs, counts.products)


def _size(text: int | str) -> tuple[int, int]:
    """Height and width of "512x2048"; a number is both."""
    sides = [int(side) for side in str(text).split("x")[-2:]]
    return sides[0], sides[-1]


def _results(store: Any, words: list[str] | None) -> pandas.DataFrame | None:
    from benchbench.commands.results import results_of
    from benchbench.store import find

    return results_of([find(store, word) for word in words]) if words else None


def verdict(
    runs: Runs = None,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """Each claim of the paper: holds, does not hold or undecided on the measured machine, with the interval."""
    from benchbench.commands.results import results_of
    from benchbench.reports import verdict as claims
    from benchbench.reports.limits import cache_bytes_of
    from benchbench.store import find

    found = [find(store, word) for word in runs or ["latest"]]
    judged = claims.verdicts(results_of(found), cache_bytes=cache_bytes_of(found[0].asked().get("description", {})))
    as_document = json or form == "csv" or (output is not None and output.suffix in (".csv", ".json"))
    print_rows(judged if as_document else claims.text_rows(judged), as_json=json, form=form, output=output)
    if not as_document:
        note(claims.contrast())
    return 0 if any(row["verdict"] != "not measured" for row in judged) else 5
