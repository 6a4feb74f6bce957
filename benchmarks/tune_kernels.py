"""Which launch of the Inception mixer is the fastest on this GPU, stage by stage, and by how much?

    python benchmarks/tune_kernels.py [--stages s1,s2] [--dtypes bf16] [--layouts nchw] [--directions forward]
                                      [--seconds 470] [--json FILE]
    python benchmarks/tune_kernels.py --adopt FILE

At each point: every constant that the rules leave open (launch_choices.py) is halved and doubled, alone; what is right
against float64 is timed beside the rules' own launch and a copy, round by round, from a cold cache; then what gained is
timed once more, alone and together, and the fastest of that is chosen. --adopt needs no GPU: it takes the winners that
an earlier run kept in FILE into the launch table of the kernels (kernels/inception_dwconv/launch_table.csv), which
launches follow from then on.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
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
NOTHING: Choices = {}
TABLE = Path(launch_table.__file__).parent / launch_table.FILE


@dataclass(frozen=True, slots=True)
class Place:
    """One point that is tuned."""

    stage: str
    dtype: str
    layout: str
    direction: str

    def plan(self, choices: Choices, arch: int) -> Plan:
        """The launch with these choices in place of the rules'. Raises ValueError for what does not go together."""
        channels, side = STAGES[self.stage]
        shape = (BATCH, channels, side, side)
        return plan(shape, DTYPES[self.dtype], self.layout, arch, direction=self.direction, choices=choices)

    def call(self, choices: Choices, seed: int) -> Callable[[], tuple[Tensor, ...]]:
        """One launch, with its inputs made: y, or the gradients of x, weights and biases."""
        made, kind = self.plan(choices, architecture()), DTYPES[self.dtype]
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
    """What was found at a place: why launches were not timed, seconds of those that were, and the fastest choices.

    again: seconds of what gained, timed once more, alone and together.
    """

    place: Place
    arch: int
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    again: dict[str, list[float]] = field(default_factory=dict)
    chosen: dict[str, int] = field(default_factory=dict)


def architecture() -> int:
    """10 * major + minor of the GPU's compute capability."""
    major, minor = torch.cuda.get_device_capability()
    return 10 * major + minor


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
    tried = {place: [NOTHING, *neighbours(place.plan(NOTHING, architecture()))] for place in places}
    workers = max(1, len(os.sched_getaffinity(0)) - 2)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        under_way = {place: checked(pool, place, tried[place]) for place in places}
        for place in places:
            found = Tuned(place, architecture())
            found.left_out = {name: why for name, why in sorted_out(under_way[place], until) if why}
            if RULES not in found.left_out and time.monotonic() < until:
                choose(found, [each for each in tried[place] if text(each) not in found.left_out], pool, until)
            yield found
        pool.shutdown(wait=False, cancel_futures=True)


def choose(found: Tuned, right: Sequence[Choices], pool: ProcessPoolExecutor, until: float) -> None:
    """Time what is right; then what gained once more, alone and together: the choice rests on the second timing."""
    found.seconds = timed(found.place, right)
    gained = winners(found.seconds, right) if RULES in found.seconds else {}
    again = [{name: value} for name, value in gained.items()]
    if len(gained) > 1:
        ((_, why),) = sorted_out(checked(pool, found.place, [gained]), until)
        if why:
            found.left_out[text(gained)] = why
        else:
            again.append(gained)
    if again:
        found.again = timed(found.place, [NOTHING, *again])
        found.chosen = best(found.again, again) if RULES in found.again else {}


def printed(found: Tuned) -> Iterator[str]:
    """The place, the share of the copy by the rules and as chosen, and every launch that was tried."""
    place = found.place
    yield f"{place.stage} {place.dtype} {place.layout} {place.direction}: {text(found.chosen)}"
    for title, seconds in (("", found.seconds), ("again", found.again)):
        if RULES not in seconds:
            continue
        yield f"  {microseconds({name: seconds[name] for name in ('copy', RULES) if name in seconds})} {title}".rstrip()
        for name in sorted(set(seconds) - {"copy", RULES}, key=lambda name: share(seconds, name)[0]):
            middle, worst = share(seconds, name)
            yield f"  {name:32} {middle:.3f} of the rules' time, at most {worst:.3f}"
    for name, why in found.left_out.items():
        yield f"  {name:32} {why}"


def adopted(document: Sequence[Mapping[str, Any]], run: str) -> Iterator[list[Any]]:
    """A row of the launch table for each place of a document whose rules were beaten."""
    for one in document:
        place, chosen, times = Place(**one["place"]), one["chosen"], one["again"]
        if chosen:
            g, size = place.plan(chosen, one["arch"]).geometry, DTYPES[place.dtype].itemsize
            key = (one["arch"], place.layout, place.direction, size, g.channels, g.height, g.width)
            gained = f"{share(times, text(chosen))[0]:.3f}"
            yield [*key, g.branch, g.square, g.band, text(chosen), gained, run]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, known in (("stages", STAGES), ("dtypes", DTYPES), ("layouts", FORMATS), ("directions", DIRECTIONS)):
        parser.add_argument(f"--{name}", type=lambda words: words.split(","), default=list(known))
    parser.add_argument("--seconds", type=float, default=470.0, help="stop measuring after so long")
    parser.add_argument("--json", help="write what was measured to this file as well")
    parser.add_argument("--adopt", metavar="FILE", help="take the winners of an earlier run into the launch table")
    asked = parser.parse_args(arguments)
    if asked.adopt:
        kept = Path(asked.adopt)
        with TABLE.open("a", newline="") as file:
            csv.writer(file).writerows(adopted(json.loads(kept.read_text()), kept.stem))
        return 0
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
    return int(any(why.startswith("WRONG") for one in found for why in one.left_out.values()))


if __name__ == "__main__":
    raise SystemExit(main())
