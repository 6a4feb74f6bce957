"""bench compare, baseline, check, history and simulate: against what is stored, and the proof of the gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchbench.commands import judging
from benchbench.commands.judging import Asked, any_failed, conclude, rules_of, share_of, sitting_of, untouched
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
    from benchbench.campaign import Judged, Rules
    from benchbench.record import Record
    from benchbench.store import Run


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("compare")(compare)
    app.command("baseline")(baseline)
    app.command("check")(check)
    app.command("history")(history)
    app.command("simulate")(simulate)


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="A B [C...]", help="Each is compared with the first.")],
    threshold: judging.Threshold = "1%",
    offset: judging.Offset = "0.3%",
    per: judging.Per = None,
    alpha: Annotated[float, typer.Option("--alpha", min=1e-6, max=0.5, help="Level of the family of points.")] = 0.02,
    only_changed: Annotated[bool, typer.Option("--only-changed", help="Leave out same and undecided.")] = False,
    fail_on: Annotated[str, typer.Option("--fail-on", help="slower, any or never.")] = "slower",
    explain: Annotated[bool, typer.Option("--explain", help="Say what each verdict rests on.")] = False,
    cross: Annotated[bool, typer.Option("--cross", help="Even from different testbeds.")] = False,
    strict: judging.Strict = False,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """Stored runs against the first: slower, faster, same or undecided, with the interval of the ratio."""
    from benchbench.case import nearest
    from benchbench.plan import PlanError
    from benchbench.store import find

    if fail_on not in ("slower", "any", "never"):
        raise PlanError(f"--fail-on {fail_on!r}: {nearest(fail_on, ('slower', 'any', 'never'))}")
    if len(runs) < 2:
        raise PlanError("compare takes two runs or more: bench compare latest~1 latest")
    found = [find(store, word) for word in runs]
    rules = rules_of(threshold, per, alpha=alpha, offset=offset)
    judged: list[Judged] = []
    for other in found[1:]:
        if not cross and (reason := _other_testbed(found[0], other)):
            note(reason)
            return 5
        judged += _compared(found[0], other, rules)
    if explain:
        note(_explanation(rules))
    return conclude(
        judged,
        strict=strict,
        warn_only=fail_on == "never",
        shown=(json, form, output),
        failed=False,
        title=f"{', '.join(run.id for run in found[1:])} against {found[0].id}",
        only_changed=only_changed,
        any_change=fail_on == "any",
    )


def _compared(before: Run, current: Run, rules: Rules) -> list[Judged]:
    from benchbench import campaign
    from benchbench.commands.sitting import controls

    arms = [untouched(run) for run in (before, current)]
    names = controls()
    measured = set(_good_keys(arms[0]))
    shared = [key for key in _good_keys(arms[1]) if key in measured]
    for run, records in ((before, arms[0]), (current, arms[1])):
        lost = {record.key for record in records} - set(shared)
        if lost:
            note(f"{len(lost)} points of {run.id} have no counterpart or no time: they are left out")
    keys = [key for key in shared if key.partition("@")[0] not in names]
    moved = [key for key in shared if key.partition("@")[0] in names]
    return campaign.compare_stored(arms[0], arms[1], keys, controls=moved, rules=rules)


def _good_keys(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(record.key for record in records if record.status == "ok"))


def _other_testbed(before: Run, current: Run) -> str:
    from benchbench.store import Mixed, refuse_other_conditions

    try:
        refuse_other_conditions(before, current.asked().get("testbed", {}))
    except Mixed as mixed:
        return (
            f"{current.id} is of another testbed: {str(mixed).partition(': measure')[0]}: compare anyway with --cross"
        )
    return ""


def _explanation(rules: Rules) -> str:
    rule = rules.rule
    return (
        f"slower: beyond {rule.margin:.1%}, one-sided Welch tests on log round medians, Holm over the points at "
        f"{rule.family_alpha:.1%}; same: the {rule.level:.0%} interval inside {rule.same_within:.1%}"
    )


def baseline(
    action: Annotated[str, typer.Argument(metavar="set|list|show|rm")],
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Default: main.")] = "main",
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="set: which run; default: latest.")] = "latest",
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
) -> int:
    """Named baselines, one a testbed."""
    from benchbench import baselines
    from benchbench.case import nearest
    from benchbench.plan import PlanError
    from benchbench.store import find

    if action not in ("set", "list", "show", "rm"):
        raise PlanError(f"baseline {action!r}: {nearest(action, ('set', 'list', 'show', 'rm'))}")
    if action == "set":
        chosen = find(store, run)
        baselines.put(store, name, chosen)
        note(f"baseline {name} of this testbed is run {chosen.id}")
        return 0
    rows = [
        {"baseline": one.name, "run": one.run, **one.testbed}
        for one in baselines.every(store)
        if action == "list" or one.name == name
    ]
    if action == "rm":
        baselines.remove(store, name)
        note(f"baseline {name} is removed; its runs are kept")
        return 0
    if action == "show" and not rows:
        raise PlanError(f"no baseline is called {name!r}: set one with bench baseline set {name} RUN")
    print_rows(rows, as_json=json, form=form)
    return 0


def check(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="A stored run; left out: measure now.")] = "",
    name: Annotated[str, typer.Option("--baseline", help="Which baseline.")] = "main",
    rounds: Annotated[int, typer.Option("--rounds", min=2, help="Fresh processes now.")] = 8,
    confirm: Annotated[int, typer.Option("--confirm", min=0, max=1, help="Measure suspects again: 1, or not: 0.")] = 1,
    device: judging.Device = "",
    static: Annotated[bool, typer.Option("--static", help="Recompile and retrace the kernels instead.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="--static: processes at a time.")] = 1,
    only: Annotated[
        str, typer.Option("--only", metavar="WORD,...", help="--static: operations, types, shapes, architectures.")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="--static: the whole matrix, nothing kept.")] = False,
    threshold: judging.Threshold = "1%",
    offset: judging.Offset = "0.3%",
    per: judging.Per = None,
    strict: judging.Strict = False,
    warn_only: judging.WarnOnly = False,
    update: Annotated[bool, typer.Option("--update-baseline", help="Where nothing is slower, pin this run.")] = False,
    bisect: judging.Bisect = False,
    junit: judging.Junit = None,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """Against a stored baseline: measure its points, measure suspects again, and say what is slower."""
    if static:
        from benchbench.commands.static import check_kernels

        chosen = tuple(word.strip() for word in only.split(",")) if only else ()
        return check_kernels(
            chosen, whole=everything, jobs=jobs, warn_only=warn_only, as_json=json, form=form, output=output
        )
    from benchbench import baselines, campaign
    from benchbench.store import find

    rules = rules_of(threshold, per, offset=offset, stored=True)
    stored = find(store, run) if run else None
    pinned = baselines.find(store, name, stored.asked().get("testbed") if stored else None)
    asked = Asked.again(pinned, device, imports)
    before = untouched(pinned)
    keys, moved = [point.key for point in asked.points], [point.key for point in asked.controls]
    question = {**pinned.asked()["asked"], "plan": "check", "rounds": rounds, "baseline": pinned.id}
    with sitting_of(store, question, asked, "", begun=None) as sitting:
        current = _measured_now(sitting, asked, rounds) if stored is None else untouched(stored)
        if stored is None:
            _refuse_testbed(pinned, sitting.run)
        again: list[Record] = []
        wanted = campaign.suspects(before, current, keys, rules) if confirm else []
        if wanted:
            note(f"{len(wanted)} points are measured again")
            again = _measured_again(sitting, asked, wanted, len({r.round for r in sitting.records()}))
        judged = campaign.check_against(before, current, again, keys, controls=moved, rules=rules)
    code = conclude(
        judged,
        strict=strict,
        warn_only=warn_only,
        bisect=bisect,
        junit=junit,
        shown=(json, form, output),
        failed=any_failed(current),
        title=f"against baseline {name} ({pinned.id})",
    )
    newest = stored or sitting.run
    if update and newest is not None and not any(one.verdict in ("slower", "invalid") for one in judged):
        baselines.put(store, name, newest)
        note(f"baseline {name} is now run {newest.id}")
    return code


def _measured_now(sitting: Any, asked: Asked, rounds: int) -> list[Record]:
    from benchbench.run import rounds_of

    sitting.measure(rounds_of((*asked.controls, *asked.points), rounds))
    found: list[Record] = sitting.records()
    return found


def _measured_again(sitting: Any, asked: Asked, keys: Sequence[str], first: int) -> list[Record]:
    from benchbench.gate.compare import CONFIRM_ROUNDS
    from benchbench.run import Turn

    points = (*asked.controls, *(point for point in asked.points if point.key in set(keys)))
    sitting.measure([Turn(points, first + number) for number in range(CONFIRM_ROUNDS)])
    return [record for record in sitting.records() if record.round >= first and record.key in set(keys)]


def _refuse_testbed(pinned: Run, run: Run | None) -> None:
    from benchbench.store import refuse_other_conditions

    if run is not None:
        refuse_other_conditions(pinned, run.asked().get("testbed", {}))


def history(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A key, a case, or a pattern.")],
    name: Annotated[str, typer.Option("--baseline", help="The pinned baseline.")] = "main",
    plot: Annotated[Path | None, typer.Option("--plot", metavar="DIR", help="Draw it too.")] = None,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """A case over the stored runs of this testbed: ratios to the pinned baseline, steps and creep."""
    from benchbench import baselines
    from benchbench.commands.past import lines_of, rows_of

    pinned = baselines.find(store, name, None)
    rows = rows_of(store, pinned, case)
    print_rows(rows, as_json=json, form=form, output=output)
    if not json:
        for line in lines_of(rows):
            print(line)
    if plot is not None and rows:
        import pandas

        from benchbench.reports import history as chart
        from benchbench.reports.save import save

        with usage():
            for path in save(chart.history(pandas.DataFrame(rows)), plot):
                note(str(path))
    return 0 if rows else 5


def simulate(
    full: Annotated[bool, typer.Option("--full", help="Thousands of runs a setting, ten minutes.")] = False,
    spread: Annotated[str, typer.Option("--spread", help="The one that bench aa measured, such as 0.7%.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of every row.")] = 1,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """How often does this gate cry wolf, and what does it see? Simulated machines, decided by the very code."""
    from dataclasses import asdict

    from benchbench.gate.simulate import rows

    measured = share_of("--spread", spread) if spread else None
    found = [asdict(row) for row in rows(full=full, spread=measured, seed=seed)]
    print_rows(found, as_json=json, form=form, output=output, limit=None)
    broken = sum(row["holds"] is False for row in found)
    note(f"{len(found)} settings, {broken} of them miss their target")
    return 1 if broken else 0
