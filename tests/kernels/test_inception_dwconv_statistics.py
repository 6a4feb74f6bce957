"""The epilogue for BatchNorm: y is what it is without, and the statistics are those of y as it is stored."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from benchbench.access import rows, shipped
from benchbench.access.thresholds import violations
from benchbench.kernels.inception_dwconv import (
    InceptionDWConv2d,
    inception_dwconv,
    inception_dwconv_with_statistics,
    plan,
)
from benchbench.kernels.inception_dwconv.triton_statistics import moment_bytes

FP32, FP16, BF16 = torch.float32, torch.float16, torch.bfloat16
SHAPES = ((2, 8, 7, 7), (3, 9, 3, 13), (1, 3, 1, 1), (2, 30, 14, 14), (1, 8, 17, 30), (5, 24, 2, 56), (2, 78, 4, 3))
TYPES = ((FP32, FP32), (FP16, FP16), (BF16, BF16), (FP32, BF16))
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
UNIT = Fraction(1, 2**24)


def call_of(
    shape: tuple[int, int, int, int], dtype: torch.dtype, layout: str, device: str, *, mean: float = 0.0
) -> tuple[Tensor, ...]:
    made = torch.Generator().manual_seed(2)
    branch = max(1, shape[1] // 8)
    x = torch.randn(shape, generator=made) + mean
    weights = [torch.randn(branch, 1, *size, generator=made) / 8 for size in ((3, 3), (1, 11), (11, 1))]
    biases = [torch.randn(branch, generator=made) for _ in weights]
    x = x.to(dtype).contiguous(memory_format=FORMATS[layout])
    return tuple(tensor.to(dtype).to(device) for tensor in (x, *weights, *biases))


def check_statistics(y: Tensor, mean: Tensor, variance: Tensor) -> None:
    """Against float64, by the bounds of sums of n terms in any order (Higham, Accuracy and Stability, 4.2).

    Distances from a value of the channel are at most its range R: the mean may be off by gamma (|y| + R), the variance
    by gamma R^2, gamma being k u / (1 - k u) for k roundings, which are the terms and some ten operations on each.
    """
    stored = y.double().transpose(0, 1).flatten(1)
    count = stored.shape[1]
    gamma = float((2 * count + 16) * UNIT / (1 - (2 * count + 16) * UNIT))
    reach = stored.amax(1) - stored.amin(1)
    assert mean.dtype == variance.dtype == FP32
    assert bool(((mean - stored.mean(1)).abs() <= gamma * (stored.abs().amax(1) + reach)).all())
    # The distances are rounded themselves, by a unit of what they are distances of.
    rounded = gamma * reach**2 + 2 * float(UNIT) * stored.abs().amax(1) * reach
    assert bool(((variance - stored.var(1, correction=0)).abs() <= rounded).all())


@pytest.mark.interpreter
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize(("number", "shape"), list(enumerate(SHAPES)))
def test_statistics_are_those_of_what_is_stored(
    number: int, shape: tuple[int, int, int, int], layout: str, device: str, poisoned: None
) -> None:
    dtype, out_dtype = TYPES[number % len(TYPES)]
    call = call_of(shape, dtype, layout, device, mean=1.0)
    y, mean, variance = inception_dwconv_with_statistics(*call, out_dtype=out_dtype)
    assert torch.equal(y, inception_dwconv(*call, out_dtype=out_dtype))
    check_statistics(y.cpu(), mean.cpu(), variance.cpu())


@pytest.mark.interpreter
@pytest.mark.parametrize("layout", FORMATS)
def test_a_large_mean_costs_no_digits(layout: str, device: str) -> None:
    call = call_of((3, 16, 7, 7), FP32, layout, device, mean=4096.0)
    y, mean, variance = inception_dwconv_with_statistics(*call)
    check_statistics(y.cpu(), mean.cpu(), variance.cpu())
    squares = y.square().mean((0, 2, 3)) - y.mean((0, 2, 3)).square()
    with pytest.raises(AssertionError):
        check_statistics(y.cpu(), mean.cpu(), squares.cpu())


@pytest.mark.interpreter
@pytest.mark.parametrize("layout", FORMATS)
def test_a_slice_of_channels_of_many_images_is_read_where_it_lies(layout: str, device: str) -> None:
    wide = call_of((9, 29, 6, 5), FP16, layout, device)
    branch = [tensor[:3] for tensor in wide[1:]]
    y, mean, variance = inception_dwconv_with_statistics(wide[0][:, 2:26], *branch)
    assert torch.equal(y, inception_dwconv(wide[0][:, 2:26], *branch))
    check_statistics(y.cpu(), mean.cpu(), variance.cpu())


@pytest.mark.interpreter
def test_planes_of_more_threads_than_a_program_has_are_joined(device: str) -> None:
    call = call_of((1, 4, 128, 72), FP32, "nchw", device)
    y, mean, variance = inception_dwconv_with_statistics(*call)
    assert plan((1, 4, 128, 72), FP32, branch=1, direction="statistics").rows["identity"] > 1
    check_statistics(y.cpu(), mean.cpu(), variance.cpu())


@pytest.mark.interpreter
def test_one_nan_reaches_the_statistics_of_its_channel_alone(device: str) -> None:
    call = call_of((2, 16, 7, 7), FP32, "nchw", device)
    call[0][1, 3, 2, 2] = float("nan")
    _, mean, variance = inception_dwconv_with_statistics(*call)
    assert mean.isnan().nonzero().flatten().tolist() == variance.isnan().nonzero().flatten().tolist() == [3]


def test_gradients_flow_through_the_output_alone() -> None:
    call = call_of((2, 16, 5, 5), torch.float64, "nchw", "cpu")
    leaves = [tensor.requires_grad_() for tensor in call]
    y, mean, variance = inception_dwconv_with_statistics(*leaves)
    assert not mean.requires_grad
    assert not variance.requires_grad
    grad_y = torch.randn_like(y)
    expected = torch.autograd.grad(inception_dwconv(*leaves), leaves, grad_y)
    assert all(map(torch.equal, torch.autograd.grad(y, leaves, grad_y), expected))


def test_it_is_an_operation_that_compilers_can_trace(each_device: str) -> None:
    call = call_of((2, 16, 5, 5), FP32, "nhwc", each_device)
    torch.library.opcheck(torch.ops.benchbench.inception_dwconv_with_statistics.default, (*call, FP32))
    compiled = torch.compile(inception_dwconv_with_statistics, fullgraph=True, backend="aot_eager")
    for found, expected in zip(compiled(*call), inception_dwconv_with_statistics(*call), strict=True):
        assert torch.equal(found, expected)


def test_under_autocast_the_output_is_narrow_and_the_statistics_are_not() -> None:
    call = call_of((2, 16, 5, 5), FP32, "nchw", "cpu")
    with torch.autocast("cpu", dtype=BF16):
        y, mean, variance = inception_dwconv_with_statistics(*call)
    assert y.dtype == BF16
    check_statistics(y, mean, variance)


def test_an_empty_batch_has_no_statistics() -> None:
    call = call_of((0, 16, 5, 5), FP32, "nchw", "cpu")
    with pytest.raises(ValueError, match="an empty x has no statistics"):
        inception_dwconv_with_statistics(*call)


@pytest.mark.parametrize("backend", ["triton", "reference"])
def test_the_layer_gives_them_too(backend: str) -> None:
    layer = InceptionDWConv2d(16, backend=backend)
    x = torch.randn(2, 16, 6, 6)
    y, mean, variance = layer.with_statistics(x)
    torch.testing.assert_close(y, layer(x))
    check_statistics(y.detach(), mean, variance)
    with pytest.raises(ValueError, match="expected 16 channels, got 8"):
        layer.with_statistics(x[:, :8])


@pytest.mark.parametrize("shape", [*shipped.STAGES["T"], *shipped.STAGES["B"]])
@pytest.mark.parametrize("dtype", [FP32, FP16])
@pytest.mark.parametrize("layout", FORMATS)
def test_the_rows_of_moments_cost_less_than_the_reading_they_save(shape: str, dtype: torch.dtype, layout: str) -> None:
    channels, height, width = map(int, shape.split("x"))
    launch = plan((128, channels, height, width), dtype, layout, direction="statistics")
    saved = 128 * channels * height * width * dtype.itemsize
    assert 2 * moment_bytes(launch) < saved


@pytest.mark.compiling
@pytest.mark.slow
@pytest.mark.parametrize(("layout", "dtype"), [("nchw", "bf16"), ("nhwc", "fp32")])
def test_the_kernel_meets_the_thresholds(layout: str, dtype: str) -> None:
    row = rows.resource_row(shipped.Spec("inception_dwconv", "statistics", dtype, layout, "384x14x14"))
    assert violations(row) == []


@pytest.mark.interpreter
@pytest.mark.usefixtures("interpreting")
@pytest.mark.parametrize("layout", FORMATS)
def test_no_more_is_asked_of_memory_than_without_statistics(layout: str) -> None:
    row = rows.traffic_row(shipped.Spec("inception_dwconv", "statistics", "bf16", layout, "768x7x7"))
    assert row["out_of_bounds"] == []
    assert violations(row) == []
