"""Which points are measured: cases x axes, with stable keys; named plans and plans in TOML. No torch here."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchbench.case import AUTO, CASES, Axis, Case, Skip, Value, nearest


class PlanError(ValueError):
    """A question that cannot be asked; the message is one line and says what to do next."""


@dataclass(frozen=True, slots=True)
class Point:
    """One case with one value on every axis. ``skip`` says why it makes no sense, if it makes none."""

    key: str
    case: str
    version: int
    params: Mapping[str, Value]
    skip: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One question: which operators and models (names or patterns; none named: all), and values for axes.

    ``op`` may also name a case of networks in full ("convnext"): then only those of the networks take part.
    ``axes`` replaces a case's own values where the case has the axis. ``only``, if given, keeps the points it accepts.
    """

    op: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    axes: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    only: Callable[[Case, Mapping[str, Value]], bool] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Several requests under one name, and how often they are measured (None: the default of the preset)."""

    name: str
    requests: tuple[Request, ...]
    rounds: int | None = None
    title: str = ""


PLANS: dict[str, Plan] = {}


def register(plan: Plan) -> Plan:
    """Add a named plan. Raises ValueError where the name is taken by another."""
    if PLANS.setdefault(plan.name, plan) is not plan:
        raise ValueError(f"plan {plan.name} exists already: choose another name")
    return plan


def key_of(case: str, version: int, params: Mapping[str, Value]) -> str:
    """The readable identity of a point: ``case@version;axis=value;...`` with the axes sorted."""
    return ";".join((f"{case}@{version}", *(f"{name}={params[name]}" for name in sorted(params))))


def points(request: Request, *, cases: Iterable[Case] | None = None, device: str = "cpu") -> list[Point]:
    """The points of a request, controls first, each key once.

    device decides what the words ``amp`` (float16 on a GPU, bfloat16 on a CPU) and ``best`` and ``both`` expand into.
    Raises PlanError for an operator, model, axis or value that no case knows.
    """
    known = tuple(CASES.values() if cases is None else cases)
    _refuse_unknown(request, known)
    families = [case.name for case in known if case.kind == "network" and case.name in request.op]
    found: dict[str, Point] = {}
    for case in sorted(known, key=lambda c: c.kind != "control"):
        for point in _points_of(case, request, device, families):
            found.setdefault(point.key, point)
    return list(found.values())


def all_points(plan: Plan, *, cases: Iterable[Case] | None = None, device: str = "cpu") -> list[Point]:
    """The points of all requests of a plan, each key once."""
    known = tuple(CASES.values() if cases is None else cases)
    found: dict[str, Point] = {}
    for request in plan.requests:
        for point in points(request, cases=known, device=device):
            found.setdefault(point.key, point)
    return list(found.values())


def shard(chosen: Sequence[Point], text: str, *, controls: frozenset[str] = frozenset()) -> list[Point]:
    """The i-th of n parts ("1/4" to "4/4"), each point in one part, whatever the order; controls in every part.

    Raises PlanError for text that is no i/n with 1 <= i <= n.
    """
    left, _, right = text.partition("/")
    if not (left.isdigit() and right.isdigit()) or not 1 <= int(left) <= int(right):
        raise PlanError(f"--shard {text!r}: expected i/n with 1 <= i <= n, such as 1/4")
    rank = {point.key: i for i, point in enumerate(sorted(chosen, key=lambda p: p.key))}
    return [p for p in chosen if p.case in controls or rank[p.key] % int(right) == int(left) - 1]


def parse_values(axis: Axis, text: str) -> tuple[Value, ...]:
    """The values of a comma list; ``3:11:2`` is the inclusive range 3, 5, ..., 11. Raises PlanError."""
    option = axis.flag or f"--set {axis.name}="
    values: list[Value] = []
    for part in text.split(","):
        word = part.strip()
        if not word:
            raise PlanError(f"{option} {text!r}: an empty value: write a list such as {_example(axis)}")
        try:
            for one in _spread(word):
                value = axis.parse(one)
                if axis.choices and value not in axis.choices:
                    raise ValueError(f"unknown value {one!r}: {nearest(one, axis.choices)}")
                if value not in values:
                    values.append(value)
        except ValueError as error:
            raise PlanError(f"{option} {text!r}: {error}") from None
    return tuple(values)


def axis_named(name: str, cases: Iterable[Case] | None = None) -> list[Axis]:
    """Every axis of that name, in any case. Raises PlanError, with the nearest name, where there is none."""
    known = [axis for case in (CASES.values() if cases is None else cases) for axis in case.axes]
    chosen = [axis for axis in known if axis.name == name]
    if not chosen:
        raise PlanError(f"no case has an axis {name!r}: {nearest(name, sorted({a.name for a in known}))}")
    return chosen


def parse_axis(name: str, text: str, cases: Iterable[Case] | None = None) -> tuple[Value, ...]:
    """The values of one axis, which may take different values in different cases. Raises PlanError."""
    candidates = axis_named(name, cases)
    choices = tuple(dict.fromkeys(choice for axis in candidates for choice in axis.choices))
    open_axis = next((axis for axis in candidates if not axis.choices), None)
    first = open_axis or candidates[0]
    return parse_values(Axis(name, first.values, first.flag, first.parse, () if open_axis else choices), text)


def from_toml(path: Path) -> Plan:
    """A plan written as TOML: ``op``, ``model``, ``rounds``, ``title``, ``[axes]``, or several ``[[sweep]]`` of these.

    Raises PlanError for a file that cannot be read, or a key or value that no case knows.
    """
    try:
        found = tomllib.loads(path.read_text())
    except OSError as error:
        raise PlanError(f"cannot read plan {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path} is no TOML: {error}") from None
    _refuse_keys(found, ("op", "model", "axes", "sweep", "rounds", "title"), path)
    rounds = found.get("rounds")
    if rounds is not None and (not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1):
        raise PlanError(f"{path}: rounds must be a positive whole number, not {rounds!r}")
    parts = found.get("sweep", [found])
    return Plan(path.stem, tuple(_request(part, path) for part in parts), rounds, str(found.get("title", "")))


def _request(part: Any, path: Path) -> Request:
    if not isinstance(part, dict):
        raise PlanError(f"{path}: each [[sweep]] is a table with op, model and axes")
    _refuse_keys(part, ("op", "model", "axes", "sweep", "rounds", "title"), path)
    axes: dict[str, tuple[Value, ...]] = {}
    for name, values in part.get("axes", {}).items():
        listed = values if isinstance(values, list) else [values]
        try:
            axes[name] = parse_axis(name, ",".join(str(value) for value in listed))
        except PlanError as error:
            raise PlanError(f"{path}: {error}") from None
    return Request(_words(part, "op", path), _words(part, "model", path), axes)


def _words(part: Mapping[str, Any], name: str, path: Path) -> tuple[str, ...]:
    value = part.get(name, [])
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise PlanError(f"{path}: {name} must be a name or a list of names")
    return tuple(words)


def _refuse_keys(found: Mapping[str, Any], known: Sequence[str], path: Path) -> None:
    for name in found:
        if name not in known:
            raise PlanError(f"{path}: unknown key {name!r}: {nearest(name, known)}")


def _spread(word: str) -> list[str]:
    """ "3:11:2" as its values; anything else as it is."""
    parts = word.split(":")
    if len(parts) == 1:
        return [word]
    if len(parts) > 3 or not all(part.isdigit() for part in parts):
        raise ValueError(f"{word!r} is no range: write first:last or first:last:step, such as 3:11:2")
    first, last, step = (*map(int, parts), 1)[:3]
    if step < 1 or last < first:
        raise ValueError(f"the range {word!r} is empty: write first:last:step with first <= last")
    return [str(value) for value in range(first, last + 1, step)]


def _example(axis: Axis) -> str:
    return ",".join(str(value) for value in axis.values[:3])


def _refuse_unknown(request: Request, cases: Sequence[Case]) -> None:
    operators = [case.name for case in cases if case.kind != "network"]
    networks = [case.name for case in cases if case.kind == "network"]
    for pattern in request.op:
        if pattern not in networks and not any(fnmatchcase(name, pattern) for name in operators):
            raise PlanError(f"no operator is called {pattern!r}: {nearest(pattern, operators)}")
    models = models_of(cases)
    for pattern in request.model:
        if not any(fnmatchcase(name, pattern) for name in models) and not _open_to_models(cases, pattern):
            raise PlanError(f"no model is called {pattern!r}: {nearest(pattern, models)}")
    for name, values in request.axes.items():
        candidates = axis_named(name, cases)
        if not values:
            raise PlanError(f"axis {name} has no values")
        for value in values:
            if not any(not axis.choices or value in axis.choices for axis in candidates):
                choices = [choice for axis in candidates for choice in axis.choices]
                raise PlanError(f"{name} has no value {value!r}: {nearest(str(value), choices)}")


def models_of(cases: Iterable[Case]) -> list[str]:
    """The networks that the cases list by name."""
    axes = [axis for case in cases for axis in case.axes if axis.name == "model"]
    return sorted({str(value) for axis in axes for value in (*axis.values, *axis.choices)})


def _open_to_models(cases: Iterable[Case], name: str) -> bool:
    """Whether a case takes any model whose name is spelled out (a pattern must match one that is listed)."""
    spelled_out = not any(sign in name for sign in "*?[")
    return spelled_out and any(axis.name == "model" and not axis.choices for case in cases for axis in case.axes)


def names_of(case: Case) -> tuple[str, ...]:
    """The names of a case's axes."""
    return tuple(axis.name for axis in case.axes)


