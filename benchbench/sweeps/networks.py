"""How fast are whole networks: ConvNeXt with other kernel sizes and ratios, InceptionNeXt, and any network as it is?

The work of a network is a lower bound: images are read and logits written once; parameters, activations and flops
are not counted (flops 0 means unknown).
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

from benchbench.case import Axis, Skip, Workload, case, positive_integer
from benchbench.sweeps import axes
from benchbench.work import Work

# The fewest channels of any stage, the first's: a ratio that leaves a channel to convolve here leaves one everywhere.
CONVNEXT_CHANNELS = {
    "convnext_tiny": 96,
    "convnext_tiny.fb": 96,
    "convnext_atto": 40,
    "convnext_small": 96,
    "convnext_small.fb": 96,
    "convnext_base": 128,
    "convnext_base.fb": 128,
}
INCEPTION_NEXT_CHANNELS = {
    "inception_next_tiny": 96,
    "inception_next_atto": 40,
    "inception_next_small": 96,
    "inception_next_base": 128,
}
SEGMENTERS = (
    *(f"upernet.{family}_{size}" for family in ("convnext", "inception_next") for size in ("tiny", "small", "base")),
    *(f"upernet.swin_{size}_patch4_window7_224" for size in ("tiny", "small", "base")),
    *(f"semantic_fpn.{net}" for net in ("resnet50c", "resnet101c", "resnext101_32x4d", "resnext101_64x4d")),
    *(f"semantic_fpn.pvt_{size}" for size in ("small", "medium", "large")),
    *(f"semantic_fpn.poolformer_{size}" for size in ("s24", "s36", "m36", "m48")),
    *(f"semantic_fpn.inception_next_{size}" for size in ("tiny", "small", "base")),
)
ANCHORS = ("resnet50", "swin_tiny_patch4_window7_224", "deit_small_patch16_224")

CONVNEXT = Axis("model", ("convnext_tiny",), flag="--model", choices=tuple(CONVNEXT_CHANNELS))
INCEPTION_NEXT = Axis("model", ("inception_next_tiny",), flag="--model", choices=tuple(INCEPTION_NEXT_CHANNELS))
NETWORK = Axis("model", ANCHORS, flag="--model")
SEGMENTER = Axis("model", (), flag="--model", choices=SEGMENTERS)
ASPECT = Axis("aspect", (1,), parse=positive_integer)
STOCK = Axis("backend", ("aten",), flag="--backend", choices=axes.BACKENDS)
DROP_PATH = Axis("drop_path", ("0",), choices=("0", "own"))
ATTENTION = Axis("attention", ("fused",), choices=("fused", "explicit"))

CONDITIONS = (
    axes.BATCH,
    axes.IMG_SIZE,
    axes.PRECISION,
    axes.LAYOUT,
    axes.NETWORK_MODE,
    axes.COMPILE,
    axes.OPTIMIZER,
    DROP_PATH,
)
CLASSES = 1000
COLOURS = 3


@case(CONVNEXT, axes.KERNEL_SIZE, axes.BACKEND, *CONDITIONS, kind="network")
def convnext(
    model: str,
    kernel_size: int,
    backend: str,
    batch: int,
    img_size: int,
    precision: str,
    layout: str,
    mode: str,
    compile: str,
    optimizer: str,
    drop_path: str,
) -> Workload:
    """ConvNeXt whose k x k depthwise convolutions convolve all channels."""
    return _workload(**locals())


@case(CONVNEXT, axes.KERNEL_SIZE, axes.RATIO, axes.BACKEND, *CONDITIONS, kind="network")
def convnext_partial(
    model: str,
    kernel_size: int,
    ratio: str,
    backend: str,
    batch: int,
    img_size: int,
    precision: str,
    layout: str,
    mode: str,
    compile: str,
    optimizer: str,
    drop_path: str,
) -> Workload:
    """ConvNeXt whose k x k depthwise convolutions convolve a share of the channels and pass the rest through."""
    _refuse_ratio(ratio, CONVNEXT_CHANNELS.get(model, 0), branches=1)
    return _workload(**locals())


@case(INCEPTION_NEXT, axes.KERNEL_SIZE, axes.RATIO, axes.BACKEND, *CONDITIONS, kind="network")
def inception_next(
    model: str,
    kernel_size: int,
    ratio: str,
    backend: str,
    batch: int,
    img_size: int,
    precision: str,
    layout: str,
    mode: str,
    compile: str,
    optimizer: str,
    drop_path: str,
) -> Workload:
    """InceptionNeXt with bands of the kernel size, and branches of the ratio."""
    _refuse_ratio(ratio, INCEPTION_NEXT_CHANNELS.get(model, 0), branches=3)
    return _workload(**locals())


@case(NETWORK, STOCK, ATTENTION, *CONDITIONS, kind="network")
def network(
    model: str,
    backend: str,
    attention: str,
    batch: int,
    img_size: int,
    precision: str,
    layout: str,
    mode: str,
    compile: str,
    optimizer: str,
    drop_path: str,
) -> Workload:
    """Any network as it is: a name of timm's or of ours, or ``module:function`` that builds one."""
    return _workload(**locals())


