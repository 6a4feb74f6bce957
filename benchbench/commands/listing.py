"""What there is to choose from; what is unavailable here is listed with its reason."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def cases() -> Rows:
    """One row a case."""
    from benchbench.case import CASES

    return [
        {
            "case": case.name,
            "kind": case.kind,
            "version": case.version,
            "axes": ", ".join(axis.name for axis in case.axes),
            "about": (case.function.__doc__ or "").strip().split("\n")[0],
        }
        for case in CASES.values()
    ]


def models() -> Rows:
    """One row a network that is swept by default, with what the paper and timm publish of it."""
    from benchbench.case import CASES
    from benchbench.published import accuracy

    rows = []
    for case in CASES.values():
        for axis in case.axes:
            if axis.name == "model":
                rows += [
                    {"model": str(name), "case": case.name, "top1_pct": accuracy(str(name))} for name in axis.values
                ]
    return list({row["model"]: row for row in rows}.values())


def backends() -> Rows:
    """One row a backend: whether it can run here, and if not, why."""
    from benchbench.device import has_gpu

    gpu = "" if has_gpu() else "no CUDA device"
    try:
        version("triton")
        triton = gpu
    except PackageNotFoundError:
        triton = "triton is not installed: pip install triton"
    about = {
        "aten": ("stock PyTorch, as it dispatches", ""),
        "native": ("stock PyTorch with cuDNN disabled, forward and backward", gpu),
        "cudnn": ("stock PyTorch where its own rule picks cuDNN; elsewhere a skip", gpu),
        "triton": ("the band kernels of this package", triton),
        "triton-blocks": ("the same, and InceptionNeXt blocks fused around them; networks only", triton),
        "naive": ("a Triton kernel that loads every tap anew: the control", triton),
    }
    return [
        {"backend": name, "available": not reason, "reason": reason, "about": text}
        for name, (text, reason) in about.items()
    ]


def plans() -> Rows:
    """One row a named plan."""
    from benchbench.plan import PLANS

    return [{"plan": plan.name, "requests": len(plan.requests), "about": plan.title} for plan in PLANS.values()]


def runs(store: Path) -> Rows:
    """One row a run, the newest last."""
    import time

    from benchbench import store as folders

    rows = []
    for run in folders.runs(store):
        asked, records = run.asked(), run.read()[0]
        wanted = asked["asked"].get("points", {}).get("count", 0) * asked["asked"].get("rounds", 0)
        rows.append(
            {
                "run": run.id,
                "plan": asked["asked"].get("plan", ""),
                "preset": asked["asked"].get("preset", ""),
                "tag": asked.get("tag", ""),
                "began": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(asked.get("began", 0))),
                "records": len(records),
                "wanted": wanted,
                "ok": sum(record.status == "ok" for record in records),
            }
        )
    return rows


def devices() -> Rows:
    """One row a device that can be measured."""
    import os

    from benchbench.device import has_gpu

    rows: Rows = [{"device": "cpu", "name": _cpu_name(), "cores": len(os.sched_getaffinity(0))}]
    if has_gpu():
        import torch

        count = torch.cuda.device_count()
        rows += [{"device": f"cuda:{i}", "name": torch.cuda.get_device_name(i), "cores": None} for i in range(count)]
    return rows


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def axes() -> Rows:
    """One row an axis: its option, its default and its values."""
    from benchbench.case import CASES

    found: dict[tuple[str, str], dict[str, Any]] = {}
    for case in CASES.values():
        for axis in case.axes:
            default, choices = ", ".join(map(str, axis.values)), ", ".join(axis.choices)
            row = found.setdefault(
                (axis.name, default + choices),
                {"axis": axis.name, "option": axis.flag, "default": default, "values": choices, "cases": ""},
            )
            row["cases"] = ", ".join(filter(None, (row["cases"], case.name)))
    return [row | {"option": row["option"] or f"--set {row['axis']}="} for row in found.values()]
