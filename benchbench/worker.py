"""The child process: builds each point, verifies it, times it, and sends one Record up the pipe.

It reads lines of JSON on standard input (a job, then one point a line) and answers on the file descriptor named by its
only argument: first {"hello": description}, then {"record": ..., "restart": ...} for each point.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, TextIO

from benchbench import memory
from benchbench.case import AUTO, CASES, Skip, Value, Workload
from benchbench.fault import one_line, status_of
from benchbench.plan import Point
from benchbench.record import Record, to_line
from benchbench.registry import register_cases

Copies = Sequence[tuple[int, float]]
NO_DEVICE = "none"  # for cases that need no torch, such as the fake ones of the tests


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is told once: where and how it measures.

    overlay: a folder whose packages (kernels, models) take the place of ours, or nothing. devices: all that the sweep
    uses, this one among them; each is locked.
    """

    device: str
    policy: Mapping[str, Any]
    devices: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    seed: int = 0
    overlay: str = ""


@dataclass(slots=True)
class Bench:
    """The instruments of one worker; fake ones make the whole loop testable without a device or a clock.

    prepare: params -> context in which the point lives, yielding the effective switches.
    check, recheck: (workload, state[, verdict]) -> verdict, before and after timing.
    measure: (launch, phases, cache, marked) -> samples.
    cache_bytes: of the GPU's L2. What a warm one holds is not judged by copies: PyTorch's is no roof there.
    """

    device: str
    prepare: Callable[[Mapping[str, Value]], Any]
    check: Callable[[Workload, Any], Any]
    recheck: Callable[[Workload, Any, Any], Any]
    measure: Callable[..., Any]
    monitor: Any = None
    energy: Callable[[Callable[[], Any]], float | None] = lambda launch: None
    cache_bytes: int = 0


def main(answers: int) -> None:
    """Work through the points of standard input until it ends."""
    os.dup2(2, 1)
    _die_with_parent()
    out = os.fdopen(answers, "w", buffering=1)
    first = sys.stdin.readline()
    if not first:
        return
    told = json.loads(first)
    job = Job(**{**told, "imports": tuple(told["imports"]), "devices": tuple(told["devices"])})
    if job.overlay:
        import benchbench

        benchbench.__path__.insert(0, job.overlay)
    register_cases(job.imports)
    bench, hello = set_up(job)
    # What is imported by now stays: looking through it after every point would take longer than many a point.
    gc.freeze()
    _answer(out, {"hello": hello})
    out_of_memory_before = False
    for line in sys.stdin:
        asked = json.loads(line)
        copies = tuple((int(moved), float(seconds)) for moved, seconds in asked["copies"])
        record = measure_point(Point(**asked["point"]), job, bench, copies=copies, verified=asked["verified"])
        # After an out-of-memory the caches are emptied; if the next point fails too, the process is to blame.
        restart = record.status == "crash" or (out_of_memory_before and record.status in ("oom", "fail"))
        out_of_memory_before = record.status == "oom"
        _answer(out, {"record": json.loads(to_line(record)), "restart": restart})


def _answer(out: TextIO, message: Mapping[str, Any]) -> None:
    out.write(json.dumps(message, separators=(",", ":")) + "\n")
    out.flush()


def _die_with_parent() -> None:
    """End this process when the parent ends, however it ends, even in the middle of a call."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def set_up(job: Job) -> tuple[Bench, dict[str, Any]]:
    """The instruments for the job's device, and what the machine is: description, testbed and names of GPUs to lock."""
    from benchbench import machine, timer, verify

    if job.device == NO_DEVICE:
        policy = timer.Policy(**job.policy)
        clock = timer.clock_for("cpu")
        bench = Bench(
            NO_DEVICE,
            prepare=lambda params: _nothing(),
            check=lambda workload, state: None,
            recheck=lambda workload, state, verdict: None,
            measure=lambda launch, phases, cache, marked: timer.measure(
                launch, policy=policy, clock=clock, phases=phases, marked=marked
            ),
        )
        return bench, {"description": {"device": NO_DEVICE}, "testbed": {"device": NO_DEVICE}, "gpus": []}
    import torch

    if job.device == "cpu":
        # With every core busy the spread between processes is ten times what it is with one core left over.
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))
    policy, clock = timer.Policy(**job.policy), timer.clock_for(job.device)

    def measure(
        launch: Callable[[], Any], phases: Sequence[timer.Part], cache: str, marked: timer.Marked | None
    ) -> Any:
        return timer.measure(launch, policy=replace(policy, cache=cache), clock=clock, phases=phases, marked=marked)

    def prepare(params: Mapping[str, Value]) -> Any:
        return machine.switches(str(params.get("precision", "fp32")), str(params.get("backend", "aten")))

    monitor, description = machine.Monitor(job.device), machine.describe(job.device)
    bench = Bench(
        job.device,
        prepare,
        verify.check,
        verify.recheck,
        measure,
        monitor,
        _energy_meter(job.device),
        description["gpu_l2_bytes"] or 0,
    )
    return bench, {"description": description, "testbed": machine.testbed(description), "gpus": _locks(job)}


