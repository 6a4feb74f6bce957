"""Each row of each of the paper's tables as something that can be built and measured: a network and its settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from benchbench.published import OWN_NETWORKS, Row, combination, differences, printed, table

A100, RTX2080TI = "A100, TF32, batch 128", "RTX 2080 Ti, FP32"

# The authors timed Facebook's form of these; timm's form is the second row.
FACEBOOK_FORM = ("convnext_tiny", "convnext_small", "convnext_base")
# RepLKNet merges the branches of its large kernels for inference, and that form is what its authors count.
COUNTED_AS = {"replknet_31b": "replknet_31b.merged"}
ABLATIONS = {
    "remove horizontal band kernel": "inception_next_tiny.without_1x11",
    "remove vertical band kernel": "inception_next_tiny.without_11x1",
    "remove small square kernel": "inception_next_tiny.without_3x3",
    "bands in sequence": "inception_next_tiny.bands_in_sequence",
    "LayerNorm": "inception_next_tiny.layer_norm",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: what to build, and what the paper prints for it, None for a dash.

    label: the paper's name. network, kernel_size, ratio: what ``build`` takes; None is the network's own. img_size: a
    number, or "512x2048" and the like in Tables 6 and 7, and the shape of the convolution in Table 2. second: the same
    network in timm's form, of which the paper prints nothing.
    params_m, macs_g: as printed, "" for nothing. machine: where the paper measured. baseline: label of the row that the
    paper's comparison is with.
    """

    table: int
    label: str
    network: str
    kernel_size: int | None
    ratio: str | None
    img_size: int | str
    params_m: str
    macs_g: str
    train_img_per_s: float | None
    infer_img_per_s: float | None
    top1_pct: float | None
    miou_pct: float | None
    machine: str
    baseline: str
    note: str
    second: bool = False

    @property
    def counted(self) -> str:
        """The network whose parameters and MACs stand in the row."""
        return COUNTED_AS.get(self.network, self.network)


@cache
def entries(number: int) -> tuple[Entry, ...]:
    """The rows of table ``number`` in the paper's order, timm's form of a ConvNeXt after Facebook's.

    Raises ValueError, naming the tables there are, for any other number.
    """
    rows = list(zip(table(number), printed(number), strict=True))
    labels = [_label(number, row) for row, _ in rows]
    found: list[Entry] = []
    for (row, text), label, baseline in zip(rows, labels, _baselines(number, labels), strict=True):
        found += _forms(_entry(number, row, dict(text), label, baseline))
    return tuple(found)


def _entry(number: int, row: Row, text: dict[str, str], label: str, baseline: str) -> Entry:
    network, kernel_size, ratio = _network(number, row, label)
    machine = A100 if any(name.startswith("a100") for name in text) else RTX2080TI
    return Entry(
        table=number,
        label=label,
        network=network,
        kernel_size=kernel_size,
        ratio=ratio,
        img_size=_size(number, row),
        params_m=text.get("params_m") or _scaled(row.get("params_at_k11_c96"), 6),
        macs_g=_macs(row, text),
        train_img_per_s=_first(row, "a100_tf32_train", "a100_tf32_b128_train", "rtx2080ti_fp32_train"),
        infer_img_per_s=_first(row, "a100_tf32_infer", "a100_tf32_b128_infer", "rtx2080ti_fp32_infer")
        or _number(row, "rtx2080ti_fps"),
        top1_pct=_number(row, "top1_pct"),
        miou_pct=_number(row, "miou_pct"),
        machine=machine if number not in (2, 3) else "",
        baseline=baseline,
        note=str(row["note"] or ""),
    )


def _forms(entry: Entry) -> Iterator[Entry]:
    """The row itself or, of a ConvNeXt that the authors timed in Facebook's form, that form and timm's after it."""
    if entry.network not in FACEBOOK_FORM or entry.table not in (1, 4):
        yield entry
        return
    values = {name: getattr(entry, name) for name in entry.__slots__}
    yield Entry(**{**values, "network": f"{entry.network}.fb"})
    dashes = dict.fromkeys(("train_img_per_s", "infer_img_per_s"))
    yield Entry(**{**values, **dashes, "label": f"{entry.label}, timm's form", "note": "", "second": True})


def _label(number: int, row: Row) -> str:
    if number == 1:
        share = "" if row["conv_ratio"] == "1" else f" ({row['conv_ratio']})"
        return f"ConvNeXt-T/k{row['kernel_size']}{share}"
    if number == 2:
        return str(row["conv_type"]).replace("_", " ")
    return str(row["variant"] if number == 8 else row["backbone"] if number in (6, 7) else row["model"])


