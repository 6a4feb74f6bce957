"""Is the answer right? Error against float64, in units of what rounding explains; a wrong answer is never timed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchbench.case import Workload
from benchbench.poison import poison_free_blocks, poisoned
from benchbench.state import flattened, float64, floating_tensors, tf32_rounded
from benchbench.switches import ieee, tf32_allowed

# A side stream that was not joined has this long to run ahead of the inputs that it should have waited for.
HEAD_START_CYCLES = 100_000_000
CHUNK_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True)
class Expected:
    """What one output tensor must be: its values, how far from them rounding may take it, and its largest value."""

    name: str
    exact: Any
    allowance: float
    dtype: Any
    size: float = 0.0


@dataclass(frozen=True, slots=True)
class Verified:
    """One output that was found right, kept for the comparison after timing."""

    name: str
    value: Any
    allowance: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the answer is right, and if not, why, in one line.

    error:     for each output, its largest error over its allowance: up to 1 is right.
    reference: what `recheck` compares with after timing.
    """

    ok: bool
    reason: str = ""
    error: dict[str, float] = field(default_factory=dict)
    reference: tuple[Verified, ...] = field(default=(), repr=False)


class Wrong(Exception):
    """An output that is not what it must be; the message names it and says how."""


def check(workload: Workload, state: Any) -> Verdict:
    """Compare outputs (and the gradients among them) with the definition in float64, on the very inputs that are timed.

    For each tensor max|out - exact| <= 2 (max|plain - exact| + (eps + sqrt(n) eps32) max|exact|), where exact =
    plain(state in float64), plain = plain(state) with TF32 off, and eps is that of the tensor's dtype (2^-10 where TF32
    is allowed). sqrt(n) eps32 is what n terms added one after another in float32 lose, rounding being a random walk
    (Higham and Mary, SIAM J. Sci. Comput. 41, 2019); plain adds pairwise and shows nothing of it. n is at most the
    multiply-adds of the Work divided by the values of the tensor.
    ``call`` runs once unseen, then three times over memory filled with NaN: on the inputs, on the inputs rolled by one
    element (the output must follow), and on the inputs again (it must come back). On a GPU the rolled inputs are
    written behind a pause, in stream order, so that a launch on another stream that was not joined reads the old ones.
    A state with `verification_pairs` is compared pair by pair (see Workload.plain).
    """
    try:
        error: dict[str, float] = {}
        reference: tuple[Verified, ...] = ()
        if workload.plain is not None:
            error, reference = _check_calls(workload, state)
        error |= _check_pairs(state)
    except Wrong as wrong:
        return Verdict(False, str(wrong))
    if not error:
        return Verdict(True, "not verified: the case gives no definition")
    return Verdict(True, "", error, reference)


def recheck(workload: Workload, state: Any, reference_outputs: Verdict | Sequence[Verified]) -> Verdict:
    """After timing: the same outputs again, over memory filled with NaN, within the same allowance.

    reference_outputs: the Verdict of `check` on this state, or its reference.
    """
    reference = reference_outputs.reference if isinstance(reference_outputs, Verdict) else tuple(reference_outputs)
    try:
        error: dict[str, float] = {}
        if reference:
            outputs = _call(workload, state)
            expected = [Expected(r.name, r.value, r.allowance, r.value.dtype) for r in reference]
            error = _compare_all(outputs, expected, "after timing")
        error |= _check_pairs(state)
    except Wrong as wrong:
        return Verdict(False, str(wrong), reference=reference)
    return Verdict(True, "", error, reference)


def _check_calls(workload: Workload, state: Any) -> tuple[dict[str, float], tuple[Verified, ...]]:
    # The first call of all compiles, tunes and fills caches; what it returns is not looked at.
    workload.call(state)
    expected = _expected(workload, state)
    outputs = _call(workload, state)
    error = _compare_all(outputs, expected, "")
    reference = tuple(Verified(e.name, outputs[e.name], e.allowance) for e in expected)
    expected = [replace(e, exact=None) for e in expected]
    _check_that_outputs_follow(workload, state, expected)
    again = [Expected(r.name, r.value, r.allowance, r.value.dtype) for r in reference]
    error = _larger(error, _compare_all(_call(workload, state), again, "when called again"))
    return error, reference


def _check_that_outputs_follow(workload: Workload, state: Any, expected: Sequence[Expected]) -> None:
    """Roll every input by one element and expect the outputs of the rolled inputs; then put the inputs back.

    The definition in the point's own precision is enough here: it is itself within half an allowance of the truth.
    """
    import torch

    inputs = _inputs(state)
    if not inputs:
        raise Wrong("no input is found in the state, so a cached output could not be told: make it a dataclass or dict")
    before = [tensor.detach().clone() for tensor in inputs]
    rolled = [torch.roll(tensor, 1) for tensor in before]
    try:
        _overwrite(inputs, rolled)
        plain = _plain(workload, state)
        following = [_following(e, plain[e.name]) for e in expected]
        _overwrite(inputs, before)
        outputs = _call(workload, state, changes=(inputs, rolled))
        _compare_all(outputs, following, "when the inputs changed")
    finally:
        _overwrite(inputs, before)


