"""Is a network computed right? Its mixers one by one at the timed shapes, and the whole on two images, in float64.

The definition of a network is the network with its depthwise convolutions as pads, shifts, products and sums; the rest
is PyTorch's. Each comparison is (name, out, plain, exact): what is timed, the definition in the point's precision, and
the definition in float64, from which the verifier computes how far rounding may take ``out``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchbench.models.loss import loss_of
from benchbench.models.mixers import by_definition, is_accelerated, is_depthwise

if TYPE_CHECKING:
    from benchbench.models.step import Step

Comparison = tuple[str, Tensor, Tensor, Tensor] | tuple[str, Tensor, Tensor, Tensor, int]
IMAGES = 2
# The attributes of timm's stochastic depth and of PyTorch's dropout.
DROP_RATES = ("drop_prob", "p")


def comparisons(step: Step) -> Iterator[Comparison]:
    """Every distinct mixer, with its gradients where the step trains, then the network from end to end.

    When asked again, after timing, training is compared mixer by mixer alone: the network has learned meanwhile.
    """
    yield from mixers(step)
    if step.optimizer is None:
        yield whole_inference(step)
    elif not step.checked:
        yield whole_training(step)
    step.checked = True


def mixers(step: Step) -> Iterator[Comparison]:
    """One mixer of each class and shape, on the input that it has in the timed network."""
    for path, mixer, x in _distinct_mixers(step):
        plain, exact = by_definition(mixer), by_definition(mixer, torch.float64)
        grad = _random_gradient(mixer, x, step) if step.optimizer is not None else None
        results = [
            applied(mixer, x, grad, step.autocast()),
            applied(plain, x, grad, step.autocast()),
            applied(exact, x.double(), None if grad is None else grad.double(), step.autocast()),
        ]
        for name in results[0]:
            out, defined, truth = (result[name] for result in results)
            yield f"{path} {name}", out, defined, truth, _multiply_adds(mixer, x)


def _random_gradient(mixer: nn.Module, x: Tensor, step: Step) -> Tensor:
    """Random values of the output's shape: where the mixer has a stride, that is not the input's."""
    with torch.no_grad(), step.autocast():
        return torch.randn_like(mixer(x), dtype=x.dtype)


def _multiply_adds(mixer: nn.Module, x: Tensor) -> int:
    """At most those of a mixer, forward and backward: each weight meets each pixel of each image three times."""
    weights = sum(parameter.numel() for parameter in mixer.parameters())
    return 3 * weights * (x.numel() // x.shape[1])


def whole_inference(step: Step) -> Comparison:
    """The logits of the first images."""
    images = step.images[:IMAGES]
    shown = _repeated(images, step)
    with torch.inference_mode():
        with step.autocast():
            out = step.launched(shown)[:IMAGES]
        if step.logits is None:
            with step.autocast():
                plain = by_definition(step.model)(shown)[:IMAGES]
            step.logits = plain, by_definition(step.model, torch.float64)(images.double())
    return "logits", out, *step.logits


def whole_training(step: Step) -> Comparison:
    """How far the loss of the first images and all gradients, in one vector, are from the exact ones, in norms.

    Rectifiers and norms of few values make single gradients a matter of the last bit, so the largest error of one run
    says little about the next. Norms of errors repeat; the definition's is the larger of two runs, one on the images
    and one on images that differ in their last bit. A single wrong value is found in its mixer. Batch norms that would
    see two values a channel are as in inference: see ``_signs_left_out``.
    """
    images, labels = step.images[:IMAGES], step.labels[:IMAGES]
    with _state_kept(step.model), _signs_left_out(step.model, images, step.autocast()):
        out = _gradients(step.launched, step.model, _repeated(images, step), _repeated(labels, step), step.autocast())
        true = by_definition(step.model, torch.float64)
        exact = _gradients(true, true, images.double(), labels, torch.autocast(step.kind, enabled=False))
        last_bit = torch.finfo(images.dtype).eps * torch.randn_like(images).sign()
        plain = [_defined_gradients(step, shown, labels) for shown in (images, images * (1 + last_bit))]
    errors = [_distance(grads, exact) for grads in (out, *plain)]
    return "loss and gradients", errors[0], torch.maximum(errors[1], errors[2]), torch.zeros_like(errors[0])


def _defined_gradients(step: Step, images: Tensor, labels: Tensor) -> list[Tensor]:
    defined = by_definition(step.model)
    return _gradients(defined, defined, _repeated(images, step), _repeated(labels, step), step.autocast())


def _distance(grads: list[Tensor], exact: list[Tensor]) -> Tensor:
    """The norm of the difference over the norm of the exact vector, in float64."""
    difference = _norm(grad - true for grad, true in zip(grads, exact, strict=True))
    return difference / _norm(exact)


def _norm(tensors: Iterable[Tensor]) -> Tensor:
    """Of all of them as one vector; a temporary a tensor at most, because networks have tens of millions of weights."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]))
    return norm


