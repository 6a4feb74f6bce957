"""What PyTorch asks of an operation and of a layer: autograd, compile, export, autocast, timm's names, errors."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchbench.kernels import InceptionDWConv2d, inception_dwconv


def arguments(
    dtype: torch.dtype = torch.float32, *, channels: int = 8, branch: int = 2, grad: bool = True, device: str = "cpu"
) -> list[Tensor]:
    """x, three weights, three biases."""
    made = torch.Generator().manual_seed(0)
    shapes = [(2, channels, 5, 4), (branch, 1, 3, 3), (branch, 1, 1, 5), (branch, 1, 5, 1), *[(branch,)] * 3]
    return [torch.randn(shape, generator=made, dtype=dtype).to(device).requires_grad_(grad) for shape in shapes]


def timm_layer(*args: Any, **kwargs: Any) -> nn.Module:
    inception_next = pytest.importorskip("timm.models.inception_next")
    layer: nn.Module = inception_next.InceptionDWConv2d(*args, **kwargs)
    return layer


def test_gradients_are_those_of_finite_differences_in_float64() -> None:
    assert torch.autograd.gradcheck(inception_dwconv, arguments(torch.float64), fast_mode=True)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_operation_keeps_the_rules_of_torch_library(memory_format: torch.memory_format, each_device: str) -> None:
    x, *rest = arguments(device=each_device)
    x = x.detach().contiguous(memory_format=memory_format).requires_grad_()
    operation = torch.ops.benchbench.inception_dwconv.default
    torch.library.opcheck(operation, (x, *rest, torch.float32))
    torch.library.opcheck(operation, (x, *rest[:3], None, None, None, torch.bfloat16))


def distances(tensor: Tensor) -> list[int]:
    """The strides that mean something: those of axes of more than one element."""
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]


def test_gradients_lie_in_memory_as_a_compiler_is_told(each_device: str) -> None:
    x, *weights = arguments(grad=False, device=each_device)[:4]
    weights = [weight.transpose(0, 3).contiguous().transpose(0, 3) for weight in weights]
    operation = torch.ops.benchbench.inception_dwconv_backward
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        tensors = (given, torch.ones_like(given), *weights)
        real = operation(*tensors)
        with FakeTensorMode() as mode:
            told = operation(*map(mode.from_tensor, tensors))
        assert [distances(tensor) for tensor in real] == [distances(tensor) for tensor in told]


def test_a_second_derivative_names_the_reference() -> None:
    x, *rest = arguments()
    (grad,) = torch.autograd.grad(inception_dwconv(x, *rest).square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="backend='reference'"):
        grad.sum().backward()


def test_the_reference_backend_has_a_second_derivative() -> None:
    layer = InceptionDWConv2d(8, band_kernel_size=5, branch_ratio=0.25, backend="reference").double()
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x,), fast_mode=True)


def test_the_compiled_layer_is_one_graph_with_the_same_answers(each_device: str) -> None:
    layer = InceptionDWConv2d(16, device=each_device)
    x = torch.randn(2, 16, 9, 6, device=each_device)
    grads = []
    for run in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager")):
        layer.zero_grad()
        y = run(x)
        y.square().sum().backward()
        grads.append([y.detach(), *(p.grad for p in layer.parameters() if p.grad is not None)])
    assert len(grads[0]) == 7
    assert all(torch.equal(eager, compiled) for eager, compiled in zip(*grads, strict=True))


def test_the_exported_layer_is_one_operation() -> None:
    layer, x = InceptionDWConv2d(16).eval(), torch.randn(2, 16, 9, 6)
    program = torch.export.export(layer, (x,))
    called = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert called == [torch.ops.benchbench.inception_dwconv.default]
    assert torch.equal(program.module()(x), layer(x))


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_under_autocast_float32_comes_in_and_sixteen_bits_go_out(compiled: bool, each_device: str) -> None:
    layer = InceptionDWConv2d(16, device=each_device)
    x = torch.randn(2, 16, 5, 5, device=each_device, requires_grad=True)
    run = torch.compile(layer, fullgraph=True, backend="aot_eager") if compiled else layer
    with torch.autocast(each_device, dtype=torch.bfloat16):
        y = run(x)
        inside_16_bits = layer(x.detach().bfloat16())
    assert y.dtype == inside_16_bits.dtype == torch.bfloat16
    assert run(x).dtype == torch.float32
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float32


@pytest.mark.parametrize("given", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_autocast_makes_of_each_type_what_it_makes_of_it_before_a_convolution(
    given: torch.dtype, each_device: str
) -> None:
    x, *rest = arguments(given, device=each_device)
    for wanted in (torch.bfloat16, torch.float16):
        with torch.autocast(each_device, dtype=wanted):
            y = inception_dwconv(x, *rest)
            stock = nn.functional.conv2d(x[:, :2], rest[0], padding=1, groups=2)
        assert y.dtype == stock.dtype
        grads = torch.autograd.grad(y.float().sum(), (x, *rest))
        assert {grad.dtype for grad in grads} == {given}


def test_where_there_is_no_autocast_shapes_and_types_are_still_found() -> None:
    y = inception_dwconv(*arguments(torch.float16, device="meta"))
    assert (y.shape, y.dtype, y.device.type) == ((2, 8, 5, 4), torch.float16, "meta")


def test_the_layer_answers_as_timms_and_takes_its_state() -> None:
    theirs = timm_layer(20, square_kernel_size=5, band_kernel_size=7, branch_ratio=0.25)
    ours = InceptionDWConv2d(20, square_kernel_size=5, band_kernel_size=7, branch_ratio=0.25)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 20, 9, 7)
    assert torch.equal(ours(x), theirs(x))
    theirs.load_state_dict(ours.state_dict())


def test_the_layer_is_built_as_timms_is() -> None:
    theirs = inspect.signature(type(timm_layer(16)))
    ours = inspect.signature(InceptionDWConv2d)
    names = list(theirs.parameters)
    assert list(ours.parameters)[: len(names)] == names
    for name in names:
        assert ours.parameters[name].default == theirs.parameters[name].default
    torch.manual_seed(0)
    first = timm_layer(16, dtype=torch.float64).state_dict()
    torch.manual_seed(0)
    second = InceptionDWConv2d(16, dtype=torch.float64).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dilation": 2}, "dilation must be 1, got 2"),
        ({"square_kernel_size": 4}, "square_kernel_size must be odd, got 4"),
        ({"band_kernel_size": 10}, "band_kernel_size must be odd, got 10"),
        ({"branch_ratio": 0.01}, "gives 0 a branch"),
        ({"branch_ratio": 0.5}, "gives 8 a branch; it must be between 1 and 5"),
        ({"backend": "cuda"}, "backend must be one of triton, reference"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_the_layer_cannot_do_is_said_in_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        InceptionDWConv2d(16, **options)
    assert "\n" not in str(caught.value)


def changed(place: int, value: Tensor) -> list[Tensor]:
    made = arguments(grad=False)
    made[place] = value
    return made


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (changed(0, torch.randn(8, 5, 4)), ValueError, "4 dimensions [N, C, H, W], got 3"),
        (changed(0, torch.zeros(2, 8, 5, 4, dtype=torch.int32)), TypeError, "got torch.int32"),
        (changed(0, torch.randn(2, 5, 5, 4)), ValueError, "3 branches of 2 channels do not fit the 5 channels"),
        (changed(0, torch.randn(2, 8, 5, 4, device="meta")), ValueError, "x is on meta but the square weight on cpu"),
        (changed(2, torch.randn(2, 1, 5, 1)), ValueError, "expected weights [g, 1, s, s], [g, 1, 1, k]"),
        (changed(3, torch.randn(3, 1, 5, 1)), ValueError, "expected weights [g, 1, s, s], [g, 1, 1, k]"),
        (changed(1, torch.randn(2, 1, 4, 4)), ValueError, "kernel sizes must be odd to keep the size, got 4 and 5"),
        (changed(1, torch.ones(2, 1, 3, 3, dtype=torch.int8)), TypeError, "the square weight is torch.int8"),
        (changed(4, torch.randn(3)), ValueError, "expected a square bias of shape [2], got [3]"),
        (changed(5, torch.randn(2, device="meta")), ValueError, "x is on cpu but the row bias on meta"),
        (arguments(grad=False)[:5], ValueError, "give all three biases or none, got 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_refused_in_one_line(bad: list[Tensor], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)) as caught:
        inception_dwconv(*bad)
    assert "\n" not in str(caught.value)


def test_an_output_type_without_a_kernel_is_refused() -> None:
    with pytest.raises(TypeError, match=r"expected out_dtype float32, float16 or bfloat16, got torch\.int32"):
        inception_dwconv(*arguments(grad=False), out_dtype=torch.int32)


def test_another_number_of_channels_is_refused_by_the_layer() -> None:
    with pytest.raises(ValueError, match="expected 16 channels, got 17"):
        InceptionDWConv2d(16)(torch.randn(1, 17, 4, 4))


def test_an_empty_batch_gives_an_empty_result_and_zero_gradients(each_device: str) -> None:
    x, *rest = arguments(device=each_device)
    empty = x.detach()[:0].requires_grad_()
    y = inception_dwconv(empty, *rest)
    assert y.shape == (0, 8, 5, 4)
    y.sum().backward()
    assert empty.grad is not None
    assert empty.grad.shape == empty.shape
    assert all(p.grad is not None and not p.grad.any() for p in rest)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_result_and_the_gradient_have_the_memory_format_of_the_input(form: torch.memory_format) -> None:
    x, *rest = arguments()
    x = x.detach().contiguous(memory_format=form).requires_grad_()
    y = inception_dwconv(x, *rest)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert y.is_contiguous(memory_format=form)
    assert grad.is_contiguous(memory_format=form)


def test_only_the_input_and_the_weights_are_kept_for_the_backward() -> None:
    x, *rest = arguments()
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        inception_dwconv(x, *rest)
    assert {tensor.data_ptr() for tensor in kept} == {tensor.data_ptr() for tensor in (x, *rest[:3])}


def test_torch_func_differentiates_a_model_through_the_reference() -> None:
    stock, ours = (InceptionDWConv2d(16, band_kernel_size=5, backend=name) for name in ("reference", "triton"))
    ours.load_state_dict(stock.state_dict())
    x = torch.randn(2, 16, 6, 7)

    def gradients(module: torch.nn.Module) -> dict[str, Tensor]:
        def loss(parameters: dict[str, Tensor]) -> Tensor:
            y: Tensor = torch.func.functional_call(module, parameters, (x,)).square().sum()
            return y

        return torch.func.grad(loss)(dict(module.named_parameters()))  # type: ignore[no-any-return]

    expected, found = gradients(stock), gradients(ours)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])