def _call(workload: Workload, state: Any, changes: tuple[list[Any], list[Any]] | None = None) -> Any:
    """One call over poisoned memory; its outputs are copied in the order of the stream that launched it."""
    import torch

    device = _device(state)
    with poisoned(device):
        if changes is not None:
            if device.type == "cuda":
                torch.cuda._sleep(HEAD_START_CYCLES)  # type: ignore[no-untyped-call]
            _overwrite(*changes)
        outputs = workload.call(state)
        copies = {name: value.clone() for name, value in _detached(outputs).items() if value is not None}
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return copies


def _inputs(state: Any) -> list[Any]:
    """The tensors whose change the outputs must follow.

    A graph that was built outside the call holds copies of its leaves, so where the state holds one, only what does not
    require a gradient is changed: the gradient that flows in.
    """
    chosen = getattr(state, "verification_inputs", None)
    if chosen is not None:
        return list(chosen())
    # An expanded tensor shows one number at many places: it cannot be written, and what it expands is held elsewhere.
    tensors = [t for _, t in floating_tensors(state) if 0 not in t.stride()]
    if any(tensor.grad_fn is not None for tensor in tensors):
        return [tensor for tensor in tensors if not tensor.requires_grad]
    return tensors


def _device(state: Any) -> Any:
    import torch

    return next((t.device for _, t in floating_tensors(state)), torch.device("cpu"))


def _overwrite(targets: Sequence[Any], values: Sequence[Any]) -> None:
    import torch

    for target, value in zip(targets, values, strict=True):
        with torch.inference_mode(target.is_inference()):
            # Through .data, so that a graph which saved the tensor does not see its version change.
            target.data.copy_(value)


def _following(expected: Expected, plain: Any) -> Expected:
    """What to expect of changed inputs: the definition, within 1.5 allowances, larger where its values are larger."""
    size, _ = _largest_error(plain, None)
    grown = max(1.0, size / expected.size) if expected.size else 1.0
    return Expected(expected.name, plain, 1.5 * grown * expected.allowance, expected.dtype)


def _plain(workload: Workload, state: Any) -> dict[str, Any]:
    """The definition in the point's precision: where TF32 is allowed, on inputs rounded to it."""
    assert workload.plain is not None
    rounded = tf32_rounded(state) if _tf32(state) else state
    with ieee():
        return _detached(workload.plain(rounded))


def _tf32(state: Any) -> bool:
    return tf32_allowed() and _device(state).type == "cuda"


