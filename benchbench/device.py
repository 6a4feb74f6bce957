"""Which device is measured, decided without torch: the first GPU, else the CPU, or the ones named."""

from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchbench.plan import PlanError


def devices(text: str = "") -> tuple[str, ...]:
    """The devices of a comma list such as "cuda:0,cuda:1" or "cpu"; of nothing: the first GPU, else the CPU.

    Raises PlanError for a word that is no device, or for the CPU beside another device.
    """
    if not text:
        return ("cuda:0",) if has_gpu() else ("cpu",)
    named = tuple(dict.fromkeys(_canonical(word.strip()) for word in text.split(",")))
    if len(named) > 1 and not all(name.startswith("cuda") for name in named):
        raise PlanError(f"--device {text!r}: several devices must all be GPUs, such as cuda:0,cuda:1")
    return named


def _canonical(word: str) -> str:
    if word in ("cpu", "none"):
        return word
    if word == "cuda":
        return "cuda:0"
    if not re.fullmatch(r"cuda:\d+", word):
        raise PlanError(f"--device {word!r}: expected cpu, cuda:0 or a list such as cuda:0,cuda:1")
    return word


def has_gpu() -> bool:
    """Whether there is an NVIDIA GPU that a torch built for CUDA may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return False
    if not (any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()):
        return False
    try:
        return not version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False
