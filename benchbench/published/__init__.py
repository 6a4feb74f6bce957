"""What others have published: the paper's tables and timm's figures; nothing here was measured by this project."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import resources

Cell = str | int | float | None
Row = Mapping[str, Cell]

TABLES = {
    1: "table01_preliminary.csv",
    2: "table02_complexity.csv",
    3: "table03_config_models.csv",
    4: "table04_imagenet1k.csv",
    5: "table05_isotropic.csv",
    6: "table06_upernet_ade20k.csv",
    7: "table07_semantic_fpn_ade20k.csv",
    8: "table08_ablation.csv",
}
# What looks like a number and is none: versions, fractions and lists of widths.
_TEXT = {
    "conv_ratio",
    "conv_branch_ratio",
    "torch_version",
    "depths",
    "dims",
    "layer_scale_init",
    "value",
    "note",
    "change",
}
# Networks that timm does not have, by the paper's names for them; models/ builds them under ours.
OWN_NETWORKS = {
    "T2T-ViT-14": "t2t_vit_14",
    "T2T-ViT-19": "t2t_vit_19",
    "T2T-ViT-24": "t2t_vit_24",
    "Focal-T": "focal_tiny",
    "Focal-S": "focal_small",
    "Focal-B": "focal_base",
    "PVT-Small": "pvt_small",
    "PVT-Medium": "pvt_medium",
    "PVT-Large": "pvt_large",
    "RepLKNet-31B": "replknet_31b",
    "MetaNeXt-Attn": "metanext_attn_small",
    "ConvNeXt-S (iso.)": "convnext_iso_small",
    "ConvNeXt-B (iso.)": "convnext_iso_base",
    "InceptionNeXt-S (iso.)": "inception_next_iso_small",
    "InceptionNeXt-B (iso.)": "inception_next_iso_base",
    "DeiT-S": "deit_small_patch16_224",
    "DeiT-B": "deit_base_patch16_224",
}
# The authors' own form of a network, or one with its branches merged, is the same network with the same accuracy.
_OTHER_FORMS = (".fb", ".merged")


@dataclass(frozen=True, slots=True)
class PaperPoint:
    """One network as the paper prints it: images a second on an A100 at TF32 and batch 128, and top-1 in per cent.

    ``table`` is the number of the table in arXiv:2303.16900v3; None stands for a dash.
    """

    label: str
    model: str
    kernel_size: int | None
    ratio: str | None
    img_size: int
    train_img_per_s: float | None
    infer_img_per_s: float | None
    top1_pct: float | None
    table: int
    note: str


def table(number: int) -> tuple[Row, ...]:
    """The rows of the paper's table, with numbers as numbers and None for an empty cell.

    Raises ValueError, naming the tables there are, for any other number.
    """
    return tuple({name: _cell(name, text) for name, text in row.items()} for row in printed(number))


def printed(number: int) -> tuple[Mapping[str, str], ...]:
    """The same rows as text, with the decimals that the paper prints. Raises ValueError as ``table`` does."""
    if number not in TABLES:
        raise ValueError(f"no table {number} here: the paper's tables are {', '.join(map(str, TABLES))}")
    return _read(TABLES[number])


def stages() -> tuple[Row, ...]:
    """Table 3 stage by stage: widths, branch channels, kernel sizes and depths of the A, T, S and B models."""
    return _rows("table03_config_stages.csv")


def conditions() -> Mapping[str, str]:
    """How the paper's throughputs were measured: item -> value."""
    return {row["item"]: row["value"] for row in _read("measurement_conditions.csv")}


def differences() -> tuple[Mapping[str, str], ...]:
    """Known reasons for counts that differ from printed ones: table, model, img_size, count, reason, source."""
    return _read("count_differences.csv")


def timm_throughput() -> tuple[Row, ...]:
    """timm's own published inference throughputs of ConvNeXt-T and InceptionNeXt-T on GPUs."""
    return _rows("timm_throughput.csv")


def combination(
    model: str, kernel_size: int | None = None, ratio: str | None = None
) -> tuple[str, int | None, str | None]:
    """A network with its own kernel size and ratio filled in: "convnext_tiny" alone is ("convnext_tiny", 7, "1").

    For an InceptionNeXt the size is that of the bands and the ratio that of a branch. Other networks have neither.
    Raises ValueError for a ratio that is no fraction.
    """
    for form in _OTHER_FORMS:
        model = model.removesuffix(form)
    own_size, own_ratio = _own_settings(model)
    try:
        exact = str(Fraction(ratio)) if ratio else own_ratio
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"expected a ratio such as 1/8, got {ratio!r}") from None
    return model, kernel_size or own_size, exact


def paper_points() -> tuple[PaperPoint, ...]:
    """Every row of Tables 4, 1 and 8 that a model name, a kernel size and a ratio describe, in this order."""
    return _paper_points()


