"""Does T2T-ViT make and mix tokens as its papers say?"""

import math

import pytest
import torch

from benchbench.models.build import build
from benchbench.models.t2t_vit import Performer, sinusoids


def test_random_features_are_orthogonal_rows_of_length_sqrt_m() -> None:
    rows = Performer(12, 8).features
    torch.testing.assert_close(rows @ rows.T, 4 * torch.eye(4))


def test_many_random_features_give_the_exponential_kernel() -> None:
    performer = Performer(12, 8).double()
    generator = torch.Generator().manual_seed(0)
    performer.features = torch.nn.Parameter(
        torch.randn(200_000, 8, generator=generator, dtype=torch.float64), requires_grad=False
    )
    q, k = (0.3 * torch.randn(1, 5, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    kernel = performer._random_features(q) @ performer._random_features(k).transpose(1, 2)
    torch.testing.assert_close(kernel, torch.exp(q @ k.transpose(1, 2)), rtol=0.02, atol=0)


def test_the_performer_is_a_weighted_mean_of_values_and_keeps_the_values() -> None:
    performer = Performer(12, 8).double().eval()
    x = torch.randn(2, 6, 12, dtype=torch.float64)
    key, query, value = performer.key_query_value(performer.norm1(x)).chunk(3, dim=-1)
    phi_q, phi_k = performer._random_features(query), performer._random_features(key)
    weights = phi_q @ phi_k.transpose(1, 2)
    mean = weights @ value / (weights.sum(-1, keepdim=True) + 1e-8)
    y = value + performer.project(mean)
    torch.testing.assert_close(performer(x), y + performer.mlp(performer.norm2(y)))


def test_positions_are_sines_and_cosines() -> None:
    table = sinusoids(3, 4)[0]
    expected = [[math.sin(p), math.cos(p), math.sin(p / 100), math.cos(p / 100)] for p in range(3)]
    torch.testing.assert_close(table, torch.tensor(expected))


@pytest.mark.network
def test_tokens_are_made_in_three_soft_splits() -> None:
    model = build("t2t_vit_14", img_size=64).eval()
    lengths: list[int] = []
    for part in (model.first, model.second, model.project):
        part.register_forward_pre_hook(lambda module, inputs: lengths.append(inputs[0].shape[1]))
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 1000)
    assert lengths == [16 * 16, 8 * 8, 4 * 4]
