"""What an operation must at least do: bytes and flops, counted from the mathematics.

Each input is read once and each output written once; a fused multiply-add is two flops. These are lower bounds of
memory traffic (tier M0 of docs/bytes.md), exact for a kernel that streams its data once.

Conventions of every function here. ``itemsize`` is the bytes of an element of the input and its gradient,
``itemsize_out`` of the output and its gradient (default: the same), ``weight_itemsize`` of weights, biases and theirs
(default: ``itemsize``). Convolutions have stride 1 and the padding that keeps the size; taps that fall outside the
image are no work, and a sum starts from its bias. ``mode`` is one of MODES: "backward" is all gradients in one pass
(each tensor read once), "forward_backward" the forward call and then that pass. Elementary functions (exp, erf, square
root, division) are one flop each. Statistics that a norm keeps for its backward pass are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

MODES = ("forward", "grad_input", "grad_weight", "backward", "forward_backward")


@dataclass(frozen=True, slots=True)
class Work:
    """The least that one call reads, writes (bytes) and computes (flops), and how many items (images) it handles."""

    bytes_read: int
    bytes_written: int
    flops: int
    items: int

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    @property
    def intensity(self) -> float:
        """Flops a byte: what a roofline draws along x. 0 where nothing is moved."""
        return self.flops / self.bytes_moved if self.bytes_moved else 0.0

    def __add__(self, other: Work) -> Work:
        """One after the other, on the same items."""
        return Work(
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            self.flops + other.flops,
            self.items,
        )

    def times(self, count: int) -> Work:
        """The same call ``count`` times, on the same items."""
        return Work(self.bytes_read * count, self.bytes_written * count, self.flops * count, self.items)


def taps(length: int, kernel: int) -> int:
    """How many (output, tap) pairs of an odd kernel lie inside a line of ``length``: the sum of length - |offset|."""
    half = kernel >> 1
    return kernel * length - half * (half + 1) if half < length else length * length


def depthwise(
    *,
    batch: int,
    channels: int,
    height: int,
    width: int,
    kernel_height: int,
    kernel_width: int,
    itemsize: int,
    itemsize_out: int = 0,
    weight_itemsize: int = 0,
    mode: str = "forward",
    bias: bool = True,
) -> Work:
    """y[n, c, h, w] = b[c] + sum over taps of w[c, i, j] x[n, c, h + i - kh // 2, w + j - kw // 2]."""
    pairs = batch * channels * taps(height, kernel_height) * taps(width, kernel_width)
    elements = batch * channels * height * width
    weights, biases = channels * kernel_height * kernel_width, channels * bias
    sizes = (itemsize, itemsize_out or itemsize, weight_itemsize or itemsize)
    return _linear(mode, batch, elements, elements, elements, elements, weights, biases, pairs, sizes)


def partial_depthwise(
    *,
    batch: int,
    channels: int,
    convolved_channels: int,
    height: int,
    width: int,
    kernel_height: int,
    kernel_width: int,
    itemsize: int,
    itemsize_out: int = 0,
    weight_itemsize: int = 0,
    mode: str = "forward",
    bias: bool = True,
) -> Work:
    """Depthwise on ``convolved_channels``; the others are copied, as an operation that is not in place must."""
    pairs = batch * convolved_channels * taps(height, kernel_height) * taps(width, kernel_width)
    elements = batch * channels * height * width
    convolved = batch * convolved_channels * height * width
    weights, biases = convolved_channels * kernel_height * kernel_width, convolved_channels * bias
    sizes = (itemsize, itemsize_out or itemsize, weight_itemsize or itemsize)
    return _linear(mode, batch, elements, elements, convolved, convolved, weights, biases, pairs, sizes)


def inception_depthwise(
    *,
    batch: int,
    channels: int,
    height: int,
    width: int,
    band_size: int,
    branch_channels: int,
    square_size: int = 3,
    itemsize: int,
    itemsize_out: int = 0,
    weight_itemsize: int = 0,
    mode: str = "forward",
    bias: bool = True,
) -> Work:
    """Identity, square, 1 x band and band x 1, ``branch_channels`` in each of the last three (arXiv 2303.16900)."""
    within = taps(height, square_size) * taps(width, square_size)
    within += height * taps(width, band_size) + width * taps(height, band_size)
    plane = batch * height * width
    elements, convolved = plane * channels, 3 * plane * branch_channels
    weights, biases = branch_channels * (square_size * square_size + 2 * band_size), 3 * branch_channels * bias
    sizes = (itemsize, itemsize_out or itemsize, weight_itemsize or itemsize)
    pairs = batch * branch_channels * within
    return _linear(mode, batch, elements, elements, convolved, convolved, weights, biases, pairs, sizes)


def pointwise(
    *,
    batch: int,
    in_channels: int,
    out_channels: int,
    height: int = 1,
    width: int = 1,
    patch: int = 1,
    itemsize: int,
    itemsize_out: int = 0,
    weight_itemsize: int = 0,
    mode: str = "forward",
    bias: bool = True,
) -> Work:
    """A 1 x 1 convolution or linear layer; with ``patch`` p, a p x p convolution of stride p. height, width: output."""
    positions = batch * height * width
    inputs, outputs = positions * in_channels * patch * patch, positions * out_channels
    weights, biases = in_channels * out_channels * patch * patch, out_channels * bias
    sizes = (itemsize, itemsize_out or itemsize, weight_itemsize or itemsize)
    return _linear(mode, batch, inputs, outputs, inputs, outputs, weights, biases, positions * weights, sizes)


def _linear(
    mode: str,
    batch: int,
    inputs: int,
    outputs: int,
    seen: int,
    heard: int,
    weights: int,
    biases: int,
    pairs: int,
    sizes: tuple[int, int, int],
) -> Work:
    """The modes of anything linear. seen, heard: elements of x and of the output gradient that the weights meet."""
    read, write, parameter = sizes
    parameters = (weights + biases) * parameter
    summed = heard if biases else 0
    if mode == "forward":
        return Work(inputs * read + parameters, outputs * write, 2 * pairs, batch)
    if mode == "backward":
        moved = outputs * write + seen * read + weights * parameter
        return Work(moved, inputs * read + parameters, 4 * pairs + summed, batch)
    if mode == "forward_backward":
        moved = inputs * read + parameters + outputs * write + seen * read + weights * parameter
        return Work(moved, outputs * write + inputs * read + parameters, 6 * pairs + summed, batch)
    if mode == "grad_input":
        return Work(outputs * write + weights * parameter, inputs * read, 2 * pairs, batch)
    if mode == "grad_weight":
        return Work(seen * read + heard * write, parameters, 2 * pairs + summed, batch)
    raise unknown_mode(mode)


def unknown_mode(mode: str) -> ValueError:
    return ValueError(f"unknown mode {mode!r}: known are {', '.join(MODES)}")


def layer_norm(
    *,
    batch: int,
    channels: int,
    height: int = 1,
    width: int = 1,
    itemsize: int,
    itemsize_out: int = 0,
    weight_itemsize: int = 0,
    mode: str = "forward",
) -> Work:
    """y = (x - mean) / sqrt(var + eps) * g + b over the channels of each position."""
    rows = batch * height * width
    flops = {"forward": (7, 4), "grad_input": (10, 2), "grad_weight": (5, 0), "backward": (13, 2)}
    return _norm(flops, mode, batch, rows * channels, rows, channels, (itemsize, itemsize_out, weight_itemsize))


def batch_norm(
    *,
    batch: int,
    channels: int,
    height: int = 1,
    width: int = 1,
    itemsize: int,
    itemsize_out: int = 0,
    weight_itemsize: int = 0,
    mode: str = "forward",
    training: bool = True,
) -> Work:
    """y = (x - mean) / sqrt(var + eps) * g + b over batch and space of each channel; running averages not counted.

    Not ``training``: mean and variance are given, and only the forward mode has a meaning.
    """
    elements = batch * channels * height * width
    if training:
        flops = {"forward": (7, 4), "grad_input": (9, 3), "grad_weight": (5, 0), "backward": (9, 3)}
        return _norm(flops, mode, batch, elements, channels, channels, (itemsize, itemsize_out, weight_itemsize))
    if mode != "forward":
        raise ValueError("a BatchNorm with given statistics is only counted in the forward mode")
    parameters = 4 * channels * (weight_itemsize or itemsize)
    written = elements * (itemsize_out or itemsize)
    return Work(elements * itemsize + parameters, written, 2 * elements + 5 * channels, batch)


def _norm(
    flops: dict[str, tuple[int, int]],
    mode: str,
    batch: int,
    elements: int,
    groups: int,
    channels: int,
    sizes: tuple[int, int, int],
) -> Work:
    """flops: mode -> (an element, a group of elements that share their statistics)."""
    if mode == "forward_backward":
        forward = _norm(flops, "forward", batch, elements, groups, channels, sizes)
        return forward + _norm(flops, "backward", batch, elements, groups, channels, sizes)
    if mode not in flops:
        raise unknown_mode(mode)
    read, write, parameter = sizes[0], sizes[1] or sizes[0], sizes[2] or sizes[0]
    each, group = flops[mode]
    count = each * elements + group * groups
    if mode == "forward":
        return Work(elements * read + 2 * channels * parameter, elements * write, count, batch)
    gain = 0 if mode == "grad_weight" else channels * parameter
    written = (elements * read if mode != "grad_weight" else 0) + (
        2 * channels * parameter if mode != "grad_input" else 0
    )
    return Work(elements * (read + write) + gain, written, count, batch)


def gelu(
    *,
    batch: int,
    channels: int,
    height: int = 1,
    width: int = 1,
    itemsize: int,
    itemsize_out: int = 0,
    mode: str = "forward",
) -> Work:
    """y = x / 2 (1 + erf(x / sqrt 2)); gradient gy (Phi(x) + x phi(x))."""
    elements = batch * channels * height * width
    out = itemsize_out or itemsize
    forward = Work(elements * itemsize, elements * out, 5 * elements, batch)
    if mode == "forward":
        return forward
    if mode == "grad_weight":
        return Work(0, 0, 0, batch)
    backward = Work(elements * (itemsize + out), elements * itemsize, 11 * elements, batch)
    if mode in ("backward", "grad_input"):
        return backward
    if mode == "forward_backward":
        return forward + backward
    raise unknown_mode(mode)


def layer_scale(
    *,
    batch: int,
    channels: int,
    height: int = 1,
    width: int = 1,
    itemsize: int,
    itemsize_out: int = 0,
    weight_itemsize: int = 0,
    mode: str = "forward",
    residual: bool = False,
) -> Work:
    """y = g x, a gain a channel; with ``residual``, y = r + g x. r's gradient is the output's own: no work.

    itemsize is that of x, itemsize_out that of y and r.
    """
    elements = batch * channels * height * width
    out, gains = itemsize_out or itemsize, channels * (weight_itemsize or itemsize)
    shortcut = elements * residual
    forward = Work(elements * itemsize + shortcut * out + gains, elements * out, elements + shortcut, batch)
    if mode == "forward":
        return forward
    if mode == "grad_input":
        return Work(elements * out + gains, elements * itemsize, elements, batch)
    if mode == "grad_weight":
        return Work(elements * (itemsize + out), gains, 2 * elements, batch)
    backward = Work(elements * (itemsize + out) + gains, elements * itemsize + gains, 3 * elements, batch)
    if mode == "backward":
        return backward
    if mode == "forward_backward":
        return forward + backward
    raise unknown_mode(mode)


def pool(
    *, batch: int, channels: int, height: int, width: int, itemsize: int, itemsize_out: int = 0, mode: str = "forward"
) -> Work:
    """The mean over each plane, and its gradient spread out again."""
    elements, means = batch * channels * height * width, batch * channels
    out = itemsize_out or itemsize
    forward = Work(elements * itemsize, means * out, elements + means, batch)
    backward = Work(means * out, elements * itemsize, means, batch)
    if mode not in MODES:
        raise unknown_mode(mode)
    if mode == "grad_weight":
        return Work(0, 0, 0, batch)
    return forward if mode == "forward" else forward + backward if mode == "forward_backward" else backward


def sgd(
    *, parameters: int, itemsize: int = 4, momentum: bool = True, nesterov: bool = True, weight_decay: bool = True
) -> Work:
    """p -= lr (g' + mu m) with g' = g + wd p and m = mu m + g' (torch.optim.SGD). items is 1: a step."""
    states = 1 + momentum
    flops = 2 + 2 * weight_decay + 2 * momentum + 2 * (momentum and nesterov)
    return Work(parameters * itemsize * (states + 1), parameters * itemsize * states, flops * parameters, 1)


def adamw(*, parameters: int, itemsize: int = 4) -> Work:
    """p decays, m and v average g and g g, p -= step m / (sqrt(v) / c + eps) (torch.optim.AdamW). items: 1 step."""
    return Work(4 * parameters * itemsize, 3 * parameters * itemsize, 14 * parameters, 1)


def copied(*, elements: int, itemsize: int, itemsize_out: int = 0) -> Work:
    """y = x: the roof of everything that streams. items is 1."""
    return Work(elements * itemsize, elements * (itemsize_out or itemsize), 0, 1)


def triad(*, elements: int, itemsize: int) -> Work:
    """a = b + s c (STREAM): two reads, one write, two flops an element. items is 1."""
    return Work(2 * elements * itemsize, elements * itemsize, 2 * elements, 1)
