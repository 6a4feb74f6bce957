"""What does the stock Inception mixer really move? Slices made dense, casts, biases added apart, and the concatenation.

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


@dataclass(frozen=True, slots=True)
class Mixer:
    """The sizes of one call of timm's InceptionDWConv2d."""

    batch: int
    channels: int
    height: int
    width: int
    branch_channels: int
    band_size: int = 11
    square_size: int = 3

    @property
    def kernels(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the square, row and column kernels."""
        return (self.square_size, self.square_size), (1, self.band_size), (self.band_size, 1)

    @property
    def branch(self) -> int:
        """Elements of one branch."""
        return self.batch * self.branch_channels * self.height * self.width

    @property
    def elements(self) -> int:
        """Elements of the whole tensor."""
        return self.batch * self.channels * self.height * self.width


def stock_moves(
    mixer: Mixer, *, precision: str = "fp32", layout: str = "nchw", mode: str = "forward", device: str = "cuda"
) -> tuple[Move, ...]:
    """Every move of one call. mode: forward or backward; precision: fp32, tf32, fp16, bf16, amp-fp16 or amp-bf16.

    device "cpu" is for comparing with a trace on a CPU, where autocast also casts what is concatenated.
    Raises ValueError for an unknown precision, layout or mode.
    """
    for value, known in ((precision, PRECISIONS), (layout, ("nchw", "nhwc")), (mode, ("forward", "backward"))):
        if value not in known:
            raise ValueError(f"no stock model for {value!r}: known are {', '.join(known)}")
    if mode == "forward":
        return tuple(_forward(mixer, precision, layout, device))
    return tuple(_backward(mixer, precision))


PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "amp-fp16", "amp-bf16")


def stock_bytes(
    mixer: Mixer, *, precision: str = "fp32", layout: str = "nchw", mode: str = "forward", provenance: str = ""
) -> int:
    """Bytes that the stock module moves in one call; of one provenance only, where it is named."""
    moves = stock_moves(mixer, precision=precision, layout=layout, mode=mode)
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


def _forward(mixer: Mixer, precision: str, layout: str, device: str) -> list[Move]:
    stream, inner = _sizes(precision)
    cast = stream != inner
    moves: list[Move] = []
    for kernel in mixer.kernels:
        name = f"{kernel[0]}x{kernel[1]}"
        parameters = mixer.branch_channels * (kernel[0] * kernel[1] + 1)
        if cast:
            moves.append(Move(f"cast the input of {name}", mixer.branch * stream, mixer.branch * inner, "visible"))
            moves.append(Move(f"cast the parameters of {name}", parameters * stream, parameters * inner, "visible"))
        else:
            moves.append(Move(f"copy the slice for {name}", mixer.branch * inner, mixer.branch * inner, "derived"))
        read = (mixer.branch + parameters) * inner
        moves.append(Move(f"convolve {name}", read, mixer.branch * inner, "visible"))
        if runs_cudnn(kernel, mixer.branch_channels, mixer.width, precision, layout):
            moves.append(Move(f"add the bias of {name}", mixer.branch * inner, mixer.branch * inner, "derived"))
        if cast and device == "cpu":
            moves.append(Move(f"cast the output of {name}", mixer.branch * inner, mixer.branch * stream, "visible"))
    joined = inner if device != "cpu" else stream
    read = (mixer.elements - 3 * mixer.branch) * stream + 3 * mixer.branch * joined
    return [*moves, Move("concatenate", read, mixer.elements * stream, "visible")]


def _backward(mixer: Mixer, precision: str) -> list[Move]:
    stream, inner = _sizes(precision)
    cast, branch = stream != inner, mixer.branch
    moves: list[Move] = []
    for kernel in mixer.kernels:
        name = f"{kernel[0]}x{kernel[1]}"
        weights = mixer.branch_channels * kernel[0] * kernel[1]
        gradients = weights + mixer.branch_channels
        if cast:
            moves.append(Move(f"cast the gradient for {name}", branch * stream, branch * inner, "visible"))
        else:
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
    whole = mixer.elements * stream
    return [*moves, Move("concatenate the gradients", whole, whole, "visible")]