@case(SEGMENTER, ASPECT, STOCK, ATTENTION, *CONDITIONS, kind="network")
def segmentation(
    model: str,
    aspect: int,
    backend: str,
    attention: str,
    batch: int,
    img_size: int,
    precision: str,
    layout: str,
    mode: str,
    compile: str,
    optimizer: str,
    drop_path: str,
) -> Workload:
    """A head that gives every pixel a class, on a backbone: ``upernet.convnext_tiny``. Measured where it is named."""
    return _workload(**locals())


def _workload(
    *,
    model: str,
    kernel_size: int | None = None,
    ratio: str | None = None,
    attention: str = "fused",
    aspect: int = 1,
    backend: str,
    batch: int,
    img_size: int,
    precision: str,
    layout: str,
    mode: str,
    compile: str,
    optimizer: str,
    drop_path: str,
) -> Workload:
    if backend == "naive":
        raise Skip("the naive kernels are measured as operators, not in networks")
    if mode == "infer" and optimizer != "sgd":
        raise Skip("inference has no optimizer: it is measured once, under optimizer=sgd")

    def make(device: str) -> Any:
        refuse_device(device, precision, backend)
        try:
            from benchbench.models import step
            from benchbench.models.build import ImageSizeError, build

            net = build(
                model,
                kernel_size=kernel_size,
                ratio=ratio,
                img_size=img_size,
                aspect=aspect,
                drop_path=None if drop_path == "own" else 0.0,
            )
            if attention == "explicit":
                step.explain_attention(net)
            if backend in ("triton", "triton-blocks"):
                _accelerate(net, model, blocks=backend == "triton-blocks")
            return step.Step(
                net,
                batch=batch,
                img_size=img_size,
                aspect=aspect,
                device=device,
                precision=precision,
                layout=layout,
                mode=mode,
                compiled=compile,
                optimizer=optimizer,
            )
        except (ImportError, ImageSizeError) as error:
            raise Skip(str(error)) from None

    work = _least_work(batch, img_size, aspect, precision)
    if mode == "infer":
        return Workload(make, _infer, work)
    return Workload(make, _train, work, phases=(("forward", _forward), ("backward", _backward), ("optimizer", _update)))


def _infer(step: Any) -> Any:
    return step.infer()


def _train(step: Any) -> Any:
    return step.train()


def _forward(step: Any) -> None:
    step.forward()


def _backward(step: Any) -> None:
    step.backward()


def _update(step: Any) -> None:
    step.update()


def _refuse_ratio(ratio: str, channels: int, *, branches: int) -> None:
    """Raises Skip where a stage has no channel to convolve, or too few for all branches. channels 0: unknown."""
    share = Fraction(ratio)
    if share * branches > 1:
        raise Skip(f"{branches} branches of a ratio of {ratio} need more channels than there are")
    if channels and int(channels * share) < 1:
        raise Skip(f"a ratio of {ratio} leaves none of the {channels} channels of stage 1 to convolve")


def refuse_device(device: str, precision: str, backend: str) -> None:
    """Raises Skip for what is arithmetic, or a library, of NVIDIA GPUs where the device is none."""
    if device.startswith("cuda"):
        return
    if precision in ("tf32", "fp16", "amp-fp16"):
        raise Skip(f"{precision} is measured on NVIDIA GPUs, and this is {device}")
    if backend in ("native", "cudnn"):
        raise Skip(f"the backend {backend} is about cuDNN, which {device} has not")
    if backend in ("triton", "triton-blocks"):
        raise Skip(f"the Triton kernels need an NVIDIA GPU, and this is {device}")


def _accelerate(net: Any, model: str, *, blocks: bool) -> None:
    """Put our kernels into a network. Raises Skip where it has nothing that they compute, or no block to be fused."""
    from benchbench.models.accelerate import accelerate

    report = accelerate(net, blocks=blocks)
    if not report.replaced:
        why = f" ({report.left[0][1]})" if report.left else ""
        raise Skip(f"{model} has no convolution that our kernels compute{why}")
    if blocks and all(was != "MetaNeXtBlock" for _, was in report.replaced):
        raise Skip(f"{model} has no block that triton-blocks fuses: it fuses InceptionNeXt's")


@cache
def _least_work(batch: int, img_size: int, aspect: int, precision: str) -> Work:
    """Images read and logits written, once each; parameters and flops are not counted here (0: unknown)."""
    size = 2 if precision in ("fp16", "bf16") else 4
    return Work(batch * COLOURS * img_size**2 * aspect * size, batch * CLASSES * size, 0, batch)
