"""Does the verifier accept what is right, and refuse each way of being wrong?"""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from small_convolution import CALL, PLAIN, WORK, K, State, convolved, make, shifted, workload

from benchbench import verify
from benchbench.case import Workload
from benchbench.switches import switches
from benchbench.verify import Verdict, check, recheck
from benchbench.work import Work


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


def test_freed_answers_are_poisoned_before_each_mixer_of_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(verify, "poison_free_blocks", lambda device: seen.append("poisoned"))

    class Network:
        def verification_pairs(self) -> Any:
            for name in ("stage 1", "stage 2"):
                out = convolved(make())
                seen.append(name)
                yield name, out, out, out.double()

    assert verify.check(workload(lambda state: None, None), Network()).ok
    assert seen == ["stage 1", "poisoned", "stage 2", "poisoned"]


def test_a_state_whose_inputs_cannot_be_seen_is_refused() -> None:
    hidden = make()
    verdict = check(workload(lambda state: convolved(state()), lambda state: shifted(state())), lambda: hidden)
    assert verdict.reason.startswith("no input is found in the state")


def test_the_allowance_grows_with_the_error_of_the_definition_and_the_type_of_the_tensor() -> None:
    exact = torch.tensor([1.0, -8.0], dtype=torch.float64)
    eps = torch.finfo(torch.float32).eps
    assert verify._expect("y", exact.float(), exact).allowance == 2 * eps * 8
    assert verify._expect("y", exact.float() + 0.25, exact).allowance == 2 * (0.25 + eps * 8)
    assert verify._expect("y", exact.half(), exact).allowance == 2 * torch.finfo(torch.float16).eps * 8
    assert verify._expect("y", exact.float(), exact, tf32=True).allowance == 2 * 2.0**-10 * 8
    assert verify._expect("n", torch.tensor([3]), torch.tensor([3])).allowance == 0


def test_a_sum_of_many_terms_may_be_added_one_after_another_but_must_not_miss_one() -> None:
    terms = 200_000
    generator = torch.Generator().manual_seed(1)
    state = {"x": torch.randn(4, terms, generator=generator)}

    def one_after_another(state: Any) -> Any:
        # PyTorch's own cumulative sum adds in float64.
        return torch.from_numpy(numpy.add.accumulate(state["x"].numpy(), axis=1)[:, -1].copy())

    def pairwise(state: Any) -> Any:
        return state["x"].sum(1)

    def one_missed(state: Any) -> Any:
        return pairwise(state) - state["x"][:, 7]

    counted = Work(0, 0, 2 * 4 * terms, 1)
    assert check(Workload(make, one_after_another, counted, pairwise), state).ok
    assert not check(Workload(make, one_after_another, WORK, pairwise), state).ok
    assert check(Workload(make, pairwise, counted, pairwise), state).ok
    assert not check(Workload(make, one_missed, counted, pairwise), state).ok


def test_a_pair_may_say_how_many_terms_were_added() -> None:
    x = torch.randn(4, 200_000, generator=torch.Generator().manual_seed(1))
    added = torch.from_numpy(numpy.add.accumulate(x.numpy(), axis=1)[:, -1].copy())

    class Network:
        counted: tuple[int, ...] = ()

        def verification_pairs(self) -> Any:
            yield "sum", added, x.sum(1), x.double().sum(1), *self.counted

    work, network = workload(lambda state: None, None), Network()
    assert not check(work, network).ok
    network.counted = (x.numel(),)
    assert check(work, network).ok


def test_a_largest_error_is_found_across_slices_and_in_every_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "CHUNK_ELEMENTS", 7)
    exact = torch.zeros(5, 4, 3, 3, dtype=torch.float64)
    for layout in (torch.contiguous_format, torch.channels_last):
        out = torch.zeros(5, 4, 3, 3).to(memory_format=layout)
        out[3, 1, 0, 2] = -2
        out[4, 3, 2, 2] = 1
        assert verify._largest_error(out, exact) == (2.0, (3, 1, 0, 2))
    scalar = torch.tensor(3.0)
    assert verify._largest_error(scalar, torch.tensor(1.0)) == (2.0, ())
    assert verify._largest_error(torch.empty(0, 3), torch.empty(0, 3)) == (0.0, ())
    out[2, 0, 0, 0] = float("nan")
    error, where = verify._largest_error(out, exact)
    assert error != error
    assert where == (2, 0, 0, 0)


@pytest.mark.gpu
def test_a_launch_on_another_stream_that_was_not_joined_is_refused() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    side = torch.cuda.Stream()

    def unjoined(state: State) -> Any:
        with torch.cuda.stream(side):
            return convolved(state)

    def joined(state: State) -> Any:
        side.wait_stream(torch.cuda.current_stream())
        out = unjoined(state)
        torch.cuda.current_stream().wait_stream(side)
        return out

    x, weight, grad_y = (t.detach().cuda() for t in vars(make(size=65)).values())
    assert check(workload(joined, shifted), State(x, weight, grad_y)).ok
    assert not check(workload(unjoined, shifted), State(x, weight, grad_y)).ok


@pytest.mark.gpu
def test_an_operator_in_c_that_writes_nothing_finds_nan_in_the_freed_blocks_of_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")

    def call(state: State) -> Any:
        return torch.tensor([], device="cuda").resize_(state.x.shape)

    x, weight, grad_y = (t.detach().cuda() for t in vars(make(size=65)).values())
    assert "as if never written" in check(workload(call, shifted), State(x, weight, grad_y)).reason


@pytest.mark.gpu
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
@pytest.mark.parametrize("backend", ["aten", "native"])
def test_stock_is_right_on_a_gpu_at_a_shape_that_is_timed(backend: str, precision: str, layout: Any) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
    x, grad_y = (torch.randn(128, 96, 56, 56, device="cuda", dtype=dtype).to(memory_format=layout) for _ in range(2))
    state = State(x.requires_grad_(), torch.randn(96, 1, K, K, device="cuda", dtype=dtype).requires_grad_(), grad_y)
    counted = Work(0, 0, 3 * 2 * K * K * x.numel(), 128)
    with switches(precision, backend):
        verdict = check(Workload(lambda device: state, CALL, counted, PLAIN), state)
        assert verdict.reason == ""
        assert recheck(workload(), state, verdict).ok
