"""Which points are the paper's: a plan for every table of arXiv:2303.16900v3, for its figure 1, and for all of them.

The conditions are the paper's where the paper, or the authors' benchmark.py, states them: TF32 for convolutions and
matrix products, the better of both layouts, eager mode, attention in separate operations, the model's own stochastic
depth, batch 128, an SGD step. ConvNeXt is Facebook's, as it was timed, with timm's as a second row. Batches that do not
fit end as out-of-memory: none is made smaller in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchbench.case import Case, Value
from benchbench.plan import Plan, Request, register
from benchbench.sweeps.networks import SEGMENTERS

PAPER_CONDITIONS: Mapping[str, tuple[Value, ...]] = {
    "batch": (128,),
    "img_size": (224,),
    "precision": ("tf32",),
    "layout": ("best",),
    "mode": ("infer", "train"),
    "backend": ("aten",),
    "compile": ("eager",),
    "optimizer": ("sgd",),
    "drop_path": ("own",),
    "attention": ("explicit",),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: its label in the paper, the network that stands for it, and the case that measures it."""

    table: int
    label: str
    model: str
    case: str = "network"
    kernel_size: int | None = None
    ratio: str | None = None
    img_size: int = 224
    mode: str = ""


def _convnext(table: int, label: str, size: str, **changes: int) -> tuple[Row, ...]:
    """Facebook's form, and timm's."""
    forms = (f"convnext_{size}.fb", f"convnext_{size}")
    img_size = changes.get("img_size", 224)
    return tuple(
        Row(table, label, form, "convnext", changes.get("kernel_size", 7), img_size=img_size) for form in forms
    )


def _inception(
    table: int, label: str, size: str, kernel_size: int = 11, ratio: str = "1/8", img_size: int = 224
) -> Row:
    return Row(table, label, f"inception_next_{size}", "inception_next", kernel_size, ratio, img_size)


def _partial(ratio: str) -> tuple[Row, ...]:
    forms = ("convnext_tiny.fb", "convnext_tiny")
    return tuple(Row(1, f"3x3, ratio {ratio}", form, "convnext_partial", 3, ratio) for form in forms)


