"""bench sweep: from a question to a run folder, a table and one sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
    print_rows,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchbench.case import Case
    from benchbench.plan import Plan, Point
    from benchbench.run import Outcome, Settings, Turn
    from benchbench.store import Run
    from benchbench.sweeps.presets import Preset

    Only = Callable[[Case, Mapping[str, Any]], bool]

FAILED = ("wrong", "oom", "timeout", "crash", "impossible", "fail")
UNITS_S = {"": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


def _axis(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, metavar="LIST", rich_help_panel="Axes")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sweep")(sweep)


def sweep(
    plan: Annotated[str, typer.Argument(metavar="[PLAN]", help="A named plan or a TOML file.")] = "",
    op: Annotated[str | None, _axis("--op", "Operators: names or patterns; a case of networks by its name.")] = None,
    model: Annotated[str | None, _axis("--model", "Networks: names or patterns, such as 'inception_next*'.")] = None,
    kernels: Annotated[str | None, _axis("--kernels", "Odd kernel (or band) sizes: 3,5,7,11 or 3:11:2.")] = None,
    ratio: Annotated[str | None, _axis("--ratio", "Shares of the channels: 1/8,1/4.")] = None,
    variant: Annotated[str | None, _axis("--variant", "Stage shapes of the T, S, B or A models.")] = None,
    shape: Annotated[str | None, _axis("--shape", "Operator shapes CxHxW.")] = None,
    batch: Annotated[str | None, _axis("--batch", "Batch sizes.")] = None,
    img_size: Annotated[str | None, _axis("--img-size", "Image sizes of networks, in pixels.")] = None,
    precision: Annotated[str | None, _axis("--precision", "fp32,tf32,amp,amp-fp16,amp-bf16,fp16,bf16.")] = None,
    layout: Annotated[str | None, _axis("--layout", "nchw, nhwc or best (both, the winner named).")] = None,
    mode: Annotated[str | None, _axis("--mode", "forward,backward,forward_backward; infer,train.")] = None,
    backend: Annotated[str | None, _axis("--backend", "aten,native,cudnn,triton,naive.")] = None,
    compile: Annotated[str | None, _axis("--compile", "eager,default,max-autotune,...")] = None,
    cache: Annotated[str | None, _axis("--cache", "cold, warm or both.")] = None,
    optimizer: Annotated[str | None, _axis("--optimizer", "sgd,adamw,sgd-fused,adamw-fused.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="AXIS=LIST", help="Any axis.")] = None,
    device: Annotated[str, typer.Option("--device", help="cuda:0, several, or cpu.")] = "",
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="List the points and stop.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Few points, under a minute.")] = False,
    preset: Annotated[str, typer.Option("--preset", help="full, cpu, quick or quick-cpu.")] = "",
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="Fresh processes a point.")] = None,
    budget: Annotated[str, typer.Option("--budget", help="Stop cleanly after so long: 10min.")] = "",
    timeout: Annotated[str, typer.Option("--timeout", help="Limit of one point: 90s.")] = "",
    shard: Annotated[str, typer.Option("--shard", metavar="i/n", help="The i-th of n parts.")] = "",
    resume: Annotated[str, typer.Option("--resume", metavar="RUN", help="Continue this run.")] = "",
    new: Annotated[bool, typer.Option("--new", help="A new run, even if one is unfinished.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Measure failed points again.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of inputs and of the order.")] = 0,
    tag: Annotated[str, typer.Option("--tag", help="Find the run again as @TAG.")] = "",
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """Measure a grid of operators and networks."""
    from benchbench.device import devices
    from benchbench.registry import register_cases
    from benchbench.run import rounds_of

    register_cases(imports or ())
    chosen = devices(device)
    named = {
        "kernel_size": kernels,
        "ratio": ratio,
        "shape": shape,
        "batch": batch,
        "img_size": img_size,
        "precision": precision,
        "layout": layout,
        "mode": mode,
        "backend": backend,
        "compile": compile,
        "cache": cache,
        "optimizer": optimizer,
    }
    asked_for = preset_named(preset, chosen[0], quick=quick)
    the_plan = plan_of(plan, words(op), networks(words(model)), axes_named(named, variant, settings or ()), asked_for)
    points = points_of(the_plan, chosen[0], shard)
    how = settings_of(asked_for, chosen, budget, timeout, seed, tuple(imports or ()), retry_failed)
    turns = rounds_of(points, rounds or the_plan.rounds or asked_for.rounds)
    if dry_run:
        _print_points(points, as_json=json, form=form, output=output)
        note(f"{_effort(turns, how)}; nothing was measured")
        return 0
    question = {"points": _digest(points), "plan": the_plan.name, "preset": asked_for.name, "shard": shard} | {
        "rounds": len(turns),
        "policy": dict(how.policy),
        "seed": seed,
        "devices": len(chosen),
        "imports": list(imports or ()),
    }
    return _measure(
        turns,
        how,
        question,
        preset=asked_for,
        store=store,
        resume=resume,
        new=new,
        tag=tag,
        shown=(json, form, output),
    )


def seconds(option: str, text: str) -> float | None:
    """A duration such as 90, 90s, 10min or 2h; None for nothing. Raises PlanError."""
    from benchbench.plan import PlanError

    if not text:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|)", text.strip())
    if found is None or float(found[1]) <= 0:
        raise PlanError(f"{option} {text!r}: expected a duration such as 90s, 10min or 2h")
    return float(found[1]) * UNITS_S[found[2]]


def words(text: str | None) -> tuple[str, ...]:
    """The words of a comma list. Raises PlanError for an empty one."""
    from benchbench.plan import PlanError

    words = () if text is None else tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise PlanError(f"{text!r}: an empty name in the list: write names separated by commas")
    return words


def networks(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words, those that no case lists looked up among timm's networks. Raises PlanError for one that is nowhere."""
    from fnmatch import filter as matching
    from fnmatch import fnmatchcase

    from benchbench.case import CASES, nearest
    from benchbench.plan import PlanError, models_of

    listed = models_of(CASES.values())
    found: list[str] = []
    for word in words:
        if ":" in word or any(fnmatchcase(name, word) for name in listed):
            found.append(word)
            continue
        try:
            from benchbench.models.build import import_timm
            from benchbench.models.own import OWN

            known = [*OWN, *import_timm().list_models()]
        except ImportError:
            # Each of its points then is a Skip with the reason.
            found.append(word)
            continue
        matches = matching(known, word)
        if not matches:
            raise PlanError(f"no network is called {word!r}: {nearest(word, [*listed, *known])}")
        found += matches
    return tuple(found)


