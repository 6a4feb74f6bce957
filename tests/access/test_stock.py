"""The stock module's bytes against a dispatch trace on the CPU, and against the figures of the design."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from benchbench.access.stock import Branches, inception_kernels, runs_cudnn, stock_bytes, stock_moves  # noqa: E402

SIZES = {"batch": 2, "channels": 16, "height": 5, "width": 6}
MIXER = Branches(**SIZES, branch_channels=2, kernels=inception_kernels())
LARGE = Branches(batch=128, channels=96, height=56, width=56, branch_channels=12, kernels=inception_kernels())
PARTIAL = Branches(**SIZES, branch_channels=4, kernels=((7, 7),))
ALL_JOINED = Branches(**SIZES, branch_channels=16, kernels=((7, 7),))
WHOLE = Branches(**SIZES, branch_channels=16, kernels=((7, 7),), joined=False)
NAMES = {"convolution": "convolve", "convolution_backward": "convolve", "cat": "concatenate", "_to_copy": "cast"}


class Moved(TorchDispatchMode):  # type: ignore[misc]
    """Adds up what each operation that moves bytes reads and writes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: dict[str, list[int]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        name = NAMES.get(function.__name__.split(".")[0])
        if name:
            total = self.bytes.setdefault(name, [0, 0])
            total[0] += size_of(args)
            total[1] += size_of(out)
        return out


def size_of(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return int(value.numel() * value.element_size())
    return sum(size_of(part) for part in value) if isinstance(value, (tuple, list)) else 0


class Stock(torch.nn.Module):  # type: ignore[misc]
    """What passes through, and the branches, as timm's mixer and the partial convolution of the paper are written."""

    def __init__(self, sizes: Branches) -> None:
        super().__init__()
        self.sizes, each = sizes, sizes.branch_channels
        self.convolutions = torch.nn.ModuleList(
            torch.nn.Conv2d(each, each, kernel, padding="same", groups=each) for kernel in sizes.kernels
        )

    def forward(self, x: Any) -> Any:
        if not self.sizes.joined:
            return self.convolutions[0](x)
        each = [self.sizes.branch_channels] * len(self.convolutions)
        passed, *slices = torch.split(x, [self.sizes.channels - sum(each), *each], dim=1)
        return torch.cat((passed, *(conv(part) for conv, part in zip(self.convolutions, slices, strict=True))), dim=1)


def traced(module: Any, sizes: Branches, mode: str, precision: str, layout: str) -> dict[str, list[int]]:
    memory_format = torch.channels_last if layout == "nhwc" else torch.contiguous_format
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    module = module.to(kind).to(memory_format=memory_format)
    x = torch.randn(sizes.batch, sizes.channels, sizes.height, sizes.width, dtype=kind)
    x = x.to(memory_format=memory_format).requires_grad_()
    with Moved() as forward, torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "amp-bf16"):
        y = module(x)
    gradient = torch.ones_like(y)
    with Moved() as backward:
        y.backward(gradient)
    return forward.bytes if mode == "forward" else backward.bytes


def visible(sizes: Branches, mode: str, precision: str, layout: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for move in stock_moves(sizes, precision=precision, layout=layout, mode=mode, device="cpu"):
        if move.provenance == "visible":
            total = found.setdefault(move.operation.split()[0], [0, 0])
            total[0] += move.bytes_read
            total[1] += move.bytes_written
    return found


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "amp-bf16"])
@pytest.mark.parametrize("mode", ["forward", "backward"])
def test_what_a_trace_shows_is_what_is_called_visible(mode: str, precision: str, layout: str) -> None:
    timm = pytest.importorskip("timm.models.inception_next")
    found = traced(timm.InceptionDWConv2d(MIXER.channels), MIXER, mode, precision, layout)
    assert found == visible(MIXER, mode, precision, layout)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "amp-bf16"])
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("sizes", [PARTIAL, ALL_JOINED, WHOLE], ids=["partial", "ratio 1", "depthwise"])
def test_so_it_is_with_one_kernel_on_a_share_of_the_channels_and_on_all(
    sizes: Branches, mode: str, precision: str, layout: str
) -> None:
    assert traced(Stock(sizes), sizes, mode, precision, layout) == visible(sizes, mode, precision, layout)


def test_a_convolution_of_all_channels_moves_the_least_and_a_share_of_them_more() -> None:
    one = WHOLE.elements * 4
    parameters = 16 * 50 * 4
    assert stock_bytes(WHOLE) == 2 * one + parameters
    copied, convolved, joined = 2 * one // 4, 2 * one // 4 + parameters // 4, 2 * one
    assert stock_bytes(PARTIAL) == copied + convolved + joined


@pytest.mark.parametrize(
    ("precision", "layout", "mode", "elements"),
    [
        ("fp32", "nchw", "forward", 3.5),
        ("fp32", "nhwc", "forward", 4.25),
        ("bf16", "nchw", "forward", 3.5),
        ("fp32", "nchw", "backward", 5.375),
        ("fp32", "nhwc", "backward", 5.375),
    ],
)
def test_the_stock_mixer_moves_the_tensors_that_the_design_counts(
    precision: str, layout: str, mode: str, elements: float
) -> None:
    itemsize = 4 if precision == "fp32" else 2
    moved = stock_bytes(LARGE, precision=precision, layout=layout, mode=mode)
    assert moved / (itemsize * LARGE.elements) == pytest.approx(elements, abs=1e-4)


def test_under_amp_the_stock_forward_moves_eleven_bytes_an_element() -> None:
    assert stock_bytes(LARGE, precision="amp-bf16") / LARGE.elements == pytest.approx(11, abs=1e-3)


def test_what_is_hidden_is_called_derived() -> None:
    hidden = stock_bytes(LARGE, provenance="derived") / (4 * LARGE.elements)
    assert hidden == pytest.approx(0.75)
    assert stock_bytes(LARGE) == stock_bytes(LARGE, provenance="derived") + stock_bytes(LARGE, provenance="visible")


@pytest.mark.parametrize(
    ("kernel", "channels", "width", "precision", "layout", "cudnn"),
    [
        ((3, 3), 12, 56, "fp32", "nchw", False),
        ((3, 3), 48, 14, "fp16", "nchw", True),
        ((3, 3), 24, 28, "fp16", "nchw", False),
        ((3, 3), 48, 14, "bf16", "nchw", False),
        ((1, 11), 48, 14, "fp16", "nchw", False),
        ((3, 3), 96, 7, "amp-fp16", "nchw", True),
        ((1, 11), 12, 56, "fp32", "nhwc", True),
    ],
)
def test_cudnn_runs_where_pytorchs_rule_says(
    kernel: tuple[int, int], channels: int, width: int, precision: str, layout: str, cudnn: bool
) -> None:
    assert runs_cudnn(kernel, channels, width, precision, layout) is cudnn


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="no stock model for 'fp8'"):
        stock_moves(MIXER, precision="fp8")
