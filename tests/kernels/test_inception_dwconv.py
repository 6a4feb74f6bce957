"""The NCHW kernels of Inception depthwise convolution against float64: outputs and gradients, in every kind of call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from pairwise import pairwise
from torch import Tensor

from benchbench.kernels.inception_dwconv import (
    inception_dwconv,
    inception_dwconv_with_statistics,
    reference,
    triton_nchw_backward,
    triton_nchw_forward,
)

FP32, FP16, BF16 = torch.float32, torch.float16, torch.bfloat16
SHAPES = ((2, 8, 7, 7), (1, 9, 3, 13), (3, 3, 1, 1), (2, 7, 9, 4), (1, 8, 2, 30), (2, 6, 8, 1))
RATIOS = ("least", "most")
SQUARES = (3, 1, 5, 7)
BANDS = (11, 3, 31)
TYPES = ((FP32, FP32), (FP16, FP16), (BF16, BF16), (FP32, BF16), (FP16, BF16))
FORMS = ("dense", "channel slice", "expanded batch", "crop")
BIASES = (True, False)
SIDES = (1, 7, 13, 15, 56, 57, 112)
CHANNELS = (3, 8, 100, 768)
KERNELS = ((3, 11), (5, 7), (7, 31), (1, 3))


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int]
    ratio: str
    square: int
    band: int
    types: tuple[torch.dtype, torch.dtype]
    form: str
    has_bias: bool

    @property
    def branch(self) -> int:
        return max(1, self.shape[1] // 8) if self.ratio == "least" else self.shape[1] // 3

    def __str__(self) -> str:
        kinds = "-".join(str(kind)[6:] for kind in self.types)
        sizes = "x".join(map(str, self.shape))
        return f"{sizes}-g{self.branch}-s{self.square}-k{self.band}-{kinds}-{self.form}-bias{int(self.has_bias)}"


@dataclass(frozen=True)
class Call:
    x: Tensor
    weights: list[Tensor]
    biases: list[Tensor]
    grad_y: Tensor


def call_of(case: Case, device: str) -> Call:
    """Random arguments; x lies in memory as the case's form says."""
    made = torch.Generator().manual_seed(1)
    dtype, out_dtype = case.types
    n, c, h, w = case.shape

    def normal(*shape: int, kind: torch.dtype = dtype) -> Tensor:
        return torch.randn(shape, generator=made).to(kind).to(device)

    x = {
        "dense": lambda: normal(n, c, h, w),
        "channel slice": lambda: normal(n, c + 5, h, w)[:, 3 : 3 + c],
        "expanded batch": lambda: normal(1, c, h, w).expand(n, c, h, w),
        "crop": lambda: normal(n, c, h + 1, w + 2)[:, :, 1:, 1 : w + 1],
    }[case.form]()
    shapes = [(case.square, case.square), (1, case.band), (case.band, 1)]
    weights = [normal(case.branch, 1, *shape) for shape in shapes]
    biases = [normal(case.branch) for _ in shapes] if case.has_bias else []
    return Call(x, weights, biases, normal(n, c, h, w, kind=out_dtype))


def kernels(call: Call) -> tuple[Tensor, list[Tensor]]:
    """y and the gradients of x, the weights and the biases, by the function under test."""
    inputs = [tensor.detach().requires_grad_() for tensor in (call.x, *call.weights, *call.biases)]
    biases = inputs[4:] or [None] * 3
    y = inception_dwconv(*inputs[:4], *biases, out_dtype=call.grad_y.dtype)
    return y.detach(), list(torch.autograd.grad(y, inputs, call.grad_y))


def definition(call: Call, dtype: torch.dtype | None = None, device: str = "cpu") -> tuple[Tensor, list[Tensor]]:
    """The same by the reference, in float64 or in the types of the call."""
    x, grad_y, *parameters = (
        tensor.to(device, dtype or tensor.dtype) for tensor in (call.x, call.grad_y, *call.weights, *call.biases)
    )
    y = reference.forward(x, parameters[:3], parameters[3:] or [None] * 3, dtype or grad_y.dtype)
    grad_x, grads_w, grads_b = reference.backward(x, grad_y, parameters[:3])
    return y, [grad_x, *grads_w, *(grads_b if call.biases else [])]


