"""bench show, list, env, doctor and merge: looking, without measuring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
)

LISTS = ("cases", "models", "backends", "plans", "runs", "devices", "axes")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("show")(show)
    app.command("list")(list_)
    app.command("env")(env)
    app.command("doctor")(doctor)
    app.command("merge")(merge)


def show(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="An id, a prefix, latest, @tag or a path.")],
    status: Annotated[str, typer.Option("--status", help="Only points of this status.")] = "",
    store: Store = DEFAULT_STORE,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """The results of one run or of several together."""
    from benchbench.case import nearest
    from benchbench.commands.results import print_results, results_of
    from benchbench.plan import PlanError
    from benchbench.record import STATUSES
    from benchbench.store import find

    if status and status not in STATUSES:
        raise PlanError(f"--status {status!r}: {nearest(status, STATUSES)}")
    results = results_of([find(store, word) for word in runs])
    if status:
        results = results[results["status"] == status]
    print_results(results, as_json=json, form=form, output=output)
    return 0 if len(results) else 5


def list_(
    what: Annotated[str, typer.Argument(metavar="|".join(LISTS))],
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """What there is: cases, models, backends, plans, runs, devices or axes; what is unavailable, with its reason."""
    from benchbench.case import nearest
    from benchbench.commands import listing
    from benchbench.plan import PlanError
    from benchbench.registry import register_cases

    if what not in LISTS:
        raise PlanError(f"nothing is called {what!r}: {nearest(what, LISTS)}")
    register_cases(imports or ())
    rows = listing.runs(store) if what == "runs" else getattr(listing, what)()
    print_rows(rows, as_json=json, form=form, output=output)
    return 0


def env(
    diff: Annotated[tuple[str, str], typer.Option("--diff", metavar="A B", help="What differs between two runs.")] = (
        "",
        "",
    ),
    device: Annotated[str, typer.Option("--device", help="cuda:0 or cpu.")] = "",
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
) -> int:
    """What a run records about this machine; or what differs between the machines of two runs."""
    from benchbench import machine
    from benchbench.device import devices
    from benchbench.store import find

    if any(diff):
        before, after = (find(store, word).asked().get("description", {}) for word in diff)
        rows = [{"field": name, diff[0]: a, diff[1]: b} for name, a, b in machine.difference(before, after)]
        print_rows(rows, as_json=json, form=form)
        if not rows and not json:
            note("no recorded field differs")
        return 0
    found = machine.describe(devices(device)[0])
    if json:
        print_json(found)
    else:
        print_rows([{"field": name, "value": value} for name, value in found.items()], form=form)
    return 0


def doctor(
    device: Annotated[str, typer.Option("--device", help="cuda:0 or cpu.")] = "",
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
) -> int:
    """Is this machine fit for measuring? PASS, WARN or FAIL, each with the mending command, which is never run."""
    from dataclasses import asdict

    from benchbench.device import devices
    from benchbench.doctor import doctor as examine

    chosen = devices(device)[0]
    findings = examine(chosen, store=str(store))
    verdict = "FAIL" if any(finding.status == "FAIL" for finding in findings) else "PASS"
    if json:
        print_json({"verdict": verdict, "device": chosen, "findings": [asdict(finding) for finding in findings]})
    else:
        print_rows([asdict(finding) for finding in findings], form=form)
        if chosen == "cpu":
            print("CPU only: figures are for trying the tool")
    return 1 if verdict == "FAIL" else 0


def merge(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Parts of one sweep, such as shards.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="RUN", help="Name of the new run.")] = "",
    cross: Annotated[bool, typer.Option("--cross", help="Even from different testbeds.")] = False,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
) -> int:
    """One run from several, such as the shards of a sweep on several machines of one kind."""
    from benchbench import store as folders

    parts = [folders.find(store, word) for word in runs]
    merged = folders.merge(store, parts, name=output, cross=cross)
    answer: dict[str, Any] = {"run": merged.id, "folder": str(Path(merged.folder)), "records": len(merged.read()[0])}
    if json:
        print_json(answer)
    else:
        print(f"{answer['records']} records of {len(parts)} runs are run {merged.id}")
    return 0
