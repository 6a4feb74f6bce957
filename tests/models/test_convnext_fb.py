"""Is Facebook's form of ConvNeXt the ConvNeXt of the paper?"""

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchbench.models.build import build
from benchbench.models.convnext_fb import Block, ChannelNorm
from benchbench.models.mixers import PartialDepthwiseConv2d


def test_the_norm_of_channels_is_layer_normalisation_at_every_place() -> None:
    norm = ChannelNorm(6).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    expected = functional.layer_norm(x.permute(0, 2, 3, 1), (6,), norm.weight, norm.bias, 1e-6).permute(0, 3, 1, 2)
    torch.testing.assert_close(norm(x), expected)


def test_a_block_adds_the_scaled_mlp_of_the_normalised_mixture() -> None:
    block = Block(nn.Identity(), 2, layer_scale=0.5, drop_path=0)
    with torch.no_grad():
        block.expand.weight.copy_(torch.eye(2).repeat(4, 1))
        block.reduce.weight.copy_(torch.eye(2).repeat(1, 4))
        block.expand.bias.zero_()
        block.reduce.bias.fill_(1)
    x = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
    # Two channels normalise to -1 and 1; each passes GELU in four copies that are added up.
    gelu = functional.gelu(torch.tensor([-1.0, 1.0]))
    expected = x + 0.5 * (4 * gelu + 1).view(1, 2, 1, 1)
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.network
def test_with_the_same_weights_it_is_timms_convnext() -> None:
    ours, theirs = build("convnext_tiny.fb").eval(), build("convnext_tiny").eval()
    with torch.no_grad():
        for own, timm in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert own.shape == timm.shape
            own.copy_(timm)
        x = torch.randn(1, 3, 64, 64)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.network
def test_kernel_size_and_ratio_choose_the_mixer() -> None:
    model = build("convnext_tiny.fb", kernel_size=3, ratio="1/8")
    mixers = [m for m in model.modules() if isinstance(m, PartialDepthwiseConv2d)]
    assert len(mixers) == 18
    assert {m.conv.kernel_size for m in mixers} == {(3, 3)}
    assert mixers[0].split_sizes == [84, 12]