def _locks(job: Job) -> list[str]:
    """The names under which the GPUs of the whole sweep are locked on this machine."""
    from benchbench import machine

    uuids = map(machine.gpu_uuid, job.devices or (job.device,))
    return [f"benchbench-{machine.hashed(uuid)}" for uuid in uuids if uuid]


def _energy_meter(device: str) -> Callable[[Callable[[], Any]], float | None]:
    """Joules of one call by the GPU's energy counter, over half a second of work; None where there is none."""
    if not device.startswith("cuda"):
        return lambda launch: None
    import torch

    from benchbench import energy, machine, nvml

    gpu = nvml.find(machine.gpu_uuid(device))

    def joules(launch: Callable[[], Any]) -> float | None:
        found = energy.joules_per_call(gpu, launch, lambda: torch.cuda.synchronize(device), blocks=1)
        return found[0] if found else None

    return joules


@contextmanager
def _nothing() -> Iterator[dict[str, Any]]:
    yield {}


def measure_point(point: Point, job: Job, bench: Bench, *, copies: Copies = (), verified: bool = False) -> Record:
    """One Record, whatever happens short of the death of the process; its place in the run is the parent's to fill in.

    copies: bytes moved and median seconds of the copy controls measured so far in this round. verified: the answer was
    found right before timing in an earlier round of this sitting, so a network is verified after timing alone.
    """
    place: dict[str, Any] = {
        "key": point.key,
        "case": point.case,
        "version": point.version,
        "params": dict(point.params),
    }
    try:
        with bench.prepare(point.params) as switches:
            if point.params.get("batch") == AUTO:
                place["params"]["batch"] = _largest_batch_of(point, bench)
            workload = CASES[point.case].workload(place["params"])
            place["work"] = asdict(workload.work)
            place["machine_state"] = {"switches": switches} if switches else {}
            found = _measured(workload, point, job, bench, place["machine_state"], verified)
        record = Record(**place | found)
        # Copies and roofs are what the others are judged by.
        judged = record.status == "ok" and CASES[point.case].kind in ("operator", "network")
        return _unless_impossible(record, copies, bench.cache_bytes) if judged else record
    except Skip as reason:
        return Record(**place, status="skip", reason=str(reason))
    except Exception as error:
        return Record(**place, status=status_of(error), reason=one_line(error))
    finally:
        memory.empty_caches(bench.device)


def _measured(
    workload: Workload, point: Point, job: Job, bench: Bench, machine_state: dict[str, Any], verified: bool
) -> dict[str, Any]:
    _seed(bench.device, zlib.crc32(point.key.encode()) ^ job.seed)
    held = memory.held(bench.device)
    state = workload.make(bench.device)
    found: dict[str, Any] = {}
    is_compiled = str(point.params.get("compile", "eager")) != "eager"
    if is_compiled or bench.device.startswith("cuda"):
        # The first call compiles, and on a GPU tries algorithms that may take more memory than the one it chooses.
        began = time.perf_counter()
        workload.call(state)
        found |= {"compile_s": time.perf_counter() - began} if is_compiled else {}
    with _nothing() if bench.device == NO_DEVICE else memory.peak_memory(bench.device, before=held) as peak:
        labels = _labels(workload, state, bench)
    found |= labels | {"peak_memory_bytes": peak.get("bytes")}
    if labels.get("kernels"):
        machine_state["compiled_kernels"] = _compiled(labels["kernels"])
    if reason := _false_label(point, labels):
        status = "skip" if point.params["backend"] == "cudnn" else "fail"
        return {**found, "status": status, "reason": reason}
    # A network takes longer to verify than to measure; operators are verified before timing in every round.
    network_was_verified = verified and hasattr(state, "verification_pairs")
    verdict = None if network_was_verified else bench.check(workload, state)
    if verdict is not None:
        found["error"] = dict(verdict.error)
        if not verdict.ok:
            return {**found, "status": "wrong", "reason": verdict.reason}
    phases = [(name, _bound(part, state)) for name, part in workload.phases]
    if bench.monitor is not None:
        bench.monitor.start()
    # An operator without the axis, and a network, whose tensors are larger than any cache, follow one another.
    cache, marked = str(point.params.get("cache", "warm")), _marked(workload, state)
    samples = bench.measure(lambda: workload.call(state), phases, cache, marked)
    if bench.monitor is not None:
        machine_state |= bench.monitor.stop(samples.ended_s)
    if CASES[point.case].kind == "network":
        found["energy_j"] = bench.energy(lambda: workload.call(state))
    found |= _from_samples(samples)
    after = bench.recheck(workload, state, () if network_was_verified else verdict)
    if after is not None:
        found.setdefault("error", dict(after.error))
        if not after.ok:
            return {**found, "status": "wrong", "reason": after.reason}
    doubts = [verdict.reason if verdict is not None else "", _gaps(samples)]
    return {**found, "status": "ok", "reason": "; ".join(filter(None, doubts))}


