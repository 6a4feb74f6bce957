"""Is each guard of the verifier what refuses its fault? Without it the fault must pass."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from small_convolution import State, convolved, make, shifted, workload

from benchbench import verify
from benchbench.verify import check


def stale_memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A call that writes nothing into memory where the right answer happens to lie."""
    answer: dict[str, Any] = {}
    monkeypatch.setattr(torch, "empty_strided", lambda *args, **kwargs: answer["y"].clone())

    def call(state: State) -> Any:
        answer["y"] = convolved(state).detach()
        return torch.empty_strided(state.x.shape, state.x.stride())

    return call


def cached(monkeypatch: pytest.MonkeyPatch) -> Any:
    kept: list[Any] = []

    def call(state: State) -> Any:
        kept.append(convolved(state).detach())
        return kept[0]

    return call


def early(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a side stream that was not joined computes: the result of the inputs as they were before."""
    seen: list[State] = []

    def call(state: State) -> Any:
        before = seen[-1] if seen else state
        seen.append(State(state.x.detach().clone(), state.weight.detach().clone(), None))
        return convolved(before)

    return call


def right_three_times(monkeypatch: pytest.MonkeyPatch) -> Any:
    calls: list[int] = []

    def call(state: State) -> Any:
        calls.append(1)
        return convolved(state) if len(calls) <= 3 else convolved(state) * 1.001

    return call


def without_poison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "poisoned", lambda device: contextlib.nullcontext())


def without_changed_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_check_that_outputs_follow", lambda workload, state, expected: None)


def without_calling_again(monkeypatch: pytest.MonkeyPatch) -> None:
    compare_all = verify._compare_all

    def compare(outputs: Any, expected: Any, when: str) -> Any:
        return {e.name: 0.0 for e in expected} if when == "when called again" else compare_all(outputs, expected, when)

    monkeypatch.setattr(verify, "_compare_all", compare)


@pytest.mark.parametrize(
    ("fault", "without_guard"),
    [
        (stale_memory, without_poison),
        (cached, without_changed_inputs),
        (early, without_changed_inputs),
        (right_three_times, without_calling_again),
    ],
)
def test_each_guard_is_what_refuses_its_fault(fault: Any, without_guard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not check(workload(fault(monkeypatch), shifted), make()).ok
    without_guard(monkeypatch)
    assert check(workload(fault(monkeypatch), shifted), make()).ok


def test_a_launch_that_does_not_wait_for_its_inputs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(workload(early(monkeypatch), shifted), make()).reason.endswith("when the inputs changed")
