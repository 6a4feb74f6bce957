"""The worker's own rules: which error is which, and a point that is refused where it must be."""

from dataclasses import replace

import pytest

from benchbench import worker
from benchbench.case import CASES, Case, Workload
from benchbench.fault import status_of
from benchbench.plan import Point
from benchbench.record import from_line, to_line
from benchbench.registry import register_cases
from benchbench.sweeps.presets import QUICK_CPU
from benchbench.work import Work


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "oom"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "oom"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "crash"),
        (RuntimeError("Triton Error [CUDA]: misaligned address"), "crash"),
        (RuntimeError("Triton Error [CUDA]: out of memory"), "oom"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "crash"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "fail"),
        (ZeroDivisionError("division by zero"), "fail"),
    ],
)
def test_an_error_has_the_status_of_its_kind(error: Exception, status: str) -> None:
    assert status_of(error) == status


@pytest.fixture(scope="module")
def bench() -> worker.Bench:
    register_cases(())
    return worker.set_up(worker.Job("cpu", QUICK_CPU.policy))[0]


def point(case: str, **params: object) -> Point:
    defaults = {axis.name: axis.values[0] for axis in CASES[case].axes if axis.values}
    small = {"shape": "8x6x6", "batch": 2, "layout": "nchw", "cache": "warm", "backend": "aten"}
    chosen = {**defaults, **{name: value for name, value in small.items() if name in defaults}, **params}
    return Point(case, case, 1, chosen)  # type: ignore[arg-type]


def measured(bench: worker.Bench, chosen: Point, **more: object) -> worker.Record:
    return worker.measure_point(chosen, worker.Job("cpu", QUICK_CPU.policy), bench, **more)  # type: ignore[arg-type]


