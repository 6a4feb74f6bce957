"""How many parameters and multiply-accumulates has a network? Counted on the meta device, which holds no numbers.

Products are those of convolutions, linear layers, matrix products and attention: half of what torch.utils.flop_counter
counts in a forward pass. The paper counts with fvcore, which adds norms: five a value for layer and group norms, two a
value for batch norms in inference. (It adds pools too, which here change no printed digit and are left out.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Counts:
    """Parameters, and for one image the multiply-accumulates as fvcore counts them, and of products alone."""

    parameters: int
    macs: int
    products: int


def count(model: nn.Module, *, height: int, width: int) -> Counts:
    """The counts of a network for one image. The network is moved to the meta device: it loses its numbers."""
    model = model.to("meta").eval()
    images = torch.empty(1, 3, height, width, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_FVCORE) as counter:
        model(images)
    counted = counter.get_flop_counts().get("Global", {})
    added = sum(flops for operation, flops in counted.items() if operation in _FVCORE) // 2
    macs = counter.get_total_flops() // 2
    return Counts(sum(p.numel() for p in model.parameters()), macs, macs - added)


def _of_input(each: int) -> Callable[..., int]:
    """Two flops are one multiply-accumulate, hence the doubling."""

    def flops(shape: Sequence[int], *others: Any, **named: Any) -> int:
        return 2 * each * prod(shape)

    return flops


_FVCORE: dict[Any, Callable[..., int]] = {
    aten.native_batch_norm: _of_input(2),
    aten._native_batch_norm_legit_no_training: _of_input(2),
    aten.cudnn_batch_norm: _of_input(2),
    aten.native_layer_norm: _of_input(5),
    aten.native_group_norm: _of_input(5),
}