def _takes_part(case: Case, request: Request, device: str, families: Sequence[str]) -> bool:
    """families: the cases of networks that ``op`` names in full; other networks then stay out."""
    if case.kind == "control":
        return device != "none"
    if case.kind == "roof":
        return any(fnmatchcase(case.name, pattern) for pattern in request.op)
    if not request.op and not request.model:
        return True
    if case.kind == "network":
        return case.name in families if families else bool(request.model)
    return any(fnmatchcase(case.name, pattern) for pattern in request.op)


def _values(case: Case, axis: Axis, request: Request) -> tuple[Value, ...]:
    """What this case measures on this axis; nothing where none of the named values is one of its own."""
    named = request.axes.get(axis.name)
    offered = axis.values if named is None else tuple(v for v in named if not axis.choices or v in axis.choices)
    if axis.name != "model" or not request.model:
        return offered
    return tuple(dict.fromkeys(name for word in request.model for name in _models_named(word, axis, offered, named)))


def _models_named(word: str, axis: Axis, offered: Sequence[Value], named: object) -> list[Value]:
    """What a word of --model means for a case: what it measures anyway; where no case does, any of its choices.

    A name that no case lists goes to the case that is open to any.
    """
    matching = [value for value in offered if fnmatchcase(str(value), word)]
    anyway = [v for case in CASES.values() for a in case.axes if a.name == "model" for v in a.values]
    if named is not None or any(fnmatchcase(str(value), word) for value in anyway):
        return matching
    if axis.choices:
        return [choice for choice in axis.choices if fnmatchcase(choice, word)]
    spelled_out = not any(sign in word for sign in "*?[")
    return [word] if spelled_out and word not in models_of(CASES.values()) else []


