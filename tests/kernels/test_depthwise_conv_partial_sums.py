"""What the partial sums of a depthwise convolution's weight gradient cost beside the bytes that must be moved."""

from __future__ import annotations

import pytest
import torch

from benchbench.access import shipped
from benchbench.kernels.depthwise_conv import launch as depthwise
from benchbench.kernels.depthwise_conv import start

# Written and read again; what streams is counted once.
MOST_SHARE = 0.02
MULTIPROCESSORS = 132
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
SIZES = (3, 5, 7, 9, 11, 13, 31)


def shapes() -> list[tuple[int, int, int, int]]:
    sizes = [[int(part) for part in shape.split("x")] for shape in shipped.shapes_of("T,B")]
    return [(shipped.COUNTED_BATCH, channels, height, width) for channels, height, width in sizes]


@pytest.mark.parametrize("layout", shipped.LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_partial_sums_of_a_kernel_are_few_unless_fewer_would_idle_the_machine(
    size: int, dtype: str, layout: depthwise.Layout
) -> None:
    kernel = (size, size)
    for shape in shapes():
        chosen = depthwise.plan(shape, DTYPES[dtype], layout, kernel_size=kernel, direction="backward")
        if chosen.coding == "split":
            chosen = depthwise.plan(shape, DTYPES[dtype], layout, kernel_size=kernel, direction="weight_gradient")
        share = depthwise.partial_share(chosen, shape, DTYPES[dtype], kernel, 0)
        programs = depthwise.convolving_programs(chosen, shape, kernel, 0)
        print(f"{layout} {dtype} {size}x{size} {shape[1:]}: {share:.2%}, {programs} programs")
        assert programs >= MULTIPROCESSORS
        if chosen.coding == "fused" and size == 5 and shape[2] == 7:
            # No registers are left for a loop: one round a program.
            assert chosen.rounds == 1
            continue
        assert share <= MOST_SHARE or programs < 2 * MULTIPROCESSORS


@pytest.mark.interpreter
@pytest.mark.parametrize(("multiprocessors", "parts"), [(2, 1), (3, 2)])
def test_a_program_that_takes_many_rounds_adds_up_the_same_gradient(
    multiprocessors: int, parts: int, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    """On a machine that two programs fill nothing is left to add up."""
    monkeypatch.setitem(depthwise.MULTIPROCESSORS, "sm_90", multiprocessors)
    monkeypatch.setattr(start, "architecture", lambda x: "sm_90")
    start.launch_of.cache_clear()
    shape = (12, 32, 5, 7)
    chosen = depthwise.plan(shape, torch.float32, "nhwc", kernel_size=(3, 3), direction="backward")
    assert (chosen.coding, depthwise.splits(chosen, shape)) == ("fused", parts)
    generator = torch.Generator().manual_seed(0)
    # Small whole numbers, whose sums are exact in any order.
    x, grad_y = (
        torch.randint(-3, 4, shape, generator=generator).float().contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    weight = torch.randint(-3, 4, (32, 1, 3, 3), generator=generator).float()
    _, sums = start.backward(
        x.to(device), grad_y.to(device), weight.to(device), "nhwc", 0, input_wanted=True, sums_wanted=True
    )
    start.launch_of.cache_clear()
    plain = torch.nn.functional.conv2d(x, weight.requires_grad_(), padding=1, groups=32)
    (expected,) = torch.autograd.grad(plain, weight, grad_y)
    assert sums is not None
    assert torch.equal(sums[:, :-1].reshape(weight.shape).cpu(), expected)
    assert torch.equal(sums[:, -1].cpu(), grad_y.sum((0, 2, 3)))
