"""Does the doctor name each fault, that fault only, and the command that mends it?"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fake_nvml import HEALTHY, NOT_SUPPORTED, FakeGpu, FakeNvml, process

from benchbench import doctor, host, nvml
from benchbench.doctor import Finding, Load

UUID = "11111111-2222-3333-4444-555555555555"
LOCKED = Load(1_755_000_000, (1_755_000_000,) * 5, (), 45)


def opened(monkeypatch: pytest.MonkeyPatch, *gpus: FakeGpu, **about: Any) -> nvml.Gpu:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*gpus, **about))
    gpu = nvml.find(UUID)
    assert gpu is not None
    return gpu


def loaded(gpu: nvml.Gpu) -> Load:
    """A load of 2 s whose bursts last 0.1 s of a scripted clock."""
    ticks = itertools.count()
    return doctor.under_load(gpu, lambda: None, clock=lambda: next(ticks) * 0.1)


def faults(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.status, finding.name) for finding in findings if finding.status != "PASS"]


@pytest.fixture(autouse=True)
def no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_has_context", lambda: False)


@pytest.mark.parametrize("old_names", [False, True], ids=["new names", "old names"])
def test_a_healthy_gpu_has_no_fault(monkeypatch: pytest.MonkeyPatch, old_names: bool) -> None:
    gpu = opened(monkeypatch, FakeGpu(), old_names=old_names)
    assert faults(doctor.about_gpu(gpu, loaded(gpu))) == []


def wandering() -> Callable[[], dict[int, int]]:
    readings = itertools.cycle([1500, 1980, 1700])
    return lambda: {1: next(readings), 2: 2619}


FAULTS: dict[str, tuple[dict[str, Any], tuple[str, str], str]] = {
    "clocks wander": (
        {"nvmlDeviceGetClockInfo": wandering(), "nvmlDeviceGetCurrentClocksEventReasons": 0},
        ("WARN", "clocks"),
        "sudo nvidia-smi -i 0 -lgc 1500",
    ),
    "power cap slows": (
        {"nvmlDeviceGetCurrentClocksEventReasons": 0x2 | 0x4},
        ("WARN", "throttling"),
        "lock a clock that the power cap can hold",
    ),
    "heat slows": (
        {"nvmlDeviceGetCurrentClocksEventReasons": 0x2 | 0x40},
        ("FAIL", "throttling"),
        "mend the cooling or the power supply",
    ),
    "nearly too hot": ({"nvmlDeviceGetTemperature": {0: 86}}, ("FAIL", "temperature"), "let it cool, mend the cooling"),
    "capped power": (
        {"nvmlDeviceGetEnforcedPowerLimit": 500_000},
        ("WARN", "power cap"),
        "sudo nvidia-smi -i 0 -pl 700",
    ),
    "others compute": (
        {"nvmlDeviceGetComputeRunningProcesses_v3": (process(0x7FFFFFF0),)},
        ("FAIL", "other processes"),
        "nvidia-smi names them: wait, or end them",
    ),
    "others draw": (
        {"nvmlDeviceGetGraphicsRunningProcesses_v3": (process(0x7FFFFFF0), process(0x7FFFFFF1))},
        ("FAIL", "other processes"),
        "nvidia-smi names them: wait, or end them",
    ),
    "memory fails": ({"nvmlDeviceGetTotalEccErrors": 3}, ("FAIL", "ECC"), "sudo nvidia-smi -i 0 --gpu-reset"),
    "sliced": ({"nvmlDeviceGetMigMode": (1, 1)}, ("WARN", "MIG"), "sudo nvidia-smi -i 0 -mig 0"),
    "no persistence": ({"nvmlDeviceGetPersistenceMode": 0}, ("WARN", "persistence"), "sudo nvidia-smi -i 0 -pm 1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_gpu_is_named_alone_with_what_mends_it(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    answers, expected, mend = FAULTS[fault]
    gpu = opened(monkeypatch, FakeGpu(answers))
    findings = doctor.about_gpu(gpu, loaded(gpu))
    assert faults(findings) == [expected]
    assert next(f.mend for f in findings if f.status != "PASS").startswith(mend)


@pytest.mark.parametrize("getter", [name for name in HEALTHY if name != "nvmlDeviceGetUUID"])
def test_any_getter_may_be_unsupported(monkeypatch: pytest.MonkeyPatch, getter: str) -> None:
    gpu = opened(monkeypatch, FakeGpu({getter: NOT_SUPPORTED}))
    statuses = [finding.status for finding in doctor.about_gpu(gpu, loaded(gpu))]
    assert "FAIL" not in statuses
    assert statuses.count("WARN") <= 1


def test_this_process_is_not_another_one_neither_by_its_number_nor_from_inside_a_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine, other = process(os.getpid()), process(0x7FFFFFF0)
    getter = "nvmlDeviceGetComputeRunningProcesses_v3"
    assert opened(monkeypatch, FakeGpu({getter: (mine,)})).other_processes(context=True) == 0
    assert opened(monkeypatch, FakeGpu({getter: (mine, other)})).other_processes(context=True) == 1
    assert opened(monkeypatch, FakeGpu({getter: (other,)})).other_processes(context=True) == 0
    assert opened(monkeypatch, FakeGpu({getter: (other,)})).other_processes(context=False) == 1


def test_a_gpu_is_matched_by_its_uuid_not_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    first = FakeGpu({"nvmlDeviceGetUUID": "GPU-0", "nvmlDeviceGetTemperature": {0: 1}})
    second = FakeGpu({"nvmlDeviceGetUUID": b"GPU-" + UUID.upper().encode(), "nvmlDeviceGetTemperature": {0: 2}})
    gpu = opened(monkeypatch, first, second)
    assert (gpu.index, gpu.temperature_c()) == (1, 2)
    assert nvml.find("no-such-uuid") is None
    assert nvml.find(None) is None


def test_a_slice_is_found_by_its_own_uuid_and_asks_the_whole_gpu_for_clocks_but_not_for_energy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    piece = FakeGpu(dict.fromkeys(HEALTHY, NOT_SUPPORTED) | {"nvmlDeviceGetUUID": "MIG-" + UUID})
    whole = FakeGpu(
        {"nvmlDeviceGetUUID": "GPU-whole", "nvmlDeviceGetMigMode": (1, 1), "nvmlDeviceGetMaxMigDeviceCount": 7}, [piece]
    )
    gpu = opened(monkeypatch, whole)
    assert gpu.sliced
    assert gpu.clock_hz("SM") == 1_755_000_000
    assert gpu.energy_j() is None
    assert faults(doctor.about_gpu(gpu, loaded(gpu))) == [("WARN", "other processes"), ("WARN", "MIG")]


def test_without_a_driver_or_without_the_module_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(FakeGpu(), broken=True))
    assert (nvml.find(UUID), nvml.driver(), nvml.driver_cuda(), nvml.every_uuid()) == (None, None, None, [])
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.find(UUID) is None


@pytest.mark.parametrize(
    ("load", "state"),
    [
        (LOCKED, "locked"),
        (Load(1_980_000_000, (1_980_000_000,) * 5), "cannot tell"),
        (Load(345_000_000, (1_980_000_000,) * 5), "not locked"),
        (Load(345_000_000, (1_410_000_000,) * 5), "not locked"),
        (Load(1_755_000_000, (1_755_000_000, 1_740_000_000)), "locked"),
        (Load(1_755_000_000, (1_755_000_000, 1_725_000_000)), "not locked"),
        (Load(345_000_000, (1_500_000_000, 1_980_000_000), ("applications_clocks_setting",)), "locked"),
        (Load(345_000_000, ()), "cannot tell"),
        (Load(None, (1_755_000_000,)), "cannot tell"),
    ],
)
def test_whether_clocks_are_locked_is_inferred_from_a_load(load: Load, state: str) -> None:
    assert doctor.clocks_state(load, 1_980_000_000) == state


def test_clocks_are_read_in_the_second_half_of_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([345, *[1980] * 3, *[1755] * 100])
    gpu = opened(monkeypatch, FakeGpu({"nvmlDeviceGetClockInfo": lambda: {1: next(readings)}}))
    load = loaded(gpu)
    assert load.idle_clock_hz == 345_000_000
    assert len(load.clocks_hz) == 10
    assert set(load.clocks_hz[3:]) == {1_755_000_000}


def test_driver_and_torch_must_agree() -> None:
    def status(*about: Any) -> tuple[str, str]:
        finding = doctor.software(*about)
        return finding.status, finding.mend

    assert status("2.15", "13.2", "580.65", (13, 0), 1)[0] == "PASS"
    assert status("2.15", "13.2", "550.1", (12, 4), 1) == ("FAIL", "update the driver, or install torch for CUDA 12")
    assert status("2.15", None, "580.65", (13, 0), 1)[0] == "FAIL"
    assert status("2.15", None, "580.65", (13, 0), 0)[0] == "PASS"
    assert status("2.15", "13.2", "580.65", None, 1)[0] == "WARN"
    assert status("2.15", "13.2", None, None, 0)[0] == "PASS"
    assert status(None, None, None, None, 0)[0] == "FAIL"


def test_a_gpu_that_pytorch_does_not_see_fails_and_a_cpu_alone_only_warns() -> None:
    assert doctor.seen("cpu", visible=0, gpus=2, answers=False).status == "FAIL"
    alone = doctor.seen("cpu", visible=0, gpus=0, answers=False)
    assert (alone.status, alone.detail) == ("WARN", "CPU only: figures are for trying the tool")
    assert doctor.seen("cuda:0", visible=1, gpus=1, answers=False).status == "WARN"
    assert doctor.seen("cuda:0", visible=1, gpus=1, answers=True).status == "PASS"


def test_a_gpu_that_is_not_there_fails_and_says_how_many_are() -> None:
    absent = doctor.seen("cuda:7", visible=2, gpus=2, answers=False)
    assert (absent.status, absent.detail) == ("FAIL", "cuda:7 is asked for, PyTorch sees 2 GPUs")
    assert doctor.seen("cuda:0", visible=0, gpus=0, answers=False).detail == "cuda:0 is asked for, PyTorch sees no GPU"


@pytest.mark.parametrize(
    ("finding", "status"),
    [
        (host.governor("performance"), "PASS"),
        (host.governor("powersave"), "WARN"),
        (host.governor(None), "PASS"),
        (host.load(0.9, 1), "PASS"),
        (host.load(4.0, 8), "PASS"),
        (host.load(4.1, 8), "WARN"),
        (host.load(2.0, 2), "WARN"),
        (host.load(None, 2), "PASS"),
        (host.cpu_limit(None, 8), "PASS"),
        (host.cpu_limit(8.0, 8), "PASS"),
        (host.cpu_limit(1.5, 8), "WARN"),
        (host.variables({}), "PASS"),
        (host.variables({"CUDA_LAUNCH_BLOCKING": "0"}), "PASS"),
        (host.variables({"CUDA_LAUNCH_BLOCKING": "1"}), "FAIL"),
        (host.variables({"NVIDIA_TF32_OVERRIDE": "0"}), "FAIL"),
        (host.disk(1 << 40, store_is_writable=True), "PASS"),
        (host.disk(1 << 20, store_is_writable=True), "WARN"),
        (host.disk(1 << 40, store_is_writable=False), "FAIL"),
        (host.counters("RmProfilingAdminOnly: 0"), "PASS"),
        (host.counters(None), "PASS"),
        (host.networks(None), "PASS"),
        (host.networks("operator torchvision::nms does not exist"), "WARN"),
    ],
)
def test_what_surrounds_the_gpu_is_judged(finding: Finding, status: str) -> None:
    assert finding.status == status
    assert bool(finding.mend) == (status != "PASS")


def test_counters_for_root_only_warn_everybody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert host.counters("Foo: 1\nRmProfilingAdminOnly: 1\n").status == "WARN"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert host.counters("Foo: 1\nRmProfilingAdminOnly: 1\n").status == "PASS"


def test_a_store_that_does_not_exist_yet_is_judged_by_the_folder_it_would_be_made_in(tmp_path: Any) -> None:
    assert host._existing(str(tmp_path / "a" / "b")) == str(tmp_path)


def test_without_a_gpu_the_doctor_ends_without_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(doctor, "_visible_gpus", lambda: 0)
    # Importing timm takes seconds, and whether it imports is not the question here.
    monkeypatch.setattr(host, "_timm_problem", lambda: None)
    for name in host.SPOILING:
        monkeypatch.delenv(name, raising=False)
    findings = doctor.doctor()
    assert "FAIL" not in {finding.status for finding in findings}
    assert [f.detail for f in findings if f.name == "device"] == ["CPU only: figures are for trying the tool"]
