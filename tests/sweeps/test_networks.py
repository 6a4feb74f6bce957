"""Are the network cases planned without torch, and do they launch the step they name?"""

import subprocess
import sys
from collections.abc import Mapping

import pytest
import torch

from benchbench.case import CASES, Skip, Value, Workload
from benchbench.models.build import build
from benchbench.sweeps import networks

BASE: Mapping[str, Value] = {
    "backend": "aten",
    "batch": 2,
    "img_size": 64,
    "precision": "fp32",
    "layout": "nchw",
    "mode": "infer",
    "compile": "eager",
    "optimizer": "sgd",
    "drop_path": "0",
}


def point(case: str, **changes: Value) -> Workload:
    return CASES[case].workload({**BASE, **changes})


def atto(**changes: Value) -> Workload:
    return point("inception_next", **{"model": "inception_next_atto", "kernel_size": 9, "ratio": "1/4", **changes})


def test_planning_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = sys.modules['timm'] = None; import benchbench.sweeps.networks as n; "
    code += "from benchbench.case import CASES; print(*(c.name for c in CASES.values() if c.kind == 'network'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = {"convnext", "convnext_partial", "inception_next", "network", "segmentation", "block"}
    assert set(done.stdout.split()) == names


@pytest.mark.parametrize(
    ("case", "changes", "reason"),
    [
        ("convnext_partial", {"model": "convnext_tiny", "kernel_size": 3, "ratio": "1/128"}, "none of the 96 channels"),
        ("inception_next", {"model": "inception_next_tiny", "kernel_size": 11, "ratio": "1/2"}, "3 branches"),
        ("convnext", {"model": "convnext_tiny", "kernel_size": 7, "optimizer": "adamw"}, "no optimizer"),
        ("convnext", {"model": "convnext_tiny", "kernel_size": 7, "backend": "naive"}, "naive"),
    ],
)
def test_what_makes_no_sense_is_a_skip_before_torch_is_needed(
    case: str, changes: Mapping[str, Value], reason: str
) -> None:
    with pytest.raises(Skip, match=reason):
        point(case, **changes)


@pytest.mark.parametrize(
    "changes",
    [{"precision": "tf32"}, {"precision": "fp16"}, {"precision": "amp-fp16"}]
    + [{"backend": backend} for backend in ("native", "cudnn", "triton", "triton-blocks")],
)
def test_what_only_a_gpu_does_is_a_skip_on_the_cpu(changes: Mapping[str, Value]) -> None:
    workload = atto(**changes)
    with pytest.raises(Skip, match="cpu"):
        workload.make("cpu")


@pytest.mark.network
def test_timm_that_does_not_import_is_a_skip_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Skip, match="timm does not import here"):
        atto().make("cpu")


@pytest.mark.network
@pytest.mark.parametrize(("model", "img_size"), [("vit_tiny_patch16_224", 8), ("xcit_nano_12_p16_224", 100)])
def test_images_that_a_network_does_not_take_are_a_skip(model: str, img_size: int) -> None:
    with pytest.raises(Skip, match=str(img_size)):
        point("network", model=model, img_size=img_size, attention="fused").make("cpu")


@pytest.mark.network
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_inference_returns_logits_and_leaves_the_network_as_it_was(layout: str) -> None:
    workload = atto(layout=layout)
    step = workload.make("cpu")
    before = {key: value.clone() for key, value in step.model.state_dict().items()}
    first, second = workload.call(step), workload.call(step)
    assert first.shape == (2, 1000)
    assert torch.equal(first, second)
    assert all(torch.equal(before[key], value) for key, value in step.model.state_dict().items())
    assert step.images.is_contiguous(memory_format=torch.channels_last) == (layout == "nhwc")


@pytest.mark.network
def test_training_steps_lower_the_loss_and_reach_every_parameter() -> None:
    workload = atto(mode="train", optimizer="adamw")
    step = workload.make("cpu")
    first = float(workload.call(step).detach())
    assert all(p.grad is not None and p.grad.any() for p in step.model.parameters())
    for _ in range(4):
        last = float(workload.call(step).detach())
    assert last < first


@pytest.mark.network
def test_the_phases_one_after_another_are_the_call() -> None:
    workload = atto(mode="train")
    assert [name for name, _ in workload.phases] == ["forward", "backward", "optimizer"]
    whole, parts = workload.make("cpu"), workload.make("cpu")
    for _ in range(2):
        workload.call(whole)
        for _, phase in workload.phases:
            phase(parts)
    assert torch.equal(whole.loss, parts.loss)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True))


@pytest.mark.network
def test_sgd_is_the_optimizer_of_the_papers_script() -> None:
    group = atto(mode="train").make("cpu").optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (1e-4, 0.9, True, 0)


@pytest.mark.network
def test_autocast_gives_logits_in_its_type_and_keeps_the_weights() -> None:
    workload = atto(precision="amp-bf16")
    step = workload.make("cpu")
    assert workload.call(step).dtype == torch.bfloat16
    assert next(step.model.parameters()).dtype == torch.float32


def test_the_work_is_a_lower_bound_that_names_its_images() -> None:
    work = networks._least_work(2, 64, 1, "fp32")
    assert (work.bytes_read, work.bytes_written, work.flops, work.items) == (2 * 3 * 64 * 64 * 4, 2 * 1000 * 4, 0, 2)


@pytest.mark.network
def test_a_network_without_depthwise_convolutions_is_a_skip_under_triton() -> None:
    with pytest.raises(Skip, match="resnet18 has no convolution that our kernels compute"):
        networks._accelerate(build("resnet18"), "resnet18", blocks=False)
    networks._accelerate(build("inception_next_atto"), "inception_next_atto", blocks=False)


@pytest.mark.network
def test_a_network_without_blocks_to_fuse_is_a_skip_under_triton_blocks() -> None:
    with pytest.raises(Skip, match="convnext_atto has no block that triton-blocks fuses"):
        networks._accelerate(build("convnext_atto"), "convnext_atto", blocks=True)
    networks._accelerate(build("inception_next_atto"), "inception_next_atto", blocks=True)
