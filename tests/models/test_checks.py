"""Would a network whose mixers are wrong be timed?"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from benchbench.case import CASES, Workload
from benchbench.kernels import InceptionDWConv2d
from benchbench.models.accelerate import accelerate
from benchbench.models.build import build
from benchbench.models.checks import _signs_left_out, mixers, outermost_mixers
from benchbench.models.step import Step
from benchbench.sweeps import networks  # noqa: F401 (registers the cases)
from benchbench.verify import check, recheck

pytestmark = pytest.mark.network

Convolution = Callable[[nn.Conv2d, Tensor, Tensor, Tensor | None], Tensor]
STOCK: Convolution = nn.Conv2d._conv_forward


def workload(**changes: Any) -> Workload:
    params = {
        "model": "inception_next_atto",
        "kernel_size": 9,
        "ratio": "1/4",
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
    return CASES["inception_next"].workload(params | changes)


def with_depthwise(monkeypatch: pytest.MonkeyPatch, change: Convolution) -> None:
    """Let every depthwise convolution of PyTorch compute something else."""

    def forward(self: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return change(self, x, weight, bias) if self.groups > 1 else STOCK(self, x, weight, bias)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", forward)


@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "bf16"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_what_pytorch_computes_is_right_before_and_after_timing(mode: str, precision: str, layout: str) -> None:
    timed = workload(mode=mode, precision=precision, layout=layout)
    step = timed.make("cpu")
    verdict = check(timed, step)
    assert verdict.ok, verdict.reason
    names = set(verdict.error)
    assert {f"stages.{i}.blocks.0.token_mixer output" for i in range(4)} <= names
    assert ("stages.3.blocks.0.token_mixer grad dwconv_w.weight" in names) == (mode == "train")
    assert names & {"logits", "loss and gradients"} == {"logits" if mode == "infer" else "loss and gradients"}
    timed.call(step)
    again = recheck(timed, step, verdict)
    assert again.ok, again.reason
    assert again.error.keys() == names - {"loss and gradients"}


def test_one_wrong_border_pixel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y = STOCK(conv, x, weight, bias).clone()
        y[1, 0, -1, 0] += 1e-3
        return y

    timed = workload()
    step = timed.make("cpu")
    with_depthwise(monkeypatch, wrong)
    verdict = check(timed, step)
    assert not verdict.ok
    assert "times what rounding explains" in verdict.reason


class OneWrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return weight.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        wrong = grads[0].clone()
        wrong[0, 0, 0, 0] *= 1.01
        return wrong


def test_one_wrong_weight_gradient_is_refused_in_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return STOCK(conv, x, OneWrongGradient.apply(weight), bias)

    steps = {mode: workload(mode=mode) for mode in ("infer", "train")}
    states = {mode: timed.make("cpu") for mode, timed in steps.items()}
    with_depthwise(monkeypatch, wrong)
    assert check(steps["infer"], states["infer"]).ok
    verdict = check(steps["train"], states["train"])
    assert not verdict.ok
    assert "grad" in verdict.reason


def test_an_output_that_was_never_written_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = workload()
    step = timed.make("cpu")
    with_depthwise(monkeypatch, lambda conv, x, weight, bias: torch.empty_like(x))
    verdict = check(timed, step)
    assert not verdict.ok
    assert "never written" in verdict.reason


def test_mixers_that_are_right_only_the_first_time_are_found_after_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = workload()
    step = timed.make("cpu")
    verdict = check(timed, step)
    assert verdict.ok
    with_depthwise(monkeypatch, lambda conv, x, weight, bias: STOCK(conv, x, weight, bias) * 1.001)
    assert not recheck(timed, step, verdict).ok


def test_checking_changes_neither_statistics_nor_weights_nor_gradients() -> None:
    timed = workload(mode="train")
    step = timed.make("cpu")
    before = {name: value.clone() for name, value in step.model.state_dict().items()}
    assert check(timed, step).ok
    assert all(torch.equal(before[name], value) for name, value in step.model.state_dict().items())
    assert all(p.grad is None for p in step.model.parameters())


def test_stochastic_depth_is_on_when_timed_and_off_when_checked() -> None:
    model = build("swin_tiny_patch4_window7_224", img_size=64, drop_path=None)
    step = Step(model, batch=2, img_size=64, device="cpu", mode="train")
    rates = [m.drop_prob for m in model.modules() if type(m).__name__ == "DropPath"]
    assert max(rates) > 0
    ((name, out, plain, _),) = step.verification_pairs()
    assert name == "loss and gradients"
    assert 0 < float(out) <= float(plain)
    assert [m.drop_prob for m in model.modules() if type(m).__name__ == "DropPath"] == rates


def test_a_norm_of_one_value_an_image_is_compared_with_running_statistics() -> None:
    wide, pooled = nn.BatchNorm2d(16), nn.BatchNorm2d(16)
    whole = (nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), pooled, nn.ReLU(), nn.Flatten())
    model = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), wide, *whole, nn.Linear(16, 8))
    step = Step(model, batch=2, img_size=16, device="cpu", mode="train")
    # Two images that agree but for the last bits: rounding decides on which side of the rectifier each comes out.
    step.images[1] = step.images[0] * (1 + 1e-7)
    with _signs_left_out(step.model, step.images, step.autocast()) as found:
        assert found == (pooled,)
        assert (wide.training, pooled.training) == (True, False)
    assert all(module.training for module in step.model.modules())
    ((_, out, plain, _),) = step.verification_pairs()
    assert max(float(out), float(plain)) < 1e-3


def test_the_mixers_of_a_network_are_found_whole() -> None:
    found = dict(outermost_mixers(build("inception_next_atto")))
    assert len(found) == 12
    assert {type(mixer).__name__ for mixer in found.values()} == {"InceptionDWConv2d"}
    assert not dict(outermost_mixers(build("resnet18")))


@pytest.mark.parametrize(
    ("name", "options", "shapes"),
    [
        ("inception_next_atto", {}, 4),
        ("convnext_atto", {"kernel_size": 3, "ratio": "1/4"}, 4),
        ("convnext_atto", {"kernel_size": 3}, 4),
    ],
)
def test_kernels_in_place_of_convolutions_are_compared_with_the_definition(
    name: str, options: dict[str, Any], shapes: int
) -> None:
    model = build(name, **options)
    assert len(accelerate(model, "reference").replaced) == 12
    step = Step(model, batch=2, img_size=64, device="cpu", mode="train")
    compared = {name: (out, exact) for name, out, _, exact, *_ in step.verification_pairs()}
    assert sum(name.endswith(" output") for name in compared) == shapes
    assert sum("grad" in name and "weight" in name for name in compared) >= shapes
    for out, exact in compared.values():
        torch.testing.assert_close(out.double(), exact, rtol=1e-3, atol=1e-3)


def test_depthwise_convolutions_with_a_stride_are_compared_too() -> None:
    step = Step(build("mobilenetv2_050"), batch=2, img_size=64, device="cpu", mode="train")
    compared = {name: (out, exact) for name, out, _, exact, *_ in mixers(step)}
    assert any("blocks.1.0" in name for name in compared)
    for out, exact in compared.values():
        torch.testing.assert_close(out.double(), exact, rtol=1e-3, atol=1e-3)


def test_a_kernel_that_is_wrong_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = workload()
    step = timed.make("cpu")
    accelerate(step.model, "reference")
    right = InceptionDWConv2d.forward
    monkeypatch.setattr(InceptionDWConv2d, "forward", lambda self, x: right(self, x) * (1 + 1e-4))
    assert not check(timed, step).ok


def test_every_network_of_a_process_is_compiled_however_many_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, compile_ = CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, mode: compile_(model, backend=counted))
    most = torch._dynamo.config.recompile_limit
    for _ in range(most + 2):
        model = Plain()
        Step(model, batch=2, img_size=8, device="cpu", compiled="default").infer()
    assert counted.frame_count == most + 2


class Plain(nn.Module):
    """Not of torch.nn's own classes, whose forward is not compiled by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 8 * 8, 10)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(x.flatten(1))
        return outputs


@pytest.mark.slow
def test_a_compiled_network_is_compared_at_the_batch_that_it_was_compiled_for() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    step = Step(model, batch=6, img_size=32, device="cpu", mode="train", compiled="default")
    compiled, seen = step.launched, []

    def launched(images: Tensor) -> Tensor:
        seen.append(len(images))
        return compiled(images)

    step.launched = launched
    for name, out, plain, exact, *_ in step.verification_pairs():
        torch.testing.assert_close(out.double(), exact.double(), rtol=1e-4, atol=1e-4, msg=name)
        torch.testing.assert_close(plain.double(), exact.double(), rtol=1e-4, atol=1e-4, msg=name)
    assert seen == [6]
