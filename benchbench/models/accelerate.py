"""Puts our kernels into a network in place, weights kept, says what it left alone and why, and takes them out again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchbench.kernels import DepthwiseConv2d, InceptionDWConv2d, depthwise_conv
from benchbench.kernels.depthwise_conv.module import unsuitable
from benchbench.models.fused_block import fuse, unfuse
from benchbench.models.mixers import PartialDepthwiseConv2d

BACKENDS = ("triton", "reference")
KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WAS = "_accelerated_from"


@dataclass(frozen=True, slots=True)
class Report:
    """What ``accelerate`` did, as (name of the module, text) pairs.

    replaced: the text is the class that stood there. left: candidates it did not touch; the text says why.
    """

    replaced: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        lines = [f"{len(self.replaced)} replaced, {len(self.left)} left"]
        lines += [f"  replaced {name} ({was})" for name, was in self.replaced]
        lines += [f"  left     {name}: {why}" for name, why in self.left]
        return "\n".join(lines)


class PartialConv(nn.Module):
    """Stands in for ``PartialDepthwiseConv2d`` with the very parameters of it: one pass, no split and no cat."""

    def __init__(self, stock: PartialDepthwiseConv2d, backend: str) -> None:
        super().__init__()
        self.identity_channels = stock.split_sizes[0]
        self.conv = depthwise_layer(stock.conv, backend)
        self.backend = backend

    def forward(self, x: Tensor) -> Tensor:
        if self.backend == "reference":
            from benchbench.kernels.depthwise_conv import reference

            weight, bias = self.conv.weight, self.conv.bias
            return reference.depthwise_conv(x, weight, bias, identity_channels=self.identity_channels)
        return depthwise_conv(x, self.conv.weight, self.conv.bias, identity_channels=self.identity_channels)


OURS = (DepthwiseConv2d, InceptionDWConv2d, PartialConv)


def accelerate(model: nn.Module, backend: str = "triton", *, blocks: bool = False) -> Report:
    """Replace in ``model`` what our kernels compute: timm's InceptionDWConv2d, depthwise nn.Conv2d, our partial ones.

    In place; the parameters stay the same objects under the same names: optimizers and state dicts go on working.
    Left alone, and reported: other strides, dilations and paddings, even kernel sizes, several filters a channel,
    subclasses of nn.Conv2d, modules with hooks (a replacement would not call them), float64, and ``model`` itself.
    Convolutions that are not depthwise are not mentioned. Doing it twice changes nothing.

    backend: "triton" or "reference". blocks: also fuse timm's InceptionNeXt blocks, so that their BatchNorm costs no
    pass of its own (``benchbench.models.fused_block``). Raises ValueError for another backend, TypeError for a model
    that is no nn.Module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"accelerate: expected an nn.Module, got {type(model).__name__}")
    if backend not in BACKENDS:
        raise ValueError(f"accelerate: backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    replaced: list[tuple[str, str]] = []
    left: list[tuple[str, str]] = []
    made: dict[int, nn.Module] = {}
    itself = candidate(model)
    if itself:
        left.append(("", "it is the model itself: put it into an nn.Sequential"))
        return Report((), tuple(left))

    def visit(parent: nn.Module, path: str) -> None:
        for name, module in list(parent._modules.items()):
            if module is None or isinstance(module, OURS):
                continue
            whole = f"{path}.{name}" if path else name
            build = candidate(module)
            why = obstacle(module) if build else ""
            if build and not why:
                if id(module) not in made:
                    made[id(module)] = stood_in_for(build(module, backend), module)
                parent._modules[name] = made[id(module)]
                replaced.append((whole, type(module).__name__))
                continue
            if build:
                left.append((whole, why))
            visit(module, whole)

    visit(model, "")
    if blocks:
        replaced += [(name, "MetaNeXtBlock") for name in fuse(model)]
    return Report(tuple(replaced), tuple(left))


def restore(model: nn.Module) -> tuple[str, ...]:
    """Put back the very modules that ``accelerate`` replaced, with the parameters as they are now; their names."""
    restored: list[str] = list(unfuse(model))

    def visit(parent: nn.Module, path: str) -> None:
        for name, module in list(parent._modules.items()):
            if module is None:
                continue
            whole = f"{path}.{name}" if path else name
            stock = module.__dict__.get(WAS)
            if stock is None:
                visit(module, whole)
                continue
            give_back(module, stock)
            parent._modules[name] = stock
            restored.append(whole)

    visit(model, "")
    return tuple(restored)


def candidate(module: nn.Module) -> Callable[[nn.Module, str], nn.Module] | None:
    """What would build the replacement of a module of a kind that we replace."""
    if isinstance(module, OURS):
        return None
    if type(module).__name__ == "InceptionDWConv2d" and type(module).__module__.startswith("timm."):
        return inception_layer
    if isinstance(module, PartialDepthwiseConv2d):
        return PartialConv  # type: ignore[return-value]
    if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
        return depthwise_layer  # type: ignore[return-value]
    return None


def obstacle(module: nn.Module) -> str:
    """Why a candidate is left alone; "" if nothing speaks against it."""
    inner = [each for each in module.modules() if isinstance(each, nn.Conv2d)]
    for conv in inner:
        if type(conv) is not nn.Conv2d:
            return f"{type(conv).__name__} is a subclass of nn.Conv2d and may compute something else"
        why = unsuitable(
            conv.in_channels, conv.out_channels, pair(conv.kernel_size), pair(conv.stride), padding_of(conv),
            pair(conv.dilation), conv.groups, conv.padding_mode,
        )  # fmt: skip
        if why:
            return why
        if conv.weight.dtype not in KERNEL_DTYPES:
            return f"its weight is {conv.weight.dtype}: the kernels take float32, float16 and bfloat16"
    if any(has_hooks(each) for each in module.modules()):
        return "it has hooks, which a replacement would not call"
    return ""


def pair(size: tuple[int, ...]) -> tuple[int, int]:
    return size[0], size[1]


def padding_of(conv: nn.Conv2d) -> tuple[int, int] | str:
    return conv.padding if isinstance(conv.padding, str) else pair(conv.padding)


def has_hooks(module: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind, None) for kind in kinds)


