"""One step of a network: inference, or training as the paper's script does it, made ready and then launched.

Training: zero_grad, forward and cross-entropy on random labels (inside autocast), backward (outside), optimizer step,
as in the authors' benchmark.py (sail-sg/inceptionnext, after timm 0.6.11). There is no gradient scaler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.models import checks
from benchbench.models.build import ImageSizeError
from benchbench.models.loss import loss_of

AUTOCAST = {"amp-fp16": torch.float16, "amp-bf16": torch.bfloat16}
WHOLE = {"fp16": torch.float16, "bf16": torch.bfloat16}
LEARNING_RATE = 1e-4
# What PyTorch says where an image has become smaller than a kernel or a pooling window.
TOO_SMALL = ("greater than actual input size", "Output size is too small")


class Step:
    """A network with its input, labels and optimizer on a device; ``infer`` and ``train`` launch one step.

    images: batch x 3 x img_size x (aspect img_size), standard normal. labels: random classes, of shape batch, or
    batch x H x W where the network answers for every pixel.
    Raises ImageSizeError where the network does not take such images.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        batch: int,
        img_size: int,
        device: str,
        aspect: int = 1,
        precision: str = "fp32",
        layout: str = "nchw",
        mode: str = "infer",
        compiled: str = "eager",
        optimizer: str = "sgd",
    ) -> None:
        memory = torch.channels_last if layout == "nhwc" else torch.contiguous_format
        dtype = WHOLE.get(precision, torch.float32)
        self.kind = torch.device(device).type
        self.autocast_dtype = AUTOCAST.get(precision)
        self.model = model.to(device=device, dtype=dtype)
        self.model.to(memory_format=memory)
        generator = torch.Generator().manual_seed(1)
        images = torch.randn((batch, 3, img_size, aspect * img_size), generator=generator)
        self.images = images.to(device=device, dtype=dtype).contiguous(memory_format=memory)
        classes, *places = self._outputs_of_one()[1:]
        self.labels = torch.randint(0, classes, (batch, *places), generator=generator).to(device)
        self.loss: Tensor | None = None
        # What the checks keep between the call before timing and the one after it.
        self.checked = False
        self.logits: tuple[Tensor, Tensor] | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.model.train(mode == "train")
        if mode == "train":
            self.optimizer = optimizer_of(self.model, optimizer)
        self.launched: Callable[[Tensor], Tensor] = self.model
        if compiled != "eager":
            # A class is compiled eight times in a process, of whatever networks; then it silently runs eager.
            torch._dynamo.reset()
            self.launched = torch.compile(self.model, mode=compiled)

    def infer(self) -> Tensor:
        """The outputs of one batch, in evaluation mode, without gradients."""
        with torch.inference_mode(), self.autocast():
            outputs: Tensor = self.launched(self.images)
        return outputs

    def train(self) -> Tensor:
        """One training step; returns the loss before the update."""
        self.forward()
        self.backward()
        self.update()
        assert self.loss is not None
        return self.loss

    def forward(self) -> None:
        """The first part: gradients dropped, then outputs and loss."""
        assert self.optimizer is not None
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            self.loss = loss_of(self.launched(self.images), self.labels)

    def backward(self) -> None:
        """The second part: the gradients of all parameters."""
        assert self.loss is not None
        torch.autograd.backward(self.loss)

    def update(self) -> None:
        """The third part: the optimizer's step."""
        assert self.optimizer is not None
        self.optimizer.step()

    def autocast(self) -> AbstractContextManager[Any]:
        """Autocast to the step's type; nothing where its precision is not a mixed one."""
        return nullcontext() if self.autocast_dtype is None else torch.autocast(self.kind, dtype=self.autocast_dtype)

    def verification_pairs(self) -> Iterator[checks.Comparison]:
        """What the verifier compares: (name, out, plain, exact), see benchbench.models.checks."""
        return checks.comparisons(self)

    def _outputs_of_one(self) -> torch.Size:
        """The shape of the outputs for one image: 1 x classes, or 1 x classes x H x W."""
        self.model.eval()
        try:
            with torch.inference_mode(), self.autocast():
                outputs = self.model(self.images[:1])
        except (AssertionError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not any(words in str(error) for words in TOO_SMALL):
                raise
            height, width = self.images.shape[-2:]
            raise ImageSizeError(f"the network does not take images of {height} x {width} px ({error})") from None
        if not isinstance(outputs, Tensor):
            raise ValueError(f"the network returned a {type(outputs).__name__}: it has to return one tensor")
        return outputs.shape


def optimizer_of(model: nn.Module, name: str) -> torch.optim.Optimizer:
    """sgd (momentum .9, Nesterov: what the paper's script means by it) or adamw, plain or fused ("sgd-fused")."""
    kind, _, form = name.partition("-")
    fused = True if form == "fused" else None
    if kind == "sgd":
        return torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, nesterov=True, fused=fused)
    return torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=fused)


def explain_attention(model: nn.Module) -> None:
    """softmax(q k') v in separate operations, as in the paper's time, where timm would call the fused operator."""
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            setattr(module, "fused_attn", False)  # noqa: B010 (mypy takes attributes of modules for tensors)
