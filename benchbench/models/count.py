"""How many parameters and multiply-accumulates has a network? Counted on the meta device, which holds no numbers.

Multiply-accumulates are those of convolutions, linear layers, matrix products and attention, half of what
torch.utils.flop_counter counts in a forward pass. The paper counts with fvcore, which adds norms and some pools.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True)
class Counts:
    """Parameters, and multiply-accumulates of one image."""

    parameters: int
    macs: int


def count(model: nn.Module, *, height: int, width: int) -> Counts:
    """The counts of a network for one image. The network is moved to the meta device: it loses its numbers."""
    model = model.to("meta").eval()
    images = torch.empty(1, 3, height, width, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    return Counts(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)