def depthwise_layer(stock: nn.Conv2d, backend: str) -> DepthwiseConv2d:
    """Our layer with the very parameters of ``stock``."""
    layer = DepthwiseConv2d(
        stock.in_channels,
        kernel_size=pair(stock.kernel_size),
        bias=stock.bias is not None,
        device="meta",
        backend=backend,
    )
    share_parameters(stock, layer)
    return layer


def share_parameters(source: nn.Module, target: nn.Module) -> None:
    for name in ("weight", "bias"):
        target.register_parameter(name, source._parameters[name])


def inception_layer(stock: nn.Module, backend: str) -> InceptionDWConv2d:
    """Our mixer with the very convolutions of timm's."""
    square, row, column = (getattr(stock, name) for name in ("dwconv_hw", "dwconv_w", "dwconv_h"))
    channels = sum(getattr(stock, "split_indexes"))  # noqa: B009
    # Half a channel more than the branch has: its count is rounded down from the ratio.
    layer = InceptionDWConv2d(
        channels,
        square.kernel_size[0],
        row.kernel_size[1],
        (square.out_channels + 0.5) / channels,
        device="meta",
        backend=backend,
    )
    layer.dwconv_hw, layer.dwconv_w, layer.dwconv_h = square, row, column
    return layer


def stood_in_for(layer: nn.Module, stock: nn.Module) -> nn.Module:
    """``layer``, in the mode of ``stock`` and remembering it without owning it as a submodule."""
    layer.train(stock.training)
    layer.__dict__[WAS] = stock
    return layer


def give_back(layer: nn.Module, stock: nn.Module) -> None:
    """Let ``stock`` have the parameters that ``layer`` has now, and its mode."""
    stock.train(layer.training)
    source, target = (layer.conv, stock.conv) if isinstance(layer, PartialConv) else (layer, stock)
    if isinstance(target, nn.Conv2d) and isinstance(source, DepthwiseConv2d):
        share_parameters(source, target)
    elif isinstance(layer, InceptionDWConv2d):
        for name in ("dwconv_hw", "dwconv_w", "dwconv_h"):
            setattr(stock, name, getattr(layer, name))
