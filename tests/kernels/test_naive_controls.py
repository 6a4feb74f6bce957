"""The negative controls are right, and lose by what is counted without a GPU."""

from __future__ import annotations

import pytest
import torch

from benchbench.kernels import naive_depthwise_conv, naive_inception_dwconv
from benchbench.kernels.depthwise_conv import reference
from benchbench.kernels.inception_dwconv import reference as inception_reference


def leaves(*shapes: tuple[int, ...], device: str) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=made).to(device).requires_grad_() for shape in shapes]


def assert_same(found: list[torch.Tensor], exact: list[torch.Tensor]) -> None:
    for out, expected in zip(found, exact, strict=True):
        torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.interpreter
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_naive_depthwise_control_is_right(layout: torch.memory_format, device: str) -> None:
    x, weight, bias = leaves((2, 3, 5, 7), (2, 1, 3, 5), (2,), device=device)
    x = x.detach().contiguous(memory_format=layout).requires_grad_()
    y = naive_depthwise_conv(x, weight, bias, identity_channels=1)
    exact = [leaf.detach().double().requires_grad_() for leaf in (x, weight, bias)]
    true = reference.depthwise_conv(*exact, identity_channels=1)
    g = torch.randn_like(y)
    assert_same(
        [y, *torch.autograd.grad(y, (x, weight, bias), g)], [true, *torch.autograd.grad(true, exact, g.double())]
    )


def in_columns(parameter: torch.Tensor) -> torch.Tensor:
    """The same numbers, not one behind the other in memory."""
    return torch.stack((parameter, parameter), dim=-1)[..., 0]


@pytest.mark.interpreter
def test_the_controls_take_parameters_that_are_not_dense(device: str) -> None:
    shapes = ((2, 8, 5, 6), (2, 1, 3, 3), (2, 1, 1, 5), (2, 1, 5, 1), (2,), (2,), (2,))
    x, *parameters = leaves(*shapes, device=device)
    controls = (
        (lambda *given: naive_depthwise_conv(*given, identity_channels=6), (parameters[0], parameters[3])),
        (naive_inception_dwconv, parameters),
    )
    for control, dense in controls:
        results = []
        for given in (dense, [in_columns(parameter) for parameter in dense]):
            y = control(x, *given)
            results.append([y, *torch.autograd.grad(y.square().sum(), (x, *given))])
        assert all(map(torch.equal, *results))


@pytest.mark.interpreter
def test_the_naive_inception_control_is_right(device: str) -> None:
    x, *parameters = leaves((2, 8, 5, 6), (2, 1, 3, 3), (2, 1, 1, 5), (2, 1, 5, 1), (2,), (2,), (2,), device=device)
    y = naive_inception_dwconv(x, *parameters)
    exact = [leaf.detach().double().requires_grad_() for leaf in (x, *parameters)]
    true = inception_reference.forward(exact[0], exact[1:4], exact[4:], torch.float64)
    g = torch.randn_like(y)
    found = torch.autograd.grad(y, (x, *parameters), g)
    assert_same([y, *found], [true, *torch.autograd.grad(true, exact, g.double())])
