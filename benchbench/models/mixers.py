"""What mixes tokens: the partial depthwise convolution of Table 1, and any depthwise convolution by its definition.

The Inception depthwise convolution is timm's (``timm.models.inception_next.InceptionDWConv2d``), which takes the band
size and the branch ratio. Tensors are N x C x H x W.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# A gradient is a sum over all places of all images. The definition adds this many parts one after another, which rounds
# as much as a thread does that runs through its share of the images; the parts themselves are summed as torch likes.
MOST_STEPS = 8192


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
    """A depthwise convolution as padding, shifts, products and sums; it has the parameters of ``conv``.

    y[n,c,h,w] = b[c] + sum_ij weight[c,0,i,j] x[n, c, h s + i d - p, w s + j d - p], one operation a term.
    Under autocast it computes in autocast's type, as the convolution does.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        (pad_h, pad_w), self.stride, self.dilation = _pair(conv.padding), _pair(conv.stride), _pair(conv.dilation)
        self.padding = (pad_w, pad_w, pad_h, pad_h)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
            kind = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(kind), weight.to(kind)
            bias = None if bias is None else bias.to(kind)
        padded = functional.pad(x, self.padding)
        y: Tensor = _SumOfShifts.apply(padded, weight, bias, self.stride, self.dilation)
        return y


class _SumOfShifts(torch.autograd.Function):
    """b[c] + sum_ij weight[c,0,i,j] x[n, c, h s + i d, w s + j d], and its gradients, by the same sums.

    Autograd would get the gradients too, but makes a zero-filled copy of x for every term, and adds up the gradients of
    the parameters in a tree, which rounds less than any convolution does that runs through the images in order.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], dilation: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.steps, ctx.has_bias = (stride, dilation), bias is not None
        terms = (shifted * weight[:, 0, i, j, None, None] for i, j, shifted in _shifts(x, weight, stride, dilation))
        total = next(terms)
        for term in terms:
            total += term
        return total if bias is None else total + bias[:, None, None]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        (grad,), (x, weight) = grads, ctx.saved_tensors
        grad_x, parts = torch.zeros_like(x), []
        grad_shifts = _shifts(grad_x, weight, *ctx.steps)
        for (i, j, shifted), (_, _, grad_shifted) in zip(_shifts(x, weight, *ctx.steps), grad_shifts, strict=True):
            grad_shifted += grad * weight[:, 0, i, j, None, None]
            parts.append(_partial_sums(grad * shifted))
        grad_weight = _added_in_order(torch.stack(parts, dim=2)).view_as(weight)
        return grad_x, grad_weight, _added_in_order(_partial_sums(grad)) if ctx.has_bias else None, None, None


def _partial_sums(terms: Tensor) -> Tensor:
    """N x C x H x W as steps x C with the same sums over places: places in order, at most MOST_STEPS steps.

    In float64, which only has to be right, one step.
    """
    places = terms.permute(0, 2, 3, 1).flatten(0, 2)
    steps = 1 if terms.dtype == torch.float64 else min(len(places), MOST_STEPS)
    short = -len(places) % steps
    return functional.pad(places, (0, 0, 0, short)).view(steps, -1, places.shape[1]).sum(1)


def _added_in_order(parts: Tensor) -> Tensor:
    """The sum over the first dimension, one after another in the tensor's own type, as no library does it worse."""
    return functools.reduce(torch.add, parts.unbind())


def _shifts(
    x: Tensor, weight: Tensor, stride: tuple[int, int], dilation: tuple[int, int]
) -> Iterator[tuple[int, int, Tensor]]:
    """Views of the padded x, each of the output's size, one for every place of the kernel."""
    (step_h, step_w), (gap_h, gap_w), (size_h, size_w) = stride, dilation, weight.shape[-2:]
    rows = x.shape[-2] - gap_h * (size_h - 1)
    columns = x.shape[-1] - gap_w * (size_w - 1)
    for i in range(size_h):
        for j in range(size_w):
            top, left = i * gap_h, j * gap_w
            yield i, j, x[..., top : top + rows : step_h, left : left + columns : step_w]


def is_depthwise(module: nn.Module) -> bool:
    """Whether the module is a plain depthwise convolution: a group a channel, zeros for padding."""
    return (
        type(module) is nn.Conv2d
        and module.groups == module.in_channels == module.out_channels > 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def is_accelerated(module: nn.Module) -> bool:
    """Whether the module stands where ``accelerate`` found another."""
    return "_accelerated_from" in vars(module)


def by_definition(model: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """The model with every depthwise convolution, or kernel put in its place, by its definition; it stays as it is.

    Parameters are the original's own; with a dtype they, and the buffers, are copies in it. Buffers are always copies.
    """
    memo: dict[int, Any] = {
        id(p): p if dtype is None else nn.Parameter(p.detach().to(dtype), requires_grad=p.requires_grad)
        for p in model.parameters()
    }
    held = nn.Sequential(copy.deepcopy(model, memo))
    if any(is_accelerated(module) for module in model.modules()):
        from benchbench.models.accelerate import restore

        restore(held)
    defined = _replaced(held[0])
    return defined if dtype is None else defined.to(dtype)


def _replaced(model: nn.Module) -> nn.Module:
    if is_depthwise(model):
        assert isinstance(model, nn.Conv2d)
        return DepthwiseByDefinition(model)
    for name, child in list(model.named_children()):
        setattr(model, name, _replaced(child))
    return model


def _pair(sizes: str | tuple[int, ...]) -> tuple[int, int]:
    assert not isinstance(sizes, str)
    return sizes[0], sizes[1]