def test_a_fault_of_the_device_is_kept_though_nothing_can_be_given_back_after_it(
    bench: worker.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def fault(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "empty_cache", fault)
    monkeypatch.setitem(CASES, "faulty", Case("faulty", (), lambda: Workload(fault, fault, Work(1, 1, 1, 1))))
    record = measured(replace(bench, device="cuda:0"), Point("faulty", "faulty", 1, {}))
    assert (record.status, "illegal memory access" in record.reason) == ("crash", True)


def test_a_compiled_operator_s_first_call_is_the_one_that_compiles(
    bench: worker.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from torch._dynamo.testing import CompileCounter

    compile_, counted = torch.compile, CompileCounter()
    monkeypatch.setattr(torch, "compile", lambda function, mode: compile_(function, backend=counted))
    for mode in ("forward", "backward"):
        counted.clear()
        chosen = point("depthwise_conv", shape="8x6x6", compile="default", mode=mode)
        workload = CASES["depthwise_conv"].workload(dict(chosen.params))
        state = workload.make("cpu")
        assert counted.frame_count == 0
        workload.call(state)
        assert counted.frame_count == 1
        record = measured(bench, chosen)
        assert record.status == "ok"
        assert record.compile_s is not None


def test_auto_is_a_skip_on_a_cpu(bench: worker.Bench) -> None:
    record = measured(bench, point("depthwise_conv", batch="auto"))
    assert (record.status, "name a batch" in record.reason) == ("skip", True)


def test_auto_is_the_largest_batch_that_can_be_called_and_verified(
    bench: worker.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def load(batch: int) -> Workload:
        def call(state: object) -> None:
            tried.append(batch)
            if batch > 100:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

        return Workload(lambda device: None, call, Work(1, 1, 1, batch))

    def check(workload: Workload, state: object) -> None:
        if workload.work.items > 40:
            raise RuntimeError("CUDA out of memory. Tried to allocate 3 GiB")

    monkeypatch.setitem(CASES, "sized", Case("sized", (), load))
    on_gpu = replace(bench, device="cuda:0", check=check)
    monkeypatch.setattr(worker.memory, "empty_caches", lambda device: None)
    chosen = Point("sized", "sized", 1, {"batch": "auto"})
    assert worker._largest_batch_of(chosen, on_gpu) == 40
    assert max(tried) > 100
    roomy = replace(on_gpu, check=lambda workload, state: None)
    assert worker._largest_batch_of(chosen, roomy) == 96


def test_the_record_names_the_batch_that_auto_found_and_keeps_its_key(
    bench: worker.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_largest_batch_of", lambda chosen, bench: 3)
    record = measured(bench, point("depthwise_conv", batch="auto"))
    assert (record.status, record.params["batch"], record.key) == ("ok", 3, "depthwise_conv")
    assert record.work is not None
    assert record.work["items"] == 3


@pytest.mark.parametrize("backend", ["triton", "naive", "native", "cudnn"])
def test_a_kernel_of_gpus_is_a_skip_on_a_cpu_and_never_timed_as_itself(bench: worker.Bench, backend: str) -> None:
    record = measured(bench, point("inception_dwconv", backend=backend, shape="24x6x6"))
    assert (record.status, record.samples_s) == ("skip", ())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "amp-bf16"])
@pytest.mark.parametrize("mode", ["forward", "backward", "forward_backward"])
@pytest.mark.parametrize("case", ["depthwise_conv", "partial_depthwise_conv", "inception_dwconv"])
def test_stock_is_right_in_every_mode_and_precision(bench: worker.Bench, case: str, mode: str, precision: str) -> None:
    record = measured(bench, point(case, shape="24x7x5", mode=mode, precision=precision, layout="nhwc"))
    assert (record.status, record.reason) == ("ok", "")
    assert record.error
    assert record.backend_ran


def test_a_time_that_memory_cannot_have_taken_is_impossible(bench: worker.Bench) -> None:
    chosen = point("depthwise_conv", shape="24x16x16")
    record = measured(bench, chosen)
    assert record.work is not None
    moved = record.work["bytes_read"] + record.work["bytes_written"]
    assert measured(bench, chosen, copies=((moved, 1e-9),)).status == "ok"
    assert measured(bench, chosen, copies=((moved, 10.0),)).status == "impossible"
    assert measured(bench, point("control_copy", kibibytes=64), copies=((2 * 64 * 1024, 10.0),)).status == "ok"
    # What a GPU's warm L2 holds may be faster than PyTorch's copy; what is read from memory may not.
    small, large = (replace(bench, cache_bytes=size) for size in (moved - 1, moved))
    warm, cold = (point("depthwise_conv", shape="24x16x16", cache=cache) for cache in ("warm", "cold"))
    judged = [measured(b, p, copies=((moved, 10.0),)).status for b, p in ((small, warm), (large, warm), (large, cold))]
    assert judged == ["impossible", "ok", "impossible"]


def test_a_training_point_has_the_times_of_its_parts() -> None:
    from benchbench.timer import Policy, clock_for, measure

    parts = tuple((name, lambda state: sum(range(2000))) for name in ("forward", "backward", "optimizer"))
    load = Workload(lambda device: None, lambda state: None, Work(1, 1, 1, 1), phases=parts)
    phases = [(name, worker._bound(part, None)) for name, part in load.phases]
    samples = measure(lambda: None, policy=Policy(**QUICK_CPU.policy), clock=clock_for("cpu"), phases=phases)
    found = worker._from_samples(samples)
    assert len(found["forward_s"]) == len(found["backward_s"]) == len(found["optimizer_s"]) == len(found["samples_s"])


def test_every_gpu_of_the_sweep_is_locked_and_a_cpu_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchbench import machine

    monkeypatch.setattr(machine, "gpu_uuid", lambda device: None if device == "cpu" else f"uuid of {device}")
    both = worker._locks(worker.Job("cuda:0", {}, devices=("cuda:0", "cuda:1")))
    assert both == [f"benchbench-{machine.hashed(f'uuid of cuda:{i}')}" for i in (0, 1)]
    assert worker._locks(worker.Job("cpu", {})) == []


def test_times_that_may_hold_a_wait_for_the_host_are_a_doubt(bench: worker.Bench) -> None:
    measure = bench.measure

    def late(*args: object) -> object:
        return replace(measure(*args), gaps=2)

    record = measured(replace(bench, measure=late), point("control_copy", kibibytes=64))
    assert record.status == "ok"
    assert record.reason == f"2 of {len(record.samples_s)} times may hold a wait for the host"


def test_a_block_has_the_times_of_its_parts_beside_each_of_its_own(bench: worker.Bench) -> None:
    record = measured(bench, point("block", model="convnext_tiny", mode="train", precision="fp32"))
    assert record.status == "ok", record.reason
    assert set(record.parts_s) == {"mixer", "norm", "mlp", "rest"}
    assert {len(times) for times in record.parts_s.values()} == {len(record.samples_s)}
    assert from_line(to_line(record)).parts_s == record.parts_s
