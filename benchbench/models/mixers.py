"""What mixes tokens: the partial depthwise convolution of Table 1, and any depthwise convolution by its definition.

The Inception depthwise convolution is timm's (``timm.models.inception_next.InceptionDWConv2d``), which takes the band
size and the branch ratio. Tensors are N x C x H x W.
"""

from __future__ import annotations

import copy
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional


class PartialDepthwiseConv2d(nn.Module):
    """y = [x[:, :C-g], dwconv_kxk(x[:, C-g:])] with g = floor(ratio C): the identity channels come first.

    Table 1 of arXiv:2303.16900v3. Raises ValueError where the ratio leaves no channel to the convolution.
    """

    def __init__(self, channels: int, *, kernel_size: int, ratio: str | Fraction) -> None:
        super().__init__()
        convolved = int(channels * Fraction(ratio))
        if not 0 < convolved <= channels:
            raise ValueError(f"a ratio of {ratio} of {channels} channels leaves {convolved} to the convolution")
        self.split_sizes = [channels - convolved, convolved]
        self.conv = nn.Conv2d(convolved, convolved, kernel_size, padding=kernel_size // 2, groups=convolved)

    def forward(self, x: Tensor) -> Tensor:
        kept, convolved = torch.split(x, self.split_sizes, dim=1)
        return torch.cat((kept, self.conv(convolved)), dim=1)


class DepthwiseByDefinition(nn.Module):
    """A depthwise convolution as padding, shifts, products and sums; it shares the weights of ``conv``.

    y[n,c,h,w] = b[c] + sum_ij weight[c,0,i,j] x[n, c, h s + i d - p, w s + j d - p], one operation a term.
    Under autocast it computes in autocast's type, as the convolution does.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        weight, bias = conv.weight, conv.bias
        if torch.is_autocast_enabled(x.device.type):
            kind = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(kind), weight.to(kind)
            bias = None if bias is None else bias.to(kind)
        (pad_h, pad_w), (step_h, step_w), (gap_h, gap_w) = _pair(conv.padding), conv.stride, conv.dilation
        padded = functional.pad(x, (pad_w, pad_w, pad_h, pad_h))
        size_h, size_w = weight.shape[-2:]
        rows = (padded.shape[-2] - gap_h * (size_h - 1) - 1) // step_h * step_h + 1
        columns = (padded.shape[-1] - gap_w * (size_w - 1) - 1) // step_w * step_w + 1
        total: Tensor | None = None
        for i in range(size_h):
            for j in range(size_w):
                shifted = padded[..., i * gap_h : i * gap_h + rows : step_h, j * gap_w : j * gap_w + columns : step_w]
                term = shifted * weight[:, 0, i, j, None, None]
                total = term if total is None else total + term
        assert total is not None
        return total if bias is None else total + bias[:, None, None]


def is_depthwise(module: nn.Module) -> bool:
    """Whether the module is a plain depthwise convolution: a group a channel, zeros for padding."""
    return (
        type(module) is nn.Conv2d
        and module.groups == module.in_channels == module.out_channels > 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def by_definition(model: nn.Module) -> nn.Module:
    """A copy of the model, weights included, in which every depthwise convolution is computed by its definition."""
    return replace_depthwise(copy.deepcopy(model), DepthwiseByDefinition)


def replace_depthwise(model: nn.Module, replacement: type[DepthwiseByDefinition]) -> nn.Module:
    """Put ``replacement(conv)`` where the model has a depthwise convolution, in place; the model is returned."""
    if is_depthwise(model):
        assert isinstance(model, nn.Conv2d)
        return replacement(model)
    for name, child in list(model.named_children()):
        setattr(model, name, replace_depthwise(child, replacement))
    return model


def _pair(padding: str | tuple[int, ...]) -> tuple[int, int]:
    assert not isinstance(padding, str)
    return padding[0], padding[1]