def axes_named(
    named: Mapping[str, str | None], variant: str | None, settings: Sequence[str]
) -> dict[str, tuple[Any, ...]]:
    """The values that the command line names, an axis each. Raises PlanError."""
    from benchbench.case import nearest
    from benchbench.plan import PlanError, parse_axis
    from benchbench.sweeps.axes import STAGES

    axes = {name: parse_axis(name, text) for name, text in named.items() if text is not None}
    for letter in words(variant):
        if letter not in STAGES:
            raise PlanError(f"--variant {letter!r}: {nearest(letter, tuple(STAGES))}")
        axes["shape"] = tuple(dict.fromkeys((*axes.get("shape", ()), *STAGES[letter])))
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not text:
            raise PlanError(f"--set {setting!r}: expected AXIS=VALUE,VALUE such as kernel_size=3,7")
        axes[name] = parse_axis(name, text)
    return axes


def preset_named(name: str, device: str, *, quick: bool) -> Preset:
    """The preset of that name, else the one for the device. Raises PlanError."""
    from benchbench.case import nearest
    from benchbench.plan import PlanError
    from benchbench.sweeps.presets import PRESETS, preset_for

    if name and name not in PRESETS:
        raise PlanError(f"--preset {name!r}: {nearest(name, tuple(PRESETS))}")
    return preset_for(device, quick=quick, name=name)


def plan_of(name: str, op: tuple[str, ...], model: tuple[str, ...], axes: Mapping[str, Any], preset: Preset) -> Plan:
    """The named plan, or that of the options; what the command line names wins over plan and preset."""
    from benchbench.case import CASES, nearest
    from benchbench.plan import PLANS, Plan, PlanError, Request, from_toml, names_of

    if name.endswith(".toml"):
        base = from_toml(Path(name))
    elif name:
        key = name.replace(" ", "")
        if key not in PLANS:
            raise PlanError(f"no plan is called {name!r}: {nearest(name, tuple(PLANS)) or 'write a TOML file'}")
        base = PLANS[key]
    else:
        base = Plan("sweep", (Request(),))
    usual = {name: preset.axes[name] for name in preset.axes if any(name in names_of(case) for case in CASES.values())}

    def asked(request: Request) -> Request:
        # A plan of ours says how a GPU measures; a preset that is there for trying it out is smaller than that.
        planned = {**request.axes, **usual} if base.name in PLANS else {**usual, **request.axes}
        only = _accepted_by_both(request.only, preset.only)
        return Request(op or request.op, model or request.model, {**planned, **axes}, only)

    return Plan(base.name, tuple(map(asked, base.requests)), base.rounds, base.title)


def _accepted_by_both(first: Only | None, second: Only | None) -> Only | None:
    """The points that both accept; None accepts all."""
    if first is None or second is None:
        return first or second
    return lambda case, params: first(case, params) and second(case, params)


def points_of(plan: Plan, device: str, shard_text: str) -> list[Point]:
    """The points of a plan, or of a shard of it. Raises PlanError where nothing is selected."""
    from benchbench.case import CASES
    from benchbench.commands.sitting import controls
    from benchbench.plan import PlanError, all_points, shard

    points = all_points(plan, device=device)
    if not any(CASES[point.case].kind != "control" for point in points):
        raise PlanError("nothing is selected: widen --op, --model or --mode, or see bench list cases")
    return shard(points, shard_text, controls=controls()) if shard_text else points


