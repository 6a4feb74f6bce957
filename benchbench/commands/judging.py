"""What the comparing commands share: their options, what they measure, their rules, and how they conclude."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchbench.commands.terminal import note, print_rows, usage

if TYPE_CHECKING:
    from benchbench.campaign import Judged, Rules
    from benchbench.plan import Plan, Point
    from benchbench.record import Record
    from benchbench.run import Settings
    from benchbench.store import Run
    from benchbench.sweeps.presets import Preset

Op = Annotated[
    str | None,
    typer.Option("--op", metavar="LIST", help="Operators: names or patterns; a case of networks by its name."),
]
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
Offset = Annotated[
    str, typer.Option("--offset", help="Standard deviation between sittings, code unchanged, as bench aa finds it.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 6 where points stay undecided.")]
WarnOnly = Annotated[bool, typer.Option("--warn-only", help="Say what is slower, exit 0.")]
Bisect = Annotated[bool, typer.Option("--bisect", help="For git bisect run: 125 where it cannot be told.")]
Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")]


class Asked:
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
    ) -> Asked:
        """As bench sweep understands its options."""
        from benchbench.commands import sweep
        from benchbench.device import devices
        from benchbench.registry import register_cases

        register_cases(imports or ())
        chosen = devices(device)
        preset_ = sweep.preset_named(preset, chosen[0], quick=quick)
        axes = sweep.axes_named({"kernel_size": kernels, "ratio": ratio}, None, settings or ())
        plan = sweep.plan_of("", sweep.words(op), sweep.networks(sweep.words(model)), axes, preset_)
        points = sweep.points_of(plan, chosen[0], "")
        how = sweep.settings_of(preset_, chosen, "", "", seed, tuple(imports or ()), False)
        return cls(points, _without_budget(how), preset_, plan)

    @classmethod
    def again(cls, pinned: Run, device: str, imports: Sequence[str] | None) -> Asked:
        """The points of a stored run that gave a time, under its policy."""
        from benchbench.device import devices
        from benchbench.plan import Point
        from benchbench.registry import register_cases
        from benchbench.run import Settings
        from benchbench.sweeps.presets import PRESETS

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
def sitting_of(
    store: Path, question: Mapping[str, Any], asked: Asked, tag: str, begun: Run | None = None
) -> Iterator[Any]:
    from benchbench.commands.sitting import Sitting

    if asked.preset.note:
        note(asked.preset.note)
    with Sitting(store, question, asked.how, asked.preset, begun=begun, tag=tag) as sitting:
        yield sitting


def untouched(run: Run) -> list[Record]:
    """The records of a run, of a paired one those of arm A, as if of a plain sweep."""
    from dataclasses import replace

    kept = [record for record in run.read()[0] if record.arm in ("", "A")]
    return [replace(record, arm="") if record.arm else record for record in kept]


def rules_of(
    threshold: str, per: Sequence[str] | None, *, alpha: float | None = None, offset: str = "", stored: bool = False
) -> Rules:
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
        pairs.append((pattern, share_of("--per", share)))
    rule = STORED if stored else Rule()
    margin = share_of("--threshold", threshold)
    rule = replace(rule, margin=margin, same_within=max(rule.same_within, 2 * margin))
    if offset:
        rule = replace(rule, sitting_offset=share_of("--offset", offset))
    return Rules(replace(rule, family_alpha=alpha) if alpha is not None else rule, tuple(pairs))


def share_of(option: str, text: str) -> float:
    """A share as "2%" or "0.02". Raises PlanError."""
    from benchbench.plan import PlanError

    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise PlanError(f"{option} {text!r}: expected a share such as 2% or 0.02")
    return share


def any_failed(records: Sequence[Record]) -> bool:
    return any(record.status not in ("ok", "skip") for record in records)


def conclude(
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
