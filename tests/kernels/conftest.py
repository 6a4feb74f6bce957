"""What every kernel test stands on: a device, poisoned memory, an interpreter that rounds as GPUs do and is quick."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

ON_GPU = torch.cuda.is_available()
INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("interpreter") and not (INTERPRETING or ON_GPU):
            item.add_marker(pytest.mark.skip(reason="needs TRITON_INTERPRET=1 or a CUDA device"))
        if item.get_closest_marker("gpu") and not ON_GPU:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
        if item.get_closest_marker("compiling") and INTERPRETING:
            item.add_marker(pytest.mark.skip(reason="compiles kernels: run without TRITON_INTERPRET"))


@pytest.fixture
def device() -> str:
    """Where kernels run: the GPU, or the CPU under the interpreter."""
    return "cuda" if ON_GPU else "cpu"


@pytest.fixture(
    params=[
        "cpu",
        pytest.param("cpu", marks=pytest.mark.interpreter, id="interpreter"),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ]
)
def each_device(request: pytest.FixtureRequest) -> str:
    """The CPU, where the reference answers; the same, where the interpreter does; and the GPU."""
    return str(request.param)


@pytest.fixture
def interpreting() -> None:
    """For tests that record addresses in this very process."""
    if not INTERPRETING:
        pytest.skip("records addresses: needs a process with TRITON_INTERPRET=1")


@pytest.fixture(autouse=True)
def stock_convolutions_end_and_keep_their_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither TF32, 10 bits of 23, nor oneDNN in the answers that others are held to.

    On CPUs with AVX-512 oneDNN (torch 2.11, 2.15) never ends making code for a bfloat16 kernel of 1 x 15 in
    channels_last.
    """
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Fills what torch.empty returns with NaN, so that an output that is not written is seen."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic: Any = torch.utils.deterministic
    filled = deterministic.fill_uninitialized_memory
    deterministic.fill_uninitialized_memory = True
    yield
    deterministic.fill_uninitialized_memory = filled
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def bfloat16_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's interpreter (3.6, 3.9) cuts float32 to bfloat16 and mishandles subnormals; a GPU rounds to even."""
    if not INTERPRETING:
        return
    import triton.language as tl
    from triton.runtime import interpreter

    original = interpreter.InterpreterBuilder.cast_impl

    def cast(self: Any, value: Any, wanted: Any) -> Any:
        given, taken = value.dtype.scalar, wanted.scalar
        if given == tl.float32 and taken == tl.bfloat16:
            rounded = torch.from_numpy(np.array(value.data, dtype=np.float32)).to(torch.bfloat16)
            bits = rounded.view(torch.int16).numpy().view(np.uint16).reshape(value.data.shape)
            return interpreter.TensorHandle(bits, tl.bfloat16)
        if given == tl.bfloat16 and taken == tl.float32:
            wide = np.left_shift(value.data.astype(np.uint32), 16).view(np.float32)
            return interpreter.TensorHandle(wide, tl.float32)
        return original(self, value, wanted)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "cast_impl", cast)


@pytest.fixture(autouse=True)
def language_is_patched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter patches all of triton.language anew at every call of a device function: half of its time."""
    if not INTERPRETING:
        return
    from triton.runtime import interpreter

    original = interpreter._patch_lang
    modules = interpreter.tl, interpreter.tl.core
    patched: dict[tuple[bool, ...], Any] = {}

    class Scope:
        """Restores what every call since the kernel began has patched, the last first."""

        def restore(self) -> None:
            for inner in reversed(patched.values()):
                inner.restore()
            patched.clear()

    def patch(function: Any) -> Scope:
        seen = list(filter(inspect.ismodule, function.__globals__.values()))
        key = tuple(any(value is module for value in seen) for module in modules)
        if key not in patched:
            patched[key] = original(function)
        return Scope()

    monkeypatch.setattr(interpreter, "_patch_lang", patch)
