"""A fused InceptionNeXt block computes what timm's does, in training and in evaluation, and reads less for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchbench.models.accelerate import accelerate
from benchbench.models.fused_block import FusedBlock, fuse, normalized_linear, pointwise, unfuse


def pair(dtype: torch.dtype = torch.float64) -> tuple[nn.BatchNorm2d, nn.Conv2d, torch.Tensor]:
    torch.manual_seed(0)
    norm, linear = nn.BatchNorm2d(6).to(dtype), nn.Conv2d(6, 9, 1).to(dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = (torch.randn(3, 6, 4, 5, dtype=torch.float64) * 2 + 1).to(dtype)
    return norm, linear, x.requires_grad_()


def timm_blocks() -> nn.Module:
    timm = pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
    torch.manual_seed(0)
    network = timm.create_model("inception_next_tiny", num_classes=3, depths=(1, 1, 1, 1), dims=(24, 32, 40, 48))
    for name, parameter in network.named_parameters():
        if "gamma" in name:
            nn.init.normal_(parameter)
    return network.double()  # type: ignore[no-any-return]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_outputs_gradients_and_running_statistics_are_those_of_the_two_layers(
    training: bool, momentum: float | None
) -> None:
    norm, linear, x = pair()
    norm.train(training)
    norm.momentum = momentum
    other, _, _ = pair()
    other.train(training)
    other.momentum = momentum
    g = torch.randn(3, 9, 4, 5, dtype=torch.float64)
    stock = linear(other(x))
    leaves = (x, *other.parameters(), *linear.parameters())
    expected = torch.autograd.grad(stock, leaves, g)
    h = normalized_linear(x, norm, linear)
    found = torch.autograd.grad(h, (x, *norm.parameters(), *linear.parameters()), g)
    torch.testing.assert_close(h, stock)
    torch.testing.assert_close(found, expected)
    for name, value in other.state_dict().items():
        torch.testing.assert_close(norm.state_dict()[name], value)


def test_a_cumulative_average_is_kept_without_waiting_for_a_number() -> None:
    """A value read on the host is one more synchronization, and no CUDA graph can be captured around it."""
    norm, linear, x = pair()
    norm.momentum = None
    with Reading(1) as watched:
        for _ in range(2):
            normalized_linear(x, norm, linear)
    assert "aten::_local_scalar_dense" not in watched.seen


def test_gradients_agree_with_differences() -> None:
    norm, linear, x = pair()
    norm.track_running_stats = False
    norm.running_mean = norm.running_var = None
    assert torch.autograd.gradcheck(lambda y: normalized_linear(y, norm, linear), (x,))


def test_one_value_a_channel_is_refused_as_batch_norm_does() -> None:
    norm, linear, x = pair()
    with pytest.raises(ValueError, match="more than one value"):
        normalized_linear(x[:1, :, :1, :1], norm, linear)


def test_under_autocast_it_computes_in_its_type_and_gradients_keep_theirs() -> None:
    norm, linear, x = pair(torch.float32)
    other, _, _ = pair(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h, plain = normalized_linear(x, norm, linear), linear(other(x))
    assert h.dtype == torch.bfloat16
    grads = torch.autograd.grad(h.float().square().sum(), (x, *norm.parameters(), *linear.parameters()))
    assert {grad.dtype for grad in grads} == {torch.float32}
    exact = linear(other(x))
    rounding = torch.finfo(torch.bfloat16).eps * exact.abs().max()
    assert (h - exact).abs().max() <= 2 * ((plain - exact).abs().max() + rounding)


class Reading(TorchDispatchMode):
    """Counts the operations that read or write a tensor as large as ``size``."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.seen = size, []  # type: ignore[var-annotated]

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(isinstance(each, torch.Tensor) and each.numel() == self.size for each in args):
            self.seen.append(operation._schema.name)
        return operation(*args, **(kwargs or {}))


def test_batch_norm_reads_the_images_once_forward_and_reduces_nothing_backward() -> None:
    norm, linear, x = pair()
    with Reading(x.numel()) as forward:
        h = normalized_linear(x, norm, linear)
    work = [name for name in forward.seen if name not in ("aten::detach", "aten::alias")]
    assert work == ["aten::var_mean", "aten::convolution"]
    with Reading(x.numel()) as backward:
        torch.autograd.grad(h.sum(), (x, *norm.parameters()))
    work = [name for name in backward.seen if name not in ("aten::detach", "aten::alias")]
    assert sorted(work) == ["aten::addcmul_", "aten::convolution_backward"]


@pytest.mark.network
@pytest.mark.parametrize("training", [True, False])
def test_a_timm_network_trains_and_predicts_the_same_and_gets_its_blocks_back(training: bool) -> None:
    model, other = timm_blocks().train(training), timm_blocks().train(training)
    blocks = dict(model.named_modules())
    keys = list(model.state_dict())
    names = fuse(model)
    assert len(names) == 4
    assert list(model.state_dict()) == keys
    assert sum(isinstance(module, FusedBlock) for module in model.modules()) == 4
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    y, expected = model(x), other(x)
    torch.testing.assert_close(y, expected)
    if training:
        y.square().sum().backward()
        expected.square().sum().backward()
        for (name, parameter), stock in zip(model.named_parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, stock.grad, msg=name)
    assert fuse(model) == ()
    assert unfuse(model) == names
    assert all(blocks[name] is module for name, module in model.named_modules())
    for key, value in other.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value)


@pytest.mark.network
def test_it_goes_together_with_accelerate_whichever_comes_first() -> None:
    x = torch.randn(1, 3, 32, 32, dtype=torch.float32)
    results = []
    for order in ((accelerate, fuse), (fuse, accelerate)):
        model = timm_blocks().float().eval()
        for step in order:
            step(model)
        with torch.no_grad():
            results.append(model(x))
        unfuse(model)
    torch.testing.assert_close(*results)


@pytest.mark.network
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_accelerated_blocks_train_as_timm_s_do_and_their_batch_norms_read_nothing(
    memory_format: torch.memory_format,
) -> None:
    model, other = timm_blocks().float().train(), timm_blocks().float().double().train()
    accelerate(model)
    fuse(model)
    model.double()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    y, expected = model(x.to(memory_format=memory_format)), other(x)
    torch.testing.assert_close(y, expected)
    y.square().sum().backward()
    expected.square().sum().backward()
    named = dict(other.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, named[name].grad, msg=name)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, dict(other.named_buffers())[name], msg=name)

    block = next(module for module in model.modules() if isinstance(module, FusedBlock))
    images = torch.randn(2, 24, 6, 5, dtype=torch.float64).to(memory_format=memory_format)
    with torch.no_grad(), Reading(images.numel()) as forward:
        block(images)
    assert {name for name in forward.seen if "inception" in name} == {"benchbench::inception_dwconv_with_statistics"}
    assert not {"aten::var_mean", "aten::batch_norm_stats", "aten::native_batch_norm"} & set(forward.seen)


@pytest.mark.parametrize("biased", [True, False])
def test_pointwise_convolutions_keep_the_memory_format_and_its_bytes(biased: bool) -> None:
    x, matrix = torch.randn(2, 6, 3, 5, dtype=torch.float64), torch.randn(9, 6, dtype=torch.float64)
    bias = torch.randn(9, dtype=torch.float64) if biased else None
    expected = torch.nn.functional.conv2d(x, matrix[:, :, None, None], bias)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        y = pointwise(x.to(memory_format=memory_format), matrix, bias)
        torch.testing.assert_close(y, expected)
        assert y.is_contiguous(memory_format=memory_format)
