"""Do the segmentation heads fuse maps as their papers draw it?"""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchbench.case import CASES
from benchbench.models.build import build
from benchbench.models.loss import loss_of
from benchbench.models.segmentation import FPNHead, PyramidPooling, UperHead, top_down
from benchbench.sweeps import networks

CHANNELS = (4, 6, 8, 10)


def maps(side: int = 16) -> list[Tensor]:
    return [torch.randn(1, c, side >> i, side >> i, dtype=torch.float64) for i, c in enumerate(CHANNELS)]


def test_levels_add_the_enlarged_sum_of_all_coarser_ones() -> None:
    fine, middle, coarse = (
        torch.full((1, 1, 4, 4), 1.0),
        torch.full((1, 1, 2, 2), 10.0),
        torch.full((1, 1, 1, 1), 100.0),
    )
    for mode in ("bilinear", "nearest"):
        summed = top_down([fine, middle, coarse], mode=mode)
        assert [float(level.max()) for level in summed] == [111, 110, 100]
        assert [level.shape[-1] for level in summed] == [4, 2, 1]


def test_the_pyramid_pools_the_map_to_four_sizes() -> None:
    pooling = PyramidPooling(10).double().eval()
    x = maps()[-1].repeat(1, 1, 3, 3)
    parts = [x]
    for side, branch in zip((1, 2, 3, 6), pooling.pooled, strict=True):
        pooled = branch[1](functional.adaptive_avg_pool2d(x, side))
        parts.append(functional.interpolate(pooled, x.shape[-2:], mode="bilinear"))
    torch.testing.assert_close(pooling(x), pooling.fuse(torch.cat(parts, dim=1)))


def test_coarser_levels_are_convolved_and_doubled_until_they_are_fine() -> None:
    head = FPNHead(CHANNELS, 0.0).double().eval()
    convolutions = [sum(isinstance(m, nn.Conv2d) for m in branch.modules()) for branch in head.raise_]
    doublings = [sum(isinstance(m, nn.Upsample) for m in branch.modules()) for branch in head.raise_]
    assert (convolutions, doublings) == ([1, 1, 2, 3], [0, 1, 2, 3])
    given = maps()
    levels = top_down([lateral(m) for lateral, m in zip(head.laterals, given, strict=True)], mode="nearest")
    levels = [smooth(m) for smooth, m in zip(head.smooth, levels, strict=True)]
    total = sum(branch(level) for branch, level in zip(head.raise_, levels, strict=True))
    torch.testing.assert_close(head(given), head.classify(total))
    assert head(given).shape == (1, 150, 16, 16)


def test_the_auxiliary_loss_counts_four_tenths() -> None:
    outputs, labels = torch.randn(2, 5, 3, 3), torch.randint(5, (2, 3, 3))
    expected = 1.4 * functional.cross_entropy(outputs, labels)
    torch.testing.assert_close(loss_of((outputs, outputs), labels), expected)


@pytest.mark.slow
def test_upernet_is_that_of_transformers() -> None:
    upernet = pytest.importorskip("transformers.models.upernet.modeling_upernet")
    transformers = pytest.importorskip("transformers")
    config = transformers.UperNetConfig(num_labels=150, hidden_size=512, pool_scales=[1, 2, 3, 6])
    theirs = upernet.UperNetHead(config, list(CHANNELS)).double().eval()
    ours = UperHead(CHANNELS, 0.0).double().eval()
    order = (ours.classify, ours.pooling.pooled, ours.pooling.fuse, ours.laterals, ours.smooth, ours.fuse)
    with torch.no_grad():
        mine = [p for part in order for p in part.parameters()]
        for own, other in zip(mine, theirs.parameters(), strict=True):
            own.copy_(nn.init.normal_(other, std=0.1))
        given = maps(32)
        torch.testing.assert_close(ours(given), theirs(given), rtol=1e-9, atol=1e-9)


class Shown(nn.Module):
    """One of our backbones as transformers asks for one."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward_with_filtered_kwargs(self, x: Tensor, **options: object) -> SimpleNamespace:
        return SimpleNamespace(feature_maps=self.backbone(x), hidden_states=None, attentions=None)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("backbone", ["convnext_tiny", "inception_next_tiny", "swin_tiny_patch4_window7_224"])
def test_images_to_logits_and_loss_are_those_of_transformers(backbone: str) -> None:
    transformers = pytest.importorskip("transformers")
    ours = build(f"upernet.{backbone}", img_size=64, aspect=2).double()
    stages = transformers.ConvNextConfig(
        depths=[1, 1, 1, 1], hidden_sizes=ours.backbone.channels, out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = transformers.UperNetConfig(backbone_config=stages, num_labels=150, auxiliary_in_channels=None)
    theirs = transformers.UperNetForSemanticSegmentation(config).double()
    theirs.backbone = Shown(ours.backbone)
    head = ours.head
    order = (head.classify, head.pooling.pooled, head.pooling.fuse, head.laterals, head.smooth, head.fuse)
    convolved, _, classes = ours.auxiliary
    with torch.no_grad():
        mine = [p for part in (*order, convolved, classes) for p in part.parameters()]
        others = [*theirs.decode_head.parameters(), *theirs.auxiliary_head.parameters()]
        for own, other in zip(mine, others, strict=True):
            own.copy_(nn.init.normal_(other, std=0.1))
        x, labels = torch.randn(2, 3, 64, 128, dtype=torch.float64), torch.randint(150, (2, 64, 128))
        ours.eval(), theirs.eval()
        torch.testing.assert_close(ours(x), theirs(x).logits, rtol=1e-9, atol=1e-9)
        ours.train(), theirs.train()
        torch.testing.assert_close(loss_of(ours(x), labels), theirs(x, labels=labels).loss, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("name", networks.SEGMENTERS)
def test_every_row_of_tables_6_and_7_infers_and_trains(name: str) -> None:
    params = {
        "model": name,
        "aspect": 2,
        "backend": "aten",
        "attention": "explicit",
        "batch": 2,
        "img_size": 64,
        "precision": "fp32",
        "layout": "nhwc",
        "compile": "eager",
        "optimizer": "adamw",
        "drop_path": "0",
    }
    training = CASES["segmentation"].workload({**params, "mode": "train"})
    step = training.make("cpu")
    first, *later = (float(training.call(step).detach()) for _ in range(4))
    assert min(later) < first
    assert [key for key, p in step.model.named_parameters() if p.grad is None or not p.grad.any()] == []
    inference = CASES["segmentation"].workload({**params, "mode": "infer", "optimizer": "sgd"})
    assert inference.call(inference.make("cpu")).shape == (2, 150, 64, 128)


@pytest.mark.network
def test_semantic_fpn_answers_for_every_pixel_of_wide_images() -> None:
    model = build("semantic_fpn.pvt_small", img_size=64, aspect=2).eval()
    assert model(torch.randn(1, 3, 64, 128)).shape == (1, 150, 64, 128)