def _network(number: int, row: Row, label: str) -> tuple[str, int | None, str | None]:
    if number == 1:
        return "convnext_tiny", int(str(row["kernel_size"])), str(row["conv_ratio"])
    if number == 2:
        return str(row["conv_type"]), 11, None
    if number in (6, 7):
        backbone = str(row["timm_backbone"] or OWN_NETWORKS[label])
        return f"{'upernet' if number == 6 else 'semantic_fpn'}.{backbone}", None, None
    if number == 8:
        return _ablation(row, label)
    return str(row.get("timm_name") or OWN_NETWORKS[label]), None, None


def _ablation(row: Row, label: str) -> tuple[str, int | None, str | None]:
    last = label.split()[-1]
    if row["ablation"] == "band_kernel":
        return "inception_next_tiny", int(last), None
    if row["ablation"] == "conv_ratio":
        return "inception_next_tiny", None, last
    return ABLATIONS.get(label, "inception_next_tiny"), None, None


def _size(number: int, row: Row) -> int | str:
    if number in (2, 6, 7):
        return {2: "96x56x56", 6: "512x2048", 7: "512x512"}[number]
    size = row.get("img_size")
    return 224 if size is None else int(size)


def _baselines(number: int, labels: list[str]) -> list[str]:
    """Tables 1 and 8 compare with their first row, the others block by block with its ConvNeXt or its first row."""
    if number in (1, 2, 3, 8):
        return [labels[0]] * len(labels)
    baselines: list[str] = []
    block: list[str] = []
    for position, label in enumerate(labels):
        block.append(label)
        # The last row of Table 4 is of the first version only and belongs to the block before it.
        if position == len(labels) - 1 or (label.startswith("InceptionNeXt") and position != len(labels) - 2):
            convnext = next((name for name in block if name.startswith("ConvNeXt")), block[0])
            baselines += [convnext] * len(block)
            block = []
    return baselines


def _first(row: Row, *machines: str) -> float | None:
    return next((found for name in machines if (found := _number(row, f"{name}_img_per_s")) is not None), None)


def _number(row: Row, column: str) -> float | None:
    cell = row.get(column)
    return None if cell is None else float(cell)


def _macs(row: Row, text: dict[str, str]) -> str:
    printed_macs = (text.get(name) for name in ("macs_g", "macs_g_at_512x2048", "macs_g_at_512x512"))
    # Table 2 counts a multiply-accumulate as two flops; every other table of the paper as one.
    flops = row.get("flops_at_k11_c96_hw56")
    return next((found for found in printed_macs if found), _scaled(None if flops is None else int(flops) // 2, 9))


def _scaled(count: object, digits: int) -> str:
    """A count in units of 10 to the ``digits``, exactly."""
    return "" if count is None else f"{int(str(count)) / 10**digits:.{digits}f}"


@cache
def count_reason(number: int, label: str, img_size: int | str, count: str) -> str:
    """Why counted "params" or "macs" of this row differ from the printed ones; "" where no reason is known.

    timm's form of a ConvNeXt differs for the reason of the row that it belongs to.
    """
    wanted = (str(number), label.removesuffix(", timm's form"), str(img_size), count)
    for row in differences():
        if (row["table"], row["model"], row["img_size"], row["count"]) == wanted:
            return row["reason"]
    return ""


def entry_named(number: int, name: str) -> Entry:
    """The first entry of this table with this label or network name. Raises ValueError with the labels there are."""
    return entries_named(number, (name,))[0]


def entries_named(number: int, names: Sequence[str]) -> tuple[Entry, ...]:
    """The entries of this table with these labels or network names, in its order; without a name all of them.

    Raises ValueError with the labels there are.
    """
    found = entries(number)
    for name in names:
        if not any(name in (entry.label, entry.network) for entry in found):
            labels = dict.fromkeys(entry.label for entry in found)
            raise ValueError(f"no row {name!r} in table {number}: {', '.join(labels)}")
    return tuple(entry for entry in found if not names or {entry.label, entry.network} & set(names))


def identity(entry: Entry) -> tuple[str, int | None, str | None]:
    """Network, kernel size and ratio with the network's own filled in, as results are compared; the form kept apart."""
    _, size, share = combination(entry.network, entry.kernel_size, entry.ratio)
    return entry.network, size, share
