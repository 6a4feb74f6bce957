"""Which launch of the Inception mixer is the fastest on this GPU, stage by stage, and by how much?

    python benchmarks/tune_kernels.py [--stages s1,s2] [--dtypes bf16] [--layouts nchw] [--directions forward]
                                      [--seconds 470] [--json FILE] [--table]

At each point: every constant that the rules leave open (launch_choices.py) is halved and doubled, alone; what is right
against float64 is timed beside the rules' own launch and a copy, round by round, from a cold cache; then what gained is
tried together. --table adds the winners to kernels/inception_dwconv/launch_table.csv, which later launches follow.
Exit codes: 0 measured, 1 a launch gave a wrong answer, 4 no GPU.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from gpu_kernels import copy_call, microseconds, together
from kernel_checks import BATCH, DTYPES, FORMATS, STAGES, by_convolution, inputs_of, mixer_of, with_gradients
from launch_choices import RULES, best, neighbours, share, text, winners
from torch import Tensor

from benchbench.kernels.inception_dwconv import launch_table
from benchbench.kernels.inception_dwconv.launch import Choices, Plan, plan
from benchbench.kernels.inception_dwconv.operation import BACKWARD, FORWARD
from benchbench.verify import allowance

DIRECTIONS = ("forward", "backward")
TABLE = Path(launch_table.__file__).parent / launch_table.FILE


@dataclass(frozen=True, slots=True)
class Place:
    """One point that is tuned."""

    stage: str
    dtype: str
    layout: str
    direction: str

    def plan(self, choices: Choices) -> Plan:
        """The launch with these choices in place of the rules'. Raises ValueError for what does not go together."""
        channels, side = STAGES[self.stage]
        major, minor = torch.cuda.get_device_capability()
        return plan(
            (BATCH, channels, side, side),
            DTYPES[self.dtype],
            self.layout,
            10 * major + minor,
            direction=self.direction,
            choices=choices,
        )

    def call(self, choices: Choices, seed: int) -> Callable[[], tuple[Tensor, ...]]:
        """One launch, with its inputs made: y, or the gradients of x, weights and biases."""
        made, kind = self.plan(choices), DTYPES[self.dtype]
        x = inputs_of(self.stage, kind, self.layout, seed)
        parameters = [each.detach() for each in mixer_of(x.shape[1], kind).tensors()]
        weights, biases = parameters[:3], parameters[3:]
        if self.direction == "forward":
            return lambda: (FORWARD[self.layout](x, weights, biases, made, kind),)
        g = inputs_of(self.stage, kind, self.layout, seed + 100)

        def backward() -> tuple[Tensor, ...]:
            grad_x, grads_w, grads_b = BACKWARD[self.layout](x, g, weights, made)
            return (grad_x, *grads_w, *grads_b)

        return backward


@dataclass(slots=True)
class Tuned:
    """What was found at a place: why launches were not timed, seconds of those that were, and the fastest choices."""

    place: Place
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    chosen: dict[str, int] = field(default_factory=dict)


