"""Do our kernels give the right answers on this GPU, and how near are they to copy speed and above stock PyTorch?

    python benchmarks/gpu_kernels.py [--seconds 470] [--json FILE]

Compiles and checks every kernel of the table against float64 in parallel processes, then prints the goals G1 to G13
(kernel_goals.py): the share of a copy of as many bytes, timed in the same rounds, and the ratios to eager stock modules
in both layouts (cudnn.benchmark on) and to torch.compile(mode="max-autotune-no-cudagraphs"); forced ATen and cuDNN
convolutions are printed beside them. Each call reads inputs that the L2 cache does not hold; calls follow one another
in a CUDA graph, without launch gaps. What there is no time for is printed as not measured. FILE is written anew after
every point, so that a process that ends early leaves what it measured.
Exit codes: 0 every goal met, 1 a wrong answer, 3 a goal missed or not measured, 4 no GPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from kernel_checks import (
    BAND,
    BATCH,
    DTYPES,
    STAGES,
    StockMixer,
    by_convolution,
    compile_and_check,
    inputs_of,
    mixer_of,
)
from kernel_goals import COMPILED_STAGES, LAYOUTS, STATISTICS_DTYPE, Result, judged, printed
from torch import Tensor, nn

ROUNDS = 3
REPLAYS = 7
GRAPH_S = 0.002


class Timed:
    """A call in a CUDA graph over input sets that together exceed the L2 four times; seconds a call, round by round."""

    def __init__(self, make: Callable[[int], Callable[[], Any]], bytes_of_a_set: int) -> None:
        cache = torch.cuda.get_device_properties(0).L2_cache_size
        sets = max(2, -(-4 * cache // bytes_of_a_set))
        self.calls = [make(k) for k in range(sets)]
        for _ in range(3):
            self.calls[0]()
        torch.cuda.synchronize()
        begun = time.perf_counter()
        self.calls[0]()
        torch.cuda.synchronize()
        repeats = max(1, round(GRAPH_S / (sets * max(1e-6, time.perf_counter() - begun))))
        self.number = sets * repeats
        self.graph = torch.cuda.CUDAGraph()
        # A backward pass runs on the stream of its forward pass, and a capture must not wait for another stream.
        with torch.cuda.graph(self.graph, stream=torch.cuda.current_stream()):
            for _ in range(repeats):
                for call in self.calls:
                    call()
        self.rounds: list[float] = []

    def measure(self) -> None:
        seconds = []
        for _ in range(REPLAYS):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            self.graph.replay()
            end.record()
            end.synchronize()
            seconds.append(start.elapsed_time(end) / 1e3 / self.number)
        self.rounds.append(statistics.median(seconds))


def together(makers: Mapping[str, tuple[Callable[[int], Callable[[], Any]], int]]) -> dict[str, list[float]]:
    """Seconds a call of each, their rounds interleaved; what does not compile or run is left out and named."""
    from triton.errors import TritonError

    timed = {}
    for name, (make, size) in makers.items():
        try:
            timed[name] = Timed(make, size)
        except (RuntimeError, TritonError) as error:
            print(f"  {name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}", flush=True)
            torch.cuda.synchronize()
    for _ in range(ROUNDS):
        for each in timed.values():
            each.measure()
    return {name: each.rounds for name, each in timed.items()}


def forward_call(function: Callable[[Tensor], Tensor], stage: str, dtype: str, layout: str) -> Callable[[int], Any]:
    def make(seed: int) -> Callable[[], Any]:
        x = inputs_of(stage, DTYPES[dtype], layout, seed)

        def call() -> Any:
            with torch.no_grad():
                return function(x)

        return call

    return make


def backward_call(
    function: Callable[[Tensor], Tensor], parameters: Sequence[Tensor], stage: str, dtype: str, layout: str
) -> Callable[[int], Any]:
    def make(seed: int) -> Callable[[], Any]:
        x = inputs_of(stage, DTYPES[dtype], layout, seed).requires_grad_()
        g = inputs_of(stage, DTYPES[dtype], layout, seed + 100)
        y = function(x)
        return lambda: torch.autograd.grad(y, (x, *parameters), g, retain_graph=True)

    return make


def copy_call(elements: int, dtype: torch.dtype) -> Callable[[int], Any]:
    def make(seed: int) -> Callable[[], Any]:
        source = torch.full((elements,), float(seed), dtype=dtype, device="cuda")
        return lambda: source.clone()

    return make


def forced(mixer: StockMixer, kind: str) -> Callable[[Tensor], Tensor]:
    """The stock mixer with ATen's native convolutions, or cuDNN's, called by name."""
    aten = torch.ops.aten
    half = BAND // 2

    def conv(part: Tensor, layer: nn.Conv2d, padding: list[int]) -> Tensor:
        weight, bias = layer.weight, layer.bias
        assert bias is not None
        if kind == "native":
            y: Tensor = aten._conv_depthwise2d(
                part.contiguous(), weight, list(weight.shape[2:]), bias, [1, 1], padding, [1, 1]
            )
        else:
            y = aten.cudnn_convolution(part, weight, padding, [1, 1], [1, 1], layer.groups, True, False, False)
            y.add_(bias[:, None, None])
        return y

    def run(x: Tensor) -> Tensor:
        passed, square, row, column = torch.split(x, mixer.sizes, dim=1)
        branches = (
            conv(square, mixer.square, [1, 1]),
            conv(row, mixer.row, [0, half]),
            conv(column, mixer.column, [half, 0]),
        )
        return torch.cat((passed, *branches), dim=1)

    return run


Seconds = dict[str, list[float]]
"""What was called -> seconds a call, round by round."""


def measure_mixers(until: float) -> Iterator[tuple[str, Seconds]]:
    """For each "stage type layout": seconds of ours, stock, naive, forced and of the copies, forward and backward."""
    from benchbench.kernels import inception_dwconv, naive_inception_dwconv

    for stage, (channels, side) in STAGES.items():
        elements = BATCH * channels * side * side
        convolved = 3 * (channels // 8) / channels
        for dtype, kind in DTYPES.items():
            mixer = mixer_of(channels, kind)
            parameters = mixer.tensors()
            size = elements * kind.itemsize
            for layout in LAYOUTS:
                if time.monotonic() > until:
                    return
                here = (stage, dtype, layout)

                def fused(x: Tensor, parameters: list[Tensor] = parameters) -> Tensor:
                    return inception_dwconv(x, *parameters)

                def naive(x: Tensor, parameters: list[Tensor] = parameters) -> Tensor:
                    return naive_inception_dwconv(x, *parameters)

                makers = {
                    "copy": (copy_call(elements, kind), size),
                    "ours": (forward_call(fused, *here), size),
                    "stock": (forward_call(mixer, *here), size),
                    "naive": (forward_call(naive, *here), size),
                    "copy backward": (copy_call(round(elements * (2 + convolved) / 2), kind), size),
                    "ours backward": (backward_call(fused, parameters, *here), 2 * size),
                    "stock backward": (backward_call(mixer, parameters, *here), 2 * size),
                }
                if layout == "nchw":
                    makers["native"] = (forward_call(forced(mixer, "native"), *here), size)
                makers["cudnn"] = (forward_call(forced(mixer, "cudnn"), *here), size)
                if dtype == "fp32":
                    makers |= amp_makers(mixer, parameters, stage, layout, size)
                if dtype == STATISTICS_DTYPE:
                    makers |= statistics_makers(mixer, here, size)
                yield " ".join(here), together(makers)
                torch.cuda.empty_cache()


def amp_makers(
    mixer: StockMixer, parameters: Sequence[Tensor], stage: str, layout: str, size: int
) -> dict[str, tuple[Callable[[int], Any], int]]:
    """fp32 in, bf16 out, under autocast."""
    from benchbench.kernels import inception_dwconv

    def autocast(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
                return function(x)

        return run

    fused = autocast(lambda x: inception_dwconv(x, *parameters))
    return {
        "ours amp": (forward_call(fused, stage, "fp32", layout), size),
        "stock amp": (forward_call(autocast(mixer), stage, "fp32", layout), size),
    }


def statistics_makers(
    mixer: StockMixer, here: tuple[str, str, str], size: int
) -> dict[str, tuple[Callable[[int], Any], int]]:
    """The mixer and BatchNorm in training; ours leaves scale and shift to the next layer."""
    from benchbench.kernels.inception_dwconv import inception_dwconv_with_statistics

    def stock(x: Tensor) -> Tensor:
        return nn.functional.batch_norm(mixer(x), None, None, training=True)

    def fused(x: Tensor) -> Tensor:
        return inception_dwconv_with_statistics(x, *mixer.tensors())[0]

    return {
        "ours statistics": (forward_call(fused, *here), size),
        "stock statistics": (forward_call(stock, *here), size),
    }


def measure_compiled(until: float) -> Iterator[tuple[str, Seconds]]:
    """torch.compile of the stock module beside ours, bf16 NCHW."""
    import torch._functorch.config

    from benchbench.kernels import inception_dwconv

    # A donated buffer is overwritten by the backward pass, which is called here again and again.
    torch._functorch.config.donated_buffer = False
    for stage in COMPILED_STAGES:
        if time.monotonic() > until:
            return
        channels, side = STAGES[stage]
        mixer = mixer_of(channels, torch.bfloat16)
        parameters = mixer.tensors()
        size = BATCH * channels * side * side * 2
        compiled = torch.compile(mixer, mode="max-autotune-no-cudagraphs", dynamic=False)

        def fused(x: Tensor, parameters: list[Tensor] = parameters) -> Tensor:
            return inception_dwconv(x, *parameters)

        here = (stage, "bf16", "nchw")
        makers = {
            "ours": (forward_call(fused, *here), size),
            "compiled": (forward_call(compiled, *here), size),
            "ours backward": (backward_call(fused, parameters, *here), 2 * size),
            "compiled backward": (backward_call(compiled, parameters, *here), 2 * size),
        }
        yield " ".join(here), together(makers)


def measure_weight_gradient() -> Iterator[tuple[str, Seconds]]:
    """The 1 x 11 branch of T stage 1: the weight's gradient alone, ours and aten.convolution_backward."""
    from benchbench.kernels.depthwise_conv import start

    for dtype in ("fp32", "bf16"):
        kind = DTYPES[dtype]
        weight = torch.randn(12, 1, 1, BAND, device="cuda", dtype=kind)

        def tensors(seed: int, kind: torch.dtype = kind) -> list[Tensor]:
            torch.manual_seed(seed)
            return [torch.randn(BATCH, 12, 56, 56, device="cuda", dtype=kind) for _ in range(2)]

        def fused(seed: int, weight: Tensor = weight, tensors: Callable[[int], list[Tensor]] = tensors) -> Any:
            x, g = tensors(seed)
            return lambda: start.backward(x, g, weight, "nchw", 0, input_wanted=False, sums_wanted=True)[1]

        def stock(seed: int, weight: Tensor = weight, tensors: Callable[[int], list[Tensor]] = tensors) -> Any:
            x, g = tensors(seed)
            rest = (None, [1, 1], [0, BAND // 2], [1, 1], False, [0, 0], 12, [False, True, False])
            return lambda: torch.ops.aten.convolution_backward(g, x, weight, *rest)

        size = 2 * BATCH * 12 * 56 * 56 * kind.itemsize
        found = together({"ours": (fused, size), "stock": (stock, size)})
        call = fused(0)
        if not all(torch.equal(call(), call()) for _ in range(5)):
            print(f"  {dtype}: the weight gradient is NOT bit-equal from run to run", flush=True)
            found["unequal"] = [1.0]
        yield dtype, found


def measure_depthwise(until: float) -> Iterator[tuple[str, Seconds]]:
    """ConvNeXt's 7 x 7 and a 3 x 3 on all channels beside stock; no goal is set for them."""
    for size, stage, dtype, layout in itertools.product((3, 7), ("s1", "s3"), ("fp32", "bf16"), LAYOUTS):
        if time.monotonic() > until:
            return
        yield f"{size}x{size} {stage} {dtype} {layout}", together(depthwise_makers(size, stage, dtype, layout))
        torch.cuda.empty_cache()


def depthwise_makers(size: int, stage: str, dtype: str, layout: str) -> dict[str, tuple[Callable[[int], Any], int]]:
    from benchbench.kernels import depthwise_conv

    channels, side = STAGES[stage]
    kind = DTYPES[dtype]
    torch.manual_seed(0)
    weight = torch.randn(channels, 1, size, size, device="cuda").to(kind).requires_grad_()
    stock = by_convolution("depthwise", kind)
    elements = BATCH * channels * side * side
    size_in_bytes = elements * kind.itemsize
    here = (stage, dtype, layout)

    def ours(x: Tensor) -> Tensor:
        return depthwise_conv(x, weight)

    def theirs(x: Tensor) -> Tensor:
        return stock(x, weight)

    return {
        "copy": (copy_call(elements, kind), size_in_bytes),
        "ours": (forward_call(ours, *here), size_in_bytes),
        "stock": (forward_call(theirs, *here), size_in_bytes),
        "ours backward": (backward_call(ours, [weight], *here), 2 * size_in_bytes),
        "stock backward": (backward_call(theirs, [weight], *here), 2 * size_in_bytes),
    }


def microseconds(found: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{name} {statistics.median(rounds) * 1e6:.1f} us" for name, rounds in found.items())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=470.0, help="stop measuring after so long")
    parser.add_argument("--json", metavar="FILE", help="write the table and all seconds to this file, as they come")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("no CUDA device: gpu_kernels.py measures on an NVIDIA GPU", file=sys.stderr)
        return 4
    begun = time.monotonic()
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # Forward passes, backward passes and captures share one stream: the legacy default stream can not be captured.
    torch.cuda.set_stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]
    import triton

    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}, batch {BATCH}",
        flush=True,
    )
    wrong, unchecked = compile_and_check(begun + 0.45 * options.seconds)
    print("\n".join(f"  WRONG {line}" for line in wrong))
    stages: dict[str, Iterator[tuple[str, Seconds]]] = {
        "seconds": measure_mixers(begun + 0.75 * options.seconds),
        "weights": measure_weight_gradient(),
        "compiled": measure_compiled(begun + 0.85 * options.seconds),
        "depthwise": measure_depthwise(begun + options.seconds),
    }
    found: dict[str, dict[str, Seconds]] = {name: {} for name in stages}
    for name, measured in stages.items():
        for point, seconds in measured:
            found[name][point] = seconds
            print(f"  {name} {point}: {microseconds(seconds)}", flush=True)
            # Kept after every point: what ends this process early loses no more than the point in flight.
            keep(options.json, wrong, unchecked, found)
    results = keep(options.json, wrong, unchecked, found)
    print(printed(results))
    print(f"{time.monotonic() - begun:.0f} s")
    if wrong or any("unequal" in each for each in found["weights"].values()):
        return 1
    return 0 if not unchecked and all(one.verdict == "met" for one in results) else 3


def keep(
    file: str | None, wrong: Sequence[str], unchecked: Sequence[str], found: Mapping[str, Mapping[str, Seconds]]
) -> list[Result]:
    """The goals as far as they are measured, written to the file if one is named."""
    results = judged(found["seconds"], found["compiled"], found["weights"])
    if file:
        rows = [asdict(one) | {"verdict": one.verdict} for one in results]
        document = {"wrong": wrong, "unchecked": unchecked, "goals": rows, **found}
        part = Path(f"{file}.part")
        part.write_text(json.dumps(document))
        part.replace(file)
    return results


if __name__ == "__main__":
    raise SystemExit(main())
