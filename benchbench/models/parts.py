"""One block of a network taken apart: the mixer, the norm, the MLP and the rest, each launched as it runs in the block.

A part gets the very tensors, memory layout included, that it gets inside the block. The rest is the block itself with
its three parts replaced by stubs that give back what the parts gave, values and gradients: shortcut, layer scale,
permutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from timm.layers.norm import LayerNorm2d
from timm.models.convnext import ConvNeXtBlock
from timm.models.inception_next import InceptionDWConv2d, MetaNeXtBlock
from torch import Tensor, nn

from benchbench.models.build import LAYER_SCALE
from benchbench.models.checks import Comparison, applied
from benchbench.models.mixers import by_definition
from benchbench.models.step import AUTOCAST, WHOLE

# Where each network's block keeps its parts.
PATHS = {
    "convnext_tiny": {"mixer": "conv_dw", "norm": "norm", "mlp": "mlp"},
    "inception_next_tiny": {"mixer": "token_mixer", "norm": "norm", "mlp": "mlp"},
}


class BlockPart:
    """A part of a block ("block" is the whole) with its input; ``infer`` runs it, ``train`` its gradients too.

    x: batch x channels x height x width. In training a random gradient flows in; the gradients of the part's input and
    parameters are the outputs.
    """

    def __init__(
        self,
        model: str,
        part: str,
        *,
        size: tuple[int, int, int, int],
        kernel_size: int,
        mlp_ratio: int,
        norm: str,
        device: str,
        precision: str,
        layout: str,
        mode: str,
    ) -> None:
        memory = torch.channels_last if layout == "nhwc" else torch.contiguous_format
        dtype = WHOLE.get(precision, torch.float32)
        self.kind, self.autocast_dtype = torch.device(device).type, AUTOCAST.get(precision)
        self.trains = mode == "train"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            block = block_of(model, size[1], kernel_size=kernel_size, mlp_ratio=mlp_ratio, norm=norm)
            x = torch.randn(size)
        block.to(device=device, dtype=dtype)
        block.to(memory_format=memory)
        block.train(self.trains)
        x = x.to(device=device, dtype=dtype).contiguous(memory_format=memory)
        self.part = part
        self.module, self.x, self.grad = self._cut_out(block, PATHS[model], x)

    def infer(self) -> Tensor:
        """The part's output, without gradients."""
        with torch.inference_mode(), self.autocast():
            y: Tensor = self.module(self.x)
        return y

    def train(self) -> tuple[Tensor, ...]:
        """The gradients of the part's input and of its parameters, forward pass included."""
        with self.autocast():
            y = self.module(self.x)
        return torch.autograd.grad(y, [self.x, *self.module.parameters()], self.grad)

    def autocast(self) -> AbstractContextManager[Any]:
        """Autocast in the part's type; nothing where its precision is not a mixed one."""
        return nullcontext() if self.autocast_dtype is None else torch.autocast(self.kind, dtype=self.autocast_dtype)

    def verification_pairs(self) -> Iterator[Comparison]:
        """The mixer and the whole block against the definition; the other parts are PyTorch's own operations."""
        if self.part not in ("mixer", "block"):
            return
        x = self.x.detach()
        plain, exact = by_definition(self.module), by_definition(self.module, torch.float64)
        results = [
            applied(module, given, None if self.grad is None else self.grad.to(given.dtype), self.autocast())
            for module, given in ((self.module, x), (plain, x), (exact, x.double()))
        ]
        for name in results[0] if self.part == "mixer" else ("output",):
            yield f"{self.part} {name}", results[0][name], results[1][name], results[2][name]

    def _cut_out(self, block: nn.Module, paths: dict[str, str], x: Tensor) -> tuple[nn.Module, Tensor, Tensor | None]:
        """The part, its input and the gradient that flows into it, as they are in one run of the block."""
        seen: dict[str, tuple[Tensor, Tensor]] = {}

        def keep(name: str) -> Any:
            def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                seen[name] = inputs[0], output

            return block.get_submodule(paths[name]).register_forward_hook(hook)

        handles = [keep(name) for name in paths]
        x.requires_grad_(self.trains)
        with torch.set_grad_enabled(self.trains), self.autocast():
            y = block(x)
        for handle in handles:
            handle.remove()
        seen["block"] = seen["rest"] = x, y
        grad = None
        if self.trains:
            grad = torch.empty_like(y).copy_(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)))
        if self.part == "rest":
            for name, path in paths.items():
                block.set_submodule(path, Stub(*self._gradient_at(seen[name], y, grad), output=seen[name][1].detach()))
        module = block if self.part in ("block", "rest") else block.get_submodule(paths[self.part])
        given, made = seen[self.part]
        _, flowing = self._gradient_at((given, made), y, grad)
        return module, given.detach().requires_grad_(self.trains), flowing

    def _gradient_at(
        self, seen: tuple[Tensor, Tensor], y: Tensor, grad: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of a part's input, through the part alone, and of its output."""
        given, made = seen
        if grad is None:
            return None, None
        flowing = grad if made is y else torch.autograd.grad(y, made, grad, retain_graph=True)[0]
        (through,) = torch.autograd.grad(made, given, flowing, retain_graph=True)
        return through, flowing


class Stub(nn.Module):
    """Gives back a known output and, backward, a known gradient; it computes nothing."""

    def __init__(self, grad_input: Tensor | None, _: Tensor | None, *, output: Tensor) -> None:
        super().__init__()
        self.given = output, grad_input

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Known.apply(x, *self.given)
        return y


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, output: Tensor, grad_input: Tensor | None) -> Tensor:
        ctx.grad_input = grad_input
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None]:
        return ctx.grad_input, None, None


def block_of(model: str, channels: int, *, kernel_size: int, mlp_ratio: int, norm: str) -> nn.Module:
    """A block of ConvNeXt or InceptionNeXt as timm builds it; norm: "own", or "batch" or "layer" in an InceptionNeXt.

    kernel_size is that of the bands in an InceptionNeXt.
    """
    if model == "convnext_tiny":
        return _visible(ConvNeXtBlock(channels, kernel_size=kernel_size, mlp_ratio=mlp_ratio))
    mixer = partial(InceptionDWConv2d, band_kernel_size=kernel_size)
    norms = {"own": nn.BatchNorm2d, "batch": nn.BatchNorm2d, "layer": LayerNorm2d}
    block: Any = MetaNeXtBlock
    return _visible(block(channels, token_mixer=mixer, norm_layer=norms[norm], mlp_ratio=mlp_ratio))


def _visible(block: Any) -> nn.Module:
    nn.init.constant_(block.gamma, LAYER_SCALE)
    return block  # type: ignore[no-any-return]
