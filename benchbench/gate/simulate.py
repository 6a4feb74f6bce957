"""How often does the gate cry wolf, and what does it see? Simulated machines, decided by the very code that decides.

A machine has a noise (how round medians scatter), a spread (their standard deviation), a drift that all points of a
process share, and, between sittings, an offset of each point. Every row says what was asked, how often it happened, and
whether that is what the gate promises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchbench.gate import compare, history, paired
from benchbench.gate.estimate import Array
from benchbench.gate.power import best_power
from benchbench.gate.rule import FASTER, INVALID, SLOWER, UNDECIDED, Rule

NOISES = ("normal", "t3", "bimodal", "exponential")
DRIFTS = ("none", "ramp", "ar")
SPREADS = (0.005, 0.01, 0.02)
POINTS, CONTROLS = 100, 2
RAMP, WANDER, WANDER_RHO = 0.03, 0.01, 0.9
STORED_ROUNDS = 8
# Runs are simulated in batches that stay in a processor's cache and in little memory.
_BATCH = 100
COMMITS, STEP_AT = 100, 40
HISTORY_SPREAD = 0.0035


@dataclass(frozen=True, slots=True)
class Row:
    """One setting. gate: ab, check or history. what: the share of what was counted ("alarm": runs, or single points
    where one point changed; "undecided": points; "invalid": runs; "mde": printed over simulated smallest change).

    effect: the true change, a share. runs: simulated runs or series. alarms: the count; rate: the share. target:
    ">= .9", or nothing where nothing is promised; holds: whether the promise is kept. bound: of a power against a
    stored baseline, normal noise, no drift: what no rule can pass whose false alarms are as rare (power.best_power).
    """

    gate: str
    what: str
    noise: str
    spread: float
    drift: str
    effect: float
    runs: int
    alarms: int
    rate: float
    target: str
    holds: bool | None
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What is simulated: how round medians scatter, drift, and move between sittings."""

    noise: str
    spread: float
    drift: str = "none"
    offset: float = 0.0


def scatter(generator: np.random.Generator, noise: str, shape: tuple[int, ...]) -> Array:
    """Noise with mean 0 and standard deviation 1."""
    if noise == "normal":
        return generator.standard_normal(shape)
    if noise == "t3":
        return np.asarray(generator.standard_t(3, shape) / np.sqrt(3), dtype=np.float64)
    if noise == "bimodal":
        return (np.where(generator.random(shape) < 0.2, 1.0, 0.0) - 0.2) / 0.4
    if noise == "exponential":
        return generator.exponential(1.0, shape) - 1
    raise ValueError(f"noise is one of {', '.join(NOISES)}, got {noise!r}")


def drift(generator: np.random.Generator, kind: str, runs: int, slots: int) -> Array:
    """What all points of one process share, process by process in time: (runs, slots), logarithms."""
    if kind == "none":
        return np.zeros((runs, slots))
    if kind == "ramp":
        return np.broadcast_to(np.linspace(0, RAMP, slots), (runs, slots))
    if kind == "ar":
        return WANDER * autoregression(generator, (runs, slots), WANDER_RHO)
    raise ValueError(f"drift is one of {', '.join(DRIFTS)}, got {kind!r}")


def autoregression(generator: np.random.Generator, shape: tuple[int, int], rho: float) -> Array:
    """Normal AR(1) of standard deviation 1 along the last axis, steady from the first value on."""
    found = generator.standard_normal(shape)
    found[:, 1:] *= np.sqrt(1 - rho**2)
    for i in range(1, shape[1]):
        found[:, i] += rho * found[:, i - 1]
    return found


