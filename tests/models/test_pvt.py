"""Is our PVT the paper's, and that of the library that has it?"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchbench.models.build import build
from benchbench.models.pvt import DEPTHS, EPSILON, SpatialReductionAttention


def test_keys_and_values_come_from_the_reduced_map() -> None:
    attention = SpatialReductionAttention(8, 2, 2).double()
    x = torch.randn(1, 16, 8, dtype=torch.float64)
    image = x.transpose(1, 2).view(1, 8, 4, 4)
    source = attention.norm(attention.reduce(image).flatten(2).transpose(1, 2))
    q = attention.query(x)
    k, v = attention.key_value(source).chunk(2, dim=-1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weights = functional.softmax(q[..., part] @ k[..., part].transpose(1, 2) / 2, dim=-1)
        assert weights.shape == (1, 16, 4)
        heads.append(weights @ v[..., part])
    expected = attention.project(torch.cat(heads, dim=-1))
    torch.testing.assert_close(attention(x, 4, 4), expected)
    attention.fused_attn = False
    torch.testing.assert_close(attention(x, 4, 4), expected)


@pytest.mark.network
def test_positions_are_resized_for_other_images_than_it_was_built_for() -> None:
    model = build("pvt_small", img_size=64).eval()
    assert model(torch.randn(1, 3, 96, 64)).shape == (1, 1000)
    assert [tuple(m.shape[1:]) for m in model.features(torch.randn(1, 3, 64, 96))] == [
        (64, 16, 24),
        (128, 8, 12),
        (320, 4, 6),
        (512, 2, 3),
    ]


@pytest.mark.slow
@pytest.mark.network
def test_with_the_same_weights_it_is_the_pvt_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.PvtConfig(
        depths=list(DEPTHS["small"]), image_size=224, num_labels=1000, layer_norm_eps=EPSILON, drop_path_rate=0.0
    )
    theirs = transformers.PvtForImageClassification(config).double().eval()
    ours = build("pvt_small").double().eval()
    # The norms of patches and of reduced maps keep PyTorch's epsilon in the authors' code.
    kept = [m for name, m in theirs.named_modules() if "patch_embeddings" in name or name.endswith("self.layer_norm")]
    for norm in (m for m in kept if isinstance(m, nn.LayerNorm)):
        norm.eps = 1e-5
    with torch.no_grad():
        for own, other in zip(_in_order(ours), _weights(theirs), strict=True):
            own.copy_(other)
        x = torch.randn(2, 3, 224, 224, dtype=torch.float64)
        torch.testing.assert_close(ours(x), theirs(x).logits, rtol=1e-9, atol=1e-9)


def _in_order(model: nn.Module) -> Iterator[Tensor]:
    """Our parameters, all patch embeddings first and then all blocks, as transformers keeps them."""
    for stage in model.stages:
        yield from (p for p in (stage.position, stage.class_token) if p is not None)
        yield from (*stage.patches.parameters(), *stage.norm.parameters())
    for stage in model.stages:
        for block in stage.blocks:
            yield from block.parameters()
    yield from (*model.norm.parameters(), *model.head.parameters())


def _weights(model: nn.Module) -> Iterator[Tensor]:
    """transformers' parameters with keys and values of a block in one matrix, in the order of our block."""
    encoder = model.pvt.encoder
    for patch in encoder.patch_embeddings:
        yield from (p for p in (patch.position_embeddings, getattr(patch, "cls_token", None)) if p is not None)
        yield from (*patch.projection.parameters(), *patch.layer_norm.parameters())
    for block in (block for stage in encoder.block for block in stage):
        attention = block.attention.self
        yield from (*block.layer_norm_1.parameters(), *attention.query.parameters())
        yield torch.cat((attention.key.weight, attention.value.weight))
        yield torch.cat((attention.key.bias, attention.value.bias))
        yield from block.attention.output.parameters()
        if hasattr(attention, "sequence_reduction"):
            yield from (*attention.sequence_reduction.parameters(), *attention.layer_norm.parameters())
        yield from (*block.layer_norm_2.parameters(), *block.mlp.parameters())
    yield from (*encoder.layer_norm.parameters(), *model.classifier.parameters())
