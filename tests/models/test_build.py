"""Does a name build the network that it says?"""

import importlib
import sys
from fractions import Fraction

import pytest
import torch
from torch import nn

from benchbench.models.build import ImageSizeError, build
from benchbench.models.mixers import PartialDepthwiseConv2d

pytestmark = pytest.mark.network


def kernel_sizes(model: nn.Module) -> set[tuple[int, ...]]:
    convolutions = (m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups > 1)
    return {conv.kernel_size for conv in convolutions}


def test_every_depthwise_convolution_of_convnext_has_the_kernel_size() -> None:
    assert kernel_sizes(build("convnext_atto")) == {(7, 7)}
    assert kernel_sizes(build("convnext_atto", kernel_size=5)) == {(5, 5)}


def test_every_mixer_of_convnext_convolves_the_ratio_of_its_channels() -> None:
    model = build("convnext_atto", kernel_size=3, ratio="3/8")
    mixers = [m for m in model.modules() if isinstance(m, PartialDepthwiseConv2d)]
    assert len(mixers) == 12
    assert {(m.conv.in_channels, m.conv.kernel_size) for m in mixers} == {
        (int(c * Fraction(3, 8)), (3, 3)) for c in (40, 80, 160, 320)
    }
    assert not any(isinstance(m, PartialDepthwiseConv2d) for m in build("convnext_atto", ratio="1").modules())


def test_inception_next_takes_the_band_size_and_the_branch_ratio() -> None:
    assert kernel_sizes(build("inception_next_atto")) == {(3, 3), (1, 9), (9, 1)}
    model = build("inception_next_atto", kernel_size=5, ratio="1/8")
    assert kernel_sizes(model) == {(3, 3), (1, 5), (5, 1)}
    assert model.stages[0].blocks[0].token_mixer.split_indexes == (25, 5, 5, 5)


def test_a_third_of_the_channels_is_not_rounded_down_twice() -> None:
    model = build("inception_next_tiny", ratio="1/3")
    assert model.stages[0].blocks[0].token_mixer.split_indexes == (0, 32, 32, 32)


@pytest.mark.parametrize("name", ["convnext_atto", "inception_next_atto", "resnet18", "vit_tiny_patch16_224"])
def test_random_weights_are_finite_repeatable_and_show_every_image(name: str) -> None:
    model, again = build(name, img_size=64).eval(), build(name, img_size=64).eval()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert all(p.isfinite().all() and p.any() for p in model.parameters())
    with torch.inference_mode():
        outputs = model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert outputs.isfinite().all()
    assert (outputs[0] - outputs[1]).std() > 1e-2 * outputs.std()


def test_buffers_are_those_of_timm() -> None:
    timm = importlib.import_module("timm")
    name, options = "swin_tiny_patch4_window7_224", {"depths": (1, 1, 1, 1), "embed_dim": 24}
    ours = dict(build(name, img_size=64).named_buffers())
    theirs = dict(timm.create_model(name, img_size=64, **options).named_buffers())
    assert len(theirs) > 1
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


def test_drop_path_is_off_unless_it_is_the_networks_own() -> None:
    def rates(model: nn.Module) -> list[float]:
        return [m.drop_prob for m in model.modules() if type(m).__name__ == "DropPath"]

    assert not any(rates(build("swin_tiny_patch4_window7_224")))
    assert max(rates(build("swin_tiny_patch4_window7_224", drop_path=None))) == pytest.approx(0.1)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean inception_next_tiny"):
        build("inception_next_tin")


@pytest.mark.parametrize("options", [{"kernel_size": 3}, {"ratio": "1/8"}])
def test_a_kernel_size_for_a_network_without_one_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no kernel size or ratio"):
        build("resnet50", **options)  # type: ignore[arg-type]


def test_images_that_a_network_cannot_take_are_refused() -> None:
    with pytest.raises(ImageSizeError, match="100 px"):
        build("xcit_nano_12_p16_224", img_size=100)


def test_timm_that_fails_with_another_error_than_import_error_is_an_import_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> object:
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(ImportError, match=r"timm does not import here \(RuntimeError: operator torchvision::nms"):
        build("resnet18")


def test_a_function_of_the_users_builds_a_network(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\ndef net(): return nn.Conv2d(3, 8, 1)\nNOT = 3\n")  # type: ignore[operator]
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(build("mine:net"), nn.Conv2d)
    for name in ("mine:other", "nowhere_at_all:net"):
        with pytest.raises(ValueError, match=r"importable\.module:function"):
            build(name)
    sys.modules.pop("mine")
