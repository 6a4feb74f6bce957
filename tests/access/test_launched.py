"""A user's launch is compiled as Triton would compile it for these arguments."""

from __future__ import annotations

import os
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="interpreted kernels can't be compiled"
)
torch = pytest.importorskip("torch")
planted = pytest.importorskip("planted")

from benchbench.access.launched import Launch, launch_of, resources_of  # noqa: E402


def copied(n: int, **named: Any) -> Launch:
    x, y = torch.randn(max(n, 1)), torch.empty(max(n, 1))
    return launch_of(planted.copy_kernel, (x, y, n), lambda meta: (-(-n // meta["BLOCK"]),), {"BLOCK": 256, **named})


def test_an_integer_is_specialised_on_being_one_or_divisible_by_sixteen() -> None:
    assert copied(1000).divisible == ("x", "y")
    assert copied(1024).divisible == ("x", "y", "n")
    assert (copied(1).signature["n"], copied(1).constants) == ("constexpr", {"n": 1, "BLOCK": 256})


def test_a_pointer_off_its_alignment_is_not_taken_for_aligned() -> None:
    x = torch.randn(257)
    found = launch_of(planted.aligned_copy, (x[1:], x[:-1]), (1,), {"BLOCK": 256})
    assert found.divisible == ("y",)


@pytest.mark.compiling
def test_what_is_divisible_by_sixteen_loads_wide_and_what_is_not_does_not() -> None:
    def widths(n: int) -> set[int]:
        return {access.width for access in resources_of(copied(n), "sm_90").of("load")}

    assert widths(1024) == {8}  # 256 elements over 128 threads: two floats each
    assert widths(1000) == {4}


def test_a_grid_may_be_a_function_and_options_are_kept() -> None:
    found = copied(1000, num_warps=2)
    assert (found.grid, found.programs, found.options) == ((4,), 4, {"num_warps": 2})


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        (
            (),
            {"BLOCK": 64, "num_wraps": 2},
            "aligned_copy: neither an argument nor a launch option is called num_wraps",
        ),
        ((), {}, "aligned_copy: missing a required argument: 'BLOCK'"),
        ((torch.zeros(64, dtype=torch.complex64),), {"BLOCK": 64}, "argument x is of torch.complex64, for which"),
        (("text",), {"BLOCK": 64}, "argument x is a str, which can't be compiled for"),
    ],
)
def test_a_launch_that_cannot_be_is_refused_in_words(
    arguments: tuple[Any, ...], named: dict[str, Any], message: str
) -> None:
    tensors = (*arguments, torch.zeros(64), torch.zeros(64))[:2]
    with pytest.raises(ValueError, match=message):
        launch_of(planted.aligned_copy, tensors, (1,), named)


def test_a_kernel_that_does_not_compile_is_named_with_its_line() -> None:
    launch = launch_of(planted.unequal, (torch.zeros(64), torch.zeros(64)), (1,), {"BLOCK": 64})
    with open(planted.__file__) as file:
        line = next(number for number, row in enumerate(file, 1) if "tl.arange(0, BLOCK // 2)" in row)
    with pytest.raises(ValueError, match=rf"unequal does not compile for sm_90: planted\.py:{line}: .*64 and 32"):
        resources_of(launch, "sm_90")


@pytest.mark.compiling
def test_a_descriptor_made_by_the_host_is_compiled_for() -> None:
    descriptors = pytest.importorskip("triton.tools.tensor_descriptor")
    x, y = torch.zeros(20, 24), torch.zeros(20, 24)
    source, target = (descriptors.TensorDescriptor.from_tensor(t, [16, 16]) for t in (x, y))
    launch = launch_of(planted.given_descriptors, (source, target), (2, 2), {"BLOCK": 16})
    assert launch.signature["source"] == "tensordesc<fp32[16, 16]>"
    assert resources_of(launch, "sm_90").mix["UTMALDG"] == 1
