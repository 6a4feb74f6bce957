"""Is the mixer the only thing that changes?"""

import pytest
import torch
from torch import nn

from benchbench.models.build import build
from benchbench.models.inception_inside import SwinBlock

pytestmark = pytest.mark.network


def mixers(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if type(m).__name__ == "InceptionDWConv2d"]


def test_every_block_of_a_metaformer_mixes_by_inception() -> None:
    model = build("poolformer_s12.inception")
    assert len(mixers(model)) == 12
    assert not any(type(m).__name__ == "Pooling" for m in model.modules())
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 1000)


def test_every_block_of_swin_mixes_by_inception_and_keeps_norms_and_mlp() -> None:
    model = build("swin_tiny_patch4_window7_224.inception", img_size=64)
    assert len(mixers(model)) == 12
    assert not any(type(m).__name__ == "WindowAttention" for m in model.modules())
    stock = build("swin_tiny_patch4_window7_224", img_size=64)
    count = lambda net, part: sum(p.numel() for key, p in net.named_parameters() if part in key)  # noqa: E731
    assert count(model, "mlp") == count(stock, "mlp")
    assert count(model, "norm") == count(stock, "norm")


def test_a_swin_block_has_two_shortcuts() -> None:
    stock = next(m for m in build("swin_tiny_patch4_window7_224", img_size=64).modules() if "Block" in type(m).__name__)
    block = SwinBlock(stock, 96)
    x = torch.randn(1, 7, 7, 96)
    y = x + block.mixer(block.norm1(x).movedim(-1, 1)).movedim(1, -1)
    torch.testing.assert_close(block(x), y + block.mlp(block.norm2(y)))
