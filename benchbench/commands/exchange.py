"""bench export and import: runs in other tools' formats, and other tools' results as runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchbench.commands.terminal import DEFAULT_STORE, AsJson, Imports, Store, note, print_json, print_rows, say

if TYPE_CHECKING:
    from benchbench.exchange import Export
    from benchbench.exchange import Run as Source
    from benchbench.store import Run


NSIGHT = "ncu"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export")(export)
    app.command("import")(import_)


def export(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="csv, timm, bencher, asv, ...: bench export list.")],
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="An id, a prefix, latest or a path.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write the files here.")] = None,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
) -> int:
    """Runs in another tool's format: files under -o DIR, or to stdout where the format is one file."""
    from benchbench.case import nearest
    from benchbench.exchange import EXPORTS
    from benchbench.exchange import export as exported_as
    from benchbench.plan import PlanError
    from benchbench.store import find

    if form == "list":
        print_json(sorted(EXPORTS)) if json else print("\n".join(sorted(EXPORTS)))
        return 0
    if form not in EXPORTS:
        raise PlanError(f"format {form!r}: {nearest(form, sorted(EXPORTS))}")
    if not runs:
        raise PlanError(f"bench export {form} needs a RUN, such as latest")
    try:
        exported = exported_as(form, [source_of(find(store, word)) for word in runs])
    except ValueError as error:
        say(f"bench: {error}")
        return 5 if "no measured" in str(error) else 2
    for line in exported.left_out:
        note(f"left out: {line}")
    return _give(exported, form, output, as_json=json)


def _give(exported: Export, form: str, output: Path | None, *, as_json: bool) -> int:
    from benchbench.exchange import write
    from benchbench.plan import PlanError
    from benchbench.store import StoreError

    if output is None:
        if len(exported.files) > 1 or as_json:
            names = ", ".join(list(exported.files)[:4]) + (", ..." if len(exported.files) > 4 else "")
            raise PlanError(f"{form} is {len(exported.files)} files ({names}): name a folder with -o DIR")
        print(next(iter(exported.files.values())), end="")
        return 0
    try:
        written = write(exported, output)
    except OSError as error:
        raise StoreError(f"cannot write to {output}: {error.strerror}: choose another folder with -o") from None
    if as_json:
        print_json({"files": [str(path) for path in written], "left_out": list(exported.left_out)})
    else:
        for path in written:
            print(path)
    return 0


def source_of(run: Run) -> Source:
    """A stored run as the exports take it."""
    from datetime import UTC, datetime

    from benchbench.exchange import Run as Source

    asked = run.asked()
    began = asked.get("began")
    started = datetime.fromtimestamp(began, UTC).isoformat() if began else ""
    return Source(run.id, tuple(run.read()[0]), asked.get("description") or {}, started)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that another tool wrote.")],
    form: Annotated[
        str, typer.Option("--as", metavar="FORMAT", help="timm, nvbench, hyperfine, google-benchmark, ncu.")
    ] = "",
    join: Annotated[str, typer.Option("--join", metavar="RUN", help="The run that an ncu profile is of.")] = "latest",
    name: Annotated[str, typer.Option("--name", metavar="RUN", help="Name of the new run.")] = "",
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
) -> int:
    """Another tool's results as a run: marked as imported, shown and compared with --cross, never a baseline.

    A profile of Nsight Compute (.ncu-rep, or its CSV) is joined to the points of a run by the names of their kernels.
    """
    from benchbench import store as folders
    from benchbench.case import nearest
    from benchbench.exchange import IMPORTS, read
    from benchbench.plan import PlanError

    if form and form not in (*IMPORTS, NSIGHT):
        raise PlanError(f"--as {form!r}: {nearest(form, sorted((*IMPORTS, NSIGHT)))}")
    if form == NSIGHT or (not form and _is_profile(file)):
        return _join(file, folders.find(store, join), as_json=json)
    try:
        records = read(file, form)
    except OSError as error:
        raise PlanError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PlanError(f"{file} is no text in UTF-8, which every format here is") from None
    except ValueError as error:
        raise PlanError(str(error)) from None
    tool = str(records[0].machine_state["imported"])
    run = folders.create(store, _asked(tool, file, records), name=name)
    writer = folders.Writer(run)
    for record in records:
        writer.append(record)
    writer.close()
    answer = {"run": run.id, "tool": tool, "records": len(records)}
    print_json(answer) if json else print(f"{len(records)} results of {tool} are run {run.id}")
    return 0


def _is_profile(file: Path) -> bool:
    from benchbench.access.ncu import is_profile, text_of

    try:
        return file.suffix == ".ncu-rep" or is_profile(text_of(file))
    except OSError:
        return False


def _join(file: Path, run: Run, *, as_json: bool) -> int:
    """Keep the counters of a profile beside the run, one line a point, and print them."""
    from benchbench import once
    from benchbench.access.ncu import load
    from benchbench.commands import counting
    from benchbench.plan import PlanError

    try:
        rows = counting.keep_counters(run, load(str(file)), provenance="M3", file=file.name)
    except ValueError as error:
        raise PlanError(str(error)) from None
    if as_json:
        print_json(rows)
    else:
        print_rows(counting.readable(rows, run))
    of = len(once.points_of(run.read()[0]))
    note(f"{len(rows)} of {of} points of run {run.id} have counters now: bench roofline {run.id} uses them")
    return 0


def _asked(tool: str, file: Path, records: list[Any]) -> dict[str, Any]:
    import time

    points = {"count": len({record.key for record in records})}
    rounds = 1 + max(record.round for record in records)
    return {
        "asked": {"plan": f"imported from {tool}", "points": points, "rounds": rounds},
        "began": time.time(),
        "command": "bench import",
        "description": {},
        "imported": {"tool": tool, "file": file.name},
        # No machine has this testbed, so that nothing measured here is compared with it unasked.
        "testbed": {"imported": f"{tool}: {file.name}"},
    }
