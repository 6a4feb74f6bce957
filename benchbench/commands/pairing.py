"""bench ab and aa: two arms measured in turn, and the same against itself."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchbench.commands import judging
from benchbench.commands.judging import Asked, any_failed, conclude, rules_of, sitting_of, untouched
from benchbench.commands.terminal import DEFAULT_STORE, AsJson, Format, Imports, Output, Store, note, print_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchbench.campaign import Arm, Judged
    from benchbench.plan import Point
    from benchbench.record import Record
    from benchbench.store import Run

LEAST_OFFSET = 0.003
"""What bench check assumes unless it is told more: fewer than some ten sittings cannot show that it is less."""


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ab")(ab)
    app.command("aa")(aa)


def ab(
    a: Annotated[str, typer.Argument(metavar="A", help="AXIS=VALUE[;...], or a git revision.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same kind: what is compared with A.")],
    op: judging.Op = None,
    model: judging.Model = None,
    kernels: judging.Kernels = None,
    ratio: judging.Ratio = None,
    settings: judging.Sets = None,
    device: judging.Device = "",
    quick: judging.Quick = False,
    preset: judging.PresetName = "",
    seed: judging.Seed = 0,
    screen: Annotated[int, typer.Option("--rounds", min=2, help="Pairs of the screen.")] = 8,
    confirm: Annotated[int, typer.Option("--confirm-rounds", min=2, help="Fresh pairs for what it flags.")] = 16,
    python_a: Annotated[str, typer.Option("--python-a", help="Another interpreter for A.")] = "",
    python_b: Annotated[str, typer.Option("--python-b", help="Another interpreter for B.")] = "",
    threshold: judging.Threshold = "1%",
    per: judging.Per = None,
    strict: judging.Strict = False,
    warn_only: judging.WarnOnly = False,
    bisect: judging.Bisect = False,
    junit: judging.Junit = None,
    tag: Annotated[str, typer.Option("--tag", help="Find the run again as @TAG.")] = "",
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """Two settings, or two git revisions, measured in turn: ABBA rounds, fresh processes, suspects again."""
    from benchbench import campaign

    asked = Asked.of(op, model, kernels, ratio, settings, device, quick, preset, seed, imports)
    rules = rules_of(threshold, per)
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
        with sitting_of(store, question, asked, tag) as sitting:
            judged = campaign.measure_pairs(
                *arms, sitting.measure, sitting.records, rules=rules, screen=screen, confirm=confirm
            )
    return conclude(
        judged,
        strict=strict,
        warn_only=warn_only,
        bisect=bisect,
        junit=junit,
        shown=(json, form, output),
        failed=any_failed(sitting.records()),
        title=f"B ({b}) against A ({a})",
    )


def aa(
    op: judging.Op = None,
    model: judging.Model = None,
    kernels: judging.Kernels = None,
    ratio: judging.Ratio = None,
    settings: judging.Sets = None,
    device: judging.Device = "",
    quick: judging.Quick = False,
    preset: judging.PresetName = "",
    seed: judging.Seed = 0,
    rounds: Annotated[int, typer.Option("--rounds", min=2, help="Processes an arm.")] = 8,
    threshold: judging.Threshold = "1%",
    store: Store = DEFAULT_STORE,
    imports: Imports = None,
    json: AsJson = False,
    form: Format = "table",
    output: Output = None,
) -> int:
    """The same against itself: the spread between processes, the rounds needed for 1, 2, 3 and 5 %, false alarms."""
    from benchbench import campaign
    from benchbench.gate.estimate import between_sittings

    asked = Asked.of(op, model, kernels, ratio, settings, device, quick, preset, seed, imports)
    arms = [campaign.Arm(name, asked.points, asked.controls) for name in "AB"]
    rules = rules_of(threshold, None)
    question: dict[str, Any] = {
        "plan": "aa",
        "preset": asked.preset.name,
        "points": {"count": len(asked.points)},
        "rounds": rounds,
    }
    question |= {"policy": dict(asked.how.policy), "seed": seed}
    with sitting_of(store, question, asked, "") as sitting:
        judged = campaign.measure_pairs(
            arms[0], arms[1], sitting.measure, sitting.records, rules=rules, screen=rounds, confirm=2
        )
    rows = _spreads(sitting.records(), judged)
    past = same_before(store, sitting.run, [point.key for point in asked.points]) if rows else []
    offset = between_sittings(past) if len(past) >= 3 else None
    rows = [row | {"offset": offset} for row in rows]
    print_rows(rows, as_json=json, form=form, output=output)
    if rows and not json:
        import statistics

        spreads = sorted(row["spread"] for row in rows if row["spread"] is not None)
        alarms = sum(row["verdict"] in ("slower", "faster") for row in rows)
        note(f"median spread {statistics.median(spreads):.2%}, largest {spreads[-1]:.2%}; {alarms} false alarms")
        if offset is None:
            note(
                f"between sittings points move too: {3 - len(past)} more of bench aa, some time apart, tell by how much"
            )
        else:
            told = f"over {len(past)} sittings points moved by {offset:.2%} (standard deviation)"
            note(f"{told}: bench check --offset {max(offset, LEAST_OFFSET):.1%}")
    return 0 if rows else 5


def same_before(store: Path, newest: Run, keys: Sequence[str]) -> list[NDArray[np.float64]]:
    """(keys, rounds) medians of every stored bench aa of these points, testbed and commit, the newest among them."""
    import numpy as np

    from benchbench.campaign import medians_of
    from benchbench.store import runs

    def alike(run: Run) -> bool:
        about, mine = run.asked(), newest.asked()
        commits = (one.get("description", {}).get("commit") for one in (about, mine))
        return (
            about["asked"].get("plan") == "aa"
            and about.get("testbed") == mine.get("testbed")
            and len(set(commits)) == 1
        )

    found = []
    for run in filter(alike, runs(store)):
        medians = medians_of(untouched(run), keys)
        if medians.size and bool(np.isfinite(medians).any(axis=-1).all()):
            found.append(medians)
    return found


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


def _arms(a: str, b: str, asked: Asked, pythons: tuple[str, str], held: ExitStack) -> tuple[Arm, Arm]:
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


def _points_with(text: str, asked: Asked) -> list[Point]:
    """The points with some axes set; each must take one value."""

    from benchbench.commands import sweep
    from benchbench.plan import PlanError, all_points

    axes = sweep.axes_named({}, None, text.split(";"))
    for name, values in axes.items():
        if len(values) != 1:
            raise PlanError(f"{text!r}: {name} needs one value, so that each point has one counterpart")
    assert asked.plan is not None
    requests = tuple(replace(request, axes={**request.axes, **axes}) for request in asked.plan.requests)
    return all_points(replace(asked.plan, requests=requests), device=asked.how.devices[0])
