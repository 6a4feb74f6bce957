"""Byte and flop formulas against loops that count what they do."""

from __future__ import annotations

import itertools
import math
import timeit
from collections.abc import Callable
from typing import Any

import pytest

from benchbench import work
from benchbench.work import Work


class Tally:
    """Counts flops, and which places of which tensors a computation reads and writes."""

    def __init__(self) -> None:
        self.flops = 0
        self.read: set[tuple[str, Any]] = set()
        self.written: set[tuple[str, Any]] = set()

    def load(self, tensor: str, *place: int) -> Number:
        self.read.add((tensor, place))
        return Number(self, math.sin(hash((tensor, place)) % 1000))

    def store(self, tensor: str, *place: int) -> None:
        self.written.add((tensor, place))

    def number(self, value: float) -> Number:
        return Number(self, value)

    def work(self, batch: int, itemsize: int) -> Work:
        return Work(len(self.read) * itemsize, len(self.written) * itemsize, self.flops, batch)


class Number:
    """A float that counts each operation done with it. Constants are folded: they cost nothing."""

    def __init__(self, tally: Tally, value: float) -> None:
        self.tally, self.value = tally, value

    def _done(self, value: float) -> Number:
        self.tally.flops += 1
        return Number(self.tally, value)

    def __add__(self, other: Any) -> Number:
        return self._done(self.value + getattr(other, "value", other))

    def __sub__(self, other: Any) -> Number:
        return self._done(self.value - getattr(other, "value", other))

    def __mul__(self, other: Any) -> Number:
        return self._done(self.value * getattr(other, "value", other))

    def __truediv__(self, other: Any) -> Number:
        return self._done(self.value / getattr(other, "value", other))

    def apply(self, function: Callable[[float], float]) -> Number:
        return self._done(function(self.value))


def places(height: int, width: int, kernel: tuple[int, int]) -> Any:
    """(h, w, i, j, source h, source w) of every tap that falls inside the image."""
    for h, w, i, j in itertools.product(range(height), range(width), range(kernel[0]), range(kernel[1])):
        y, x = h + i - kernel[0] // 2, w + j - kernel[1] // 2
        if 0 <= y < height and 0 <= x < width:
            yield h, w, i, j, y, x


def convolve(
    tally: Tally, mode: str, batch: int, channels: range, size: tuple[int, int], kernel: tuple[int, int]
) -> None:
    """Depthwise convolution by its definition, and its gradients. Weights are read whole, also those never met."""
    height, width = size
    for n, c in itertools.product(range(batch), channels):
        for i, j in itertools.product(range(kernel[0]), range(kernel[1])):
            if mode in ("forward", "grad_input", "backward"):
                tally.load("w", c, i, j)
        if mode == "forward":
            sums = {(h, w): tally.load("b", c) for h in range(height) for w in range(width)}
            for h, w, i, j, y, x in places(height, width, kernel):
                sums[h, w] = sums[h, w] + tally.load("w", c, i, j) * tally.load("x", n, c, y, x)
            for h, w in sums:
                tally.load("x", n, c, h, w)
                tally.store("y", n, c, h, w)
        if mode in ("grad_input", "backward"):
            for h, w, i, j, y, x in places(height, width, kernel):
                tally.number(0) + tally.load("w", c, i, j) * tally.load("gy", n, c, h, w)
                tally.store("gx", n, c, y, x)
        if mode in ("grad_weight", "backward"):
            for h, w, _, _, y, x in places(height, width, kernel):
                tally.number(0) + tally.load("gy", n, c, h, w) * tally.load("x", n, c, y, x)
            for h, w in itertools.product(range(height), range(width)):
                tally.number(0) + tally.load("gy", n, c, h, w)
            for i, j in itertools.product(range(kernel[0]), range(kernel[1])):
                tally.store("gw", c, i, j)
            tally.store("gb", c)


def pass_through(tally: Tally, mode: str, batch: int, channels: range, size: tuple[int, int]) -> None:
    for n, c, h, w in itertools.product(range(batch), channels, range(size[0]), range(size[1])):
        if mode == "forward":
            tally.load("x", n, c, h, w)
            tally.store("y", n, c, h, w)
        if mode in ("grad_input", "backward"):
            tally.load("gy", n, c, h, w)
            tally.store("gx", n, c, h, w)


