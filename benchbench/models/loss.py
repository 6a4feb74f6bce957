"""What a training step minimises: cross-entropy, and that of an auxiliary head where a network has one."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

# The weight of auxiliary heads in mmsegmentation's configurations.
AUXILIARY_WEIGHT = 0.4


def loss_of(outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
    """Mean cross-entropy; of a tuple that of the first, plus 0.4 times that of each other."""
    if isinstance(outputs, Tensor):
        return functional.cross_entropy(outputs, labels)
    first, *others = (functional.cross_entropy(one, labels) for one in outputs)
    for other in others:
        first = first + AUXILIARY_WEIGHT * other
    return first
