"""What can be measured: a case is one function whose parameters are its axes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from benchbench.work import Work

Value = str | int | float | bool
AUTO = "auto"


class Skip(Exception):
    """Raised where a point makes no sense; its message finishes the sentence "not measured, because ..."."""


def word(text: str) -> str:
    """A name, as written."""
    if not text:
        raise ValueError("expected a name, got nothing")
    return text


def positive_integer(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError(f"expected a positive whole number, got {text!r}")
    return int(text)


def batch_size(text: str) -> int | str:
    """A positive whole number, or "auto": the largest that fits the device, found when the point is measured."""
    return text if text == AUTO else positive_integer(text)


def odd_size(text: str) -> int:
    """A kernel size: a positive odd number, so that the output keeps the size of the input."""
    try:
        size = positive_integer(text)
    except ValueError:
        raise ValueError(f"expected a positive odd kernel size, got {text!r}") from None
    if size % 2 == 0:
        raise ValueError(f"expected an odd kernel size, got {size}: try {size - 1} or {size + 1}")
    return size


def ratio(text: str) -> str:
    """A share of the channels in (0, 1], as a reduced fraction: "2/16" and "0.125" are "1/8"."""
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"expected a fraction such as 1/8, got {text!r}") from None
    if not 0 < share <= 1:
        raise ValueError(f"expected a fraction in (0, 1], got {text!r}")
    return str(share)


def shape(text: str) -> str:
    """Channels x height x width, as "96x56x56"."""
    parts = text.lower().split("x")
    try:
        channels, height, width = (positive_integer(part) for part in parts)
    except ValueError:
        raise ValueError(f"expected CxHxW such as 96x56x56, got {text!r}") from None
    return f"{channels}x{height}x{width}"


@dataclass(frozen=True, slots=True)
class Axis:
    """One question asked of a case: a parameter of its function, the values it takes, and how text becomes a value.

    ``parse`` raises ValueError, with a message that says what was expected, for text that is no value.
    ``choices``, where given, are all the values there are: a word outside them is a usage error.
    """

    name: str
    values: tuple[Value, ...]
    flag: str = ""
    parse: Callable[[str], Value] = word
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """One point made ready: how to build it, how to launch it, what it must at least move and compute.

    make:   device name ("cpu", "cuda:0") -> state. Imports torch inside. Raises Skip for what this device cannot do.
    call:   state -> outputs (a tensor, or nested tuples, lists and dicts of tensors). The launch and nothing else.
    work:   counted from the mathematics, once for one call.
    plain:  state -> the same outputs by the definition, in unfused torch operations (never a convolution call).
            The verifier also calls it with the state in float64. None: not verified, and the record says so.
            The state is a dataclass, dict, tuple or object whose tensors and modules the verifier can find. It may
            offer verification_inputs() -> the tensors that the outputs must follow (else all that it holds), and
            verification_pairs() -> iterator of (name, out, plain, exact[, multiply-adds]), for networks: what was
            computed, the definition in the point's precision and in float64, for each mixer at its timed shape and for
            the whole at batch 2. Compute each pair when it is asked for: memory is filled with NaN meanwhile.
    phases: for training, the parts of ``call`` in order, as (name, state -> None) with the names "forward", "backward"
            and "optimizer"; calling them one after another is the same as ``call``.
    marked: (state, mark) -> outputs: the same call once more, which says mark(name) where a part of it ends, and
            mark("") after what was for the marking alone. It is timed beside ``call``, part by part, so that the parts
            can be compared with the whole.
    """

    make: Callable[[str], Any]
    call: Callable[[Any], Any]
    work: Work
    plain: Callable[[Any], Any] | None = None
    phases: tuple[tuple[str, Callable[[Any], Any]], ...] = ()
    marked: Callable[[Any, Callable[[str], None]], Any] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A named function from axis values to a Workload. A case whose meaning changes gets a new version."""

    name: str
    axes: tuple[Axis, ...]
    function: Callable[..., Workload]
    version: int = 1
    kind: str = "operator"

    def workload(self, params: Mapping[str, Value]) -> Workload:
        """The workload at one value on every axis. Raises Skip where the combination makes no sense."""
        return self.function(**params)


CASES: dict[str, Case] = {}


def case(
    *axes: Axis, version: int = 1, kind: str = "operator", name: str = ""
) -> Callable[[Callable[..., Workload]], Case]:
    """Register a function as a case. Its parameters must be exactly its axes; only ``make`` may import torch.

    kind: "operator", "network", "control" (in every run, whatever is selected) or "roof".
    """

    def register(function: Callable[..., Workload]) -> Case:
        chosen = name or function.__name__
        parameters = list(inspect.signature(function).parameters)
        named = [axis.name for axis in axes]
        if sorted(parameters) != sorted(named):
            raise TypeError(f"case {chosen}: its axes {named} are not its parameters {parameters}")
        known = CASES.get(chosen)
        if (
            known is not None
            and known.function.__qualname__ + known.function.__module__ != function.__qualname__ + function.__module__
        ):
            raise ValueError(f"case {chosen} exists already, in {known.function.__module__}: choose another name")
        CASES[chosen] = Case(chosen, tuple(axes), function, version, kind)
        return CASES[chosen]

    return register


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of an error line: the nearest known name, or all of them where they are few."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(known)}" if len(known) <= 12 else f"{len(known)} are known: see bench list"
