"""Is the machine described fully, without names, and do the switches say what is in force?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from benchbench import machine
from benchbench.switches import PRECISIONS, read_back, tf32_allowed

torch = pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parent.parent


def test_a_description_without_a_gpu_is_plain_json_with_every_field() -> None:
    described = machine.describe("cpu")
    assert json.loads(json.dumps(described)) == described
    assert described["gpu"] is None
    assert described["cpu"]
    assert described["cpus"] >= 1
    assert described["torch"] == torch.__version__


def test_a_cuda_device_that_is_not_there_is_described_without_raising() -> None:
    if torch.cuda.is_available():
        pytest.skip("speaks of a machine without a GPU")
    assert machine.describe("cuda:7")["gpu"] is None


def test_no_path_user_or_whole_uuid_leaves_the_environment() -> None:
    kept = machine.environment(
        {
            "TRITON_CACHE_DIR": "/home/ada/cache",
            "CUDA_VISIBLE_DEVICES": "GPU-5f3a1b2c-0000-1111-2222-333344445555,1",
            "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
            "LD_PRELOAD": "~/a.so:/opt/b.so",
            "TORCH_HUB_TOKEN": "abc",
            "USER": "ada",
            "HOME": "/home/ada",
        }
    )
    assert kept["TRITON_CACHE_DIR"] == "(path)"
    assert kept["LD_PRELOAD"] == "(path):(path)"
    assert kept["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"
    assert kept["CUDA_VISIBLE_DEVICES"].startswith("GPU#")
    assert kept["CUDA_VISIBLE_DEVICES"].endswith(",1")
    assert "5f3a1b2c" not in kept["CUDA_VISIBLE_DEVICES"]
    assert not {"USER", "HOME", "TORCH_HUB_TOKEN"} & set(kept)


def described() -> dict[str, Any]:
    """A description with a value, and no None, in every field, so that removing one is removing something."""
    found = machine.describe("cpu")
    return {name: "something" if value in (None, {}) else value for name, value in found.items()}


@pytest.mark.parametrize("field", sorted(machine.describe("cpu")))
def test_removing_any_recorded_field_changes_the_difference(field: str) -> None:
    whole = described()
    part = {name: value for name, value in whole.items() if name != field}
    assert machine.difference(whole, whole) == []
    assert [name for name, _, _ in machine.difference(whole, part)] == [field]
    assert machine.difference(part, whole)[0][1] == "(not recorded)"


@pytest.mark.parametrize("switch", sorted(read_back()))
def test_removing_any_switch_changes_the_difference(switch: str) -> None:
    whole = machine.describe("cpu")
    part = whole | {"switches": {name: value for name, value in whole["switches"].items() if name != switch}}
    assert [name for name, _, _ in machine.difference(whole, part)] == [f"switches.{switch}"]


def test_a_field_that_is_unknown_differs_from_one_that_was_not_recorded() -> None:
    assert machine.difference({"ecc": None}, {}) == [("ecc", None, "(not recorded)")]


def test_nested_fields_are_named_by_their_path() -> None:
    first, second = {"switches": {"a": 1, "b": 2}}, {"switches": {"a": 1, "b": 3}}
    assert machine.difference(first, second) == [("switches.b", 2, 3)]


def test_a_commit_is_told_with_a_hash_of_what_differs_from_it(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *name, *words], check=True, capture_output=True)

    assert machine._repository(tmp_path) == {"commit": None, "dirty_hash": None}
    (tmp_path / "pyproject.toml").write_text("")
    assert machine._repository(tmp_path)["commit"] is None
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    clean = machine._repository(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["dirty_hash"] == ""
    (tmp_path / "new.py").write_text("1")
    first = machine._repository(tmp_path)["dirty_hash"]
    (tmp_path / "new.py").write_text("2")
    second = machine._repository(tmp_path)["dirty_hash"]
    (tmp_path / "pyproject.toml").write_text("3")
    assert len({"", first, second, machine._repository(tmp_path)["dirty_hash"]}) == 4


def test_two_machines_are_one_testbed_only_if_what_decides_the_figures_is_equal() -> None:
    gpu = {name: name for name in machine.TESTBED} | {"device": "cuda:0", "driver": "580.65.06", "kernel": "6.1"}
    here = machine.testbed(gpu)
    assert here["driver_major"] == "580"
    assert here == machine.testbed(gpu | {"driver": "580.99", "kernel": "6.2", "device": "cuda:1"})
    for name in ("gpu", "gpu_memory_bytes", "mig", "cuda", "cudnn", "torch", "triton", "timm", "power_limit_w"):
        assert here != machine.testbed(gpu | {name: "other"}), name
    assert here != machine.testbed(gpu | {"driver": "575.1"})


@pytest.mark.parametrize("precision", PRECISIONS)
def test_switches_are_what_was_asked_and_are_put_back(precision: str) -> None:
    before = read_back()
    with machine.switches(precision) as effective:
        expected = "tf32" if precision == "tf32" else "ieee"
        assert (effective["convolution_fp32"], effective["matmul_fp32"]) == (expected, expected)
        assert effective == read_back()
        assert effective["cudnn_benchmark"]
        assert effective["cudnn_enabled"]
        assert tf32_allowed() == (precision == "tf32")
    assert read_back() == before


def test_native_disables_cudnn_and_an_error_inside_puts_the_switches_back() -> None:
    before, effective = read_back(), {}

    def measured() -> None:
        with machine.switches("tf32", "native") as switched:
            effective.update(switched)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measured()
    assert not effective["cudnn_enabled"]
    assert read_back() == before


def test_the_older_flags_can_still_be_read_because_the_compiler_reads_them() -> None:
    with machine.switches("tf32"):
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
    with machine.switches("fp32"):
        assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.skipif(not hasattr(torch._C, "_get_fp32_precision_getter"), reason="this PyTorch has the older flags only")
def test_a_setting_that_overrules_the_request_is_refused() -> None:
    torch.backends.fp32_precision = "tf32"
    try:
        with pytest.raises(RuntimeError, match="asked for ieee, but PyTorch reports"), machine.switches("fp32"):
            pass
    finally:
        torch.backends.fp32_precision = "none"
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = True


def test_an_unknown_precision_is_one_line() -> None:
    with pytest.raises(ValueError, match="precision 'fp8' is none of fp32, tf32"), machine.switches("fp8"):
        pass


def test_autocast_is_only_for_the_amp_precisions() -> None:
    for precision, expected in (("amp-bf16", torch.bfloat16), ("fp32", torch.float32), ("bf16", torch.float32)):
        with machine.autocast(precision, "cpu"):
            assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == expected


def test_each_convolution_is_asked_for_its_backend_forward_and_backward() -> None:
    x = torch.randn(2, 8, 7, 7)
    weight = torch.randn(8, 1, 3, 3, requires_grad=True)

    def call() -> None:
        y = torch.conv2d(x, weight, padding=1, groups=8)
        torch.conv2d(y, weight, padding=1, groups=8).sum().backward()

    ran = machine.conv_backends(call)
    forward, backward = ran.split("; ")
    assert forward.startswith("forward ")
    assert forward.endswith(" x2")
    assert backward.startswith("backward ")
    assert backward.endswith(" x2")
    assert machine.conv_backends(lambda: x + 1) == ""


def test_a_convolution_whose_backend_pytorch_does_not_tell_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise RuntimeError("no such backend")

    monkeypatch.setattr(torch._C, "_select_conv_backend", refuse)
    x, weight = torch.ones(1, 2, 4, 4), torch.ones(2, 1, 3, 3)
    ran = machine.conv_backends(lambda: torch.conv2d(x, weight, groups=2))
    assert ran == "forward unknown x1"
    assert "PyTorch picks unknown" in machine.refuse_label("cudnn", ran)


def test_asking_for_backends_does_not_import_the_compiler() -> None:
    code = """