def settings_of(
    preset: Preset,
    devices: tuple[str, ...],
    budget: str,
    timeout: str,
    seed: int,
    imports: tuple[str, ...],
    retry_failed: bool,
) -> Settings:
    """How they are measured. Raises PlanError for a duration that is none."""
    from benchbench.run import Settings

    return Settings(
        devices=devices,
        seed=seed,
        policy=dict(preset.policy),
        timeout_s=seconds("--timeout", timeout),
        budget_s=seconds("--budget", budget) or preset.budget_s,
        imports=imports,
        retry_failed=retry_failed,
    )


def _digest(points: Sequence[Point]) -> dict[str, Any]:
    """The points of a run, short enough for run.json: how many, and a hash of their keys."""
    import hashlib

    keys = "\n".join(sorted(point.key for point in points))
    return {"count": len(points), "sha256": hashlib.sha256(keys.encode()).hexdigest()[:16]}


def _print_points(points: Sequence[Point], *, as_json: bool, form: str, output: Path | None) -> None:
    rows: list[dict[str, Any]] = [
        {"key": point.key, "case": point.case, **point.params, "skip": point.skip}
        if as_json
        else {"point": point.key, "skip": point.skip}
        for point in points
    ]
    if as_json:
        names = dict.fromkeys(name for row in rows for name in row)
        rows = [{name: row.get(name) for name in names} for row in rows]
    print_rows(rows, as_json=as_json, form=form, output=output)


def _measure(
    turns: Sequence[Turn],
    how: Settings,
    question: Mapping[str, Any],
    *,
    preset: Preset,
    store: Path,
    resume: str,
    new: bool,
    tag: str,
    shown: tuple[bool, str, Path | None],
) -> int:
    from benchbench import store as runs
    from benchbench.commands.sitting import Sitting, as_json

    wanted = sum(len(turn.points) for turn in turns)
    begun = runs.find(store, resume) if resume else None
    if begun is not None and begun.asked().get("asked") != as_json(question):
        raise runs.Mixed(f"run {begun.id} asked another question: repeat its command line, or measure with --new")
    if begun is None and not new:
        begun = runs.unfinished(store, question, wanted, retry_failed=how.retry_failed)
    _announce(turns, how, preset)
    with Sitting(store, question, how, preset, begun=begun, tag=tag) as sitting:
        outcome = sitting.measure(turns)
    assert sitting.run is not None
    return _report(sitting.run, wanted, outcome, preset, shown)


def _announce(turns: Sequence[Turn], how: Settings, preset: Preset) -> None:
    from benchbench.units import duration_text

    if preset.note:
        note(preset.note)
    limit = f"; the budget ends it after {duration_text(how.budget_s)}" if how.budget_s else ""
    note(f"{_effort(turns, how)}{limit}")


def _effort(turns: Sequence[Turn], how: Settings) -> str:
    """How many points, how long at most by the caps of the policy, and how much memory the largest operator moves."""
    from benchbench.case import AUTO, CASES
    from benchbench.timer import Policy
    from benchbench.units import bytes_text, duration_text

    points = turns[0].points
    active = [point for point in points if not point.skip]
    policy = Policy(**how.policy)
    longest = len(active) * len(turns) * (policy.time_cap_s + policy.warmup_cap_s) / len(how.devices)
    known = [point for point in active if CASES[point.case].kind == "operator" and point.params.get("batch") != AUTO]
    moved = max((CASES[point.case].workload(point.params).work.bytes_moved for point in known), default=0)
    skipped = f" ({len(points) - len(active)} skipped)" if len(active) < len(points) else ""
    memory = f"; the largest operator moves {bytes_text(moved)}" if moved else ""
    return (
        f"{len(active)} points{skipped} x {len(turns)} rounds on {', '.join(how.devices)}, timed for at most "
        f"{duration_text(longest)} beside building and verifying{memory}"
    )


def _report(
    run: Run,
    wanted: int,
    outcome: Outcome,
    preset: Preset,
    shown: tuple[bool, str, Path | None],
) -> int:
    """The table, the sentence and the exit code."""
    from benchbench.commands.results import print_results, results_of, warnings_of
    from benchbench.commands.sitting import command_line

    command = command_line()
    records, _ = run.read()
    if outcome.interrupted:
        say(f"interrupted: {len(records)} results are kept in {run.folder}; continue with: {command}")
        return 130
    results = results_of([run])
    as_json, form, output = shown
    print_results(results, as_json=as_json, form=form, output=output, note_text=preset.note)
    for line in warnings_of(results):
        note(line)
    missing = wanted - len(records)
    if outcome.out_of_budget and missing > 0:
        note(f"the budget left {missing} of {wanted} without a result: continue with: {command}")
    note(f"run {run.id} in {run.folder}")
    statuses = {record.status for record in records}
    if statuses & set(FAILED) or missing > 0:
        return 3
    return 0 if "ok" in statuses else 5
