"""The depthwise kernels against float64: every pair of shape, kernel size, layout, type, identity and memory form."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from pairwise import pairwise
from torch import Tensor

from benchbench.kernels.depthwise_conv import depthwise_conv, reference
from benchbench.kernels.depthwise_conv.operation import interpreted

SHAPES = ((2, 3, 8, 4), (1, 9, 3, 7), (3, 4, 2, 9), (2, 3, 1, 1), (1, 2, 5, 19), (0, 3, 4, 4))
KERNELS = ((3, 3), (1, 11), (11, 1), (5, 5), (7, 7))
LAYOUTS = ("nchw", "nhwc")
TYPES = (
    (torch.float32, torch.float32),
    (torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.float16),
    (torch.float32, torch.bfloat16),
)
IDENTITIES = (0, 1)
FORMS = ("dense", "channel slice", "expanded batch", "crop")
BIASES = (True, False)
LARGE_KERNELS = ((9, 9), (11, 11), (13, 13), (1, 31), (31, 1), (31, 31), (1, 1))
# What a GPU is shown in minutes: a kernel takes up to fifteen seconds to compile, and each case has three of its own.
LARGE_SHAPES = ((2, 1, 112, 112), (2, 3, 57, 57), (2, 8, 56, 56), (2, 100, 7, 7), (2, 768, 1, 1))
SOME_KERNELS = ((3, 3), (7, 7), (1, 11), (11, 1), (11, 11), (1, 31), (31, 1), (31, 31), (1, 1))


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int]
    kernel: tuple[int, int]
    layout: str
    types: tuple[torch.dtype, torch.dtype]
    identity: int
    form: str
    has_bias: bool

    def __str__(self) -> str:
        sizes = "x".join(map(str, self.shape)), "x".join(map(str, self.kernel))
        types = "-".join(str(kind)[6:] for kind in self.types)
        return f"{sizes[0]}-k{sizes[1]}-{self.layout}-{types}-id{self.identity}-{self.form}-bias{int(self.has_bias)}"


def tensor_of(shape: Sequence[int], layout: str, form: str, dtype: torch.dtype, device: str, seed: int) -> Tensor:
    """Random numbers of this shape in this layout, lying in memory as ``form`` says."""
    made = torch.Generator().manual_seed(seed)
    images, channels, height, width = shape
    if form == "channel slice":
        whole = (images, channels + 8, height, width)
    elif form == "expanded batch":
        whole = (1, channels, height, width)
    elif form == "crop":
        whole = (images, channels, height + 1, width + 2)
    else:
        whole = (images, channels, height, width)
    x = torch.randn(whole, generator=made, dtype=torch.float64).to(dtype).to(device)
    if layout == "nhwc":
        x = x.contiguous(memory_format=torch.channels_last)
    if form == "expanded batch":
        return x.expand(shape)
    return x[:, :channels, :height, :width]


def assert_within_allowance(name: str, out: Tensor, plain: Tensor, exact: Tensor) -> None:
    """|out - exact| <= 2 (|plain - exact| + eps |exact|), each the largest over the tensor; eps that of the output."""
    assert out.shape == exact.shape
    if out.numel() == 0:
        return
    eps = torch.finfo(out.dtype).eps
    allowed = 2 * ((plain.double() - exact).abs().max() + eps * exact.abs().max())
    error = (out.double() - exact).abs().max()
    assert error <= allowed, f"{name}: {error:.3e} > {allowed:.3e}"


def check(case: Case, device: str) -> None:
    dtype, out_dtype = case.types
    group = case.shape[1] - case.identity
    x = tensor_of(case.shape, case.layout, case.form, dtype, device, 1)
    g = tensor_of(case.shape, case.layout, "dense", out_dtype, device, 2)
    weight = tensor_of((group, 1, *case.kernel), "nchw", "dense", torch.float32, device, 3)
    bias = tensor_of((group, 1, 1, 1), "nchw", "dense", torch.float32, device, 4).flatten() if case.has_bias else None

    def gradients(function: object, kind: torch.dtype | None) -> list[Tensor]:
        leaves = [tensor.detach() if kind is None else tensor.detach().to(kind) for tensor in (x, weight)]
        leaves += [] if bias is None else [bias if kind is None else bias.to(kind)]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        wanted = out_dtype if kind is None else kind
        y = function(*leaves, identity_channels=case.identity, out_dtype=wanted)  # type: ignore[operator]
        return [y, *torch.autograd.grad(y, leaves, g.to(wanted))]

    found = gradients(depthwise_conv, None)
    plain = gradients(reference.depthwise_conv, None)
    exact = gradients(reference.depthwise_conv, torch.float64)
    assert found[0].dtype == out_dtype
    assert found[1].dtype == dtype
    for name, out, near, true in zip(("y", "grad x", "grad weight", "grad bias"), found, plain, exact, strict=False):
        assert_within_allowance(name, out.detach(), near.detach(), true.detach())
    if dtype == out_dtype:
        assert torch.equal(found[0][:, : case.identity], x[:, : case.identity])
    if case.layout == "nhwc" and case.form != "crop" and x.numel() > 0 and case.shape[2] * case.shape[3] > 1:
        assert found[0].is_contiguous(memory_format=torch.channels_last)


COVER = [Case(*v) for v in pairwise((SHAPES, KERNELS, LAYOUTS, TYPES, IDENTITIES, FORMS, BIASES), seed=1)]


@pytest.mark.interpreter
@pytest.mark.parametrize("case", COVER, ids=str)
@pytest.mark.usefixtures("poisoned")
def test_outputs_and_gradients_are_within_what_rounding_explains(case: Case, device: str) -> None:
    assert device == "cuda" or interpreted()
    check(case, device)


@pytest.mark.interpreter
@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", LARGE_KERNELS, ids=lambda size: f"k{size[0]}x{size[1]}")
@pytest.mark.usefixtures("poisoned")
def test_large_kernels_hold(kernel: tuple[int, int], layout: str, device: str) -> None:
    check(Case((1, 2, 6, 18), kernel, layout, TYPES[0], 0, "dense", True), device)


@pytest.mark.interpreter
@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("types", TYPES, ids=lambda types: "-".join(str(kind)[6:] for kind in types))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda size: f"k{size[0]}x{size[1]}")
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.usefixtures("poisoned")
def test_the_full_cross_holds(shape, kernel, layout, types, form, device) -> None:  # type: ignore[no-untyped-def]
    check(Case(shape, kernel, layout, types, 1, form, True), device)


LARGE = [
    Case(shape, kernel, layout, types, shape[1] // 8 if copies else 0, form, has_bias)
    for shape, kernel, layout, types, copies, form, has_bias in pairwise(
        (LARGE_SHAPES, SOME_KERNELS, LAYOUTS, TYPES, (True, False), FORMS, BIASES)
    )
]


@pytest.mark.gpu
@pytest.mark.parametrize("case", LARGE, ids=str)
@pytest.mark.usefixtures("poisoned")
def test_large_images_and_odd_channel_counts_hold(case: Case) -> None:
    check(case, "cuda")


@pytest.mark.interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("width", [5, 20, 19])
def test_infinities_and_nans_reach_what_stock_convolution_lets_them_reach(layout: str, width: int, device: str) -> None:
    """Also those at the border of the image and those in the weights: padding zeros multiply none of them."""
    x = tensor_of((2, 4, 5, width), layout, "dense", torch.float32, device, 1)
    g = tensor_of((2, 4, 5, width), layout, "dense", torch.float32, device, 2)
    weight = tensor_of((4, 1, 3, 3), "nchw", "dense", torch.float32, device, 3)
    for tensor, value in ((x, float("inf")), (g, float("-inf"))):
        tensor[0, 0, 0, 0] = tensor[1, 1, 3, width - 1] = tensor[0, 1, 4, 2] = value
    x[1, 2, 2, 3] = float("nan")
    weight[3, 0, 0, 0], weight[3, 0, 1, 2] = float("inf"), float("nan")
    found = [leaf.detach().clone().requires_grad_() for leaf in (x, weight)]
    exact = [leaf.detach().double().requires_grad_() for leaf in (x, weight)]
    y, true = depthwise_conv(*found), reference.depthwise_conv(*exact)
    pairs = [
        (y, true),
        *zip(torch.autograd.grad(y, found, g), torch.autograd.grad(true, exact, g.double()), strict=True),
    ]
    for out, expected in pairs:
        assert torch.equal(out.isnan(), expected.isnan())
        assert torch.equal(out.isposinf(), expected.isposinf())
        assert torch.equal(out.isneginf(), expected.isneginf())


@pytest.mark.interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weight_gradients_are_bit_equal_from_run_to_run(layout: str, device: str) -> None:
    x = tensor_of((3, 5, 7, 9), layout, "dense", torch.float32, device, 1)
    weight = tensor_of((5, 1, 3, 3), "nchw", "dense", torch.float32, device, 3).requires_grad_()
    grads = [torch.autograd.grad(depthwise_conv(x, weight).square().sum(), weight)[0] for _ in range(2)]
    assert torch.equal(*grads)


@pytest.mark.interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
def test_parameters_that_are_not_dense_are_read_where_they_lie(layout: str, device: str) -> None:
    x = tensor_of((2, 4, 5, 6), layout, "dense", torch.float32, device, 1)
    weight = tensor_of((4, 1, 5, 3), "nchw", "dense", torch.float32, device, 3)
    bias = tensor_of((4, 1, 1, 2), "nchw", "dense", torch.float32, device, 4)[:, 0, 0, 0]
    strided = weight.transpose(2, 3).contiguous().transpose(2, 3)
    assert not strided.is_contiguous()
    assert not bias.is_contiguous()
    assert torch.equal(depthwise_conv(x, strided, bias), depthwise_conv(x, weight, bias.contiguous()))


@pytest.mark.interpreter
def test_no_convolution_of_pytorch_is_called(device: str) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    seen: list[str] = []

    class Listening(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            seen.append(str(operation))
            return operation(*args, **(kwargs or {}))

    x = tensor_of((1, 3, 4, 4), "nchw", "dense", torch.float32, device, 1).requires_grad_()
    weight = tensor_of((2, 1, 3, 3), "nchw", "dense", torch.float32, device, 3).requires_grad_()
    with Listening():
        depthwise_conv(x, weight, identity_channels=1).sum().backward()
    assert not [name for name in seen if "conv" in name and "benchbench" not in name]
    assert sum("benchbench.depthwise_conv" in name for name in seen) == 2


@pytest.mark.interpreter
def test_only_an_input_that_lies_otherwise_is_copied(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchbench.kernels.depthwise_conv import start

    given: list[Tensor] = []
    original = start.convolve
    monkeypatch.setattr(start, "convolve", lambda x, *rest: (given.append(x), original(x, *rest)))
    weight = tensor_of((4, 1, 3, 3), "nchw", "dense", torch.float32, device, 3)
    for layout, form in itertools.product(LAYOUTS, FORMS):
        x = tensor_of((2, 4, 5, 6), layout, form, torch.float32, device, 1)
        depthwise_conv(x, weight)
        assert (given[-1].data_ptr() == x.data_ptr()) == (form != "crop"), (layout, form)