def paper_point(
    model: str, kernel_size: int | None = None, ratio: str | None = None, img_size: int = 224
) -> PaperPoint | None:
    """What the paper prints for this combination, or None. Of the two rows of ResNet-50 it is that of figure 1."""
    wanted = (*combination(model, kernel_size, ratio), img_size)
    return next((p for p in paper_points() if (p.model, p.kernel_size, p.ratio, p.img_size) == wanted), None)


def accuracy(model: str, kernel_size: int | None = None, ratio: str | None = None, img_size: int = 224) -> float | None:
    """Published ImageNet-1K top-1 in per cent of exactly this combination, or None.

    Tables 1, 4 and 8 first; for networks that they lack, the best result that timm publishes at this resolution among
    weights trained on ImageNet-1K alone, without a teacher.
    """
    point = paper_point(model, kernel_size, ratio, img_size)
    if point is not None:
        return point.top1_pct
    name, size, share = combination(model, kernel_size, ratio)
    if (size, share) != _own_settings(name):
        return None
    scores = [
        row["top1_pct"] for row in _rows("timm_top1.csv") if (row["timm_name"], row["img_size"]) == (name, img_size)
    ]
    return max((float(score) for score in scores if score is not None), default=None)


def recipes(model: str, img_size: int = 224) -> tuple[PaperPoint, ...]:
    """Every row of the paper about this network as it is: two for ResNet-50, which was trained by two recipes."""
    wanted = (*combination(model), img_size)
    return tuple(p for p in paper_points() if (p.model, p.kernel_size, p.ratio, p.img_size) == wanted)


def figure1_points() -> tuple[PaperPoint, ...]:
    """The six points of figure 1, with the training throughput that it draws."""
    found = []
    for row in _rows("figure1_points.csv"):
        name, _, option = str(row["timm_name"]).partition(" (kernel_sizes=")
        point = paper_point(name, int(option.removesuffix(")")) if option else None)
        if point is not None:
            found.append(point)
    return tuple(found)


def _own_settings(model: str) -> tuple[int | None, str | None]:
    if model.startswith("inception_next_atto"):
        return 9, "1/4"
    if model.startswith("inception_next"):
        return 11, "1/8"
    if model.startswith("convnext_"):
        return 7, "1"
    return None, None


@cache
def _paper_points() -> tuple[PaperPoint, ...]:
    main = [
        _point(row, 4, label, str(row["timm_name"] or OWN_NETWORKS[label]), None, None, "a100_tf32")
        for row in table(4)
        if (label := str(row["model"]))
    ]
    preliminary = [
        _point(
            row,
            1,
            _convnext_label(row),
            "convnext_tiny",
            _whole(row["kernel_size"]),
            str(row["conv_ratio"]),
            "a100_tf32_b128",
        )
        for row in table(1)
    ]
    ablation = [
        _point(row, 8, f"InceptionNeXt-T, {row['variant']}", "inception_next_tiny", *settings, "a100_tf32_b128")
        for row in table(8)
        if (settings := _ablated(row)) is not None
    ]
    # Tables 1 and 8 repeat rows of Table 4. ResNet-50 has two recipes, hence the accuracy in the identity.
    points: dict[tuple[object, ...], PaperPoint] = {}
    for point in (*main, *preliminary, *ablation):
        points.setdefault((point.model, point.kernel_size, point.ratio, point.img_size, point.top1_pct), point)
    return tuple(points.values())


def _point(
    row: Row, number: int, label: str, model: str, kernel_size: int | None, ratio: str | None, machine: str
) -> PaperPoint:
    name, size, share = combination(model, kernel_size, ratio)
    return PaperPoint(
        label=label,
        model=name,
        kernel_size=size,
        ratio=share,
        img_size=_whole(row.get("img_size")) or 224,
        train_img_per_s=_number(row[f"{machine}_train_img_per_s"]),
        infer_img_per_s=_number(row[f"{machine}_infer_img_per_s"]),
        top1_pct=_number(row["top1_pct"]),
        table=number,
        note=str(row["note"] or ""),
    )


def _convnext_label(row: Row) -> str:
    share = "" if row["conv_ratio"] == "1" else f" ({row['conv_ratio']})"
    return f"ConvNeXt-T/k{row['kernel_size']}{share}"


def _ablated(row: Row) -> tuple[int, str] | None:
    """Band size and branch ratio of a row of Table 8; None for an ablation that is neither."""
    kind, last = str(row["ablation"]), str(row["variant"]).split()[-1]
    if kind == "band_kernel":
        return int(last), "1/8"
    return (11, last) if kind == "conv_ratio" else None


def _rows(name: str) -> tuple[Row, ...]:
    return tuple({column: _cell(column, text) for column, text in row.items()} for row in _read(name))


@cache
def _read(name: str) -> tuple[Mapping[str, str], ...]:
    text = (resources.files(__name__) / name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def _cell(column: str, text: str) -> Cell:
    if not text:
        return None
    if column in _TEXT:
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _number(cell: Cell) -> float | None:
    return None if cell is None else float(cell)


def _whole(cell: Cell) -> int | None:
    return None if cell is None else int(cell)
