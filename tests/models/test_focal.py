"""Does a query of a Focal Transformer see its window, the band around it and the pooled windows, and nothing else?"""

import itertools

import pytest
import torch
from torch import Tensor, nn

from benchbench.models.build import build
from benchbench.models.focal import Block, FocalAttention

SIDE, BAND, ACROSS = 4, 1, 3


def seen_one_by_one(attention: FocalAttention, x: Tensor) -> Tensor:
    """The same attention for one image and one head, a query and a key at a time."""
    height, width, channels = x.shape
    rows, columns = height // SIDE, width // SIDE
    windows = x.view(rows, SIDE, columns, SIDE, channels).permute(0, 2, 1, 3, 4).flatten(2, 3)
    pooled = (windows * attention.pool.weight[0][:, None]).sum(2) + attention.pool.bias
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    _, pooled_k, pooled_v = attention.qkv(pooled).chunk(3, dim=-1)
    out = torch.empty_like(x)
    for i, j in itertools.product(range(height), range(width)):
        row, column = i // SIDE, j // SIDE
        scores, values = [], []

        def see(key: Tensor, value: Tensor, bias: Tensor) -> None:
            scores.append(q[i, j] @ key / channels**0.5 + bias)  # noqa: B023 (called in the same turn)
            values.append(value)  # noqa: B023

        for a, b in itertools.product(range(SIDE), repeat=2):
            y, z = row * SIDE + a, column * SIDE + b
            see(k[y, z], v[y, z], attention.window_bias[0, i % SIDE - a + SIDE - 1, j % SIDE - b + SIDE - 1])
        place = 0
        for down, right in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            for a, b in itertools.product(range(SIDE), repeat=2):
                if 0 <= a + down * BAND < SIDE and 0 <= b + right * BAND < SIDE:
                    continue
                y = (row * SIDE + a + down * BAND) % height
                z = (column * SIDE + b + right * BAND) % width
                see(k[y, z], v[y, z], attention.band_bias[0, i % SIDE * SIDE + j % SIDE, place])
                place += 1
        for a, b in itertools.product(range(ACROSS), repeat=2):
            y, z = row + a - ACROSS // 2, column + b - ACROSS // 2
            if 0 <= y < rows and 0 <= z < columns:
                bias = attention.pooled_bias[0, i % SIDE - a + ACROSS - 1, j % SIDE - b + ACROSS - 1]
                see(pooled_k[y, z], pooled_v[y, z], bias)
        out[i, j] = attention.project(torch.softmax(torch.stack(scores), 0) @ torch.stack(values))
    return out


@pytest.mark.parametrize("fused", [True, False])
@torch.no_grad()
def test_a_query_attends_to_window_band_and_pooled_windows(fused: bool) -> None:
    attention = FocalAttention(6, 1, window=SIDE, band=BAND, across=ACROSS).double()
    attention.fused_attn = fused
    nn.init.normal_(attention.pool.weight)
    for bias in (attention.window_bias, attention.band_bias, attention.pooled_bias):
        nn.init.normal_(bias)
    images = torch.randn(2, 3 * SIDE, 2 * SIDE, 6, dtype=torch.float64)
    expected = torch.stack([seen_one_by_one(attention, image) for image in images])
    torch.testing.assert_close(attention(images), expected, rtol=1e-10, atol=1e-10)


def test_the_band_of_the_paper_has_132_places() -> None:
    attention = FocalAttention(8, 2, window=7, band=3, across=7)
    assert attention.band_bias is not None
    assert attention.band_bias.shape == (2, 49, 132)
    assert attention.window_bias.shape == (2, 13, 13)
    assert attention.pooled_bias.shape == (2, 13, 13)


def test_maps_that_are_no_whole_windows_are_padded_and_cut() -> None:
    block = Block(8, 2, side=9, across=3, drop_path=0.0)
    assert block(torch.randn(1, 9, 10, 8)).shape == (1, 9, 10, 8)


def test_one_window_has_no_band() -> None:
    assert Block(8, 2, side=7, across=1, drop_path=0.0).attention.band_bias is None
    assert Block(8, 2, side=4, across=1, drop_path=0.0).attention.window == 4


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(("size", "millions"), [("tiny", 28.88), ("small", 51.14), ("base", 89.82)])
def test_parameters_are_those_of_the_authors_code(size: str, millions: float) -> None:
    assert round(sum(p.numel() for p in build(f"focal_{size}").parameters()) / 1e6, 2) == millions