def is_right(place: Place, choices: Choices) -> str:
    """Compile the launch, run it and compare with float64; "" or what is wrong."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found = place.call(choices, 1)()
    kind = DTYPES[place.dtype]
    x = inputs_of(place.stage, kind, place.layout, 1)
    g = inputs_of(place.stage, kind, place.layout, 101)
    parameters = mixer_of(x.shape[1], kind).tensors()
    plain = with_gradients(by_convolution("inception_dwconv", kind), x, parameters, g)
    wide = [each.double() for each in parameters]
    exact = with_gradients(by_convolution("inception_dwconv", torch.float64), x.double(), wide, g.double())
    wanted = slice(0, 1) if place.direction == "forward" else slice(1, None)
    multiply_adds = 3 * sum(each.numel() for each in parameters) * (x.numel() // x.shape[1])
    for one, near, true in zip(found, plain[wanted], exact[wanted], strict=True):
        allowed = allowance(near.to(one.dtype), true, multiply_adds=multiply_adds)
        error = (one.double() - true).abs().max().item()
        if not error <= allowed:
            return f"WRONG: error {error:.3e}, allowed {allowed:.3e}"
    return ""


def checked(pool: ProcessPoolExecutor, place: Place, tried: Sequence[Choices]) -> dict[str, Future[str]]:
    """The checks of a place under way, by the text of their choices."""
    return {text(choices): pool.submit(is_right, place, choices) for choices in tried}


def sorted_out(futures: dict[str, Future[str]], until: float) -> Iterator[tuple[str, str]]:
    """(choices, why they are not timed or "") of each, waiting for the checks at most until then."""
    for name, future in futures.items():
        try:
            error = future.exception(timeout=max(0.0, until - time.monotonic()))
            yield name, future.result() if error is None else f"{type(error).__name__}: {error}".splitlines()[0]
        except TimeoutError:
            future.cancel()
            yield name, "no time to compile it"


def timed(place: Place, tried: Sequence[Choices]) -> dict[str, list[float]]:
    """Seconds a call of each launch and of a copy of as many bytes, their rounds interleaved."""
    channels, side = STAGES[place.stage]
    elements, kind = BATCH * channels * side * side, DTYPES[place.dtype]
    size = elements * kind.itemsize
    moved, copied = (size, elements) if place.direction == "forward" else (2 * size, round(elements * 2.375 / 2))

    def maker(choices: Choices) -> Callable[[int], Callable[[], Any]]:
        return lambda seed: place.call(choices, seed)

    return together(
        {"copy": (copy_call(copied, kind), moved)} | {text(choices): (maker(choices), moved) for choices in tried}
    )


def tune(places: Sequence[Place], until: float) -> Iterator[Tuned]:
    """Place by place, compiling for the later ones while the earlier are timed."""
    tried: dict[Place, list[dict[str, int]]] = {place: [{}, *neighbours(place.plan({}))] for place in places}
    workers = max(1, len(os.sched_getaffinity(0)) - 2)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        under_way = {place: checked(pool, place, tried[place]) for place in places}
        for place in places:
            found = Tuned(place)
            found.left_out = {name: why for name, why in sorted_out(under_way[place], until) if why}
            if RULES not in found.left_out and time.monotonic() < until:
                right = [choices for choices in tried[place] if text(choices) not in found.left_out]
                found.seconds = timed(place, right)
                gained = winners(found.seconds, right) if RULES in found.seconds else {}
                if len(gained) > 1:
                    found.left_out |= {
                        name: why for name, why in sorted_out(checked(pool, place, [gained]), until) if why
                    }
                    if text(gained) not in found.left_out:
                        right.append(gained)
                        singles = [{name: value} for name, value in gained.items()]
                        found.seconds |= timed(place, [{}, *singles, gained])
                found.chosen = best(found.seconds, right) if RULES in found.seconds else {}
            yield found
        pool.shutdown(wait=False, cancel_futures=True)


def printed(found: Tuned) -> Iterator[str]:
    """The place, the share of the copy by the rules and as chosen, and every launch that was tried."""
    place, seconds = found.place, found.seconds
    yield f"{place.stage} {place.dtype} {place.layout} {place.direction}: {text(found.chosen)}"
    if RULES in seconds:
        yield f"  {microseconds({name: seconds[name] for name in ('copy', RULES) if name in seconds})}"
        for name in sorted(set(seconds) - {"copy", RULES}, key=lambda name: share(seconds, name)[0]):
            middle, worst = share(seconds, name)
            yield f"  {name:32} {middle:.3f} of the rules' time, at most {worst:.3f}"
    for name, why in found.left_out.items():
        yield f"  {name:32} {why}"


def add_to_table(found: Tuned, run: str) -> None:
    """Append a row for a place whose rules were beaten."""
    if not found.chosen:
        return
    major, minor = torch.cuda.get_device_capability()
    g, size = found.place.plan(found.chosen).geometry, DTYPES[found.place.dtype].itemsize
    key = (10 * major + minor, found.place.layout, found.place.direction, size, g.channels, g.height, g.width)
    gained = f"{share(found.seconds, text(found.chosen))[0]:.3f}"
    with TABLE.open("a", newline="") as file:
        csv.writer(file).writerow([*key, g.branch, g.square, g.band, text(found.chosen), gained, run])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, known in (("stages", STAGES), ("dtypes", DTYPES), ("layouts", FORMATS), ("directions", DIRECTIONS)):
        parser.add_argument(f"--{name}", type=lambda words: words.split(","), default=list(known))
    parser.add_argument("--seconds", type=float, default=470.0, help="stop measuring after so long")
    parser.add_argument("--json", help="write what was measured to this file as well")
    parser.add_argument("--table", action="store_true", help="add the winners to launch_table.csv")
    asked = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("no CUDA device: tune_kernels.py measures on an NVIDIA GPU", file=sys.stderr)
        return 4
    torch.cuda.set_stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]
    until = time.monotonic() + asked.seconds
    product = itertools.product(asked.stages, asked.dtypes, asked.layouts, asked.directions)
    found: list[Tuned] = []
    for one in tune([Place(*words) for words in product], until):
        found.append(one)
        print("\n".join(printed(one)), flush=True)
        if asked.json:
            Path(asked.json).write_text(json.dumps([asdict(each) for each in found]))
        if asked.table:
            add_to_table(one, Path(asked.json).name if asked.json else "")
    return int(any(why.startswith("WRONG") for one in found for why in one.left_out.values()))


if __name__ == "__main__":
    raise SystemExit(main())