def counted(mode: str, batch: int, itemsize: int, run: Callable[[Tally, str], None]) -> Work:
    """The loops' work; two passes, each with its own reads, for forward_backward."""
    total = Work(0, 0, 0, batch)
    for each in ("forward", "backward") if mode == "forward_backward" else (mode,):
        tally = Tally()
        run(tally, each)
        total += tally.work(batch, itemsize)
    return total


SIZES = [(5, 7), (1, 1), (4, 3), (2, 9)]
KERNELS = [(3, 3), (1, 5), (5, 1), (7, 7), (1, 1), (1, 11)]


@pytest.mark.parametrize("mode", work.MODES)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_depthwise_is_what_the_loops_count(size: tuple[int, int], kernel: tuple[int, int], mode: str) -> None:
    batch, channels = 2, 2
    loops = counted(mode, batch, 4, lambda tally, each: convolve(tally, each, batch, range(channels), size, kernel))
    sizes = {"height": size[0], "width": size[1], "kernel_height": kernel[0], "kernel_width": kernel[1]}
    assert work.depthwise(batch=batch, channels=channels, itemsize=4, mode=mode, **sizes) == loops  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", work.MODES)
@pytest.mark.parametrize(("band", "size"), [(5, (6, 4)), (11, (3, 7)), (3, (1, 2))], ids=str)
def test_inception_depthwise_is_what_the_loops_count(band: int, size: tuple[int, int], mode: str) -> None:
    batch, channels, branch = 2, 5, 1

    def run(tally: Tally, each: str) -> None:
        pass_through(tally, each, batch, range(channels - 3 * branch), size)
        for number, kernel in enumerate(((3, 3), (1, band), (band, 1))):
            convolve(tally, each, batch, range(channels - 3 + number, channels - 2 + number), size, kernel)

    least = work.inception_depthwise(
        batch=batch,
        channels=channels,
        height=size[0],
        width=size[1],
        band_size=band,
        branch_channels=branch,
        itemsize=2,
        mode=mode,
    )
    assert least == counted(mode, batch, 2, run)


@pytest.mark.parametrize("mode", work.MODES)
def test_partial_depthwise_is_what_the_loops_count(mode: str) -> None:
    batch, size, kernel = 1, (4, 5), (3, 3)

    def run(tally: Tally, each: str) -> None:
        pass_through(tally, each, batch, range(2), size)
        convolve(tally, each, batch, range(2, 5), size, kernel)

    least = work.partial_depthwise(
        batch=batch,
        channels=5,
        convolved_channels=3,
        height=size[0],
        width=size[1],
        kernel_height=3,
        kernel_width=3,
        itemsize=4,
        mode=mode,
    )
    assert least == counted(mode, batch, 4, run)


def dense(tally: Tally, mode: str, batch: int, inputs: int, outputs: int) -> None:
    """A linear layer at one position of each image."""
    for n, o in itertools.product(range(batch), range(outputs)):
        total = tally.load("b", o) if mode == "forward" else None
        for i in range(inputs):
            if total is not None:
                total = total + tally.load("x", n, i) * tally.load("w", o, i)
            if mode in ("grad_input", "backward"):
                tally.number(0) + tally.load("gy", n, o) * tally.load("w", o, i)
                tally.store("gx", n, i)
            if mode in ("grad_weight", "backward"):
                tally.number(0) + tally.load("gy", n, o) * tally.load("x", n, i)
                tally.store("gw", o, i)
        if mode == "forward":
            tally.store("y", n, o)
        if mode in ("grad_weight", "backward"):
            tally.number(0) + tally.load("gy", n, o)
            tally.store("gb", o)


@pytest.mark.parametrize("mode", work.MODES)
def test_a_linear_layer_is_what_the_loops_count(mode: str) -> None:
    least = work.pointwise(batch=3, in_channels=4, out_channels=5, itemsize=4, mode=mode)
    assert least == counted(mode, 3, 4, lambda tally, each: dense(tally, each, 3, 4, 5))


