"""What only a GPU shows: other streams, captured graphs and inductor around both operations, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from benchbench.kernels import depthwise_conv, inception_dwconv
from benchbench.kernels.inception_dwconv import inception_dwconv_with_statistics

pytestmark = pytest.mark.gpu

FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


@dataclass(frozen=True)
class Step:
    """One forward and backward pass: the function, and the shapes of what it is called with after x."""

    function: Callable[..., Tensor]
    parameters: tuple[tuple[int, ...], ...]

    def leaves(self, layout: str, dtype: torch.dtype, seed: int) -> list[Tensor]:
        """x, the parameters, and the gradient of y behind them."""
        made = torch.Generator().manual_seed(seed)
        shapes = ((4, 16, 14, 14), *self.parameters, (4, 16, 14, 14))
        found = [torch.randn(shape, generator=made).to("cuda", dtype) for shape in shapes]
        for images in (0, -1):
            found[images] = found[images].contiguous(memory_format=FORMATS[layout])
        return [tensor.requires_grad_() for tensor in found[:-1]] + found[-1:]

    def __call__(self, leaves: list[Tensor]) -> list[Tensor]:
        """y and all gradients."""
        *inputs, grad_y = leaves
        y = self.function(*inputs)
        return [y.detach(), *torch.autograd.grad(y, inputs, grad_y)]


STEPS = {
    "depthwise": Step(depthwise_conv, ((16, 1, 3, 3), (16,))),
    "depthwise in two passes": Step(depthwise_conv, ((16, 1, 11, 11), (16,))),
    "inception": Step(inception_dwconv, ((2, 1, 3, 3), (2, 1, 1, 11), (2, 1, 11, 1), (2,), (2,), (2,))),
    "statistics": Step(
        lambda *inputs, **types: inception_dwconv_with_statistics(*inputs, **types)[0],
        ((2, 1, 3, 3), (2, 1, 1, 11), (2, 1, 11, 1), (2,), (2,), (2,)),
    ),
}
every_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
every_layout = pytest.mark.parametrize("layout", FORMATS)


def assert_same_bits(found: list[Tensor], expected: list[Tensor]) -> None:
    assert [torch.equal(one, other) for one, other in zip(found, expected, strict=True)] == [True] * len(expected)


@every_step
@every_layout
def test_a_step_waits_for_what_its_own_stream_still_writes(step: Step, layout: str) -> None:
    given = step.leaves(layout, torch.float32, 1)
    expected = step(given)
    late = [torch.full_like(tensor, float("nan")).requires_grad_(tensor.requires_grad) for tensor in given]
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        with torch.no_grad():
            for tensor, value in zip(late, given, strict=True):
                tensor.copy_(value)
        found = step(late)
    stream.synchronize()
    assert_same_bits(found, expected)


@every_step
@every_layout
def test_a_captured_step_gives_at_replay_what_an_eager_one_gives(step: Step, layout: str) -> None:
    """All on one stream: warming up, which compiles, capture of both passes, and the replay on other inputs."""
    leaves, others = step.leaves(layout, torch.float32, 1), step.leaves(layout, torch.float32, 2)
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        before = step(leaves)
    stream.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        captured = step(leaves)
    with torch.cuda.stream(stream):
        with torch.no_grad():
            for tensor, value in zip(leaves, others, strict=True):
                tensor.copy_(value)
        graph.replay()
        eager = step(others)
    stream.synchronize()
    assert_same_bits(captured, eager)
    assert not any(map(torch.equal, captured, before))


@every_step
@every_layout
def test_inductor_calls_the_same_kernels(step: Step, layout: str) -> None:
    compiled = Step(torch.compile(step.function, fullgraph=True), step.parameters)
    leaves = step.leaves(layout, torch.float32, 1)
    assert_same_bits(compiled(leaves), step(leaves))


@every_step
@every_layout
def test_sixteen_bits_under_autocast_are_those_of_the_call_that_asks_for_them(step: Step, layout: str) -> None:
    leaves = step.leaves(layout, torch.float32, 1)
    given = [*leaves[:-1], leaves[-1].bfloat16()]
    asked = Step(lambda *inputs: step.function(*inputs, out_dtype=torch.bfloat16), step.parameters)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found = step(given)
    assert found[0].dtype == torch.bfloat16
    assert {gradient.dtype for gradient in found[1:]} == {torch.float32}
    assert_same_bits(found, asked(given))
