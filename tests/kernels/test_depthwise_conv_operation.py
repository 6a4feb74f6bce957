"""The depthwise operation as PyTorch meets it: opcheck, gradcheck, compile, export, autocast, errors, the layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchbench.kernels.depthwise_conv import DepthwiseConv2d, depthwise_conv, reference
from benchbench.kernels.depthwise_conv.operation import _gradients, _operation


def tensors(
    channels: int = 4, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    shapes = ((2, channels, 5, 6), (channels, 1, 3, 3), (channels,))
    x, weight, bias = (torch.randn(size, generator=made, dtype=torch.float64).to(device, dtype) for size in shapes)
    return x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def test_the_definition_is_pytorchs_convolution() -> None:
    x, weight, bias = tensors(dtype=torch.float64)
    for kernel in ((3, 3), (1, 5), (5, 1), (31, 31)):
        weight = torch.randn(4, 1, *kernel, dtype=torch.float64, requires_grad=True)
        stock = nn.functional.conv2d(x, weight, bias, padding=(kernel[0] // 2, kernel[1] // 2), groups=4)
        y = reference.depthwise_conv(x, weight, bias)
        torch.testing.assert_close(y, stock)
        g = torch.randn_like(y)
        expected = torch.autograd.grad(stock, (x, weight, bias), g)
        torch.testing.assert_close(reference.backward(x.detach(), g, weight.detach()), expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("has_bias", [True, False])
def test_pytorchs_own_checks_of_an_operation_pass(
    layout: torch.memory_format, has_bias: bool, each_device: str
) -> None:
    x, weight, bias = tensors(device=each_device)
    x = x.detach().contiguous(memory_format=layout).requires_grad_()
    results = torch.library.opcheck(_operation, (x, weight[1:], bias[1:] if has_bias else None, 1, torch.float32))
    assert set(results.values()) == {"SUCCESS"}


def test_pytorchs_own_checks_of_the_backward_pass(each_device: str) -> None:
    x, weight, _ = (tensor.detach() for tensor in tensors(device=each_device))
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    for wanted in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(_gradients, (x, torch.ones_like(x), weight, 0, *wanted), test_utils=checks)


def distances(tensor: Tensor) -> list[int]:
    """The strides that mean something: those of axes of more than one element."""
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]


@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)], ids=str)
def test_gradients_lie_in_memory_as_a_compiler_is_told(wanted: tuple[bool, bool], each_device: str) -> None:
    x, weight, _ = (tensor.detach() for tensor in tensors(device=each_device))
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        tensor_arguments = given, torch.ones_like(given), weight.transpose(0, 3).contiguous().transpose(0, 3)
        real = _gradients(*tensor_arguments, 0, *wanted)
        with FakeTensorMode() as mode:
            told = _gradients(*map(mode.from_tensor, tensor_arguments), 0, *wanted)
        assert [distances(tensor) for tensor in real] == [distances(tensor) for tensor in told]


def test_gradients_agree_with_differences_in_float64() -> None:
    x, weight, bias = tensors(dtype=torch.float64)
    assert torch.autograd.gradcheck(depthwise_conv, (x, weight, bias))
    assert torch.autograd.gradcheck(
        lambda *leaves: depthwise_conv(*leaves, identity_channels=2), (x, weight[2:], bias[2:])
    )


def test_only_the_gradients_that_are_asked_for_are_computed() -> None:
    x, weight, bias = tensors()
    depthwise_conv(x.detach(), weight, bias).sum().backward()
    assert weight.grad is not None
    assert bias.grad is not None
    x, weight, bias = tensors()
    depthwise_conv(x, weight.detach(), None).sum().backward()
    assert x.grad is not None


def test_only_the_input_is_saved_for_the_backward_pass() -> None:
    x, weight, bias = tensors()
    saved: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        depthwise_conv(x, weight, bias)
    assert {tensor.data_ptr() for tensor in saved} == {x.data_ptr(), weight.data_ptr()}


def test_a_second_derivative_names_the_reference() -> None:
    x, weight, bias = tensors()
    (grad,) = torch.autograd.grad(depthwise_conv(x, weight, bias).square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"reference\.depthwise_conv"):
        grad.sum().backward()


def test_it_compiles_without_a_graph_break_and_exports(each_device: str) -> None:
    layer = DepthwiseConv2d(4, kernel_size=(1, 5), device=each_device)
    x = torch.randn(2, 4, 5, 6, device=each_device)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))
    compiled(x).sum().backward()
    assert layer.weight.grad is not None
    exported = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=2)},))
    torch.testing.assert_close(exported.module()(torch.cat((x, x, x))), layer(torch.cat((x, x, x))))


def test_a_map_over_inputs_folds_into_the_batch() -> None:
    x, weight, _ = (tensor.detach() for tensor in tensors())
    stacked = torch.stack((x, 2 * x, -x), dim=1)
    mapped = torch.vmap(lambda each: depthwise_conv(each, weight), in_dims=1, out_dims=1)(stacked)
    assert torch.equal(mapped, torch.stack([depthwise_conv(each, weight) for each in stacked.unbind(1)], dim=1))
    with pytest.raises(NotImplementedError, match="over x alone"):
        torch.vmap(lambda taps: depthwise_conv(x, taps))(torch.stack((weight, weight)))


@pytest.mark.parametrize("given", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_autocast_makes_of_each_type_what_it_makes_of_it_before_a_convolution(
    given: torch.dtype, each_device: str
) -> None:
    leaves = tensors(dtype=given, device=each_device)
    for wanted in (torch.bfloat16, torch.float16):
        with torch.autocast(each_device, dtype=wanted):
            y = depthwise_conv(*leaves)
            stock = nn.functional.conv2d(*leaves, padding=1, groups=4)
        assert y.dtype == stock.dtype
        assert {grad.dtype for grad in torch.autograd.grad(y.float().sum(), leaves)} == {given}


def test_where_there_is_no_autocast_shapes_and_types_are_still_found() -> None:
    y = depthwise_conv(*tensors(dtype=torch.float16, device="meta"))
    assert (y.shape, y.dtype, y.device.type) == ((2, 4, 5, 6), torch.float16, "meta")


def test_an_empty_batch_gives_the_empty_result_and_zero_gradients(each_device: str) -> None:
    weight = torch.randn(3, 1, 3, 3, device=each_device, requires_grad=True)
    y = depthwise_conv(torch.empty(0, 3, 4, 4, device=each_device), weight)
    assert y.shape == (0, 3, 4, 4)
    y.sum().backward()
    assert torch.equal(weight.grad, torch.zeros_like(weight))


X, WEIGHT = torch.zeros(1, 4, 5, 5), torch.zeros(4, 1, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "named", "error", "words"),
    [
        ((X[0], WEIGHT), {}, ValueError, "4 dimensions"),
        ((X, WEIGHT[:3]), {}, ValueError, "3 filters and 0 identity channels do not make the 4 channels"),
        ((X, WEIGHT), {"identity_channels": 1}, ValueError, "do not make"),
        ((X, WEIGHT), {"identity_channels": -1}, ValueError, "do not make"),
        ((X, WEIGHT.expand(4, 2, 3, 3)), {}, ValueError, "expected a weight"),
        ((X, WEIGHT[..., :2]), {}, ValueError, "odd"),
        ((X, WEIGHT, torch.zeros(3)), {}, ValueError, "bias of shape"),
        ((X.int(), WEIGHT), {}, TypeError, "x is torch.int32"),
        ((X, WEIGHT.to(torch.complex64)), {}, TypeError, "weight is torch.complex64"),
        ((X, WEIGHT.to("meta")), {}, ValueError, "weight on meta"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: tuple[Any, ...], named: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        depthwise_conv(*arguments, **named)
    assert "\n" not in str(raised.value)


def test_the_layer_stands_in_for_conv2d() -> None:
    stock = nn.Conv2d(6, 6, (3, 5), padding=(1, 2), groups=6)
    layer = DepthwiseConv2d(6, 6, (3, 5), 1, (1, 2), 1, 6)
    layer.load_state_dict(stock.state_dict())
    x = torch.randn(2, 6, 7, 8)
    torch.testing.assert_close(layer(x), stock(x))
    torch.testing.assert_close(DepthwiseConv2d(6, kernel_size=3, bias=False, backend="reference")(x).shape, x.shape)
    assert layer(x.contiguous(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"stride": 2}, "stride must be 1"),
        ({"dilation": (1, 2)}, "dilation must be 1"),
        ({"padding_mode": "reflect"}, "padding_mode must be 'zeros'"),
        ({"groups": 1}, "groups must equal in_channels"),
        ({"out_channels": 8}, "out_channels must equal in_channels"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"padding": 0}, "padding must keep the size"),
        ({"padding": "valid"}, "padding must keep the size"),
        ({"in_channels": 0}, "in_channels must be at least 1"),
        ({"backend": "cudnn"}, "backend must be one of"),
    ],
)
def test_what_the_kernels_do_not_do_is_refused_at_construction(named: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        DepthwiseConv2d(**{"in_channels": 4, "kernel_size": 3} | named)
    assert "\n" not in str(raised.value)


def test_torch_func_differentiates_through_the_reference() -> None:
    x = torch.randn(2, 4, 5, 6)
    weight = torch.randn(3, 1, 3, 3)

    def loss(weight: Tensor, x: Tensor) -> Tensor:
        return depthwise_conv(x, weight, identity_channels=1).square().sum()

    def plain(weight: Tensor, x: Tensor) -> Tensor:
        return reference.depthwise_conv(x, weight, identity_channels=1).square().sum()

    for place in (0, 1):
        torch.testing.assert_close(torch.func.grad(loss, place)(weight, x), torch.func.grad(plain, place)(weight, x))
    _, tangent = torch.func.jvp(loss, (weight, x), (weight, x))
    _, expected = torch.func.jvp(plain, (weight, x), (weight, x))
    torch.testing.assert_close(tangent, expected)
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight, x[:, None])
    torch.testing.assert_close(each.sum(0), torch.func.grad(plain)(weight, x))