def normed(tally: Tally, mode: str, groups: list[list[tuple[int, int]]]) -> None:
    """A norm over each group of (position, channel) places; one gain and one bias a channel."""
    own_gain = len({c for _, c in groups[0]}) > 1
    for group in groups:
        count = len(group)
        if mode == "forward":
            total, squares = tally.number(0), tally.number(0)
            for place in group:
                total = total + tally.load("x", *place)
            mean = total / count
            centred = [tally.load("x", *place) - mean for place in group]
            for value in centred:
                squares = squares + value * value
            scale = (squares / count + 1e-6).apply(lambda v: 1 / math.sqrt(v))
            for place, value in zip(group, centred, strict=True):
                value * scale * tally.load("g", place[1]) + tally.load("b", place[1])
                tally.store("y", *place)
            continue
        mean, scale = tally.number(0.5), tally.number(2.0)
        hats = [(tally.load("x", *place) - mean) * scale for place in group]
        first, second = tally.number(0), tally.number(0)
        if mode in ("grad_input", "backward"):
            gains = [tally.load("gy", *p) * tally.load("g", p[1]) if own_gain else tally.load("gy", *p) for p in group]
            for gain, hat in zip(gains, hats, strict=True):
                first, second = first + gain, second + gain * hat
            first, second = first / count, second / count
            scale = scale if own_gain else scale * tally.load("g", group[0][1])
            for place, gain, hat in zip(group, gains, hats, strict=True):
                (gain - first - hat * second) * scale
                tally.store("gx", *place)
        if mode in ("grad_weight", "backward"):
            for place, hat in zip(group, hats, strict=True):
                if mode == "grad_weight" or own_gain:
                    tally.number(0) + tally.load("gy", *place) * hat
                    tally.number(0) + tally.load("gy", *place)
                tally.store("gg", place[1])
                tally.store("gb", place[1])


@pytest.mark.parametrize("mode", work.MODES)
@pytest.mark.parametrize("name", ["layer_norm", "batch_norm"])
def test_norms_are_what_the_loops_count(name: str, mode: str) -> None:
    positions, channels = 6, 4
    rows = [[(p, c) for c in range(channels)] for p in range(positions)]
    columns = [[(p, c) for p in range(positions)] for c in range(channels)]
    groups = rows if name == "layer_norm" else columns
    least = getattr(work, name)(batch=2, channels=channels, height=3, width=1, itemsize=4, mode=mode)
    assert least == counted(mode, 2, 4, lambda tally, each: normed(tally, each, groups))


def test_a_batch_norm_with_given_statistics_is_one_multiply_add_an_element() -> None:
    tally = Tally()
    for c in range(4):
        a = tally.load("g", c) * (tally.load("var", c) + 1e-5).apply(lambda v: 1 / math.sqrt(abs(v)))
        b = tally.load("b", c) - tally.load("mean", c) * a
        for n in range(6):
            tally.load("x", n, c) * a + b
            tally.store("y", n, c)
    assert work.batch_norm(batch=6, channels=4, itemsize=4, training=False) == tally.work(6, 4)


def activated(tally: Tally, mode: str, elements: int) -> None:
    for place in range(elements):
        if mode == "forward":
            x = tally.load("x", place)
            (x * 0.5) * ((x * math.sqrt(0.5)).apply(math.erf) + 1)
            tally.store("y", place)
        if mode in ("grad_input", "backward"):
            x = tally.load("x", place)
            phi = ((x * math.sqrt(0.5)).apply(math.erf) + 1) * 0.5
            density = ((x * x) * -0.5).apply(math.exp) * (1 / math.sqrt(2 * math.pi))
            tally.load("gy", place) * (phi + x * density)
            tally.store("gx", place)


@pytest.mark.parametrize("mode", work.MODES)
def test_gelu_is_what_the_loops_count(mode: str) -> None:
    least = work.gelu(batch=2, channels=3, itemsize=2, mode=mode)
    assert least == counted(mode, 2, 2, lambda tally, each: activated(tally, each, 6))


def scaled(tally: Tally, mode: str, batch: int, channels: int, residual: bool) -> None:
    for n, c in itertools.product(range(batch), range(channels)):
        if mode == "forward":
            y = tally.load("x", n, c) * tally.load("g", c)
            y = y + tally.load("r", n, c) if residual else y
            tally.store("y", n, c)
        if mode in ("grad_input", "backward"):
            tally.load("gy", n, c) * tally.load("g", c)
            tally.store("gx", n, c)
        if mode in ("grad_weight", "backward"):
            tally.number(0) + tally.load("gy", n, c) * tally.load("x", n, c)
            tally.store("gg", c)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("mode", work.MODES)
