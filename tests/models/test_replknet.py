"""Does RepLKNet's large kernel hold the small one, and do its blocks compute what the paper draws?"""

import pytest
import torch
from torch import nn

from benchbench.models.build import build
from benchbench.models.replknet import FeedForwardBlock, LargeKernelBlock, LargeKernelConv


def with_statistics(module: nn.Module) -> nn.Module:
    """In float64 and evaluation mode, with norms that have seen something."""
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return module.double().eval()


def test_the_large_and_the_small_convolution_are_added() -> None:
    conv = LargeKernelConv(3, 9)
    with_statistics(conv)
    x = torch.randn(1, 3, 12, 12, dtype=torch.float64)
    torch.testing.assert_close(conv(x), conv.large[1](conv.large[0](x)) + conv.small[1](conv.small[0](x)))


@pytest.mark.parametrize("kernel", [9, 31, 5])
def test_merging_changes_nothing_in_inference(kernel: int) -> None:
    conv = LargeKernelConv(3, kernel)
    with_statistics(conv)
    x = torch.randn(2, 3, 10, 11, dtype=torch.float64)
    before = conv(x)
    conv.merge()
    torch.testing.assert_close(conv(x), before)
    assert [tuple(p.shape) for p in conv.parameters()] == [(3, 1, kernel, kernel), (3,)]
    conv.merge()
    torch.testing.assert_close(conv(x), before)


def test_the_large_kernel_block_is_a_mixture_between_two_pointwise_convolutions() -> None:
    block = LargeKernelBlock(4, 7, 0.0)
    with_statistics(block)
    x = torch.randn(1, 4, 8, 8, dtype=torch.float64)
    inner = block.expand[1](block.expand[0](block.norm(x))).relu()
    inner = block.reduce[1](block.reduce[0](block.mixer(inner).relu()))
    torch.testing.assert_close(block(x), x + inner)


def test_the_feed_forward_block_is_four_times_as_wide_inside() -> None:
    block = FeedForwardBlock(4, 0.0)
    with_statistics(block)
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    inner = nn.functional.gelu(block.expand(block.norm(x)))
    assert inner.shape[1] == 16
    torch.testing.assert_close(block(x), x + block.reduce(inner))


@pytest.mark.slow
@pytest.mark.network
def test_the_merged_network_is_the_network() -> None:
    model = build("replknet_31b").eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = model(x)
        torch.testing.assert_close(model.merge()(x), before, rtol=1e-4, atol=1e-4)
