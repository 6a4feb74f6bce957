"""Do the isotropic networks mix as the paper says?"""

import pytest
import torch
from torch import nn

from benchbench.models.build import build
from benchbench.models.isotropic import Attention, ConvBlock


def test_attention_is_a_weighted_mean_of_values_whatever_the_kernel() -> None:
    attention = Attention(128).double()
    with torch.no_grad():
        # Queries of zero give every place the same weight: each output is the mean of the values.
        attention.qkv.weight[:128] = 0
        attention.qkv.bias[:128] = 0
        attention.qkv.weight[256:] = torch.eye(128)
        attention.qkv.bias[256:] = 0
        attention.project.weight.copy_(torch.eye(128))
        attention.project.bias.zero_()
    x = torch.randn(2, 128, 3, 3, dtype=torch.float64)
    expected = x.mean((2, 3), keepdim=True).expand_as(x)
    torch.testing.assert_close(attention(x), expected)


def test_explicit_attention_is_the_fused_one() -> None:
    attention = Attention(128).double()
    x = torch.randn(2, 128, 3, 4, dtype=torch.float64)
    fused = attention(x)
    attention.fused_attn = False
    torch.testing.assert_close(attention(x), fused)


def test_a_block_has_one_shortcut_around_mixer_norm_and_mlp() -> None:
    block = ConvBlock(nn.Conv2d(4, 4, 3, padding=1, groups=4), 4, drop_path=0).eval()
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        block.gamma.fill_(0.3)
        inner = block.mlp(block.norm(block.mixer(x)))
        torch.testing.assert_close(block(x), x + 0.3 * inner)


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "millions"),
    [("convnext_iso_small", 22.31), ("inception_next_iso_small", 22.00), ("metanext_attn_small", 22.05)],
)
def test_parameters_are_those_that_the_paper_prints(name: str, millions: float) -> None:
    assert round(sum(p.numel() for p in build(name).parameters()) / 1e6, 2) == millions
