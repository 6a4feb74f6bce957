"""Does each row of Table 8 change what it says?"""

import pytest
import torch
from timm.layers.norm import LayerNorm2d
from torch import nn

from benchbench.models.ablation import BandsInSequence, WithoutBranch
from benchbench.models.build import build


@pytest.mark.parametrize(
    ("without", "sizes"),
    [
        ("3x3", [(1, 11), (11, 1)]),
        ("1x11", [(3, 3), (11, 1)]),
        ("11x1", [(3, 3), (1, 11)]),
    ],
)
def test_the_channels_of_a_branch_left_out_are_passed_through(without: str, sizes: list[tuple[int, int]]) -> None:
    mixer = WithoutBranch(16, without=without)
    assert [conv.kernel_size for conv in mixer.convs] == sizes
    x = torch.randn(1, 16, 5, 5)
    y = mixer(x)
    assert torch.equal(y[:, :12], x[:, :12])
    torch.testing.assert_close(y[:, 12:14], mixer.convs[0](x[:, 12:14]))
    torch.testing.assert_close(y[:, 14:], mixer.convs[1](x[:, 14:]))


def test_bands_in_sequence_are_one_separable_convolution() -> None:
    mixer = BandsInSequence(8).double()
    nn.init.zeros_(mixer.bands[0].bias)
    x = torch.randn(1, 8, 13, 13, dtype=torch.float64)
    row, column = mixer.bands[0].weight[0, 0, 0], mixer.bands[1].weight[0, 0, :, 0]
    whole = nn.functional.conv2d(x[:, 7:], torch.outer(column, row)[None, None], mixer.bands[1].bias, padding=5)
    torch.testing.assert_close(mixer(x)[:, 7:], whole)
    assert torch.equal(mixer(x)[:, :6], x[:, :6])


@pytest.mark.network
def test_the_norm_is_over_channels_everywhere_but_for_the_head() -> None:
    norms = [m for m in build("inception_next_tiny.layer_norm").modules() if "Norm" in type(m).__name__]
    assert sum(isinstance(m, LayerNorm2d) for m in norms) == 22
    assert not any(isinstance(m, nn.BatchNorm2d) for m in norms)