def _arms(drifts: Array) -> tuple[Array, Array]:
    """The slots of A and of B, in ABBA order: (runs, 2 rounds) -> twice (runs, rounds)."""
    pairs = drifts.reshape(len(drifts), -1, 2)
    swapped = np.array([order == "BA" for order in paired.order(pairs.shape[1])])
    return np.where(swapped, pairs[..., 1], pairs[..., 0]), np.where(swapped, pairs[..., 0], pairs[..., 1])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of simulated runs: verdicts (runs, points), and the smallest change printed with each."""

    verdicts: Any
    smallest: Array


def ab_runs(generator: np.random.Generator, machine: Machine, changes: Array, runs: int, rule: Rule) -> Outcome:
    """Runs of ``bench ab``: changes (points,) are the true log ratios. The suspects alone get fresh rounds."""
    first, second = paired.SCREEN_ROUNDS, paired.CONFIRM_ROUNDS
    slots = drift(generator, machine.drift, runs, 2 * (first + second))
    shared_a, shared_b = _arms(slots)

    def arm(shared: Array, change: Array, points: int) -> Array:
        shape = (runs, points, shared.shape[-1])
        logs = shared[:, None, :] + machine.spread * scatter(generator, machine.noise, shape)
        return np.exp(logs + change[:, None])

    points, still = len(changes), np.zeros(CONTROLS)
    a, b = arm(shared_a[:, :first], np.zeros(points), points), arm(shared_b[:, :first], changes, points)
    again = paired.to_measure_again(a, b, rule)
    where = np.nonzero(again)

    def fresh(shared: Array, change: Array) -> Array:
        found = np.full((runs, points, second), np.nan)
        noise = machine.spread * scatter(generator, machine.noise, (len(where[0]), second))
        found[where] = np.exp(shared[where[0], first:] + noise + change[where[1], None])
        return found

    verdicts = paired.decide(
        a,
        b,
        fresh(shared_a, np.zeros(points)),
        fresh(shared_b, changes),
        controls_a=arm(shared_a, still, CONTROLS),
        controls_b=arm(shared_b, still, CONTROLS),
        rule=rule,
    )
    return Outcome(verdicts.verdict, verdicts.smallest_change)


def check_runs(generator: np.random.Generator, machine: Machine, changes: Array, runs: int, rule: Rule) -> Outcome:
    """Runs of ``bench check``: a baseline in one sitting; now and, for the suspects, again in another one."""
    rounds, points = STORED_ROUNDS, len(changes)
    old, new = (drift(generator, machine.drift, runs, n) for n in (rounds, rounds + compare.CONFIRM_ROUNDS))

    def sitting(shared: Array, change: Array) -> Array:
        shape = (runs, len(change), shared.shape[-1])
        offset = machine.offset * generator.standard_normal((runs, len(change), 1)) / np.sqrt(2)
        logs = shared[:, None, :] + machine.spread * scatter(generator, machine.noise, shape)
        return np.asarray(np.exp(logs + change[:, None] + offset), dtype=np.float64)

    everything = np.concatenate((changes, np.zeros(CONTROLS)))
    before, now = sitting(old, np.zeros(len(everything))), sitting(new, everything)
    baseline, current, again = before[:, :points], now[:, :points, :rounds], now[:, :points, rounds:]
    suspects = compare.to_measure_again(baseline, current, rule)
    verdicts = compare.check(
        baseline,
        current,
        np.where(suspects[..., None], again, np.nan),
        controls_baseline=before[:, points:],
        controls_current=now[:, points:],
        rule=rule,
    )
    return Outcome(verdicts.verdict, verdicts.smallest_change)


Runs = Callable[[np.random.Generator, Machine, Array, int, Rule], Outcome]
GATES: dict[str, Runs] = {"ab": ab_runs, "check": check_runs}


def _batches(gate: str, machine: Machine, changes: Array, runs: int, rule: Rule, seed: int) -> Iterator[Outcome]:
    generator = np.random.default_rng(seed)
    for start in range(0, runs, _BATCH):
        yield GATES[gate](generator, machine, changes, min(_BATCH, runs - start), rule)


def _holds(rate: float, target: str) -> bool | None:
    if not target:
        return None
    sign, value = target.split()
    return rate >= float(value) if sign == ">=" else rate <= float(value)


def _row(gate: str, what: str, machine: Machine, effect: float, *, of: int, alarms: int, target: str) -> Row:
    rate = alarms / of if of else 0.0
    fields = gate, what, machine.noise, machine.spread, machine.drift, effect
    return Row(*fields, of, alarms, rate, target, _holds(rate, target))


def null_rows(gate: str, machine: Machine, runs: int, rule: Rule, seed: int, points: int = POINTS) -> list[Row]:
    """Nothing changed: runs with an alarm, runs with a false "faster", points left undecided, runs called invalid."""
    alarms = faster = undecided = invalid = 0
    for outcome in _batches(gate, machine, np.zeros(points), runs, rule, seed):
        words = outcome.verdicts
        alarms += int((words == SLOWER).any(axis=1).sum())
        faster += int((words == FASTER).any(axis=1).sum())
        undecided += int((words == UNDECIDED).sum())
        invalid += int((words == INVALID).all(axis=1).sum())
    bounded = machine.spread <= 0.01 and (gate == "ab" or machine.drift == "none")
    return [
        _row(gate, "alarm", machine, 0.0, of=runs, alarms=alarms, target="<= 0"),
        _row(gate, "faster", machine, 0.0, of=runs, alarms=faster, target="<= .005"),
        _row(gate, "undecided", machine, 0.0, of=runs * points, alarms=undecided, target="<= .05" if bounded else ""),
        _row(gate, "invalid", machine, 0.0, of=runs, alarms=invalid, target="<= .01" if bounded else ""),
    ]


def margin_row(gate: str, machine: Machine, runs: int, rule: Rule, seed: int, points: int = POINTS) -> Row:
    """Every point exactly at the margin: runs in which any of them is called slower."""
    changes = np.full(points, rule.log_margin)
    outcomes = _batches(gate, machine, changes, runs, rule, seed)
    alarms = sum(int((outcome.verdicts == SLOWER).any(axis=1).sum()) for outcome in outcomes)
    return _row(gate, "alarm", machine, rule.margin, of=runs, alarms=alarms, target="<= .02")


def power_row(gate: str, machine: Machine, effect: float, runs: int, rule: Rule, seed: int, *, target: str = "") -> Row:
    """One point of a hundred changed: runs in which it is called slower."""
    changes = np.zeros(POINTS)
    changes[0] = np.log1p(effect)
    outcomes = _batches(gate, machine, changes, runs, rule, seed)
    seen = sum(int((outcome.verdicts[:, 0] == SLOWER).sum()) for outcome in outcomes)
    row = _row(gate, "alarm", machine, effect, of=runs, alarms=seen, target=target)
    if gate != "check" or machine.drift != "none" or machine.noise != "normal":
        return row
    rounds = {"before": STORED_ROUNDS, "current": STORED_ROUNDS + compare.CONFIRM_ROUNDS}
    bound = best_power(effect, machine.spread, **rounds, offset=machine.offset, points=POINTS, rule=rule)
    return replace(row, bound=bound)


def mde_rows(gate: str, machine: Machine, runs: int, rule: Rule, seed: int) -> list[Row]:
    """The smallest change that is printed over the one that is called slower with the rule's power, in simulation."""
    printed = np.median([np.median(o.smallest) for o in _batches(gate, machine, np.zeros(POINTS), 50, rule, seed)])
    low, high = rule.margin, 4 * float(printed)
    for _ in range(9):
        middle = (low + high) / 2
        rate = power_row(gate, machine, middle, runs, rule, seed).rate
        low, high = (low, middle) if rate >= rule.power else (middle, high)
    ratio = float(printed) / high
    fields = gate, "mde", machine.noise, machine.spread, machine.drift, float(printed), runs, 0, ratio
    return [Row(*fields, target, _holds(ratio, target)) for target in (">= .8", "<= 1.2")]


