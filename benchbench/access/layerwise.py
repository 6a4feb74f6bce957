"""What would a network move if every layer read its input once and wrote its output once? No floor: layers fuse.

A network's floor is its images and logits (M0), far below what any implementation moves. Between the two lies the sum
over its layers, which says how much of the time memory can explain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchbench.network_work import NETWORKS, network
from benchbench.work import Work

ITEMSIZE = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2}
MODES = {"infer": "forward", "train": "forward_backward"}
CASES = ("convnext", "convnext_partial", "inception_next", "network")


def layer_by_layer(point: Mapping[str, Any]) -> Work | None:
    """Bytes and flops of one call of a measured network, its layers added up; loss and optimizer are not counted.

    None where no such count is known: other networks, and autocast, under which layers differ in their types.
    """
    name = str(point.get("model")).removesuffix(".fb")
    itemsize, mode = ITEMSIZE.get(str(point.get("precision"))), MODES.get(str(point.get("mode")))
    if point.get("case") not in CASES or name not in NETWORKS or itemsize is None or mode is None:
        return None
    size, ratio = _known(point.get("kernel_size")), _known(point.get("ratio"))
    return network(
        name=name,
        batch=int(point["batch"]),
        img_size=int(point["img_size"]),
        kernel_size=int(size or 0),
        ratio=str(ratio or ""),
        itemsize=itemsize,
        mode=mode,
    )


def _known(value: Any) -> Any:
    """The value, None for an empty cell of a table, which is a NaN."""
    return value if value is not None and value == value else None
