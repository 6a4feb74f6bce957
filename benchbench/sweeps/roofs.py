"""What is the most that this machine can do? Copies and triads over sizes, multiply-adds, and matrix products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench import work
from benchbench.case import Axis, Skip, Workload, case, positive_integer
from benchbench.plan import Plan, Request, register

if TYPE_CHECKING:
    from torch import Tensor

# From a quarter of the smallest L2 that the suite knows (40 MB) to far beyond the largest: two plateaus.
KIBIBYTES = Axis("kibibytes", (4096, 8192, 16384, 32768, 65536, 131072, 262144, 1048576), parse=positive_integer)
CACHE = Axis("cache", ("cold", "warm"), flag="--cache", choices=("cold", "warm"))
MATRIX_SIZE = Axis("matrix_size", (2048,), parse=positive_integer)
TENSOR_MATRIX_SIZE = Axis("matrix_size", (4096,), parse=positive_integer)
TENSOR_TYPES = ("tf32", "fp16", "bf16")
PRECISION = Axis("precision", TENSOR_TYPES, flag="--precision", choices=TENSOR_TYPES)
FLOAT_BYTES = 4
SCALE = 3.0
CHUNK = 8


@dataclass(slots=True)
class Streams:
    """Equal float32 vectors: one to write and one or two to read."""

    out: Tensor
    sources: tuple[Tensor, ...]

    def verification_inputs(self) -> tuple[Tensor, ...]:
        """The vectors that the output must follow."""
        return self.sources


@case(KIBIBYTES, CACHE, kind="roof")
def roof_copy(kibibytes: int, cache: str) -> Workload:
    """y = x by PyTorch's own copy; kibibytes of each. The roof of everything that reads once and writes once."""
    elements = kibibytes * 1024 // FLOAT_BYTES

    def call(state: Streams) -> Tensor:
        return state.out.copy_(state.sources[0])

    def plain(state: Streams) -> Tensor:
        return state.sources[0] * 1.0

    return Workload(_streams(elements, 1), call, work.copied(elements=elements, itemsize=FLOAT_BYTES), plain)


@case(KIBIBYTES, CACHE, kind="roof")
def roof_triad(kibibytes: int, cache: str) -> Workload:
    """a = b + s c (STREAM); kibibytes of each of the three vectors."""
    elements = kibibytes * 1024 // FLOAT_BYTES

    def call(state: Streams) -> Tensor:
        import torch

        return torch.add(*state.sources, alpha=SCALE, out=state.out)

    def plain(state: Streams) -> Tensor:
        return state.sources[0] + SCALE * state.sources[1]

    return Workload(_streams(elements, 2), call, work.triad(elements=elements, itemsize=FLOAT_BYTES), plain)


def _streams(elements: int, sources: int) -> Callable[[str], Streams]:
    def make(device: str) -> Streams:
        import torch

        return Streams(
            torch.empty(elements, device=device), tuple(torch.randn(elements, device=device) for _ in range(sources))
        )

    return make


@dataclass(slots=True)
class Matrices:
    """The operands of the arithmetic roofs: two matrices, or one and the function that runs the chains on it."""

    left: Tensor
    right: Tensor | None
    chain: Any = None


@case(MATRIX_SIZE, kind="roof")
def roof_fma(matrix_size: int) -> Workload:
    """float32 multiply-adds: on a GPU chains in registers, matrix_size rounds on matrix_size^2 values; on a CPU, where
    the BLAS keeps the multiply-add units busy, the product of two such matrices, which does as many.
    """
    flops = 2 * matrix_size**3
    moved = FLOAT_BYTES * matrix_size**2

    def make(device: str) -> Matrices:
        import torch

        left = torch.randn(matrix_size, matrix_size, device=device)
        if device.startswith("cpu"):
            return Matrices(left, torch.randn(matrix_size, matrix_size))
        from benchbench.kernels.multiply_add import multiply_add

        return Matrices(left, None, multiply_add)

    def call(state: Matrices) -> Tensor:
        product: Tensor = state.left @ state.right if state.right is not None else state.chain(state.left, matrix_size)
        return product

    def plain(state: Matrices) -> Tensor:
        if state.right is not None:
            return _product(state.left, state.right)
        from benchbench.kernels.multiply_add import reference

        return reference(state.left, matrix_size)

    return Workload(make, call, work.Work(2 * moved, moved, flops, 1), plain)


@case(TENSOR_MATRIX_SIZE, PRECISION, kind="roof")
def roof_matmul(matrix_size: int, precision: str) -> Workload:
    """The product of two square matrices on the tensor cores: no depthwise convolution of PyTorch uses them."""
    itemsize = FLOAT_BYTES if precision == "tf32" else 2

    def make(device: str) -> Matrices:
        import torch

        if device.startswith("cpu"):
            raise Skip("a CPU has no tensor cores")
        kind = {"tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
        left, right = (torch.randn(matrix_size, matrix_size, device=device, dtype=kind) for _ in range(2))
        return Matrices(left, right)

    def call(state: Matrices) -> Tensor:
        assert state.right is not None
        return state.left @ state.right

    def plain(state: Matrices) -> Tensor:
        assert state.right is not None
        return _product(state.left, state.right)

    least = work.pointwise(
        batch=matrix_size, in_channels=matrix_size, out_channels=matrix_size, itemsize=itemsize, bias=False
    )
    return Workload(make, call, work.Work(least.bytes_read, least.bytes_written, least.flops, 1), plain)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right as a sum of outer products, without a matrix multiplication."""
    import torch

    wide = torch.float64 if left.dtype == torch.float64 else torch.float32
    total = torch.zeros(left.shape[0], right.shape[1], dtype=wide, device=left.device)
    for first in range(0, left.shape[1], CHUNK):
        pairs = left[:, first : first + CHUNK, None].to(wide) * right[None, first : first + CHUNK].to(wide)
        total += pairs.sum(1)
    return total.to(left.dtype)


ROOFLINE = register(
    Plan(
        "roofline",
        (
            Request(
                op=("roof_*", "depthwise_conv", "inception_dwconv"),
                axes={"mode": ("forward",), "precision": ("fp32", *TENSOR_TYPES)},
                only=lambda case, params: case.kind in ("roof", "control") or params.get("precision") == "fp32",
            ),
        ),
        title="this machine's roofs, and our operators under them",
    )
)
