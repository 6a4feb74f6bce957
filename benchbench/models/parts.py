"""One block of a network taken apart: how long do its mixer, norm, MLP and the rest take inside a run of the block?

The block runs as it is; hooks say where a part of it ends, forward and backward. So every part gets the tensors, the
memory and the caches that the part before has left, and the parts of a run are all of that run. What is in no part
(shortcut, layer scale, permutes, the sum of both gradients of the input) is the rest.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
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
REST = "rest"
# What the hooks do for themselves is in no part.
MARKING = ""


def _unheard(name: str) -> None:
    """The mark of a run that nobody times."""


class TakenApart:
    """A block with its input; ``infer`` and ``train`` run it, ``marked`` runs it once more and says where parts end.

    size: batch x channels x height x width. In training a random gradient flows in, and the gradients of the input and
    of the parameters are the outputs.
    """

    def __init__(
        self,
        model: str,
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
            x, grad = torch.randn(size), torch.randn(size)
        block.to(device=device, dtype=dtype).to(memory_format=memory)
        self.block = block.train(self.trains)
        self.x = x.to(device=device, dtype=dtype).contiguous(memory_format=memory).requires_grad_(self.trains)
        self.mixer = PATHS[model]["mixer"]
        self.mark: Callable[[str], None] = _unheard
        # With hooks of its own and the weights of the block: the block itself is timed without hooks.
        self.hooked = copy.deepcopy(block, {id(parameter): parameter for parameter in block.parameters()})
        for name, path in PATHS[model].items():
            part = self.hooked.get_submodule(path)
            part.register_forward_pre_hook(partial(self._begins, name))
            part.register_forward_hook(partial(self._ends, name))
        with torch.no_grad(), self.autocast():
            self.grad = torch.empty_like(self.block(self.x)).copy_(grad)

    def infer(self) -> Tensor:
        """The block's output, without gradients."""
        return self._infer(self.block)

    def train(self) -> tuple[Tensor, ...]:
        """The gradients of the block's input and of its parameters, forward pass included."""
        return self._train(self.block)

    def marked(self, mark: Callable[[str], None]) -> Any:
        """The same again, saying ``mark(name)`` where mixer, norm, mlp or what lies between them ends."""
        self.mark = mark
        outputs = self._train(self.hooked) if self.trains else self._infer(self.hooked)
        mark(REST)
        self.mark = _unheard
        return outputs

    def autocast(self) -> AbstractContextManager[Any]:
        """Autocast in the block's type; nothing where its precision is not a mixed one."""
        return nullcontext() if self.autocast_dtype is None else torch.autocast(self.kind, dtype=self.autocast_dtype)

    def verification_pairs(self) -> Iterator[Comparison]:
        """The mixer, the block and the block that is marked against the definition."""
        mixer = self.block.get_submodule(self.mixer)
        yield from self._compared("mixer", mixer, mixer)
        for said, module in (("block", self.block), ("marked block", self.hooked)):
            # Only the output: gradients of norms and activations are compared in whole networks, in one vector.
            yield next(self._compared(said, module, self.block))

    def _compared(self, said: str, module: nn.Module, true: nn.Module) -> Iterator[Comparison]:
        x, grad = self.x.detach(), self.grad if self.trains else None
        modules = (module, by_definition(true), by_definition(true, torch.float64))
        inputs = (x, x, x.double())
        results = [
            applied(one, given, None if grad is None else grad.to(given.dtype), self.autocast())
            for one, given in zip(modules, inputs, strict=True)
        ]
        for name in results[0]:
            yield f"{said} {name}", results[0][name], results[1][name], results[2][name]

    def _infer(self, block: nn.Module) -> Tensor:
        with torch.inference_mode(), self.autocast():
            y: Tensor = block(self.x)
        return y

    def _train(self, block: nn.Module) -> tuple[Tensor, ...]:
        with self.autocast():
            y = block(self.x)
        return torch.autograd.grad(y, [self.x, *block.parameters()], self.grad)

    def _begins(self, name: str, _: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        self.mark(REST)
        x = inputs[0]
        if x.requires_grad:
            # A view has a gradient of its own, whole before that of the shortcut is added.
            x = x.view_as(x)
            _when_known(x, partial(self.mark, name))
        self.mark(MARKING)
        return (x,)

    def _ends(self, name: str, _: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        self.mark(name)
        if output.requires_grad:
            _when_known(output, partial(self.mark, REST))
            self.mark(MARKING)


def _when_known(tensor: Tensor, told: Callable[[], None]) -> None:
    """Call ``told`` when the gradient of the tensor is complete."""
    tensor.register_hook(lambda grad: told())  # type: ignore[no-untyped-call]


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
