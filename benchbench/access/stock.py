"""What do stock's depthwise modules really move? Slices made dense, casts, biases added apart, and the concatenation.

Each move says where it is known from: "visible" is an operation that a dispatch trace of the module shows, "derived"
happens inside ATen by the rule in ``aten/src/ATen/native/Convolution.cpp`` (PyTorch 2.15): a channel slice is copied
before a convolution, cuDNN adds its bias in a pass of its own, and the gradients of weight and bias read the output
gradient again. What caches keep from memory is not known to this model.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Move:
    """One step of the stock module: its operation, bytes read and written, and "visible" or "derived"."""

    operation: str
    bytes_read: int
    bytes_written: int
    provenance: str

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written


Kernel = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Branches:
    """One call: of so many channels each kernel (height, width) convolves `branch_channels`, the others pass through.

    joined: the module concatenates the branches and what passed through; without it the one branch is the whole.
    """

    batch: int
    channels: int
    height: int
    width: int
    branch_channels: int
    kernels: tuple[Kernel, ...]
    joined: bool = True

    @property
    def branch(self) -> int:
        """Elements of one branch."""
        return self.batch * self.branch_channels * self.height * self.width

    @property
    def elements(self) -> int:
        """Elements of the whole tensor."""
        return self.batch * self.channels * self.height * self.width

    @property
    def passed(self) -> int:
        """Elements that pass through."""
        return self.elements - len(self.kernels) * self.branch

    @property
    def sliced(self) -> bool:
        """Whether a branch is a slice, which is not dense."""
        return self.branch != self.elements


def inception_kernels(band_size: int = 11, square_size: int = 3) -> tuple[Kernel, ...]:
    """The kernels of the Inception depthwise convolution's square, row and column."""
    return (square_size, square_size), (1, band_size), (band_size, 1)


def stock_moves(
    sizes: Branches, *, precision: str = "fp32", layout: str = "nchw", mode: str = "forward", device: str = "cuda"
) -> tuple[Move, ...]:
    """Every move of one call. mode: forward or backward; precision: fp32, tf32, fp16, bf16, amp-fp16 or amp-bf16.

    device "cpu" is for comparing with a trace on a CPU, where autocast also casts what is concatenated.
    Raises ValueError for an unknown precision, layout or mode.
    """
    for value, known in ((precision, PRECISIONS), (layout, ("nchw", "nhwc")), (mode, ("forward", "backward"))):
        if value not in known:
            raise ValueError(f"no stock model for {value!r}: known are {', '.join(known)}")
    if mode == "forward":
        return tuple(_forward(sizes, precision, layout, device))
    return tuple(_backward(sizes, precision))


PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "amp-fp16", "amp-bf16")


def stock_bytes(
    sizes: Branches, *, precision: str = "fp32", layout: str = "nchw", mode: str = "forward", provenance: str = ""
) -> int:
    """Bytes that the stock module moves in one call; of one provenance only, where it is named."""
    moves = stock_moves(sizes, precision=precision, layout=layout, mode=mode)
    return sum(move.bytes_moved for move in moves if provenance in ("", move.provenance))


def runs_cudnn(kernel: tuple[int, int], channels: int, width: int, precision: str, layout: str) -> bool:
    """Whether PyTorch's rule gives a depthwise convolution of stride 1 to cuDNN rather than to its own kernels."""
    if layout == "nhwc":
        return True
    square = kernel[0] == kernel[1] and kernel[0] in (1, 3, 5)
    return precision in ("fp16", "amp-fp16") and square and channels >= 32 and width >= 7


def _sizes(precision: str) -> tuple[int, int]:
    """Bytes of an element of the stream, and of an element inside the convolutions."""
    stream = 2 if precision in ("fp16", "bf16") else 4
    return stream, 2 if precision not in ("fp32", "tf32") else 4


def _forward(sizes: Branches, precision: str, layout: str, device: str) -> list[Move]:
    stream, inner = _sizes(precision)
    cast = stream != inner
    moves: list[Move] = []
    for kernel in sizes.kernels:
        name = f"{kernel[0]}x{kernel[1]}"
        parameters = sizes.branch_channels * (kernel[0] * kernel[1] + 1)
        if cast:
            moves.append(Move(f"cast the input of {name}", sizes.branch * stream, sizes.branch * inner, "visible"))
            moves.append(Move(f"cast the parameters of {name}", parameters * stream, parameters * inner, "visible"))
        elif sizes.sliced:
            moves.append(Move(f"copy the slice for {name}", sizes.branch * inner, sizes.branch * inner, "derived"))
        read = (sizes.branch + parameters) * inner
        moves.append(Move(f"convolve {name}", read, sizes.branch * inner, "visible"))
        if runs_cudnn(kernel, sizes.branch_channels, sizes.width, precision, layout):
            moves.append(Move(f"add the bias of {name}", sizes.branch * inner, sizes.branch * inner, "derived"))
        if cast and device == "cpu" and sizes.joined:
            moves.append(Move(f"cast the output of {name}", sizes.branch * inner, sizes.branch * stream, "visible"))
    if not sizes.joined:
        return moves
    joined = inner if device != "cpu" else stream
    read = sizes.passed * stream + (sizes.elements - sizes.passed) * joined
    return [*moves, Move("concatenate", read, sizes.elements * stream, "visible")]


def _backward(sizes: Branches, precision: str) -> list[Move]:
    stream, inner = _sizes(precision)
    cast, branch = stream != inner, sizes.branch
    moves: list[Move] = []
    for kernel in sizes.kernels:
        name = f"{kernel[0]}x{kernel[1]}"
        weights = sizes.branch_channels * kernel[0] * kernel[1]
        gradients = weights + sizes.branch_channels
        if cast and sizes.joined:
            moves.append(Move(f"cast the gradient for {name}", branch * stream, branch * inner, "visible"))
        elif sizes.sliced:
            moves.append(Move(f"copy the gradient's slice for {name}", branch * inner, branch * inner, "derived"))
            moves.append(Move(f"copy the input's slice for {name}", branch * inner, branch * inner, "derived"))
        read = (2 * branch + weights) * inner
        moves.append(Move(f"convolve backward {name}", read, (branch + gradients) * inner, "visible"))
        moves.append(Move(f"read the gradient again for the weights of {name}", branch * inner, 0, "derived"))
        moves.append(Move(f"read the gradient again for the bias of {name}", branch * inner, 0, "derived"))
        if cast:
            moves.append(Move(f"cast the input's gradient of {name}", branch * inner, branch * stream, "visible"))
            moves.append(
                Move(f"cast the parameters' gradients of {name}", gradients * inner, gradients * stream, "visible")
            )
    if not sizes.joined:
        return moves
    whole = sizes.elements * stream
    return [*moves, Move("concatenate the gradients", whole, whole, "visible")]
