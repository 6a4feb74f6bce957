"""Layer by layer: a count for the networks that have one, none for the others."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchbench.access.layerwise import layer_by_layer
from benchbench.network_work import network

POINT: dict[str, Any] = {
    **{"case": "inception_next", "model": "inception_next_tiny", "kernel_size": 9.0, "ratio": "1/4"},
    **{"batch": 4.0, "img_size": 224.0, "precision": "fp32", "mode": "train"},
}


def test_a_point_is_counted_at_its_own_sizes() -> None:
    expected = network(
        name="inception_next_tiny", batch=4, kernel_size=9, ratio="1/4", itemsize=4, mode="forward_backward"
    )
    assert layer_by_layer(POINT) == expected


def test_empty_cells_stand_for_the_networks_own_sizes() -> None:
    point = {**POINT, "case": "network", "model": "convnext_tiny.fb", "mode": "infer", "precision": "bf16"}
    expected = network(name="convnext_tiny", batch=4, itemsize=2, mode="forward")
    assert layer_by_layer({**point, "kernel_size": math.nan, "ratio": math.nan}) == expected


def test_a_layerwise_count_is_above_the_floor_of_images_and_logits() -> None:
    found = layer_by_layer({**POINT, "mode": "infer"})
    assert found is not None
    assert found.bytes_moved > 10 * (4 * 3 * 224 * 224 + 4 * 1000) * 4


@pytest.mark.parametrize(
    "change",
    [
        {"model": "resnet50", "case": "network"},
        {"precision": "amp-fp16"},
        {"case": "segmentation"},
        {"mode": "forward"},
        {"model": math.nan},
    ],
)
def test_what_has_no_count_is_none(change: dict[str, Any]) -> None:
    assert layer_by_layer({**POINT, **change}) is None