def _expected(workload: Workload, state: Any) -> list[Expected]:
    """The definition in float64 and, against it, the allowance of each output."""
    assert workload.plain is not None
    with ieee():
        exact = _detached(workload.plain(float64(state)))
    tf32, plain = _tf32(state), _plain(workload, state)
    if list(plain) != list(exact):
        raise Wrong(f"the definition gives {', '.join(plain)}, but in float64 {', '.join(exact)}: mend the case")
    return [
        _expect(name, plain[name], exact[name], tf32=tf32, multiply_adds=workload.work.flops // 2)
        for name in plain
        if plain[name] is not None
    ]


def _detached(outputs: Any) -> dict[str, Any]:
    """By name, without the graphs, which hold every intermediate result."""
    return {name: None if value is None else value.detach() for name, value in flattened(outputs)}


def _expect(name: str, plain: Any, exact: Any, *, tf32: bool = False, multiply_adds: int = 0) -> Expected:
    allowed = allowance(plain, exact, tf32=tf32, multiply_adds=multiply_adds)
    if not math.isfinite(allowed):
        raise Wrong(f"{name}: the definition is not finite in {_short(plain.dtype)}, so nothing could be refused")
    return Expected(name, exact, allowed, plain.dtype, _largest_error(exact, None)[0])


def allowance(plain: Any, exact: Any, *, tf32: bool = False, multiply_adds: int = 0) -> float:
    """How far from ``exact`` an output may be: the formula of ``check``. Not finite where ``plain`` is not.

    plain, exact: the definition in the output's type and in float64. multiply_adds: of the whole call, 0 where every
    value is of few terms.
    """
    import torch

    error, size = _largest_error(plain, exact)[0], _largest_error(exact, None)[0]
    eps = _eps(plain, tf32)
    accumulated = math.sqrt(multiply_adds / max(1, plain.numel())) * min(eps, torch.finfo(torch.float32).eps)
    return 2 * (error + (eps + accumulated) * size)


def _eps(tensor: Any, tf32: bool) -> float:
    """The spacing of the tensor's numbers at 1; TF32 keeps ten bits of what float32 holds; whole numbers are exact."""
    import torch

    if not tensor.dtype.is_floating_point and not tensor.dtype.is_complex:
        return 0.0
    if tf32 and tensor.dtype == torch.float32:
        return 2.0**-10
    return float(torch.finfo(tensor.dtype).eps)


def _compare_all(outputs: Mapping[str, Any], expected: Sequence[Expected], when: str) -> dict[str, float]:
    names = [e.name for e in expected]
    if list(outputs) != names:
        raise Wrong(f"outputs are {', '.join(outputs) or 'none'}, expected {', '.join(names) or 'none'}{_said(when)}")
    return {e.name: _compare(outputs[e.name], e, when) for e in expected}


def _compare(out: Any, expected: Expected, when: str = "") -> float:
    """The largest error over the allowance. Raises Wrong where it is above 1."""
    name = expected.name
    if tuple(out.shape) != tuple(expected.exact.shape):
        raise Wrong(f"{name}: shape {tuple(out.shape)}, expected {tuple(expected.exact.shape)}{_said(when)}")
    if out.dtype != expected.dtype:
        raise Wrong(f"{name}: {_short(out.dtype)}, expected {_short(expected.dtype)}{_said(when)}")
    error, index = _largest_error(out, expected.exact)
    if not math.isfinite(error):
        bad = int((~out.isfinite()).sum())
        raise Wrong(f"{name}: {bad} of {out.numel()} values are not finite, as if never written{_said(when)}")
    if error > expected.allowance:
        times = error / expected.allowance if expected.allowance else math.inf
        raise Wrong(
            f"{name}: an error of {error:.3g} at {index} is {times:.3g} times what rounding explains "
            f"({expected.allowance:.3g}){_said(when)}"
        )
    return error / expected.allowance if expected.allowance else 0.0


def _said(when: str) -> str:
    return f", {when}" if when else ""


def _short(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _larger(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    return {name: max(value, second[name]) for name, value in first.items()}


def _largest_error(out: Any, exact: Any) -> tuple[float, tuple[int, ...]]:
    """max |out - exact| in float64 and where it is; |out| alone without an exact. NaN where a difference is no number.

    Slice by slice, so that no third tensor in float64 is needed.
    """
    worst = 0.0
    where: tuple[int, ...] = ()
    for offset, part in _slices(out):
        value = part.detach().to(_wide(part))
        if exact is not None:
            reference = exact[offset : offset + len(part)] if part.dim() else exact
            value = value - reference.detach().to(device=value.device, dtype=value.dtype)
        if not value.numel():
            continue
        error = value.abs().reshape(-1)
        # argmax returns the first NaN where there is one.
        position = int(error.argmax())
        largest = float(error[position])
        if not largest <= worst:
            worst, where = largest, _index(position, tuple(part.shape), offset)
        if math.isnan(largest):
            break
    return worst, where


def _wide(tensor: Any) -> Any:
    import torch

    return torch.complex128 if tensor.dtype.is_complex else torch.float64


def _slices(tensor: Any) -> Iterator[tuple[int, Any]]:
    if tensor.dim() == 0 or tensor.numel() == 0:
        yield 0, tensor
        return
    step = max(1, CHUNK_ELEMENTS * len(tensor) // tensor.numel())
    for start in range(0, len(tensor), step):
        yield start, tensor[start : start + step]


def _index(position: int, shape: tuple[int, ...], offset: int) -> tuple[int, ...]:
    index = []
    for size in reversed(shape):
        position, at = divmod(position, size)
        index.append(at)
    index.reverse()
    return (index[0] + offset, *index[1:]) if index else ()


def _check_pairs(state: Any) -> dict[str, float]:
    """Compare what a state verifies by itself: (name, out, plain, exact) one after another, over poisoned memory.

    A fifth value is the number of multiply-adds behind the tensor (see `check`), 0 where it is left out.
    """
    pairs = getattr(state, "verification_pairs", None)
    if pairs is None:
        return {}
    error: dict[str, float] = {}
    device = _device(state)
    with poisoned(device):
        for name, out, plain, exact, *counted in pairs():
            # The next one may be given the blocks in which this one's answers lay.
            poison_free_blocks(device)
            tf32 = tf32_allowed() and out.device.type == "cuda"
            expected = _expect(name, plain, exact, tf32=tf32, multiply_adds=sum(counted))
            error[name] = max(error.get(name, 0.0), _compare(out, expected))
    return error
