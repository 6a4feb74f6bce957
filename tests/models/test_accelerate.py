"""accelerate puts our layers into a network and restore takes them out, without touching a parameter."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

import benchbench
from benchbench.kernels import DepthwiseConv2d, InceptionDWConv2d
from benchbench.models.accelerate import accelerate, restore
from benchbench.models.mixers import PartialDepthwiseConv2d


def timm_network(name: str) -> nn.Module:
    timm = pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
    sizes = {"depths": (1, 1, 1, 1), "dims": (24, 32, 40, 48)} if "next" in name else {}
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(name, num_classes=5, **sizes)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(8, 8, 7, padding=3, groups=8),
        PartialDepthwiseConv2d(8, kernel_size=3, ratio="1/4"),
        nn.Conv2d(8, 8, 3, padding="same", groups=8, bias=False),
    )


@pytest.mark.network
@pytest.mark.parametrize("name", ["inception_next_tiny", "convnext_tiny", "mobilenetv2_050"])
def test_a_timm_network_computes_the_same_and_its_parameters_stay_the_same_objects(name: str) -> None:
    model = timm_network(name).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = model(x)
    parameters, keys = dict(model.named_parameters()), list(model.state_dict())
    report = accelerate(model)
    assert len(report.replaced) >= 4
    assert list(model.state_dict()) == keys
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    with torch.no_grad():
        after = model(x)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4 * before.abs().max().item())
    layers = [type(module) for module in model.modules()]
    assert (InceptionDWConv2d if name == "inception_next_tiny" else DepthwiseConv2d) in layers


@pytest.mark.network
def test_strided_convolutions_are_left_with_the_reason() -> None:
    report = accelerate(timm_network("mobilenetv2_050"))
    assert {why for _, why in report.left} == {"stride must be 1, got (2, 2)"}
    assert all("conv_dw" in name for name, _ in report.replaced)


def test_restore_puts_the_very_modules_back() -> None:
    model = small()
    before = dict(model.named_modules())
    report = accelerate(model)
    assert [name for name, _ in report.replaced] == ["1", "2", "3"]
    assert restore(model) == ("1", "2", "3")
    after = dict(model.named_modules())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert restore(model) == ()


def test_training_between_the_two_moves_the_weights_of_both() -> None:
    model = small()
    accelerate(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(2, 3, 6, 6)
    model(x).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    optimizer.step()
    trained = model(x)
    model.eval()
    restore(model)
    torch.testing.assert_close(model(x), trained)
    assert not any(module.training for module in model.modules())


def test_new_weights_and_types_given_meanwhile_are_kept() -> None:
    model = small()
    accelerate(model)
    model.load_state_dict({key: torch.ones_like(value) for key, value in model.state_dict().items()}, assign=True)
    model.to(torch.bfloat16)
    restore(model)
    for value in model.state_dict().values():
        assert torch.equal(value, torch.ones_like(value))
        assert value.dtype == torch.bfloat16


def test_doing_it_twice_changes_nothing_more() -> None:
    model = small()
    accelerate(model)
    modules = list(model.modules())
    assert accelerate(model).replaced == ()
    assert list(model.modules()) == modules


def test_a_module_that_is_used_twice_is_replaced_by_one() -> None:
    conv = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    model = nn.Sequential(conv, nn.ReLU(), conv)
    accelerate(model)
    assert model[0] is model[2]
    restore(model)
    assert model[0] is conv
    assert model[2] is conv


def test_a_copy_of_an_accelerated_network_is_restored_on_its_own() -> None:
    model = small()
    accelerate(model)
    copied = copy.deepcopy(model)
    restore(copied)
    assert isinstance(copied[1], nn.Conv2d)
    assert isinstance(model[1], DepthwiseConv2d)
    assert copied[1].weight is not model[1].weight


class Subclass(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -super().forward(x)


def hooked() -> nn.Module:
    conv = nn.Conv2d(4, 4, 3, padding=1, groups=4)
    conv.register_forward_hook(lambda module, given, output: None)
    return conv


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4), "dilation must be 1"),
        (lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4), "out_channels must equal"),
        (lambda: nn.Conv2d(4, 4, 3, groups=4), "padding must keep the size"),
        (lambda: nn.Conv2d(4, 4, 4, padding=2, groups=4), "kernel_size must be odd"),
        (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4, padding_mode="circular"), "padding_mode"),
        (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4).double(), "torch.float64"),
        (lambda: Subclass(4, 4, 3, padding=1, groups=4), "subclass"),
        (hooked, "hooks"),
    ],
)
def test_what_would_not_compute_the_same_is_left(make: Callable[[], nn.Module], why: str) -> None:
    model = nn.Sequential(make())
    conv = model[0]
    report = accelerate(model)
    assert report.replaced == ()
    assert why in report.left[0][1]
    assert model[0] is conv
    assert f"left     0: {report.left[0][1]}" in str(report)


def test_a_convolution_that_is_the_model_itself_cannot_be_replaced_in_place() -> None:
    report = accelerate(nn.Conv2d(4, 4, 3, padding=1, groups=4))
    assert "nn.Sequential" in report.left[0][1]


def test_wrong_arguments_are_one_clear_line() -> None:
    with pytest.raises(ValueError, match="backend must be one of triton, reference"):
        accelerate(small(), backend="cudnn")
    with pytest.raises(TypeError, match=r"expected an nn\.Module"):
        accelerate("convnext_tiny")  # type: ignore[arg-type]


def test_it_works_under_compile_and_with_the_reference_backend() -> None:
    model = small()
    x = torch.randn(1, 3, 6, 6)
    before = model(x)
    accelerate(model, backend="reference")
    torch.testing.assert_close(model(x), before)
    restore(model)
    accelerate(model)
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="aot_eager")(x), before)


def test_the_package_offers_both_words() -> None:
    model = small()
    assert len(benchbench.accelerate(model).replaced) == 3
    assert len(benchbench.restore(model)) == 3


@pytest.mark.network
def test_blocks_are_fused_when_asked_for_and_restored_with_the_rest() -> None:
    timm = pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
    model = timm.create_model("inception_next_tiny", num_classes=3, depths=(1, 1, 1, 1), dims=(24, 32, 40, 48))
    before, keys = dict(model.named_modules()), list(model.state_dict())
    plain = benchbench.accelerate(model)
    assert all(was == "InceptionDWConv2d" for _, was in plain.replaced)
    fused = benchbench.accelerate(model, blocks=True)
    assert [was for _, was in fused.replaced] == ["MetaNeXtBlock"] * 4
    assert list(model.state_dict()) == keys
    assert set(benchbench.restore(model)) == {name for name, _ in plain.replaced + fused.replaced}
    after = dict(model.named_modules())
    assert all(after[name] is module for name, module in before.items())