def history_noise(generator: np.random.Generator, noise: str, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Noise of the values of histories, and of a fresh measurement of each: one of NOISES, or "AR(.5)".

    With AR(.5) the fresh measurement is as near to its value as the next commit's is.
    """
    if noise != "AR(.5)":
        return scatter(generator, noise, shape), scatter(generator, noise, shape)
    values = autoregression(generator, shape, 0.5)
    return values, 0.5 * values + np.sqrt(0.75) * generator.standard_normal(shape)


def history_alarms(values: Array, fresh: Array) -> Array:
    """At which commit each series (series, commits) first alarms, looked at after every commit; inf for never.

    fresh: (series, commits), what a fresh measurement of each commit gives. Both are log ratios to the baseline.
    """
    known = history.stretches(values)
    first = np.full(len(values), np.inf)
    for count in range(1, values.shape[1] + 1):
        found = history.suspects_from(values[:, :count], known.until(count), Rule().margin)
        alarm = history.confirmed(found, np.exp(fresh[:, count - 1]))
        first = np.where(alarm & np.isinf(first), count - 1, first)
    return first


def history_rows(noise: str, spread: float, series: int, seed: int) -> list[Row]:
    """Nothing, a step of 3 %, and a creep of .5 % a commit: how many series alarm, or alarm in time."""
    generator = np.random.default_rng(seed)
    commits = np.arange(COMMITS)
    truths = {
        0.0: (np.zeros(COMMITS), 0, COMMITS, "<= .02"),
        0.03: (np.log1p(0.03) * (commits >= STEP_AT), STEP_AT, STEP_AT + 2, ">= .95"),
        0.005: (np.log1p(0.005) * np.clip(commits - STEP_AT + 1, 0, 20), STEP_AT, STEP_AT + 7, ">= .95"),
    }
    machine, rows = Machine(noise, spread), []
    for effect, (truth, earliest, latest, target) in truths.items():
        hits = 0
        for start in range(0, series, _BATCH):
            shape = (min(_BATCH, series - start), min(latest + 1, COMMITS))
            values, fresh = (spread * part + truth[: shape[1]] for part in history_noise(generator, noise, shape))
            first = history_alarms(values, fresh)
            hits += int(((first >= earliest) & (first <= latest)).sum())
        rows.append(_row("history", "alarm", machine, effect, of=series, alarms=hits, target=target))
    return rows


@dataclass(frozen=True, slots=True)
class Effort:
    """How many runs of each kind of row, and series of a history; and which machines a stored baseline is tried on."""

    null: int
    margin: int
    power: int
    smallest: int
    history: int
    stored_drifts: tuple[str, ...]


QUICK = Effort(null=300, margin=100, power=200, smallest=200, history=150, stored_drifts=("none",))
FULL = Effort(null=3000, margin=1000, power=1000, smallest=400, history=1000, stored_drifts=DRIFTS)

# What is promised of single changed points: (spread, effect) -> the least rate, and the least under AR drift. A stored
# baseline cannot promise what pairs can: the offset between sittings alone moves a point of a hundred by nearly 1 %.
PROMISES: dict[str, dict[tuple[float, float], tuple[str, str]]] = {
    "ab": {
        (0.01, 0.05): (">= .95", ">= .95"),
        (0.01, 0.03): (">= .90", ">= .90"),
        (0.005, 0.02): (">= .90", ">= .85"),
    },
    "check": {
        (0.01, 0.05): (">= .90", ""),
        (0.01, 0.03): ("", ""),
        (0.005, 0.03): (">= .85", ""),
        (0.005, 0.02): ("", ""),
    },
}
RULES = {"ab": Rule(), "check": compare.STORED}
OFFSETS = {"ab": 0.0, "check": 0.003}


def rows(*, full: bool = False, spread: float | None = None, seed: int = 1) -> Iterator[Row]:
    """The whole table, row by row. spread: a measured one in place of the three assumed ones; seed: of every row."""
    effort = FULL if full else QUICK
    spreads = SPREADS if spread is None else (spread,)
    for gate in GATES:
        for noise in NOISES:
            for kind in DRIFTS if gate == "ab" else effort.stored_drifts:
                for one in spreads:
                    yield from _setting(gate, Machine(noise, one, kind, OFFSETS[gate]), effort, seed)
        for one in spreads if full else spreads[-2:-1] or spreads:
            machine = Machine("normal", one, offset=OFFSETS[gate])
            yield from mde_rows(gate, machine, effort.smallest, RULES[gate], seed)
    for noise in ("normal", "AR(.5)", "t3", "bimodal"):
        yield from history_rows(noise, HISTORY_SPREAD, effort.history, seed)


def _setting(gate: str, machine: Machine, effort: Effort, seed: int) -> Iterator[Row]:
    """The rows of one machine: nothing changed, everything at the margin, one point changed."""
    rule = RULES[gate]
    yield from null_rows(gate, machine, effort.null, rule, seed)
    yield margin_row(gate, machine, effort.margin, rule, seed)
    promises = {effect: least for (one, effect), least in PROMISES[gate].items() if one == machine.spread}
    if machine.spread not in SPREADS:
        promises = dict.fromkeys((0.02, 0.03, 0.05), ("", ""))
    for effect, (least, least_wandering) in promises.items():
        target = least_wandering if machine.drift == "ar" else least
        if gate == "check" and machine.drift != "none":
            target = ""
        yield power_row(gate, machine, effect, effort.power, rule, seed, target=target)
