"""Do the mixers compute what the paper writes?"""

import pytest
import torch
from torch import nn

from benchbench.models.mixers import DepthwiseByDefinition, PartialDepthwiseConv2d, by_definition, is_depthwise


@pytest.mark.parametrize(("ratio", "convolved"), [("1/8", 2), ("1/3", 5), ("3/8", 6), ("1", 16)])
def test_the_first_channels_pass_through_and_the_last_are_convolved(ratio: str, convolved: int) -> None:
    mixer = PartialDepthwiseConv2d(16, kernel_size=3, ratio=ratio)
    x = torch.randn(2, 16, 5, 7)
    y = mixer(x)
    kept = 16 - convolved
    assert torch.equal(y[:, :kept], x[:, :kept])
    assert torch.equal(y[:, kept:], mixer.conv(x[:, kept:]))
    assert not torch.allclose(y[:, kept:], x[:, kept:])


def test_a_ratio_that_leaves_no_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves 0"):
        PartialDepthwiseConv2d(16, kernel_size=3, ratio="1/32")


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((3, 3), {"padding": 1}),
        ((1, 5), {"padding": (0, 2)}),
        ((5, 1), {"padding": (2, 0), "bias": False}),
        ((3, 3), {"padding": 1, "stride": 2}),
        ((3, 5), {"padding": (2, 4), "dilation": 2}),
        ((2, 2), {"stride": (2, 3), "padding": 1}),
    ],
)
def test_the_definition_is_the_convolution(size: tuple[int, int], options: dict[str, object]) -> None:
    conv = nn.Conv2d(6, 6, size, groups=6, dtype=torch.float64, **options)  # type: ignore[arg-type]
    x = torch.randn(2, 6, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(DepthwiseByDefinition(conv)(x), conv(x), rtol=1e-12, atol=1e-12)


def test_the_definition_has_the_parameters_of_the_network_and_buffers_of_its_own() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1, groups=4))
    defined, wide = by_definition(net), by_definition(net, torch.float64)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(defined(x), net(x))
    assert all(a is b for a, b in zip(defined.parameters(), net.parameters(), strict=True))
    assert {p.dtype for p in wide.parameters()} == {torch.float64}
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    before = net[1].running_mean.clone()
    defined(x)
    assert torch.equal(net[1].running_mean, before)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_gradients_of_the_definition_are_those_of_autograd(stride: int) -> None:
    conv = nn.Conv2d(3, 3, (3, 5), stride=stride, padding=(1, 2), groups=3, dtype=torch.float64)
    x = torch.randn(2, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(DepthwiseByDefinition(conv), x)
    grads = [torch.autograd.grad(m(x).square().sum(), m.parameters()) for m in (conv, DepthwiseByDefinition(conv))]
    for expected, actual in zip(*grads, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_gradients_are_added_in_at_most_so_many_steps_and_miss_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchbench.models.mixers.MOST_STEPS", 7)
    conv = nn.Conv2d(2, 2, 3, padding=1, groups=2)
    x = torch.randn(3, 2, 5, 4)
    grads = [torch.autograd.grad(m(x).square().sum(), m.parameters()) for m in (conv, DepthwiseByDefinition(conv))]
    for expected, actual in zip(*grads, strict=True):
        torch.testing.assert_close(actual, expected)


def test_only_depthwise_convolutions_are_replaced() -> None:
    assert is_depthwise(nn.Conv2d(4, 4, 3, groups=4))
    assert not is_depthwise(nn.Conv2d(4, 4, 3))
    assert not is_depthwise(nn.Conv2d(4, 8, 3, groups=4))
    assert not is_depthwise(nn.Conv2d(4, 4, 3, groups=4, padding="same"))
    assert not is_depthwise(nn.Linear(4, 4))


def test_the_definition_computes_in_the_type_of_autocast() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1, groups=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = DepthwiseByDefinition(conv)(torch.randn(1, 4, 5, 5))
    assert y.dtype == torch.bfloat16