def _expanded(name: str, values: tuple[Value, ...], device: str) -> tuple[Value, ...]:
    words: Mapping[tuple[str, Value], tuple[Value, ...]] = {
        ("layout", "best"): ("nchw", "nhwc"),
        ("cache", "both"): ("cold", "warm"),
        ("precision", "amp"): ("amp-fp16",) if device.startswith("cuda") else ("amp-bf16",),
    }
    return tuple(dict.fromkeys(one for value in values for one in words.get((name, value), (value,))))


def _points_of(case: Case, request: Request, device: str, families: Sequence[str]) -> Iterator[Point]:
    if not _takes_part(case, request, device, families):
        return
    axes = sorted(case.axes, key=lambda axis: axis.name)
    names = [axis.name for axis in axes]
    columns = [_expanded(axis.name, _values(case, axis, request), device) for axis in axes]
    start, function, only = f"{case.name}@{case.version}", case.function, request.only
    texts = [[f";{name}={value}" for value in column] for name, column in zip(names, columns, strict=True)]
    for chosen, words in zip(itertools.product(*columns), itertools.product(*texts), strict=True):
        params = dict(zip(names, chosen, strict=True))
        if only is not None and not only(case, params):
            continue
        try:
            # What fits is known when the point is measured; whether it makes sense does not depend on it.
            function(**(params | {"batch": 1} if params.get("batch") == AUTO else params))
            skip = ""
        except Skip as reason:
            skip = str(reason)
        yield Point(start + "".join(words), case.name, case.version, params, skip)
