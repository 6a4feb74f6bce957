"""What a point is called on a chart: the paper's names where there are any, families, and the suffixes of variants."""

from __future__ import annotations

from benchbench import published

# Prefixes of timm's names, the longer before the shorter, with the family's name as its authors write it.
FAMILIES = (
    ("inception_next", "InceptionNeXt"),
    ("convnextv2", "ConvNeXt V2"),
    ("convnext", "ConvNeXt"),
    ("resnext", "ResNeXt"),
    ("resnet", "ResNet"),
    ("swin", "Swin"),
    ("deit", "DeiT"),
    ("regnety", "RegNetY"),
    ("mobilenetv2", "MobileNetV2"),
    ("efficientnet", "EfficientNet"),
    ("ghostnet", "GhostNet"),
    ("focalnet", "FocalNet"),
    ("focal", "Focal"),
    ("t2t", "T2T-ViT"),
    ("tnt", "TNT"),
    ("pvt", "PVT"),
    ("replknet", "RepLKNet"),
    ("vit_", "ViT"),
    ("mambaout", "MambaOut"),
    ("rdnet", "RDNet"),
    ("convformer", "ConvFormer"),
    ("caformer", "CAFormer"),
    ("fasternet", "FasterNet"),
    ("davit", "DaViT"),
    ("nextvit", "Next-ViT"),
    ("poolformerv2", "PoolFormerV2"),
    ("poolformer", "PoolFormer"),
    ("efficientvit", "EfficientViT"),
)
# The fixed places of the families of the paper's figure 1; any other takes the next free one, in alphabetical order.
_FIRST = ("ConvNeXt", "InceptionNeXt", "ResNet", "Swin", "DeiT", "RegNetY")
# Heads for segmentation, and other forms of a network, as models/ names them.
HEADS = {"upernet": "UperNet", "semantic_fpn": "Semantic FPN"}
FORMS = {".fb": " FB", ".merged": " merged"}
_SIZES = {"atto": "A", "femto": "F", "pico": "P", "nano": "N", "tiny": "T", "small": "S", "base": "B", "large": "L"}
_OTHER_TABLES = {model: label for label, model in published.OWN_NETWORKS.items()}
OPERATIONS = {
    "inception_dwconv": "Inception",
    "depthwise_conv": "depthwise",
    "partial_depthwise_conv": "partial depthwise",
}


def family(model: str) -> str:
    """The family of a network: "ConvNeXt" of "convnext_tiny"; of an unknown one the first word of its name."""
    return next((name for prefix, name in FAMILIES if model.startswith(prefix)), model.split("_")[0] or model)


def places(families: list[str]) -> dict[str, int]:
    """The number of each family's colour and marker, the same on every chart for those of figure 1."""
    others = sorted(set(families) - set(_FIRST))
    return {name: index for index, name in enumerate((*_FIRST, *others))}


def network(model: str, kernel_size: int | None = None, ratio: str | None = None, *, sizes: bool = False) -> str:
    """The name of a network: "ConvNeXt-T/k3 (1/8)"; with ``sizes`` a ConvNeXt names even its own kernel size."""
    bare, size, share = published.combination(model, kernel_size, ratio)
    _, own_size, own_share = published.combination(model)
    stock = published.paper_point(model)
    head, _, backbone = model.partition(".")
    if head in HEADS:
        return f"{HEADS[head]} {network(backbone)}"
    bare_name = _plain_name(bare)
    # Two recipes of one network are two accuracies and one throughput: its name is the network's.
    text = stock.label.removeprefix("RSB-") if stock is not None else bare_name
    if size is not None and (size != own_size or (sizes and bare.startswith("convnext"))):
        text += f"/k{size}"
    if share is not None and share != own_share:
        text += f" ({share})"
    return text + next((form for ending, form in FORMS.items() if model.endswith(ending)), "")


def _plain_name(model: str) -> str:
    """The name of a network that Table 4 does not have: another table's, "MambaOut-T" of "mambaout_tiny", timm's."""
    if model in _OTHER_TABLES:
        return _OTHER_TABLES[model]
    prefix, name = next(((p, n) for p, n in FAMILIES if model.startswith(p)), ("", ""))
    rest = model.removeprefix(prefix).strip("_")
    if not name or not rest or "_" in rest or "." in rest:
        return model
    return f"{name}-{_SIZES.get(rest, rest.upper())}"


def operation(case: str) -> str:
    """The name of an operator in words."""
    return OPERATIONS.get(case, case.replace("_", " "))


def variant(backend: str | None, compile_mode: str | None) -> str:
    """What differs from stock PyTorch in eager mode: "triton", "compiled (default)", or nothing."""
    parts = []
    if backend and backend != "aten":
        parts.append(backend)
    if compile_mode and compile_mode != "eager":
        parts.append("compiled" if compile_mode == "default" else f"compiled, {compile_mode}")
    return ", ".join(parts)
