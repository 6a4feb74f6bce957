"""bench ab, aa, compare, baseline, check, history and simulate: comparing, gating, and proving the gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
    from benchbench.campaign import Arm, Judged, Rules
    from benchbench.plan import Plan, Point
    from benchbench.record import Record
    from benchbench.run import Settings
    from benchbench.store import Run
    from benchbench.sweeps.presets import Preset

Op = Annotated[str | None, typer.Option("--op", metavar="LIST", help="Operators: names or patterns.")]
Model = Annotated[str | None, typer.Option("--model", metavar="LIST", help="Networks: names or patterns.")]
Kernels = Annotated[str | None, typer.Option("--kernels", metavar="LIST", help="Odd kernel (or band) sizes.")]
Ratio = Annotated[str | None, typer.Option("--ratio", metavar="LIST", help="Shares of the channels.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="AXIS=LIST", help="Any axis.")]
Device = Annotated[str, typer.Option("--device", help="cuda:0 or cpu.")]
Quick = Annotated[bool, typer.Option("--quick", help="Few points.")]
PresetName = Annotated[str, typer.Option("--preset", help="full, cpu, quick or quick-cpu.")]
Seed = Annotated[int, typer.Option("--seed", help="Of inputs and of the order.")]
Threshold = Annotated[str, typer.Option("--threshold", help="A change up to this is of no interest: 1%.")]
Per = Annotated[list[str] | None, typer.Option("--per", metavar="PATTERN=5%", help="Another one for some points.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 6 where points stay undecided.")]
WarnOnly = Annotated[bool, typer.Option("--warn-only", help="Say what is slower, exit 0.")]
Bisect = Annotated[bool, typer.Option("--bisect", help="For git bisect run: 125 where it cannot be told.")]
Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ab")(ab)
    app.command("aa")(aa)
    app.command("compare")(compare)
    app.command("baseline")(baseline)
    app.command("check")(check)
    app.command("history")(history)
    app.command("simulate")(simulate)


def ab(
    a: Annotated[str, typer.Argument(metavar="A", help="AXIS=VALUE[;...], or a git revision.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same kind: what is compared with A.")],
    op: Op = None,
    model: Model = None,
    kernels: Kernels = None,
    ratio: Ratio = None,
    settings: Sets = None,
    device: Device = "",
    quick: Quick = False,
    preset: PresetName = "",
    seed: Seed = 0,
    screen: Annotated[int, typer.Option("--rounds", min=2, help="Pairs of the screen.")] = 8,
    confirm: Annotated[int, typer.Option("--confirm-rounds", min=2, help="Fresh pairs for what it flags.")] = 16,
    python_a: Annotated[str, typer.Option("--python-a", help="Another interpreter for A.")] = "",
    python_b: Annotated[str, typer.Option("--python-b", help="Another interpreter for B.")] = "",
    threshold: Threshold = "1%",
    per: Per = None,
    strict: Strict = False,
    warn_only: WarnOnly = False,
    bisect: Bisect = False,
    junit: Junit = None,
    tag: Annotated[str, typer.Option("--tag", help="Find the run again as @TAG.")] = "",
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """Two settings, or two git revisions, measured in turn: ABBA rounds, fresh processes, suspects again."""
    from benchbench import campaign

    asked = _Asked.of(op, model, kernels, ratio, settings, device, quick, preset, seed, imports)
    rules = _rules(threshold, per)
    with ExitStack() as held:
        arms = _arms(a, b, asked, (python_a, python_b), held)
        question: dict[str, Any] = {
            "plan": "ab",
            "preset": asked.preset.name,
            "a": a,
            "b": b,
            "points": {"count": len(arms[0].points)},
        }
        question |= {"rounds": screen, "policy": dict(asked.how.policy), "seed": seed, "confirm_rounds": confirm}
        with _sitting(store, question, asked, tag) as sitting:
            judged = campaign.measure_pairs(
                *arms, sitting.measure, sitting.records, rules=rules, screen=screen, confirm=confirm
            )
    return _conclude(
        judged,
        strict=strict,
        warn_only=warn_only,
        bisect=bisect,
        junit=junit,
        shown=(json, form, output),
        failed=_failed(sitting.records()),
        title=f"B ({b}) against A ({a})",
    )


def aa(
    op: Op = None,
    model: Model = None,
    kernels: Kernels = None,
    ratio: Ratio = None,
    settings: Sets = None,
    device: Device = "",
    quick: Quick = False,
    preset: PresetName = "",
    seed: Seed = 0,
    rounds: Annotated[int, typer.Option("--rounds", min=2, help="Processes an arm.")] = 8,
    threshold: Threshold = "1%",
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """The same against itself: the spread between processes, the rounds needed for 1, 2, 3 and 5 %, false alarms."""
    from benchbench import campaign

    asked = _Asked.of(op, model, kernels, ratio, settings, device, quick, preset, seed, imports)
    arms = [campaign.Arm(name, asked.points, asked.controls) for name in "AB"]
    question: dict[str, Any] = {
        "plan": "aa",
        "preset": asked.preset.name,
        "points": {"count": len(asked.points)},
        "rounds": rounds,
    }
    question |= {"policy": dict(asked.how.policy), "seed": seed}
    with _sitting(store, question, asked, "") as sitting:
        judged = campaign.measure_pairs(
            arms[0], arms[1], sitting.measure, sitting.records, rules=_rules(threshold, None), screen=rounds, confirm=2
        )
    rows = _spreads(sitting.records(), judged)
    print_rows(rows, as_json=json, form=form, output=output)
    if rows and not json:
        import statistics

        spreads = sorted(row["spread"] for row in rows if row["spread"] is not None)
        alarms = sum(row["verdict"] in ("slower", "faster") for row in rows)
        note(f"median spread {statistics.median(spreads):.2%}, largest {spreads[-1]:.2%}; {alarms} false alarms")
    return 0 if rows else 5


def _spreads(records: Sequence[Record], judged: Sequence[Judged]) -> list[dict[str, Any]]:
    import numpy as np

    from benchbench.gate.power import rounds_for
    from benchbench.gate.rule import Rule
    from benchbench.stats import round_medians

    verdicts = {one.key: one for one in judged}
    arms = [round_medians(records, arm=name) for name in "AB"]
    rows: list[dict[str, Any]] = []
    for place, key in enumerate(arms[0][0]):
        logs = [np.log(medians[keys.index(key)]) for keys, medians in arms if key in keys]
        deviations = [float(np.nanstd(one, ddof=1)) for one in logs if np.isfinite(one).sum() > 1]
        spread = float(np.sqrt(np.mean(np.square(deviations)))) if deviations else None
        one = verdicts.get(key)
        row: dict[str, Any] = {"key": key, "spread": spread, "rounds": int(np.isfinite(arms[0][1][place]).sum())}
        for change in (0.01, 0.02, 0.03, 0.05):
            # A change up to the margin is of no interest, so for 1 % the margin is half of it.
            rule = Rule(margin=0.005) if change == 0.01 else Rule()
            row[f"rounds_for_{change:.0%}"] = rounds_for(change, spread, rule) if spread else None
        rows.append(row | {"ratio": one.ratio if one else None, "verdict": one.verdict if one else ""})
    return rows


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="A B [C...]", help="Each is compared with the first.")],
    threshold: Threshold = "1%",
    per: Per = None,
    alpha: Annotated[float, typer.Option("--alpha", min=1e-6, max=0.5, help="Level of the family of points.")] = 0.02,
    only_changed: Annotated[bool, typer.Option("--only-changed", help="Leave out same and undecided.")] = False,
    fail_on: Annotated[str, typer.Option("--fail-on", help="slower, any or never.")] = "slower",
    explain: Annotated[bool, typer.Option("--explain", help="Say what each verdict rests on.")] = False,
    cross: Annotated[bool, typer.Option("--cross", help="Even from different testbeds.")] = False,
    strict: Strict = False,
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
    rules = _rules(threshold, per, alpha=alpha)
    judged: list[Judged] = []
    for other in found[1:]:
        if not cross and (reason := _other_testbed(found[0], other)):
            note(reason)
            return 5
        judged += _compared(found[0], other, rules)
    if explain:
        note(_explanation(rules))
    return _conclude(
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

    arms = [_untouched(run) for run in (before, current)]
    names = controls()
    shared = [key for key in _good_keys(arms[1]) if key in set(_good_keys(arms[0]))]
    for run, records in ((before, arms[0]), (current, arms[1])):
        lost = {record.key for record in records} - set(shared)
        if lost:
            note(f"{len(lost)} points of {run.id} have no counterpart or no time: they are left out")
    keys = [key for key in shared if key.partition("@")[0] not in names]
    moved = [key for key in shared if key.partition("@")[0] in names]
    return campaign.compare_stored(arms[0], arms[1], keys, controls=moved, rules=rules)


def _untouched(run: Run) -> list[Record]:
    """The records of a run, of a paired one those of arm A, as if of a plain sweep."""
    from dataclasses import replace

    return [replace(record, arm="") for record in run.read()[0] if record.arm in ("", "A")]


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
    device: Device = "",
    static: Annotated[bool, typer.Option("--static", help="Recompile and retrace the kernels instead.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="--static: processes at a time.")] = 1,
    threshold: Threshold = "1%",
    per: Per = None,
    strict: Strict = False,
    warn_only: WarnOnly = False,
    update: Annotated[bool, typer.Option("--update-baseline", help="Where nothing is slower, pin this run.")] = False,
    bisect: Bisect = False,
    junit: Junit = None,
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """Against a stored baseline: measure its points, measure suspects again, and say what is slower."""
    if static:
        return _check_static(jobs, warn_only=warn_only, as_json=json, form=form, output=output)
    from benchbench import baselines, campaign
    from benchbench.store import find

    rules = _rules(threshold, per, stored=True)
    stored = find(store, run) if run else None
    pinned = baselines.find(store, name, stored.asked().get("testbed") if stored else None)
    asked = _Asked.again(pinned, device, imports)
    before = _untouched(pinned)
    keys, moved = [point.key for point in asked.points], [point.key for point in asked.controls]
    question = {**pinned.asked()["asked"], "plan": "check", "rounds": rounds, "baseline": pinned.id}
    with _sitting(store, question, asked, "", begun=None) as sitting:
        current = _measured_now(sitting, asked, rounds) if stored is None else _untouched(stored)
        if stored is None:
            _refuse_testbed(pinned, sitting.run)
        again: list[Record] = []
        wanted = campaign.suspects(before, current, keys, rules) if confirm else []
        if wanted:
            note(f"{len(wanted)} points are measured again")
            again = _measured_again(sitting, asked, wanted, len({r.round for r in sitting.records()}))
        judged = campaign.check_against(before, current, again, keys, controls=moved, rules=rules)
    code = _conclude(
        judged,
        strict=strict,
        warn_only=warn_only,
        bisect=bisect,
        junit=junit,
        shown=(json, form, output),
        failed=_failed(current),
        title=f"against baseline {name} ({pinned.id})",
    )
    newest = stored or sitting.run
    if update and newest is not None and not any(one.verdict in ("slower", "invalid") for one in judged):
        baselines.put(store, name, newest)
        note(f"baseline {name} is now run {newest.id}")
    return code


def _measured_now(sitting: Any, asked: _Asked, rounds: int) -> list[Record]:
    from benchbench.run import rounds_of

    sitting.measure(rounds_of((*asked.controls, *asked.points), rounds))
    found: list[Record] = sitting.records()
    return found


def _measured_again(sitting: Any, asked: _Asked, keys: Sequence[str], first: int) -> list[Record]:
    from benchbench.gate.compare import CONFIRM_ROUNDS
    from benchbench.run import Turn

    points = (*asked.controls, *(point for point in asked.points if point.key in set(keys)))
    sitting.measure([Turn(points, first + number) for number in range(CONFIRM_ROUNDS)])
    return [record for record in sitting.records() if record.round >= first and record.key in set(keys)]


def _refuse_testbed(pinned: Run, run: Run | None) -> None:
    from benchbench.store import refuse_other_conditions

    if run is not None:
        refuse_other_conditions(pinned, run.asked().get("testbed", {}))


def _check_static(jobs: int, *, warn_only: bool, as_json: bool, form: str, output: Path | None) -> int:
    from dataclasses import asdict

    from benchbench.access.static import check_static

    with usage():
        findings, compared = check_static(jobs=jobs)
    print_rows([asdict(finding) for finding in findings], as_json=as_json, form=form, output=output)
    failed = [finding for finding in findings if finding.failed]
    note(f"{compared} rows compared with the baseline, {len(failed)} worse")
    return 1 if failed and not warn_only else 0


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

    measured = _share("--spread", spread) if spread else None
    found = [asdict(row) for row in rows(full=full, spread=measured, seed=seed)]
    print_rows(found, as_json=json, form=form, output=output, limit=None)
    broken = sum(row["holds"] is False for row in found)
    note(f"{len(found)} settings, {broken} of them miss their target")
    return 1 if broken else 0


class _Asked:
    """What a comparison measures: points, controls, how, and under which preset."""

    def __init__(self, points: Sequence[Point], how: Settings, preset: Preset, plan: Plan | None) -> None:
        from benchbench.commands.sitting import controls

        names = controls()
        self.points = tuple(point for point in points if point.case not in names and not point.skip)
        self.controls = tuple(point for point in points if point.case in names)
        self.how, self.preset, self.plan = how, preset, plan

    @classmethod
    def of(
        cls,
        op: str | None,
        model: str | None,
        kernels: str | None,
        ratio: str | None,
        settings: Sequence[str] | None,
        device: str,
        quick: bool,
        preset: str,
        seed: int,
        imports: Sequence[str] | None,
    ) -> _Asked:
        """As bench sweep understands its options."""
        from benchbench.commands import sweep
        from benchbench.device import devices
        from benchbench.worker import register_cases

        register_cases(imports or ())
        chosen = devices(device)
        preset_ = sweep.preset_named(preset, chosen[0], quick=quick)
        axes = sweep.axes_named({"kernel_size": kernels, "ratio": ratio}, None, settings or ())
        plan = sweep.plan_of("", sweep.words(op), sweep.networks(sweep.words(model)), axes, preset_)
        points = sweep.points_of(plan, chosen[0], "")
        how = sweep.settings_of(preset_, chosen, "", "", seed, tuple(imports or ()), False)
        return cls(points, _without_budget(how), preset_, plan)

    @classmethod
    def again(cls, pinned: Run, device: str, imports: Sequence[str] | None) -> _Asked:
        """The points of a stored run that gave a time, under its policy."""
        from benchbench.device import devices
        from benchbench.plan import Point
        from benchbench.run import Settings
        from benchbench.sweeps.presets import PRESETS
        from benchbench.worker import register_cases

        asked = pinned.asked()["asked"]
        named = tuple(imports or asked.get("imports", ()))
        register_cases(named)
        good = {record.key: record for record in pinned.read()[0] if record.status == "ok"}
        points = [Point(r.key, r.case, r.version, r.params) for r in good.values()]
        where = device or pinned.asked().get("testbed", {}).get("device", "")
        chosen = devices("none" if where == "none" else "cpu" if where == "cpu" else "")
        how = Settings(chosen[:1], seed=asked.get("seed", 0), policy=asked.get("policy", {}), imports=named)
        return cls(points, how, PRESETS.get(asked.get("preset", ""), PRESETS["full"]), None)


def _without_budget(how: Settings) -> Settings:
    """A comparison that stops half-way compares nothing."""
    from dataclasses import replace

    return replace(how, budget_s=None)


@contextmanager
def _sitting(
    store: Path, question: Mapping[str, Any], asked: _Asked, tag: str, begun: Run | None = None
) -> Iterator[Any]:
    from benchbench.commands.sitting import Sitting

    if asked.preset.note:
        note(asked.preset.note)
    with Sitting(store, question, asked.how, asked.preset, begun=begun, tag=tag) as sitting:
        yield sitting


def _arms(a: str, b: str, asked: _Asked, pythons: tuple[str, str], held: ExitStack) -> tuple[Arm, Arm]:
    from benchbench import campaign
    from benchbench.plan import PlanError

    if ("=" in a) != ("=" in b):
        raise PlanError(f"{a!r} and {b!r} are not of one kind: two settings (axis=value), or two git revisions")
    if "=" not in a:
        folders = [held.enter_context(campaign.revision(Path.cwd(), name)) for name in (a, b)]
        made = [
            campaign.Arm(name, asked.points, asked.controls, python, **folder)
            for name, python, folder in zip("AB", pythons, folders, strict=True)
        ]
        return made[0], made[1]
    sides = [_points_with(text, asked) for text in (a, b)]
    changed = {part.partition("=")[0] for text in (a, b) for part in text.split(";")}
    paired = campaign.pairs(sides[0], sides[1], dict.fromkeys(changed))
    firsts, seconds = tuple(one for one, _ in paired), tuple(two for _, two in paired)
    return (
        campaign.Arm("A", firsts, asked.controls, pythons[0]),
        campaign.Arm("B", seconds, asked.controls, pythons[1]),
    )


def _points_with(text: str, asked: _Asked) -> list[Point]:
    """The points with some axes set; each must take one value."""
    from dataclasses import replace

    from benchbench.commands import sweep
    from benchbench.plan import PlanError, all_points

    axes = sweep.axes_named({}, None, text.split(";"))
    for name, values in axes.items():
        if len(values) != 1:
            raise PlanError(f"{text!r}: {name} needs one value, so that each point has one counterpart")
    assert asked.plan is not None
    requests = tuple(replace(request, axes={**request.axes, **axes}) for request in asked.plan.requests)
    return all_points(replace(asked.plan, requests=requests), device=asked.how.devices[0])


def _rules(threshold: str, per: Sequence[str] | None, *, alpha: float | None = None, stored: bool = False) -> Rules:
    from dataclasses import replace

    from benchbench.campaign import Rules
    from benchbench.gate.compare import STORED
    from benchbench.gate.rule import Rule
    from benchbench.plan import PlanError

    pairs = []
    for text in per or ():
        pattern, equals, share = text.rpartition("=")
        if not equals:
            raise PlanError(f"--per {text!r}: expected PATTERN=5%")
        pairs.append((pattern, _share("--per", share)))
    rule = STORED if stored else Rule()
    margin = _share("--threshold", threshold)
    rule = replace(rule, margin=margin, same_within=max(rule.same_within, 2 * margin))
    return Rules(replace(rule, family_alpha=alpha) if alpha is not None else rule, tuple(pairs))


def _share(option: str, text: str) -> float:
    """A share as "2%" or "0.02". Raises PlanError."""
    from benchbench.plan import PlanError

    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise PlanError(f"{option} {text!r}: expected a share such as 2% or 0.02")
    return share


def _failed(records: Sequence[Record]) -> bool:
    return any(record.status not in ("ok", "skip") for record in records)


def _conclude(
    judged: Sequence[Judged],
    *,
    strict: bool,
    warn_only: bool,
    shown: tuple[bool, str, Path | None],
    failed: bool,
    title: str,
    bisect: bool = False,
    junit: Path | None = None,
    only_changed: bool = False,
    any_change: bool = False,
) -> int:
    """The table, the annotations, the files and the exit code of a comparison."""
    from benchbench.commands import ci

    as_json, form, output = shown
    rows = [_row(one, as_json=as_json or form == "csv") for one in judged]
    if only_changed:
        rows = [row for row in rows if row["verdict"] not in ("same", "undecided")]
    print_rows(rows, as_json=as_json, form=form, output=output, title=title)
    verdicts = [one.verdict for one in judged]
    if not as_json:
        note(ci.sentence(judged))
    ci.annotate(judged, title)
    if junit is not None:
        with usage():
            junit.write_text(ci.junit(judged, title))
    if bisect:
        return 1 if "slower" in verdicts else 125 if {"undecided", "invalid"} & set(verdicts) or not verdicts else 0
    return ci.exit_code(verdicts, failed=failed, strict=strict, warn_only=warn_only, any_change=any_change)


def _row(one: Judged, *, as_json: bool) -> dict[str, Any]:
    from dataclasses import asdict

    if as_json:
        return asdict(one)
    from benchbench.commands.progress import label
    from benchbench.units import number_text, ratio_text, share_text

    return {
        "point": label(one.key),
        "verdict": one.verdict,
        "time ratio": ratio_text(one.ratio, one.low, one.high),
        "smallest change seen": share_text(one.smallest_change),
        "rounds": str(one.rounds),
        "rounds needed": number_text(one.rounds_needed, digits=3) if one.verdict == "undecided" else "",
    }


__all__ = ["add_to", "print_json"]
