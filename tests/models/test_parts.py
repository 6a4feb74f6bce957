"""Are the parts of a block what runs inside it, is nothing left out, and do they sum to the block beside them?"""

from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchbench.case import CASES, Skip, Workload
from benchbench.clocks import clock_for
from benchbench.models.parts import TakenApart
from benchbench.plan import PLANS, all_points
from benchbench.reports.breakdown import TOLERANCE
from benchbench.sweeps import breakdown  # noqa: F401 (registers the case)
from benchbench.timer import Policy, measure
from benchbench.verify import check

pytestmark = pytest.mark.network
BLOCKS = ("convnext_tiny", "inception_next_tiny")
FORWARD = ["rest", "mixer", "rest", "norm", "rest", "mlp"]
BACKWARD = ["rest", "mlp", "rest", "norm", "rest", "mixer"]


def workload(**changes: Any) -> Workload:
    params = {
        "model": "inception_next_tiny",
        "kernel_size": 5,
        "mlp_ratio": 2,
        "norm": "own",
        "shape": "16x6x6",
        "batch": 2,
        "precision": "fp32",
        "layout": "nchw",
        "mode": "train",
    }
    return CASES["block"].workload(params | changes)


def made(*, device: str = "cpu", **changes: Any) -> TakenApart:
    state: TakenApart = workload(**changes).make(device)
    return state


class Journal(TorchDispatchMode):
    """Every operation that PyTorch runs, under the part whose mark came next."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: list[str] = []
        self.of: dict[str, list[str]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.pending.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))

    def mark(self, name: str) -> None:
        """What is done for the marking alone must be a view, which computes nothing."""
        if not name:
            assert set(self.pending) <= {"view", "alias"}, self.pending
        self.of.setdefault(name, []).extend(self.pending)
        self.pending = []


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("model", BLOCKS)
def test_marks_come_in_the_order_of_the_block_and_change_nothing(model: str, mode: str, layout: str) -> None:
    state, marks = made(model=model, mode=mode, layout=layout), list[str]()
    outputs = state.marked(marks.append)
    expected = state.train() if mode == "train" else state.infer()
    assert [name for name in marks if name] == [*FORWARD, *(BACKWARD if mode == "train" else []), "rest"]
    for mine, theirs in zip(outputs, expected, strict=True):
        assert torch.equal(mine, theirs)
        assert mine.stride() == theirs.stride()


@pytest.mark.parametrize("model", BLOCKS)
def test_every_operation_of_the_block_is_in_the_part_that_it_belongs_to(model: str) -> None:
    state, journal, whole = made(model=model), Journal(), Journal()
    with journal:
        state.marked(journal.mark)
    with whole:
        state.train()
    assert journal.pending == []
    count = lambda names: {name: names.count(name) for name in names if name != "alias" and "view" not in name}  # noqa: E731
    together = [name for names in journal.of.values() for name in names]
    assert count(together) == count(whole.pending)
    of = {part: set(names) for part, names in journal.of.items()}
    kind = "native_layer_norm" if model == "convnext_tiny" else "native_batch_norm"
    homes = {"gelu": "mlp", "gelu_backward": "mlp", kind: "norm", f"{kind}_backward": "norm", "add": "rest"}
    if model == "convnext_tiny":
        homes |= {"convolution": "mixer", "convolution_backward": "mixer", "addmm": "mlp", "mm": "mlp"}
    else:
        homes |= {"cat": "mixer", "split_with_sizes": "mixer"}
        assert journal.of["mixer"].count("convolution_backward") == 3
        assert journal.of["mlp"].count("convolution_backward") == 2
    for operation, home in homes.items():
        assert {part for part in of if operation in of[part]} == {home}, operation
    # Shortcut forward, and backward the sum of what came through it and through the mixer.
    assert journal.of["rest"].count("add") == 2


def test_the_block_itself_is_timed_without_hooks_and_shares_its_weights() -> None:
    state = made()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in state.block.modules())
    assert all(a is b for a, b in zip(state.block.parameters(), state.hooked.parameters(), strict=True))


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_mixer_block_and_marked_block_are_compared_with_the_definition(mode: str) -> None:
    timed = workload(mode=mode)
    verdict = check(timed, timed.make("cpu"))
    assert verdict.ok, verdict.reason
    assert {"mixer output", "block output", "marked block output"} <= set(verdict.error)


def test_a_marked_block_that_computes_something_else_is_wrong() -> None:
    timed = workload(mode="infer")
    state = timed.make("cpu")
    state.hooked.norm.register_forward_hook(lambda module, inputs, output: 1.01 * output)
    verdict = check(timed, state)
    assert not verdict.ok
    assert "marked block" in verdict.reason


def test_norm_and_mlp_ratio_are_those_that_are_asked_for() -> None:
    assert {ratio: made(mlp_ratio=ratio).block.mlp.fc1.out_channels for ratio in (2, 3)} == {2: 32, 3: 48}
    assert type(made(norm="layer").block.norm).__name__ == "LayerNorm2d"
    with pytest.raises(Skip, match="LayerNorm"):
        workload(model="convnext_tiny", norm="batch")


def test_the_plan_takes_both_blocks_apart_in_both_modes() -> None:
    points = [p for p in all_points(PLANS["breakdown"], device="cuda:0") if p.case == "block"]
    assert {(p.params["model"], p.params["kernel_size"]) for p in points} == {
        ("convnext_tiny", 7),
        ("inception_next_tiny", 11),
    }
    # Four stages, two precisions, two layouts and two modes of each block.
    assert len(points) == 2 * 4 * 2 * 2 * 2


def sum_of_parts(state: TakenApart, device: str) -> float:
    """The parts of a run over the run beside it: the median of many pairs, on this machine's clock."""
    policy = Policy(cache="warm", min_samples=30, max_samples=100, time_cap_s=3.0, warmup_floor_s=0.05)
    call: Callable[[], Any] = state.train if state.trains else state.infer
    samples = measure(call, policy=policy, clock=clock_for(device), marked=state.marked)
    runs = zip(*samples.parts.values(), strict=True)
    return median(sum(run) / whole for run, whole in zip(runs, samples.samples_s, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("model", BLOCKS)
def test_the_parts_sum_to_the_block_within_what_the_chart_promises(model: str, mode: str) -> None:
    state = made(model=model, mode=mode, shape="96x28x28", batch=4, mlp_ratio=4)
    assert abs(sum_of_parts(state, "cpu") - 1) <= TOLERANCE


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("model", BLOCKS)
def test_the_parts_sum_to_the_block_on_a_gpu(model: str, mode: str) -> None:
    state = made(device="cuda:0", model=model, mode=mode, shape="96x56x56", batch=64, mlp_ratio=4)
    assert abs(sum_of_parts(state, "cuda:0") - 1) <= TOLERANCE
