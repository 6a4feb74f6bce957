"""Does every network that is ours learn, and count as the paper says?"""

import pytest
import torch

from benchbench.models.build import build
from benchbench.models.own import OWN
from benchbench.models.step import Step

pytestmark = pytest.mark.network

QUICK = ("convnext_iso_small", "inception_next_tiny.bands_in_sequence", "metanext_attn_small")
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in OWN]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter_and_the_loss_of_a_tiny_batch_falls(name: str) -> None:
    step = Step(build(name, img_size=64), batch=2, img_size=64, device="cpu", mode="train", optimizer="adamw")
    first = float(step.train().detach())
    learned = {key: p.grad for key, p in step.model.named_parameters() if p.requires_grad}
    assert [key for key, grad in learned.items() if grad is None or not grad.any()] == []
    last = min(float(step.train().detach()) for _ in range(4))
    assert last < first


@pytest.mark.parametrize("name", NAMES)
def test_building_twice_gives_the_same_network(name: str) -> None:
    first, second = build(name, img_size=64).state_dict(), build(name, img_size=64).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(value.isfinite().all() for value in first.values())
