"""Does the verifier accept what is right, and refuse each way of being wrong?"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from benchbench.case import Workload
from benchbench.verify import Verdict, check, recheck
from benchbench.work import Work

torch = pytest.importorskip("torch")
WORK = Work(0, 0, 0, 1)
K = 3


@dataclass
class State:
    x: Any
    weight: Any
    grad_y: Any


def make(dtype: Any = torch.float32, channels: int = 4, size: int = 9) -> State:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator).to(dtype)

    x, weight = normal(2, channels, size, size), normal(channels, 1, K, K)
    return State(x.requires_grad_(), weight.requires_grad_(), normal(2, channels, size, size))


def convolved(state: State) -> Any:
    return torch.nn.functional.conv2d(state.x, state.weight, padding=K // 2, groups=state.x.shape[1])


def shifted(state: State) -> Any:
    height, width = state.x.shape[-2:]
    padded = torch.nn.functional.pad(state.x, (1, 1, 1, 1))
    return sum(
        padded[..., i : i + height, j : j + width] * state.weight[:, 0, i, j, None, None]
        for i in range(K)
        for j in range(K)
    )


def with_gradients(forward: Any) -> Any:
    def call(state: State) -> dict[str, Any]:
        y = forward(state)
        grad_x, grad_weight = torch.autograd.grad(y, (state.x, state.weight), state.grad_y)
        return {"y": y, "grad_x": grad_x, "grad_weight": grad_weight}

    return call


CALL, PLAIN = with_gradients(convolved), with_gradients(shifted)


def workload(call: Any = CALL, plain: Any = PLAIN) -> Workload:
    return Workload(make=lambda device: make(), call=call, work=WORK, plain=plain)


def spoiled(**changes: Any) -> Any:
    """CALL with some outputs changed in place by the functions given by output name."""

    def call(state: State) -> dict[str, Any]:
        outputs = {name: value.detach().clone() for name, value in CALL(state).items()}
        for name, change in changes.items():
            change(outputs[name])
        return outputs

    return call


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_a_stock_convolution_is_right_with_its_gradients(dtype: Any) -> None:
    verdict = check(workload(), make(dtype))
    assert verdict == Verdict(True, "", verdict.error, verdict.reference)
    assert list(verdict.error) == ["y", "grad_x", "grad_weight"]
    assert all(0 <= error <= 1 for error in verdict.error.values())
    assert recheck(workload(), make(dtype), verdict).ok


def test_one_wrong_border_pixel_is_refused_and_located() -> None:
    def nudge(y: Any) -> None:
        y[1, 2, 0, 8] += 1e-3

    verdict = check(workload(spoiled(y=nudge)), make())
    assert not verdict.ok
    assert verdict.reason.startswith("y: an error of 0.001 at (1, 2, 0, 8) is")


def test_one_wrong_weight_gradient_is_refused() -> None:
    def nudge(grad: Any) -> None:
        grad[3, 0, 2, 1] *= 1.001

    verdict = check(workload(spoiled(grad_weight=nudge)), make())
    assert not verdict.ok
    assert verdict.reason.startswith("grad_weight: an error")
    assert "(3, 0, 2, 1)" in verdict.reason


def test_an_output_never_written_is_refused_though_the_right_one_lay_there_before() -> None:
    def call(state: State) -> Any:
        convolved(state)
        return torch.empty_like(state.x)

    verdict = check(workload(call, shifted), make(size=65))
    assert not verdict.ok
    assert "not finite, as if never written" in verdict.reason


def test_an_output_never_written_is_refused_when_c_allocates_it() -> None:
    def call(state: State) -> Any:
        # resize_ allocates below every Python name that could be replaced.
        return torch.tensor([], dtype=state.x.dtype).resize_(state.x.shape)

    assert "as if never written" in check(workload(call, shifted), make(size=65)).reason


def test_a_cached_output_is_refused() -> None:
    cache: list[Any] = []

    def call(state: State) -> Any:
        if not cache:
            cache.append(convolved(state))
        return cache[0]

    verdict = check(workload(call, shifted), make())
    assert not verdict.ok
    assert verdict.reason.endswith("when the inputs changed")


@pytest.mark.parametrize("right_times", [1, 2, 3])
def test_a_kernel_that_is_right_only_the_first_times_is_refused(right_times: int) -> None:
    calls = []

    def call(state: State) -> Any:
        calls.append(1)
        return convolved(state) if len(calls) <= right_times else convolved(state) * 1.001

    assert not check(workload(call, shifted), make()).ok


def test_a_kernel_that_goes_wrong_while_it_is_timed_is_refused_afterwards() -> None:
    calls = []

    def call(state: State) -> Any:
        calls.append(1)
        return convolved(state) if len(calls) <= 10 else torch.empty_like(state.x)

    state, work = make(), workload(call, shifted)
    verdict = check(work, state)
    assert verdict.ok
    for _ in range(10):
        call(state)
    after = recheck(work, state, verdict)
    assert not after.ok
    assert after.reason.endswith("after timing")


def test_work_that_is_finished_behind_the_callers_back_is_refused() -> None:
    threads = []

    def call(state: State) -> Any:
        out = torch.empty_like(state.x)

        def late() -> None:
            time.sleep(0.02)
            out.detach().copy_(convolved(state))

        threads.append(threading.Thread(target=late))
        threads[-1].start()
        return out

    verdict = check(workload(call, shifted), make())
    for thread in threads:
        thread.join()
    assert not verdict.ok


def test_the_state_is_left_as_it_was_even_when_the_answer_is_wrong() -> None:
    def call(state: State) -> Any:
        return convolved(state) * 2

    for function in (convolved, call):
        state = make()
        before = [t.detach().clone() for t in (state.x, state.weight, state.grad_y)]
        check(workload(function, shifted), state)
        assert all(torch.equal(a, b) for a, b in zip(before, (state.x, state.weight, state.grad_y), strict=True))


def test_shapes_types_and_names_must_be_those_of_the_definition() -> None:
    reasons = [
        check(workload(lambda s: convolved(s)[:1], shifted), make()).reason,
        check(workload(lambda s: convolved(s).double(), shifted), make()).reason,
        check(workload(lambda s: (convolved(s), convolved(s)), shifted), make()).reason,
    ]
    assert reasons == [
        "output: shape (1, 4, 9, 9), expected (2, 4, 9, 9)",
        "output: float64, expected float32",
        "outputs are [0], [1], expected output",
    ]


def test_a_definition_that_overflows_is_refused_because_it_could_refuse_nothing() -> None:
    state = make(torch.float16)
    with torch.no_grad():
        state.x.mul_(1e4)
        state.weight.mul_(100)
    verdict = check(workload(convolved, shifted), state)
    assert not verdict.ok
    assert "the definition is not finite in float16" in verdict.reason


def test_a_case_without_a_definition_says_that_it_was_not_verified() -> None:
    verdict = check(workload(convolved, None), make())
    assert verdict.ok
    assert verdict.reason.startswith("not verified")
    assert verdict.error == {}


def test_gradients_of_a_graph_built_outside_the_call_follow_the_gradient_that_flows_in() -> None:
    def built() -> Any:
        state = SimpleNamespace(**vars(make(torch.float32)))
        # The graph keeps a product of the leaves, which does not change when they do.
        state.y = convolved(SimpleNamespace(x=state.x * 1, weight=state.weight))
        return state

    def backward(state: Any) -> Any:
        return torch.autograd.grad(state.y, (state.x, state.weight), state.grad_y, retain_graph=True)

    def plain(state: Any) -> Any:
        return torch.autograd.grad(shifted(state), (state.x, state.weight), state.grad_y)

    assert check(workload(backward, plain), built()).reason == ""

    cache: list[Any] = []

    def cached(state: Any) -> Any:
        cache.append(backward(state))
        return cache[0]

    assert check(workload(cached, plain), built()).reason.endswith("when the inputs changed")


def test_a_state_that_verifies_itself_is_compared_pair_by_pair() -> None:
    class Network:
        wrong = 0.0

        def verification_pairs(self) -> Any:
            state = make()
            exact = shifted(State(state.x.double(), state.weight.double(), None))
            yield "stage 1", convolved(state), shifted(state), exact
            yield "stage 2", convolved(state) + self.wrong, shifted(state), exact

    network = Network()
    work = workload(lambda state: None, None)
    verdict = check(work, network)
    assert verdict.ok
    assert list(verdict.error) == ["stage 1", "stage 2"]
    assert recheck(work, network, verdict).ok
    network.wrong = 1e-3
    assert check(work, network).reason.startswith("stage 2: an error of 0.001")
    assert recheck(work, network, verdict).reason.startswith("stage 2")


def test_a_state_whose_inputs_cannot_be_seen_is_refused() -> None:
    hidden = make()
    verdict = check(workload(lambda state: convolved(state()), lambda state: shifted(state())), lambda: hidden)
    assert verdict.reason.startswith("no input is found in the state")