import sys, torch
from benchbench.machine import conv_backends
x, w = torch.ones(1, 2, 4, 4), torch.ones(2, 1, 3, 3)
assert conv_backends(lambda: torch.conv2d(x, w, groups=2))
sys.exit("torch._dynamo" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120)
    assert ran.returncode == 0


@pytest.mark.slow
def test_a_compiled_call_is_asked_as_it_is_compiled() -> None:
    x, weight = torch.randn(2, 8, 7, 7), torch.randn(8, 1, 3, 3)
    seen: list[str] = []

    def backend(graph: Any, inputs: Any) -> Any:
        seen.append("compiled")
        return graph

    compiled = torch.compile(lambda: torch.conv2d(x, weight, groups=8).relu(), backend=backend)
    compiled()
    assert machine.conv_backends(compiled).startswith("forward ")
    assert seen == ["compiled"]


@pytest.mark.parametrize(
    ("backend", "ran", "kernels", "reason"),
    [
        ("cudnn", "forward Cudnn x3; backward Cudnn x3", (), ""),
        ("cudnn", "forward CudaDepthwise2d x2, Cudnn x1", (), "PyTorch picks CudaDepthwise2d here"),
        ("cudnn", "forward Cudnn x1; backward CudaDepthwise2d x1", (), "PyTorch picks CudaDepthwise2d"),
        ("cudnn", "", (), "no convolution of PyTorch ran"),
        ("cudnn", "forward Cudnn x1", ("conv_depthwise2d_forward_kernel",), "the profile shows conv_depthwise2d"),
        ("native", "forward CudaDepthwise2d x3", ("conv_depthwise2d_forward_kernel",), ""),
        ("native", "forward CudaDepthwise2d x3, Cudnn x1", (), "PyTorch picks Cudnn"),
        ("native", "forward Slow2d x1", ("void cudnn::nchwToNhwcKernel",), "the profile shows void cudnn"),
        ("native", "", (), "no convolution of PyTorch ran"),
        ("aten", "forward Cudnn x1", (), ""),
        ("triton", "", (), ""),
    ],
)
def test_a_label_is_refused_where_something_else_ran(
    backend: str, ran: str, kernels: tuple[str, ...], reason: str
) -> None:
    refused = machine.refuse_label(backend, ran, kernels)
    assert (reason in refused) if reason else refused == ""


