"""The channels_last kernels of the Inception depthwise convolution against float64, called without the operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from pairwise import pairwise
from torch import Tensor

from benchbench.access import rows, shipped, thresholds, traced
from benchbench.access.shipped import STAGES
from benchbench.kernels.inception_dwconv import (
    launch_nhwc,
    reference,
    triton_nchw_backward,
    triton_nhwc_backward,
    triton_nhwc_forward,
)
from benchbench.kernels.inception_dwconv.launch import Geometry, Plan, plan

FP32, FP16, BF16 = torch.float32, torch.float16, torch.bfloat16


@dataclass(frozen=True)
class Case:
    """One call: form is how x lies in memory; out_dtype is that of y and of its gradient."""

    shape: tuple[int, int, int, int]
    branch: int
    square: int = 3
    band: int = 11
    dtype: torch.dtype = FP32
    out_dtype: torch.dtype = FP32
    form: str = "dense"
    has_bias: bool = True

    def __str__(self) -> str:
        types = "-".join(str(dtype)[6:] for dtype in (self.dtype, self.out_dtype))
        shape = "x".join(map(str, self.shape))
        return f"{shape}-g{self.branch}-s{self.square}-k{self.band}-{types}-{self.form}-bias{int(self.has_bias)}"


# Every size, type, form and kernel at least once: lines that one thread holds and lines that several share, with and
# without a remainder; odd channels (one a thread), groups that fill no sector, no identity, lines of one position.
CASES = (
    Case((2, 16, 7, 7), 2),
    Case((1, 48, 14, 14), 6, dtype=FP16, out_dtype=FP16),
    Case((1, 24, 15, 13), 3, band=5, dtype=BF16, out_dtype=BF16),
    Case((3, 10, 1, 5), 2, square=1, band=3),
    Case((1, 12, 5, 1), 4, square=5, band=7, has_bias=False),
    Case((1, 9, 3, 17), 3, band=31),
    Case((2, 16, 7, 9), 2, form="slice of the channels"),
    Case((3, 16, 7, 9), 2, form="expanded batch", dtype=BF16, out_dtype=BF16),
    Case((1, 16, 8, 28), 2, dtype=FP32, out_dtype=FP16, has_bias=False),
    Case((1, 40, 29, 3), 10, dtype=FP32, out_dtype=BF16),
)
GROUPS = ((1, 3, 1), (2, 8, 2), (2, 40, 5), (1, 100, 12), (1, 768, 96))
PLANES = ((1, 1), (7, 7), (13, 15), (57, 56), (112, 3))
KERNELS = ((1, 3), (3, 11), (5, 21), (7, 31))
# The interpreter takes minutes for wide channels on large planes: those meet on a GPU.
MORE_CASES = tuple(
    Case((batch, channels, height, width), branch, square, band, dtype, out_dtype)
    for batch, channels, branch in GROUPS
    for height, width in PLANES
    for square, band in KERNELS
    for dtype, out_dtype in ((FP32, FP32), (BF16, BF16), (FP32, BF16))
    if channels * height * width < 40_000
)
LARGE = tuple(
    Case((2, channels, *plane), branch, *kernels, *types, form, has_bias)
    for (_, channels, branch), plane, kernels, types, form, has_bias in pairwise(
        (
            GROUPS,
            PLANES,
            KERNELS,
            ((FP32, FP32), (FP16, FP16), (BF16, BF16), (FP32, BF16)),
            ("dense", "slice of the channels", "expanded batch"),
            (True, False),
        )
    )
)


def tensor_of(case: Case, device: str, seed: int) -> Tensor:
    made = torch.Generator().manual_seed(seed)
    batch, channels, height, width = case.shape
    more = 6 if case.form == "slice of the channels" else 0
    images = 1 if case.form == "expanded batch" else batch
    x = torch.randn(images, channels + more, height, width, generator=made).to(device, case.dtype)
    x = x.contiguous(memory_format=torch.channels_last)[:, more // 2 : more // 2 + channels]
    return x.expand(batch, -1, -1, -1)


def weights_of(case: Case, device: str) -> tuple[list[Tensor], list[Tensor]]:
    made = torch.Generator().manual_seed(1)
    sizes = ((case.square, case.square), (1, case.band), (case.band, 1))
    weights = [torch.randn(case.branch, 1, *size, generator=made).to(device, case.dtype) for size in sizes]
    biases = [torch.randn(case.branch, generator=made).to(device, case.dtype) for _ in sizes]
    return weights, biases if case.has_bias else []


def plan_of(case: Case, direction: str) -> Plan:
    arch = 90
    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        arch = 10 * major + minor
    sizes = {"branch": case.branch, "square": case.square, "band": case.band}
    return plan(case.shape, case.dtype, "nhwc", arch, out_dtype=case.out_dtype, direction=direction, **sizes)


def double(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.double() for tensor in tensors]


def assert_allowed(found: Tensor, exact: Tensor, plain: Tensor) -> None:
    """|found - exact| <= 2 (|plain - exact| + eps |exact|) in the largest element: what rounding explains."""
    rounding = torch.finfo(found.dtype).eps * exact.abs().max()
    allowed = 2 * ((plain.double() - exact).abs().max() + rounding)
    error = (found.double() - exact).abs().max()
    assert error <= allowed, f"error {error:.3g}, allowed {allowed:.3g}"


def assert_forward(case: Case, device: str) -> None:
    x, (weights, biases) = tensor_of(case, device, 0), weights_of(case, device)
    y = triton_nhwc_forward.forward(x, weights, biases, plan_of(case, "forward"), case.out_dtype)
    exact = reference.forward(x.double(), double(weights), double(biases) or [None] * 3)
    plain = reference.forward(x, weights, biases or [None] * 3, case.out_dtype)
    assert y.dtype == case.out_dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert_allowed(y, exact, plain)
    identity = case.shape[1] - 3 * case.branch
    assert torch.equal(y[:, :identity], x[:, :identity].to(case.out_dtype))


def assert_backward(case: Case, device: str) -> None:
    x, (weights, _) = tensor_of(case, device, 0), weights_of(case, device)
    grad_y = tensor_of(Case(case.shape, case.branch, dtype=case.out_dtype), device, 2)
    launch = plan_of(case, "backward")
    grad_x, grads_w, grads_b = triton_nhwc_backward.backward(x, grad_y, weights, launch)
    exact = reference.backward(x.double(), grad_y.double(), double(weights))
    plain = reference.backward(x, grad_y, weights)
    found, wanted = [grad_x, *grads_w, *grads_b], [exact[0], *exact[1], *exact[2]]
    for one, right, rounded in zip(found, wanted, [plain[0], *plain[1], *plain[2]], strict=True):
        assert one.dtype == case.dtype
        assert one.shape == right.shape
        assert_allowed(one, right, rounded)
    identity = case.shape[1] - 3 * case.branch
    assert torch.equal(grad_x[:, :identity], grad_y[:, :identity].to(case.dtype))


@pytest.mark.interpreter
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_forward_pass_is_right_in_channels_last(case: Case, device: str) -> None:
    assert_forward(case, device)


@pytest.mark.interpreter
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_gradients_are_right_in_channels_last(case: Case, device: str) -> None:
    assert_backward(case, device)


@pytest.mark.interpreter
@pytest.mark.slow
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("case", MORE_CASES, ids=str)
def test_both_passes_are_right_at_every_size(case: Case, device: str) -> None:
    assert_forward(case, device)
    assert_backward(case, device)


@pytest.mark.gpu
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_both_passes_are_right_at_the_sizes_of_networks(case: Case) -> None:
    assert_forward(case, "cuda")
    assert_backward(case, "cuda")


@pytest.mark.interpreter
def test_weight_gradients_are_the_same_bits_from_run_to_run(device: str) -> None:
    case = Case((3, 16, 9, 5), 2)
    x, grad_y, (weights, _) = tensor_of(case, device, 0), tensor_of(case, device, 1), weights_of(case, device)
    once, again = (triton_nhwc_backward.backward(x, grad_y, weights, plan_of(case, "backward")) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip([*once[1], *once[2]], [*again[1], *again[2]], strict=True))


@pytest.mark.interpreter
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_value_that_is_not_finite_spoils_only_what_its_taps_reach(value: float, device: str) -> None:
    case = Case((2, 16, 9, 20), 2, band=5)
    x, grad_y, (weights, biases) = tensor_of(case, device, 0), tensor_of(case, device, 1), weights_of(case, device)
    # The last pixel of the last image is what threads without work could repeat. Even channels keep their values.
    x[1, 1::2, 8, 19] = value
    grad_y[1, 1::2, 8, 19] = value
    y = triton_nhwc_forward.forward(x, weights, biases, plan_of(case, "forward"), FP32)
    found = triton_nhwc_backward.backward(x, grad_y, weights, plan_of(case, "backward"))
    plain = reference.backward(x, grad_y, weights)
    assert torch.equal(y.isfinite(), reference.forward(x, weights, biases).isfinite())
    assert torch.equal(found[0].isfinite(), plain[0].isfinite())
    # A tap that only meets the value across the edge may lose its sum as well, but only in the value's own channel.
    for one, right in zip([*found[1], *found[2]], [*plain[1], *plain[2]], strict=True):
        spoilt = ~one.isfinite()
        assert bool((spoilt >= ~right.isfinite()).all())
        assert bool(one[0].isfinite().all())


@pytest.mark.interpreter
@pytest.mark.usefixtures("interpreting")
@pytest.mark.parametrize("case", [Case((1, 16, 15, 9), 2, band=5), Case((1, 9, 5, 17), 3, band=3, dtype=FP16)], ids=str)
def test_no_address_outside_the_tensors_is_touched(case: Case) -> None:
    x, grad_y, (weights, biases) = tensor_of(case, "cpu", 0), tensor_of(case, "cpu", 1), weights_of(case, "cpu")
    forward, backward = plan_of(case, "forward"), plan_of(case, "backward")
    found = traced.trace(lambda: triton_nhwc_forward.forward(x, weights, biases, forward, case.out_dtype))
    more = traced.trace(lambda: triton_nhwc_backward.backward(x, grad_y, weights, backward))
    assert found.out_of_bounds == ()
    assert more.out_of_bounds == ()


@pytest.mark.parametrize("stage", ["96x56x56", "192x28x28", "384x14x14", "768x7x7", "128x56x56", "1024x7x7"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_few_programs_of_a_launch_have_nothing_to_do(stage: str, direction: str) -> None:
    channels, height, width = map(int, stage.split("x"))
    launch = plan((128, channels, height, width), BF16, "nhwc", direction=direction)
    elements = {"identity": channels - 3 * (channels // 8), "row": channels // 8}
    a_program = {name: 128 * height * width * count / launch.parts[name] for name, count in elements.items()}
    copied = launch.constants["COPY_VECTOR"] * launch.constants["COPY_COUNT"] * launch.constants["BLOCK"]
    assert a_program["identity"] > 0.9 * copied
    # A row program covers at most SHARE_ROW positions of its channels a thread and step; a quarter may be idle lanes.
    constants = launch.constants
    steps = constants.get("STEPS_ROW", 1)
    assert a_program["row"] > 0.7 * constants["SHARE_ROW"] * constants["VECTOR"] * constants["BLOCK"] * steps


def test_a_plan_does_not_depend_on_the_batch_but_for_steps_and_programs() -> None:
    launches = [plan((batch, 96, 56, 56), FP32, "nhwc") for batch in (1, 7, 128)]
    assert all(launch.constants == launches[0].constants for launch in launches)
    assert launches[0].programs < launches[1].programs < launches[2].programs


def test_threads_across_fill_a_sector_and_no_more() -> None:
    assert launch_nhwc.threads_across(6, 4) == 8
    assert launch_nhwc.threads_across(24, 4) == 8
    assert launch_nhwc.threads_across(12, 8) == 4
    assert launch_nhwc.threads_across(512, 4) == 8
    assert launch_nhwc.threads_across(1, 4) == 1


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", [torch.float32, BF16], ids=str)
@pytest.mark.parametrize("stage", [*STAGES["T"], *STAGES["B"]])
def test_partial_sums_are_little_beside_what_must_be_moved(stage: str, dtype: torch.dtype, layout: str) -> None:
    channels, height, width = map(int, stage.split("x"))
    made = plan((128, channels, height, width), dtype, layout, direction="backward")
    module = {"nchw": triton_nchw_backward, "nhwc": triton_nhwc_backward}[layout]
    floor = (2 * channels + 3 * (channels // 8)) * height * width * 128 * dtype.itemsize
    assert 0 < module.partial_bytes(made) < 0.02 * floor


def test_odd_channel_counts_take_one_channel_a_thread() -> None:
    assert launch_nhwc.channels_at_once(Geometry(1, 100, 7, 7, 12)) == 2
    assert launch_nhwc.channels_at_once(Geometry(1, 100, 7, 7, 13)) == 1
    assert launch_nhwc.channels_at_once(Geometry(1, 99, 7, 7, 12)) == 1


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("direction", ["forward", "statistics", "backward"])
def test_a_call_beyond_32_bit_positions_is_refused_in_one_line(direction: str, layout: str) -> None:
    for shape in ((1, 8192, 512, 1024), (1, 5, 2**15, 2**15), (2**31, 8, 3, 3)):
        with pytest.raises(ValueError, match="use a smaller batch or smaller images") as caught:
            plan(shape, FP32, layout, direction=direction, branch=1)
        assert "\n" not in str(caught.value)


def test_a_backward_pass_that_counts_windows_of_the_whole_batch_refuses_more_than_32_bits() -> None:
    shape = (2**23, 8, 128, 128)
    assert plan(shape, BF16, "nchw").programs < 2**31
    with pytest.raises(ValueError, match="use a smaller batch or smaller images"):
        plan(shape, BF16, "nchw", direction="backward")


@pytest.mark.compiling
@pytest.mark.slow
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_smallest_stage_keeps_every_threshold(direction: str) -> None:
    spec = shipped.Spec("inception_dwconv", direction, "bf16", "nhwc", "768x7x7", "sm_90")
    assert thresholds.violations(rows.resource_row(spec)) == []
