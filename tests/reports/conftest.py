"""Frames with the columns of stats.results, built by hand: the reports' only input."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas
import pytest

# Made-up round figures with the order that a GPU might show; no test quotes them as measurements.
SPEEDS = {
    ("convnext_tiny", 3, "1"): 1500.0,
    ("convnext_tiny", 5, "1"): 1320.0,
    ("convnext_tiny", 7, "1"): 1150.0,
    ("convnext_tiny", 11, "1"): 900.0,
    ("convnext_tiny", 3, "1/8"): 1640.0,
    ("convnext_tiny", 5, "1/8"): 1630.0,
    ("convnext_tiny", 7, "1/8"): 1610.0,
    ("convnext_tiny", 11, "1/8"): 1590.0,
    ("inception_next_tiny", 3, "1/8"): 1660.0,
    ("inception_next_tiny", 5, "1/8"): 1650.0,
    ("inception_next_tiny", 7, "1/8"): 1640.0,
    ("inception_next_tiny", 11, "1/8"): 1600.0,
    ("resnet50", None, None): 1900.0,
    ("swin_tiny_patch4_window7_224", None, None): 1000.0,
    ("deit_small_patch16_224", None, None): 2100.0,
}


def network_row(model: str, kernel_size: int | None, ratio: str | None, speed: float, **changes: Any) -> dict[str, Any]:
    """One row about a network at the paper's conditions, unless changed; three rounds with an interval of 1 %."""
    row: dict[str, Any] = {
        "case": "network",
        "version": 1,
        "model": model,
        "kernel_size": kernel_size,
        "ratio": ratio,
        "shape": None,
        "batch": 128,
        "img_size": 224,
        "precision": "tf32",
        "layout": "nhwc",
        "mode": "train",
        "backend": "aten",
        "compile": "eager",
        "cache": None,
        "optimizer": "sgd",
        "status": "ok",
        "reason": "",
        "rounds": 3,
        "samples": 60,
        "within_spread": 0.002,
        "between_spread": 0.004,
        "warmup_class": "flat",
        "capped": False,
        "clock": "events",
        "peak_memory_bytes": 9e9,
    }
    row.update(changes)
    if row["status"] == "ok":
        seconds = row["batch"] / speed
        row.update(
            {
                "median_s": seconds,
                "low_s": seconds / 1.005,
                "high_s": seconds * 1.005,
                "throughput_img_per_s": speed,
                "throughput_low_img_per_s": speed / 1.005,
                "throughput_high_img_per_s": speed * 1.005,
            }
        )
    row["key"] = ";".join(
        f"{name}={row[name]}" for name in ("model", "kernel_size", "ratio", "layout", "mode", "precision")
    )
    return row


def operator_row(
    case: str, kernel_size: int, ratio: str | None, shape: str, seconds: float, **changes: Any
) -> dict[str, Any]:
    """One row about an operator, batch 128."""
    row = network_row(
        "", kernel_size, ratio, 128 / seconds, mode="forward", cache="cold", optimizer=None, img_size=None
    )
    row.update(
        {"case": case, "model": None, "shape": shape, "work_bytes": 3e8, "bytes_per_s": 3e8 / seconds, **changes}
    )
    row["key"] = f"{case};{shape};{kernel_size};{ratio};{row['layout']};{row['mode']};{row['backend']}"
    return row


@pytest.fixture
def network() -> Callable[..., dict[str, Any]]:
    return network_row


@pytest.fixture
def operator() -> Callable[..., dict[str, Any]]:
    return operator_row


@pytest.fixture
def frame() -> Callable[[Iterable[dict[str, Any]]], pandas.DataFrame]:
    return lambda rows: pandas.DataFrame(list(rows))


@pytest.fixture
def networks() -> pandas.DataFrame:
    """Every network of a default sweep, in both layouts and both modes."""
    return pandas.DataFrame(
        [
            network_row(*combination, speed * factor * pace, layout=layout, mode=mode)
            for combination, speed in SPEEDS.items()
            for layout, factor in (("nchw", 0.8), ("nhwc", 1.0))
            for mode, pace in (("train", 1.0), ("infer", 3.1))
        ]
    )


@pytest.fixture
def operators() -> pandas.DataFrame:
    """Three operators over kernel sizes, ratios and stage shapes, stock and ours."""
    rows = []
    for stage, shape in enumerate(("96x56x56", "768x7x7")):
        for mode, cost in (("forward", 1.0), ("forward_backward", 3.0)):
            for size in (3, 7, 11):
                for backend, pace in (("aten", 1.0), ("triton", 0.6)):
                    base = 4e-4 / 1.8**stage * cost * pace
                    rows.append(
                        operator_row(
                            "depthwise_conv", size, None, shape, base * (1 + size / 6), mode=mode, backend=backend
                        )
                    )
                    for share, part in (("1/4", 0.5), ("1/8", 0.4)):
                        rows.append(
                            operator_row(
                                "partial_depthwise_conv",
                                size,
                                share,
                                shape,
                                base * (part + size / 60),
                                mode=mode,
                                backend=backend,
                            )
                        )
                        rows.append(
                            operator_row(
                                "inception_dwconv",
                                size,
                                share,
                                shape,
                                base * (part + 0.4 + size / 40),
                                mode=mode,
                                backend=backend,
                            )
                        )
    return pandas.DataFrame(rows)