TABLE_1 = (
    *_convnext(1, "7x7", "tiny", kernel_size=7),
    *_convnext(1, "5x5", "tiny", kernel_size=5),
    *_convnext(1, "3x3", "tiny", kernel_size=3),
    *(row for ratio in ("1/2", "3/8", "1/4", "1/8", "1/16") for row in _partial(ratio)),
)
TABLE_4 = (
    Row(4, "MobileNetV2 (1.4)", "mobilenetv2_140"),
    Row(4, "EfficientNet-B0", "efficientnet_b0"),
    Row(4, "GhostNet 1.3x", "ghostnet_130"),
    Row(4, "ConvNeXt-A", "convnext_atto", "convnext", 7),
    _inception(4, "InceptionNeXt-A", "atto", 9, "1/4"),
    Row(4, "DeiT-S", "deit_small_patch16_224"),
    Row(4, "T2T-ViT-14", "t2t_vit_14"),
    Row(4, "TNT-S", "tnt_s_patch16_224"),
    Row(4, "Swin-T", "swin_tiny_patch4_window7_224"),
    Row(4, "Focal-T", "focal_tiny"),
    Row(4, "ResNet-50", "resnet50"),
    Row(4, "RSB-ResNet-50", "resnet50"),
    Row(4, "RegNetY-4G", "regnety_040"),
    Row(4, "FocalNet-T", "focalnet_tiny_lrf"),
    *_convnext(4, "ConvNeXt-T", "tiny"),
    _inception(4, "InceptionNeXt-T", "tiny"),
    Row(4, "T2T-ViT-19", "t2t_vit_19"),
    Row(4, "PVT-Medium", "pvt_medium"),
    Row(4, "Swin-S", "swin_small_patch4_window7_224"),
    Row(4, "Focal-S", "focal_small"),
    Row(4, "RSB-ResNet-101", "resnet101"),
    Row(4, "RegNetY-8G", "regnety_080"),
    Row(4, "FocalNet-S", "focalnet_small_lrf"),
    *_convnext(4, "ConvNeXt-S", "small"),
    _inception(4, "InceptionNeXt-S", "small"),
    Row(4, "DeiT-B", "deit_base_patch16_224"),
    Row(4, "T2T-ViT-24", "t2t_vit_24"),
    Row(4, "TNT-B", "tnt_b_patch16_224"),
    Row(4, "PVT-Large", "pvt_large"),
    Row(4, "Swin-B", "swin_base_patch4_window7_224"),
    Row(4, "Focal-B", "focal_base"),
    Row(4, "RSB-ResNet-152", "resnet152"),
    Row(4, "RegNetY-16G", "regnety_160"),
    Row(4, "RepLKNet-31B", "replknet_31b", mode="train"),
    Row(4, "RepLKNet-31B", "replknet_31b.merged", mode="infer"),
    Row(4, "FocalNet-B", "focalnet_base_lrf"),
    *_convnext(4, "ConvNeXt-B", "base"),
    _inception(4, "InceptionNeXt-B", "base"),
    Row(4, "DeiT-B", "deit_base_patch16_384", img_size=384),
    Row(4, "Swin-B", "swin_base_patch4_window12_384", img_size=384),
    Row(4, "RepLKNet-31B", "replknet_31b", img_size=384, mode="train"),
    Row(4, "RepLKNet-31B", "replknet_31b.merged", img_size=384, mode="infer"),
    *_convnext(4, "ConvNeXt-B", "base", img_size=384),
    _inception(4, "InceptionNeXt-B", "base", img_size=384),
    Row(4, "ViT-Base/16", "vit_base_patch16_384", img_size=384),
)
TABLE_5 = (
    Row(5, "DeiT-S", "deit_small_patch16_224"),
    Row(5, "MetaNeXt-Attn", "metanext_attn_small"),
    Row(5, "ConvNeXt-S (iso.)", "convnext_iso_small"),
    Row(5, "InceptionNeXt-S (iso.)", "inception_next_iso_small"),
    Row(5, "DeiT-B", "deit_base_patch16_224"),
    Row(5, "ConvNeXt-B (iso.)", "convnext_iso_base"),
    Row(5, "InceptionNeXt-B (iso.)", "inception_next_iso_base"),
)
TABLE_8 = (
    _inception(8, "baseline", "tiny"),
    Row(8, "remove horizontal band kernel", "inception_next_tiny.without_1x11"),
    Row(8, "remove vertical band kernel", "inception_next_tiny.without_11x1"),
    Row(8, "remove small square kernel", "inception_next_tiny.without_3x3"),
    Row(8, "bands in sequence", "inception_next_tiny.bands_in_sequence"),
    *(_inception(8, f"band kernel {size}", "tiny", size) for size in (7, 9, 13)),
    *(_inception(8, f"branch ratio {ratio}", "tiny", ratio=ratio) for ratio in ("1/4", "1/16")),
    Row(8, "LayerNorm", "inception_next_tiny.layer_norm"),
)
FIGURE_1 = (
    *_convnext(1, "ConvNeXt-T/k7", "tiny", kernel_size=7),
    *_convnext(1, "ConvNeXt-T/k5", "tiny", kernel_size=5),
    *_convnext(1, "ConvNeXt-T/k3", "tiny", kernel_size=3),
    Row(4, "Swin-T", "swin_tiny_patch4_window7_224"),
    Row(4, "ResNet-50", "resnet50"),
    _inception(4, "InceptionNeXt-T", "tiny"),
)
ROWS: Mapping[int, tuple[Row, ...]] = {1: TABLE_1, 4: TABLE_4, 5: TABLE_5, 8: TABLE_8}


def request_of(row: Row) -> Request:
    """The request that measures a row under the paper's conditions."""
    named: dict[str, tuple[Value, ...]] = {"model": (row.model,), "img_size": (row.img_size,)}
    if row.kernel_size is not None:
        named["kernel_size"] = (row.kernel_size,)
    if row.ratio is not None:
        named["ratio"] = (row.ratio,)
    if row.mode:
        named["mode"] = (row.mode,)
    return Request(axes={**PAPER_CONDITIONS, **named}, only=_of(row.case))