def _gaps(samples: Any) -> str:
    """The doubt about times that may hold a wait for the host, or nothing."""
    if not samples.gaps:
        return ""
    return f"{samples.gaps} of {len(samples.samples_s)} times may hold a wait for the host"


def _largest_batch_of(point: Point, bench: Bench) -> int:
    """The largest batch that there is memory to call and to verify. Raises Skip on a CPU, which would rather kill."""
    if not bench.device.startswith("cuda"):
        raise Skip("--batch auto finds what fits a GPU: on a CPU name a batch")

    def attempt(batch: int, *, verified: bool) -> None:
        workload = CASES[point.case].workload({**point.params, "batch": batch})
        state = workload.make(bench.device)
        workload.call(state)
        if verified:
            bench.check(workload, state)

    def fits(batch: int, *, verified: bool) -> bool:
        try:
            attempt(batch, verified=verified)
        except Exception as error:
            if status_of(error) != "oom":
                raise
            return False
        finally:
            # After the attempt has let go of what it took.
            memory.empty_caches(bench.device)
        return True

    # Calls are quick to try. Verifying in float64 takes longer, and in inference more memory than the call.
    called = memory.largest_batch(lambda batch: fits(batch, verified=False))
    if fits(called, verified=True):
        return called
    return memory.largest_batch(lambda batch: fits(batch, verified=True), most=called)


def _unless_impossible(record: Record, copies: Copies, cache_bytes: int) -> Record:
    """The record, marked impossible where the copies of its round say that memory cannot have moved its bytes."""
    from benchbench.stats import impossible

    assert record.work is not None
    moved = record.work["bytes_read"] + record.work["bytes_written"]
    if record.params.get("cache") == "warm" and moved <= cache_bytes:
        return record
    reason = impossible(record, copies)
    return replace(record, status="impossible", reason=reason) if reason else record


def _marked(workload: Workload, state: Any) -> Callable[[Callable[[str], None]], Any] | None:
    """The run of the workload that says where its parts end, or None."""
    run = workload.marked
    return None if run is None else lambda mark: run(state, mark)


def _bound(part: Callable[[Any], Any], state: Any) -> Callable[[], Any]:
    return lambda: part(state)


def _from_samples(samples: Any) -> dict[str, Any]:
    parts = samples.phases
    return {
        "samples_s": samples.samples_s,
        "host_samples_s": samples.host_samples_s,
        "forward_s": tuple(parts.get("forward", ())),
        "backward_s": tuple(parts.get("backward", ())),
        "optimizer_s": tuple(parts.get("optimizer", ())),
        "parts_s": dict(samples.parts),
        "clock": samples.clock,
        "warmup_class": samples.warmup_class,
        "capped": samples.capped,
    }


def _labels(workload: Workload, state: Any, bench: Bench) -> dict[str, Any]:
    """Calls once and says which convolution backends PyTorch selected; on a GPU also the kernels of a second call."""

    def call() -> Any:
        return workload.call(state)

    if bench.device == NO_DEVICE:
        call()
        return {}
    from benchbench import machine

    labels: dict[str, Any] = {"backend_ran": machine.conv_backends(call)}
    if bench.device.startswith("cuda"):
        labels["kernels"] = machine.kernel_names(call)
    return labels


def _compiled(launched: Sequence[str]) -> dict[str, list[str]]:
    """The hashes of our own kernels among those that were launched."""
    from benchbench import machine

    return machine.compiled_kernels(launched)


def _false_label(point: Point, labels: Mapping[str, Any]) -> str:
    if "backend" not in point.params or not labels:
        return ""
    from benchbench import machine

    ran, kernels = str(labels.get("backend_ran", "")), labels.get("kernels", ())
    return machine.refuse_label(str(point.params["backend"]), ran, kernels)


def _seed(device: str, seed: int) -> None:
    if device != NO_DEVICE:
        import torch

        torch.manual_seed(seed)


if __name__ == "__main__":
    main(int(sys.argv[1]))
