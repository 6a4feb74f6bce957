"""Does the verifier refuse a wrong operator, whichever case, mode, precision and backend it comes from?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import benchbench.sweeps.operators  # noqa: F401 - registers the operators
from benchbench.case import CASES, Skip, Workload
from benchbench.switches import switches
from benchbench.verify import Verdict, check

torch = pytest.importorskip("torch")

OPERATORS = ("depthwise_conv", "partial_depthwise_conv", "inception_dwconv")
MODES = ("forward", "backward", "forward_backward")


def operator(name: str, mode: str, *, precision: str = "fp32", layout: str = "nchw", backend: str = "aten") -> Workload:
    params: dict[str, Any] = {
        "kernel_size": 5, "shape": "16x15x15", "batch": 2, "precision": precision, "layout": layout, "mode": mode,
        "backend": backend, "compile": "eager", "cache": "warm",
    }  # fmt: skip
    if name != "depthwise_conv":
        params["ratio"] = "1/4"
    return CASES[name].workload(params)


def verdict(workload: Workload, precision: str = "fp32", backend: str = "aten", device: str = "cpu") -> Verdict:
    with switches(precision, backend):
        torch.manual_seed(0)
        try:
            return check(workload, workload.make(device))
        except Skip as reason:
            pytest.skip(str(reason))


def changed(workload: Workload, which: int, change: Callable[[Any], Any]) -> Workload:
    """The workload with one of its outputs changed after the launch."""

    def call(state: Any) -> Any:
        outputs = workload.call(state)
        listed = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
        listed[which] = change(listed[which].detach().clone())
        return listed[0] if isinstance(outputs, torch.Tensor) else tuple(listed)

    return replace(workload, call=call)


def wrong_border_pixel(y: Any) -> Any:
    y[1, -1, 0, -1] += 0.01 * y.abs().max()
    return y


def one_value_off(gradient: Any) -> Any:
    gradient.view(-1)[-1] += 0.01 * gradient.abs().max()
    return gradient


def never_written(out: Any) -> Any:
    return torch.empty_like(out)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize(
    ("precision", "layout"), [("fp32", "nchw"), ("fp32", "nhwc"), ("bf16", "nchw"), ("amp-bf16", "nhwc")]
)
def test_stock_operators_are_right(name: str, mode: str, precision: str, layout: str) -> None:
    found = verdict(operator(name, mode, precision=precision, layout=layout), precision)
    assert found.reason == ""
    assert max(found.error.values()) <= 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OPERATORS)
def test_each_output_is_looked_at(name: str, mode: str) -> None:
    workload = operator(name, mode)
    with switches("fp32"):
        outputs = workload.call(workload.make("cpu"))
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    for which, output in enumerate(outputs):
        faults = (wrong_border_pixel, never_written) if output.dim() == 4 and output.shape[-1] == 15 else ()
        for fault in (*faults, one_value_off, never_written):
            found = verdict(changed(workload, which, fault))
            assert not found.ok, f"{fault.__name__} of output {which}"
            assert ("never written" in found.reason) == (fault is never_written)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["forward", "forward_backward"])
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("precision", ["fp32", "tf32", "amp-fp16", "bf16"])
@pytest.mark.parametrize("backend", ["aten", "native", "triton", "naive"])
def test_each_backend_of_a_gpu_is_right_and_its_faults_are_refused(
    backend: str, precision: str, name: str, mode: str
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    for layout in ("nchw", "nhwc"):
        workload = operator(name, mode, precision=precision, layout=layout, backend=backend)
        assert verdict(workload, precision, backend, "cuda:0").reason == ""
        assert not verdict(changed(workload, 0, never_written), precision, backend, "cuda:0").ok
        assert not verdict(changed(workload, 0, lambda y: y + 0.1 * y.abs().max()), precision, backend, "cuda:0").ok
