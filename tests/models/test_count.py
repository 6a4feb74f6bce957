"""Are parameters and multiply-accumulates those that the paper prints?"""

import pytest
import torch
from torch import nn

from benchbench.models.build import build
from benchbench.models.count import Counts, count

pytestmark = pytest.mark.network


def test_products_and_norms_are_counted_as_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(8),
        nn.Linear(8, 5),
    )
    products = 8 * 8 * 8 * 3 * 16 + 8 * 5
    norms = 2 * 8 * 64 + 5 * 8
    parameters = 8 * 48 + 8 + 16 + 16 + 8 * 5 + 5
    assert count(model, height=32, width=32) == Counts(parameters, products + norms, products)


def test_a_depthwise_convolution_is_not_counted_as_a_dense_one() -> None:
    assert count(nn.Conv2d(3, 3, 5, padding=2, groups=3), height=8, width=8).macs == 3 * 25 * 64


@pytest.mark.parametrize(
    ("name", "millions", "billions"),
    [("mobilenetv2_140", 6.1, "0.60"), ("ghostnet_130", 7.4, "0.24"), ("inception_next_tiny", 28.1, "4.19")],
)
def test_networks_count_as_the_paper_prints(name: str, millions: float, billions: str) -> None:
    counts = count(build(name), height=224, width=224)
    assert round(counts.parameters / 1e6, 1) == millions
    assert f"{counts.macs / 1e9:.2f}" == billions


def test_counting_needs_no_memory_for_the_numbers() -> None:
    model = build("inception_next_atto")
    count(model, height=224, width=224)
    assert {p.device for p in model.parameters()} == {torch.device("meta")}