def test_the_hashes_of_compiled_kernels_are_found_where_they_are_defined(monkeypatch: pytest.MonkeyPatch) -> None:
    class JITFunction:
        __module__ = "benchbench.fake_kernels"

        def __init__(self, *hashes: str) -> None:
            self.device_caches = {0: ({i: SimpleNamespace(hash=h) for i, h in enumerate(hashes)}, {}, None, None, None)}

    module = ModuleType("benchbench.fake_kernels")
    vars(module).update(forward=JITFunction("b", "a"), unused=JITFunction(), number=3)
    elsewhere = ModuleType("benchbench.fake_launch")
    vars(elsewhere).update(forward=vars(module)["forward"])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, elsewhere.__name__, elsewhere)
    assert machine.compiled_kernels() == {"fake_kernels.forward": ["a", "b"]}
    assert machine.compiled_kernels(["forward", "other"]) == {"fake_kernels.forward": ["a", "b"]}
    assert machine.compiled_kernels(["other"]) == {}


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def depthwise(dtype: Any, layout: Any, size: int = 3) -> Any:
    x = torch.randn(8, 64, 28, 28, device="cuda", dtype=dtype).to(memory_format=layout)
    weight = torch.randn(64, 1, size, size, device="cuda", dtype=dtype).to(memory_format=layout)
    return lambda: torch.conv2d(x, weight, padding=size // 2, groups=64)


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_is_described_from_pytorch_and_from_its_driver() -> None:
    found = machine.describe("cuda:0")
    asked = ("gpu", "gpu_uuid_hash", "gpu_sms", "gpu_l2_bytes", "gpu_memory_bytes", "driver", "cuda", "cudnn")
    assert all(found[name] for name in asked)
    assert found["max_sm_clock_hz"], "NVML did not find the GPU by its UUID"


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [3, 11])
def test_what_pytorch_selects_is_what_the_profile_shows(dtype: Any, layout: Any, size: int) -> None:
    call = depthwise(dtype, layout, size)
    with machine.switches("fp32"):
        call()
        ran, kernels = machine.conv_backends(call), machine.kernel_names(call)
    native = any("conv_depthwise2d" in kernel for kernel in kernels)
    assert machine.backends_in(ran) == {"CudaDepthwise2d" if native else "Cudnn"}
    assert machine.refuse_label("native" if native else "cudnn", ran, kernels) == ""


@pytest.mark.gpu
@needs_gpu
def test_native_keeps_cudnn_out_where_pytorch_would_pick_it() -> None:
    call = depthwise(torch.float16, torch.channels_last)
    with machine.switches("fp16", "native"):
        ran, kernels = machine.conv_backends(call), machine.kernel_names(call)
    assert machine.refuse_label("native", ran, kernels) == ""
    with machine.switches("fp16"):
        assert machine.refuse_label("native", machine.conv_backends(call)) != ""


@pytest.mark.gpu
@needs_gpu
def test_tf32_rounds_products_and_fp32_does_not() -> None:
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("TF32 begins with sm_80")
    a = torch.randn(1024, 1024, device="cuda")
    x, weight = torch.randn(8, 256, 14, 14, device="cuda"), torch.randn(256, 256, 1, 1, device="cuda")

    def errors() -> tuple[float, float]:
        matmul, exact = a @ a, a.double() @ a.double()
        convolved, wanted = torch.conv2d(x, weight), torch.conv2d(x.double(), weight.double())
        return float((matmul - exact).abs().max()), float((convolved - wanted).abs().max())

    with machine.switches("fp32"):
        exact_errors = errors()
    with machine.switches("tf32"):
        rounded_errors = errors()
    # Ten bits of mantissa instead of 23: the errors are some thousand times larger.
    assert all(rounded > 50 * exact for rounded, exact in zip(rounded_errors, exact_errors, strict=True))
