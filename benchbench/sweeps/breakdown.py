"""Where does the time of a block go: mixer, norm, MLP, or the rest? The whole block, and part by part beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbench.case import Axis, Case, Skip, Value, Workload, case, positive_integer
from benchbench.plan import Plan, Request, register
from benchbench.sweeps import axes
from benchbench.sweeps.networks import refuse_device
from benchbench.work import Work

# Measured where it is named, as the plan ``breakdown`` does.
MODEL = Axis("model", (), flag="--model", choices=("convnext_tiny", "inception_next_tiny"))
MLP_RATIO = Axis("mlp_ratio", (4,), parse=positive_integer)
NORM = Axis("norm", ("own",), choices=("own", "batch", "layer"))


@case(
    MODEL,
    axes.KERNEL_SIZE,
    MLP_RATIO,
    NORM,
    axes.SHAPE,
    axes.BATCH,
    axes.PRECISION,
    axes.LAYOUT,
    axes.NETWORK_MODE,
    kind="network",
)
def block(
    model: str,
    kernel_size: int,
    mlp_ratio: int,
    norm: str,
    shape: str,
    batch: int,
    precision: str,
    layout: str,
    mode: str,
) -> Workload:
    """A block of ConvNeXt or InceptionNeXt; train: forward and gradients, no update. Its parts are timed beside it.

    The work is a lower bound: the input read once and as much written.
    """
    if norm != "own" and model.startswith("convnext"):
        raise Skip("the block of ConvNeXt is built around LayerNorm: other norms are measured in InceptionNeXt's")
    channels, height, width = map(int, shape.split("x"))

    def make(device: str) -> Any:
        refuse_device(device, precision, "aten")
        try:
            from benchbench.models.parts import TakenApart
        except (ImportError, RuntimeError) as error:
            raise Skip(f"timm does not import here ({error})") from None
        return TakenApart(
            model,
            size=(batch, channels, height, width),
            kernel_size=kernel_size,
            mlp_ratio=mlp_ratio,
            norm=norm,
            device=device,
            precision=precision,
            layout=layout,
            mode=mode,
        )

    size = 2 if precision in ("fp16", "bf16") else 4
    moved = batch * channels * height * width * size
    return Workload(make, _infer if mode == "infer" else _train, Work(moved, moved, 0, batch), marked=_marked)


def _infer(state: Any) -> Any:
    return state.infer()


def _train(state: Any) -> Any:
    return state.train()


def _marked(state: Any, mark: Callable[[str], None]) -> Any:
    return state.marked(mark)


def _asked(model: str, kernel_size: int) -> Request:
    chosen: dict[str, tuple[Value, ...]] = {
        "model": (model,),
        "kernel_size": (kernel_size,),
        "precision": ("tf32", "amp"),
    }
    return Request(axes=chosen, only=_is_taken_apart)


def _is_taken_apart(case: Case, params: Any) -> bool:
    return case.name == "block" or case.kind == "control"


BREAKDOWN = register(
    Plan(
        "breakdown",
        (_asked("convnext_tiny", 7), _asked("inception_next_tiny", 11)),
        title="a block of ConvNeXt and of InceptionNeXt, taken apart",
    )
)
