"""What the depthwise kernels need of a multiprocessor, counted in machine code without a GPU."""

from __future__ import annotations

import itertools

import pytest
import torch

from benchbench.access.compiled import Resources, compile_kernel
from benchbench.kernels.depthwise_conv import triton_backward, triton_forward, triton_naive
from benchbench.kernels.depthwise_conv.launch import Direction, Layout, plan
from benchbench.kernels.depthwise_conv.start import launch_of, variants

STAGES = ((128, 96, 56, 56), (128, 192, 28, 28), (128, 384, 14, 14), (128, 768, 7, 7))
ODD = ((2, 3, 57, 57), (2, 100, 13, 15), (2, 8, 112, 112), (2, 3, 1, 512))
KERNELS = ((3, 3), (5, 5), (7, 7), (9, 9), (11, 11), (13, 13), (31, 31), (1, 11), (11, 1), (1, 31), (31, 1))
DTYPES = (torch.float32, torch.bfloat16)
LAYOUTS: tuple[Layout, ...] = ("nchw", "nhwc")
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")
# 16 warps of the 64 that a multiprocessor holds.
LEAST_OCCUPANCY = 0.25

pytestmark = pytest.mark.compiling


def resources(made: tuple, arch: str = "sm_90") -> Resources:  # type: ignore[type-arg]
    kernel, signature, constants, _, options = made
    whole = signature | dict.fromkeys(constants, "constexpr")
    return compile_kernel(kernel, whole, constants, arch=arch, options=options)


def instructions_per_output(made: tuple, found: Resources, shape: tuple[int, ...]) -> float:  # type: ignore[type-arg]
    programs = 1
    for size in made[3]:
        programs *= size
    assert found.instructions is not None, found.instructions_reason
    return found.instructions * programs * found.threads / (shape[0] * shape[1] * shape[2] * shape[3])


def assert_fits(made: tuple, arch: str = "sm_90") -> Resources:  # type: ignore[type-arg]
    found = resources(made, arch)
    assert (found.spill_bytes, found.local_accesses) == (0, 0), found.local_places
    assert found.occupancy >= LEAST_OCCUPANCY
    return found


@pytest.mark.parametrize(
    ("shape", "dtype", "layout", "kernel_size", "direction"),
    [
        (STAGES[0], torch.bfloat16, "nchw", (7, 7), "forward"),
        (STAGES[1], torch.float32, "nchw", (3, 3), "forward"),
        (STAGES[3], torch.float32, "nhwc", (7, 7), "forward"),
    ],
)
def test_a_window_stays_in_registers_and_multiplies_most_of_the_time(
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    layout: Layout,
    kernel_size: tuple[int, int],
    direction: Direction,
) -> None:
    """Half of the instructions at least are the multiplications, but for eight that load, convert and store."""
    for made in variants(shape, dtype, layout, kernel_size=kernel_size, direction=direction):
        found = assert_fits(made)
        assert instructions_per_output(made, found, shape) <= 2 * kernel_size[0] * kernel_size[1] + 8


def test_the_naive_control_issues_more_than_twice_as_much_and_loads_no_vector() -> None:
    shape = STAGES[0]
    (ours,), (naive,) = (
        variants(shape, torch.bfloat16, kernel_size=(3, 3)),
        triton_naive.variants(shape, torch.bfloat16, kernel_size=(3, 3)),
    )
    found, control = resources(ours), resources(naive)
    assert instructions_per_output(naive, control, shape) > 2 * instructions_per_output(ours, found, shape)
    assert {access.width for access in control.of("load", ("x",))} == {2}
    assert max(access.width for access in found.of("load", ("x",))) == 16
    assert {access.width for access in found.of("store")} == {16}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [*STAGES, *ODD], ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("kernel_size", KERNELS, ids=lambda size: f"k{size[0]}x{size[1]}")
@pytest.mark.parametrize(("dtype", "layout", "direction"), list(itertools.product(DTYPES, LAYOUTS, DIRECTIONS)))
def test_no_variant_spills_or_leaves_less_than_a_quarter_of_the_warps(
    shape: tuple[int, int, int, int],
    kernel_size: tuple[int, int],
    dtype: torch.dtype,
    layout: Layout,
    direction: Direction,
) -> None:
    for made in variants(
        shape, dtype, layout, kernel_size=kernel_size, direction=direction, identity_channels=shape[1] // 8
    ):
        assert_fits(made)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_80", "sm_100", "sm_120"])
@pytest.mark.parametrize(("kernel_size", "layout"), list(itertools.product(((3, 3), (7, 7)), LAYOUTS)))
def test_other_architectures_do_not_spill_either(arch: str, kernel_size: tuple[int, int], layout: Layout) -> None:
    for direction in DIRECTIONS:
        for made in variants(STAGES[0], torch.bfloat16, layout, arch, kernel_size=kernel_size, direction=direction):
            assert_fits(made, arch)


def test_another_number_of_images_compiles_nothing_anew() -> None:
    kernels = (
        triton_forward.depthwise_conv_forward,
        triton_backward.depthwise_conv_backward,
        triton_backward.depthwise_conv_weight_gradient,
        triton_backward.sum_partials,
    )
    for kernel in kernels:
        counts = [one for one in kernel.params if one.name in ("images", "convolving", "splits")]
        assert counts
        assert all(one.do_not_specialize for one in counts)


def test_every_kernel_size_and_image_has_a_plan() -> None:
    for height, width, size in itertools.product((1, 7, 15, 57, 512), (1, 2, 13, 16, 57, 112, 512), KERNELS):
        for dtype, layout, direction in itertools.product((torch.float32, torch.float16), LAYOUTS, DIRECTIONS):
            for shape in ((1, 1, height, width), (128, 100, height, width)):
                chosen = plan(shape, dtype, layout, kernel_size=size, direction=direction)
                assert chosen.coding == "split" or chosen.columns % chosen.vector == 0
                assert chosen.units * chosen.channels >= 128 or layout == "nchw"


def test_too_large_an_image_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="too large for one launch"):
        launch_of((1, 100_000, 200, 200), torch.float32, "nchw", "sm_90", (3, 3), 0, "forward", (0, 1), (0, 1), False)