def _segmentation(head: str, aspect: int) -> tuple[Request, ...]:
    """Training at the batch of Table 10, and inference of one image, whose rate the tables print as frames a second."""
    models = tuple(name for name in SEGMENTERS if name.startswith(f"{head}."))
    named = {**PAPER_CONDITIONS, "model": models, "img_size": (512,)}
    batch = 16 if head == "upernet" else 32
    infer: dict[str, tuple[Value, ...]] = {**named, "aspect": (aspect,), "batch": (1,), "mode": ("infer",)}
    train: dict[str, tuple[Value, ...]] = {**named, "aspect": (1,), "batch": (batch,), "mode": ("train",)}
    return tuple(Request(axes=axes, only=_of("segmentation")) for axes in (infer, train))


def _operators() -> tuple[Request, ...]:
    """Table 2 is formulas: the two operators of it that are swept, at the kernel sizes and widths it is read with."""
    axes: dict[str, tuple[Value, ...]] = {
        "kernel_size": (7, 11),
        "ratio": ("1/8",),
        "precision": ("tf32",),
        "layout": ("best",),
        "backend": ("aten",),
    }
    return tuple(Request(axes=axes, only=_of(name)) for name in ("depthwise_conv", "inception_dwconv"))


def _of(name: str) -> Callable[[Case, Mapping[str, Value]], bool]:
    """The points of one case, and the controls, which are in every run."""
    return lambda case, params: case.name == name or case.kind == "control"


def _requests(rows: tuple[Row, ...]) -> tuple[Request, ...]:
    return tuple(request_of(row) for row in rows)


PLANS = (
    Plan(
        "figure1",
        _requests(FIGURE_1),
        title="accuracy against throughput: ConvNeXt-T k3, k5, k7, InceptionNeXt-T, anchors",
    ),
    Plan("table1", _requests(TABLE_1), title="ConvNeXt-T: kernel size and convolution ratio"),
    Plan("table2", _operators(), title="depthwise and Inception depthwise convolution"),
    Plan("table4", _requests(TABLE_4), title="ImageNet-1K, 224 and 384 px"),
    Plan("table5", _requests(TABLE_5), title="isotropic networks"),
    Plan("table6", _segmentation("upernet", 4), title="UperNet: frames of 512 x 2048, training crops of 512 x 512"),
    Plan("table7", _segmentation("semantic_fpn", 1), title="Semantic FPN, 512 x 512"),
    Plan("table8", _requests(TABLE_8), title="ablations of InceptionNeXt-T"),
)
# Beyond the paper: what its reviewers asked. Each network beside the same with the Inception mixer.
HOSTS = ("poolformer_s12", "poolformer_s24", "convformer_s18", "swin_tiny_patch4_window7_224")
INSIDE = Plan(
    "inside",
    tuple(request_of(Row(0, name, name)) for host in HOSTS for name in (host, f"{host}.inception")),
    title="the Inception mixer inside PoolFormer, ConvFormer and Swin",
)
# Newer networks that were trained on the same images alone, for the chart of all networks; fasternet convolves a share
# of the channels too. Their accuracies are timm's.
RIVALS = (
    "mambaout_tiny",
    "mambaout_small",
    "rdnet_tiny",
    "rdnet_small",
    "convformer_s18",
    "caformer_s18",
    "fasternet_s",
    "fasternet_m",
    "davit_tiny",
    "davit_small",
    "nextvit_small",
    "poolformerv2_s24",
    "poolformerv2_s36",
    "efficientvit_b2",
)
RIVALRY = Plan(
    "rivals", _requests(tuple(Row(0, name, name) for name in RIVALS)), title="newer networks, for figure1 --all"
)
PAPER = Plan("paper", tuple(request for plan in PLANS for request in plan.requests), title="every table of the paper")

for _plan in (*PLANS, PAPER, INSIDE, RIVALRY):
    register(_plan)
