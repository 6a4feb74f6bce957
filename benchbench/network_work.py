"""What must a whole network at least do, layer by layer? The sum of the operations of work.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

from benchbench.work import (
    MODES,
    Work,
    batch_norm,
    gelu,
    inception_depthwise,
    layer_norm,
    layer_scale,
    partial_depthwise,
    pointwise,
    pool,
    unknown_mode,
)


@dataclass(frozen=True, slots=True)
class Stages:
    """A four-stage network: blocks and channels of each stage, hidden channels over channels, and its token mixer."""

    depths: tuple[int, ...]
    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    mixer: str  # inception or depthwise
    kernel_size: int
    ratio: str


def _inception_next(depths: tuple[int, ...], first: int, kernel_size: int = 11, ratio: str = "1/8") -> Stages:
    widths = tuple(first << stage for stage in range(4))
    return Stages(depths, widths, (4, 4, 4, 3), "inception", kernel_size, ratio)


def _convnext(depths: tuple[int, ...], first: int) -> Stages:
    return Stages(depths, tuple(first << stage for stage in range(4)), (4, 4, 4, 4), "depthwise", 7, "1")


NETWORKS = {
    "inception_next_atto": _inception_next((2, 2, 6, 2), 40, 9, "1/4"),
    "inception_next_tiny": _inception_next((3, 3, 9, 3), 96),
    "inception_next_small": _inception_next((3, 3, 27, 3), 96),
    "inception_next_base": _inception_next((3, 3, 27, 3), 128),
    "convnext_tiny": _convnext((3, 3, 9, 3), 96),
    "convnext_small": _convnext((3, 3, 27, 3), 96),
    "convnext_base": _convnext((3, 3, 27, 3), 128),
}


def network(
    *,
    name: str,
    batch: int,
    img_size: int = 224,
    kernel_size: int = 0,
    ratio: str = "",
    itemsize: int = 4,
    weight_itemsize: int = 0,
    mode: str = "forward",
    classes: int = 1000,
) -> Work:
    """One of NETWORKS, layer by layer, each tensor between two layers written and read once; no loss, no optimizer.

    kernel_size and ratio replace the mixer's own (band size and branch ratio, or kernel size and convolved share).
    The gradient of the image is nobody's, so the first layer has none. Raises ValueError for an unknown name.
    """
    if name not in NETWORKS:
        close = get_close_matches(name, NETWORKS, n=1)
        raise ValueError(f"no byte model of {name!r}: " + (f"did you mean {close[0]}?" if close else "see NETWORKS"))
    if mode not in MODES:
        raise unknown_mode(mode)
    stages = NETWORKS[name]
    mixer = (kernel_size or stages.kernel_size, Fraction(ratio or stages.ratio))
    sizes = {"itemsize": itemsize, "weight_itemsize": weight_itemsize or itemsize}
    modes = ("forward", "backward") if mode == "forward_backward" else (mode,)
    total = Work(0, 0, 0, batch)
    for each in modes:
        for layer in _layers(stages, batch, img_size, mixer, classes, sizes, each):
            total += layer
    return total


def _layers(
    stages: Stages,
    batch: int,
    img_size: int,
    mixer: tuple[int, Fraction],
    classes: int,
    sizes: dict[str, int],
    mode: str,
) -> Iterator[Work]:
    """Every layer of the network in one mode, blocks of a stage together."""
    inception = stages.mixer == "inception"
    norm = batch_norm if inception else layer_norm
    side, channels = img_size // 4, stages.channels[0]
    space: dict[str, Any] = {"batch": batch, "height": side, "width": side, "mode": mode, **sizes}
    if mode != "grad_input":
        stem = {**space, "mode": "grad_weight" if mode == "backward" else mode}
        yield pointwise(in_channels=3, out_channels=channels, patch=4, **stem)
    yield norm(channels=channels, **space)
    for stage, (depth, wide, ratio) in enumerate(zip(stages.depths, stages.channels, stages.hidden, strict=True)):
        if stage:
            yield norm(channels=channels, **space)
            side //= 2
            space = {**space, "height": side, "width": side}
            yield pointwise(in_channels=channels, out_channels=wide, patch=2, **space)
        channels = wide
        for layer in _block(stages.mixer, channels, ratio * channels, mixer, space):
            yield layer.times(depth)
    yield from _head(inception, channels, classes, space)


def _block(
    mixer: str, channels: int, hidden: int, sizes: tuple[int, Fraction], space: dict[str, Any]
) -> Iterator[Work]:
    """Token mixer, norm, 1 x 1, GELU, 1 x 1, layer scale and residual."""
    kernel_size, share = sizes
    convolved = int(channels * share)
    if mixer == "inception":
        yield inception_depthwise(channels=channels, band_size=kernel_size, branch_channels=convolved, **space)
        yield batch_norm(channels=channels, **space)
    else:
        kernel: dict[str, Any] = {"kernel_height": kernel_size, "kernel_width": kernel_size}
        yield partial_depthwise(channels=channels, convolved_channels=convolved, **kernel, **space)
        yield layer_norm(channels=channels, **space)
    yield pointwise(in_channels=channels, out_channels=hidden, **space)
    yield gelu(channels=hidden, **{name: value for name, value in space.items() if name != "weight_itemsize"})
    yield pointwise(in_channels=hidden, out_channels=channels, **space)
    yield layer_scale(channels=channels, residual=True, **space)


def _head(inception: bool, channels: int, classes: int, space: dict[str, Any]) -> Iterator[Work]:
    """Mean over space, then a linear layer: after a norm in ConvNeXt, as an MLP of three times the width in ours."""
    plain = {name: value for name, value in space.items() if name != "weight_itemsize"}
    flat = {**space, "height": 1, "width": 1}
    yield pool(channels=channels, **plain)
    if inception:
        yield pointwise(in_channels=channels, out_channels=3 * channels, **flat)
        yield gelu(channels=3 * channels, **{**plain, "height": 1, "width": 1})
        channels *= 3
    yield layer_norm(channels=channels, **flat)
    yield pointwise(in_channels=channels, out_channels=classes, **flat)