def test_layer_scale_is_what_the_loops_count(mode: str, residual: bool) -> None:
    least = work.layer_scale(batch=2, channels=3, itemsize=4, mode=mode, residual=residual)
    assert least == counted(mode, 2, 4, lambda tally, each: scaled(tally, each, 2, 3, residual))


def test_optimizers_are_what_the_loops_count() -> None:
    sgd, adamw = Tally(), Tally()
    for place in range(5):
        gradient = sgd.load("g", place) + sgd.load("p", place) * 0.05
        momentum = sgd.load("m", place) * 0.9 + gradient
        sgd.load("p", place) - (gradient + momentum * 0.9) * 0.1
        p, g = adamw.load("p", place) * 0.999, adamw.load("g", place)
        m = adamw.load("m", place) * 0.9 + g * 0.1
        v = adamw.load("v", place) * 0.999 + (g * g) * 0.001
        p - (m / (v.apply(lambda x: math.sqrt(abs(x))) / 0.03 + 1e-8)) * 0.001
        for tensor in "pm":
            sgd.store(tensor, place)
        for tensor in "pmv":
            adamw.store(tensor, place)
    assert work.sgd(parameters=5) == sgd.work(1, 4)
    assert work.adamw(parameters=5) == adamw.work(1, 4)


def test_sgd_without_momentum_reads_parameters_and_gradients_only() -> None:
    assert work.sgd(parameters=7, momentum=False, nesterov=False, weight_decay=False) == Work(56, 28, 14, 1)


def test_mixed_element_sizes_reach_their_own_tensors() -> None:
    sizes = {"batch": 1, "channels": 8, "height": 2, "width": 2, "band_size": 3, "branch_channels": 1}
    least = work.inception_depthwise(itemsize=4, itemsize_out=2, weight_itemsize=4, **sizes)  # type: ignore[arg-type]
    assert (least.bytes_read, least.bytes_written) == (32 * 4 + (9 + 6 + 3) * 4, 32 * 2)
    back = work.inception_depthwise(itemsize=4, itemsize_out=2, mode="backward", **sizes)  # type: ignore[arg-type]
    assert (back.bytes_read, back.bytes_written) == (32 * 2 + 12 * 4 + 15 * 4, 32 * 4 + 18 * 4)


def test_the_mixer_moves_two_and_its_backward_two_and_three_eighths_tensors() -> None:
    elements = 128 * 96 * 56 * 56
    sizes = {"batch": 128, "channels": 96, "height": 56, "width": 56, "band_size": 11, "branch_channels": 12}
    forward = work.inception_depthwise(itemsize=4, **sizes)  # type: ignore[arg-type]
    backward = work.inception_depthwise(itemsize=4, mode="backward", **sizes)  # type: ignore[arg-type]
    assert forward.bytes_moved / (4 * elements) == pytest.approx(2, abs=1e-4)
    assert backward.bytes_moved / (4 * elements) == pytest.approx(2.375, abs=1e-4)


def test_an_unknown_mode_is_named_with_the_known_ones() -> None:
    sizes = {"batch": 1, "channels": 3, "height": 2, "width": 2, "itemsize": 4}
    for count in (work.layer_norm, work.batch_norm, work.gelu, work.layer_scale, work.pool):
        with pytest.raises(ValueError, match="unknown mode 'training': known are forward"):
            count(mode="training", **sizes)  # type: ignore[operator]
    with pytest.raises(ValueError, match="unknown mode 'training'"):
        work.depthwise(kernel_height=3, kernel_width=3, mode="training", **sizes)  # type: ignore[arg-type]


def test_planning_a_hundred_thousand_points_is_affordable() -> None:
    """The work of a point is counted while the plan is made: 100,000 of them may cost 2 s on a busy machine."""

    def count() -> Work:
        return work.inception_depthwise(
            batch=128, channels=96, height=56, width=56, band_size=11, branch_channels=12, itemsize=4, mode="backward"
        )

    assert min(timeit.repeat(count, number=1000, repeat=20)) / 1000 < 20e-6