def _distinct_mixers(step: Step) -> list[tuple[str, nn.Module, Tensor]]:
    """(path, mixer, its input at the timed shapes), the first of each class, input shape and parameter shapes."""
    found: dict[Any, tuple[str, nn.Module, Tensor]] = {}

    def keep(path: str, mixer: nn.Module) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            shapes = tuple(p.shape for p in mixer.parameters())
            found.setdefault((type(mixer), inputs[0].shape, shapes), (path, mixer, inputs[0]))

        return mixer.register_forward_pre_hook(hook)

    handles = [keep(path, mixer) for path, mixer in outermost_mixers(step.model)]
    training = step.model.training
    step.model.eval()
    try:
        if handles:
            with torch.no_grad(), step.autocast():
                step.model(step.images)
    finally:
        step.model.train(training)
        for handle in handles:
            handle.remove()
    return list(found.values())


def outermost_mixers(model: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The largest modules all of whose parameters belong to depthwise convolutions, and our kernels' modules."""
    holders = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    if is_accelerated(model) or (holders and all(is_depthwise(m) for m in holders)):
        yield path, model
        return
    for name, child in model.named_children():
        yield from outermost_mixers(child, f"{path}.{name}" if path else name)


def applied(
    mixer: nn.Module, x: Tensor, grad: Tensor | None, autocast: AbstractContextManager[Any]
) -> dict[str, Tensor]:
    if grad is None:
        with torch.inference_mode(), autocast:
            return {"output": mixer(x)}
    x = x.detach().requires_grad_()
    with autocast:
        output = mixer(x)
    names = [name for name, _ in mixer.named_parameters()]
    grads = torch.autograd.grad(output, [x, *mixer.parameters()], grad.to(output.dtype))
    return {"output": output.detach(), "grad x": grads[0]} | {
        f"grad {name}": value for name, value in zip(names, grads[1:], strict=True)
    }


def _repeated(tensor: Tensor, step: Step) -> Tensor:
    """The first images, over again up to the timed batch where the network is compiled for that batch.

    Logits, means over the batch and batch statistics of the repeated images are those of the images.
    """
    times = len(step.images) // len(tensor)
    if step.launched is step.model or times * len(tensor) != len(step.images):
        return tensor
    whole = tensor.repeat(times, *(1 for _ in tensor.shape[1:]))
    channels_last = tensor.ndim == 4 and not tensor.is_contiguous()
    return whole.contiguous(memory_format=torch.channels_last) if channels_last else whole


def _gradients(
    launched: Any, model: nn.Module, images: Tensor, labels: Tensor, autocast: AbstractContextManager[Any]
) -> list[Tensor]:
    """The loss and its gradient by every parameter that it depends on."""
    with autocast:
        loss = loss_of(launched(images), labels)
    parameters = [p for p in model.parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [loss.detach(), *(grad for grad in grads if grad is not None)]


@contextmanager
def _signs_left_out(
    model: nn.Module, images: Tensor, autocast: AbstractContextManager[Any]
) -> Iterator[tuple[nn.Module, ...]]:
    """Use running statistics in the batch norms that these images give one value each a channel; those norms.

    Two values that are close leave their own statistics up to three hundred times further apart, one on each side of
    the rectifier that follows: which is where is a matter of the last bit. So it is behind the pooling of whole maps in
    UperNet.
    """
    found: list[nn.Module] = []

    def look(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].numel() == inputs[0].shape[0] * inputs[0].shape[1]:
            found.append(norm)

    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    handles = [norm.register_forward_pre_hook(look) for norm in norms]
    training = [module for module in model.modules() if module.training]
    try:
        if norms:
            model.eval()
            with torch.no_grad(), autocast:
                model(images)
    finally:
        for module in training:
            module.training = True
        for handle in handles:
            handle.remove()
    for norm in found:
        norm.eval()
    try:
        yield tuple(found)
    finally:
        for norm in found:
            norm.train()


@contextmanager
def _state_kept(model: nn.Module) -> Iterator[None]:
    """Put batch statistics back afterwards, and meanwhile drop nothing: chance would differ between the three."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    rates = [(m, name) for m in model.modules() for name in DROP_RATES if isinstance(getattr(m, name, None), float)]
    kept = [getattr(module, name) for module, name in rates]
    for module, name in rates:
        setattr(module, name, 0.0)
    try:
        yield
    finally:
        for (module, name), rate in zip(rates, kept, strict=True):
            setattr(module, name, rate)
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])