def share_of_allowance(out: Sequence[Tensor], plain: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """|out - exact| over 2 (|plain - exact| + eps |exact|), in max norms over all of these tensors as one."""
    got, unfused, true = (
        torch.cat([tensor.to(exact[0].device).double().flatten() for tensor in tensors])
        for tensors in (out, plain, exact)
    )
    eps = torch.finfo(out[0].dtype).eps
    allowed = 2 * ((unfused - true).abs().max() + eps * true.abs().max())
    return float((got - true).abs().max() / allowed)


def check(case: Case, device: str, judge: str = "cpu") -> None:
    """judge: where the definition is computed, in float64 and in the types of the case."""
    call = call_of(case, device)
    y, grads = kernels(call)
    plain_y, plain = definition(call, device=judge)
    exact_y, exact = definition(call, torch.float64, judge)
    assert y.dtype == case.types[1]
    assert y.shape == call.x.shape
    identity = case.shape[1] - 3 * case.branch
    if case.types[0] == case.types[1]:
        assert torch.equal(y[:, :identity], call.x[:, :identity])
    # The gradients of three weights are one tensor here: a sum that cancels leaves no scale to judge itself by.
    groups = (slice(0, 1), slice(1, 4), slice(4, 7))
    shares = [share_of_allowance([y], [plain_y], [exact_y])]
    shares += [share_of_allowance(grads[g], plain[g], exact[g]) for g in groups if grads[g]]
    assert all(share <= 1 for share in shares), shares
    again = kernels(call)[1]
    assert all(torch.equal(first, second) for first, second in zip(grads, again, strict=True))


AXES = (SHAPES, RATIOS, SQUARES, BANDS, TYPES, FORMS, BIASES)


@pytest.mark.interpreter
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("case", [Case(*values) for values in pairwise(AXES)], ids=str)
def test_outputs_and_gradients_are_as_right_as_unfused_operations(case: Case, device: str) -> None:
    check(case, device)


STAGES = ((2, 8, 56, 56), (2, 8, 28, 28), (2, 16, 14, 14), (3, 24, 7, 7))
EDGES = ((1, 8, 57, 57), (1, 8, 15, 112), (1, 3, 1, 512), (1, 3, 512, 1), (2, 8, 13, 64))


@pytest.mark.interpreter
@pytest.mark.slow
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("types", TYPES, ids=str)
@pytest.mark.parametrize("shape", [*STAGES, *EDGES], ids=str)
def test_stages_and_edges_are_as_right_as_unfused_operations(
    shape: tuple[int, int, int, int], types: tuple[torch.dtype, torch.dtype], device: str
) -> None:
    check(Case(shape, "least", 3, 11, types, "dense", True), device)


LARGE = [
    Case((3, channels, side, side), ratio, *kernels, types, form, has_bias)
    for side, channels, ratio, kernels, types, form, has_bias in pairwise(
        (SIDES, CHANNELS, RATIOS, KERNELS, TYPES, FORMS, BIASES)
    )
]


@pytest.mark.gpu
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_the_sizes_of_networks_are_as_right_as_unfused_operations(case: Case) -> None:
    check(case, "cuda", judge="cuda")


class Counted:
    """A kernel that counts its launches."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.launches = kernel, 0

    def __getitem__(self, grid: Any) -> Any:
        self.launches += 1
        return self.kernel[grid]


@pytest.mark.interpreter
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_launches_our_kernels_and_no_convolution_of_aten(
    shape: tuple[int, int, int, int], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = [
        Counted(triton_nchw_forward.forward_kernel),
        Counted(triton_nchw_backward.backward_kernel),
        Counted(triton_nchw_backward.total_kernel),
    ]
    monkeypatch.setattr(triton_nchw_forward, "forward_kernel", counted[0])
    monkeypatch.setattr(triton_nchw_backward, "backward_kernel", counted[1])
    monkeypatch.setattr(triton_nchw_backward, "total_kernel", counted[2])
    call = call_of(Case(shape, "least", 3, 3, (FP32, FP32), "dense", True), device)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        kernels(call)
    assert [kernel.launches for kernel in counted] == [1, 1, 1]
    assert not [event.key for event in profile.key_averages() if event.key.startswith("aten::") and "conv" in event.key]


def strided(parameter: Tensor) -> Tensor:
    """The same numbers, every second in memory and the axes in the opposite order."""
    order = list(range(parameter.dim()))[::-1]
    lying = torch.stack((parameter, parameter), dim=-1)[..., 0].permute(*order)
    return torch.stack((lying, lying), dim=-1)[..., 0].permute(*order)


@pytest.mark.interpreter
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_parameters_that_are_not_dense_give_the_same_bits(memory_format: torch.memory_format, device: str) -> None:
    call = call_of(Case((2, 8, 5, 6), "most", 3, 5, (FP32, FP32), "dense", True), device)
    x = call.x.contiguous(memory_format=memory_format)
    other = Call(x, [strided(w) for w in call.weights], [strided(b) for b in call.biases], call.grad_y)
    assert not any(parameter.is_contiguous() for parameter in (*other.weights, *other.biases))
    y, grads = kernels(Call(x, call.weights, call.biases, call.grad_y))
    found_y, found = kernels(other)
    assert all(map(torch.equal, [found_y, *found], [y, *grads]))
    expected = inception_dwconv_with_statistics(x, *call.weights, *call.biases)
    assert all(map(torch.equal, inception_dwconv_with_statistics(x, *other.weights, *other.biases), expected))


@pytest.mark.interpreter
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_not_a_number_and_infinity_go_where_the_definition_sends_them(bad: float, device: str) -> None:
    call = call_of(Case((1, 6, 5, 6), "most", 3, 5, (FP32, FP32), "dense", True), device)
    call.x[0, :, 1, 2] = bad
    call.grad_y[0, :, 3, 3] = bad
    y, grads = kernels(call)
    plain_y, plain = definition(call)
    for out, expected in ((y, plain_y), (grads[0], plain[0])):
        assert torch.equal(out.cpu().isnan(), expected.isnan())
        assert torch.equal(out.cpu().isinf(), expected.isinf())


@pytest.mark.interpreter
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)], ids=str)
def test_a_gradient_reaches_the_base_of_a_strided_view(order: tuple[int, ...], device: str) -> None:
    call = call_of(Case((2, 8, 4, 5), "least", 3, 5, (FP32, FP32), "dense", True), device)
    sizes = [0, 0, 0, 0]
    for place, axis in enumerate(order):
        sizes[axis] = (2, 10, 4, 5)[place]
    base = torch.randn(sizes, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()
    view = base.permute(*order)[:, 1:9]
    (grad,) = torch.autograd.grad(inception_dwconv(view, *call.weights, *call.biases), base, call.grad_y)
    exact = definition(Call(view.detach(), call.weights, call.biases, call.grad_y), torch.float64)[1][0]
    inner = grad.permute(*order)
    assert inner[:, [0, 9]].abs().sum() == 0
    plain = definition(Call(view.detach(), call.weights, call.biases, call.grad_y))[1][0]
    assert share_of_allowance([inner[:, 1:9]], [plain], [exact]) <= 1
