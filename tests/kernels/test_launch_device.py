"""Where a kernel is launched: on the device of its tensors, whichever is the current one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchbench.kernels import depthwise_conv, inception_dwconv, naive_depthwise_conv, naive_inception_dwconv
from benchbench.kernels.inception_dwconv import inception_dwconv_with_statistics
from benchbench.kernels.inception_dwconv.triton_nchw_forward import forward_kernel
from benchbench.kernels.multiply_add import multiply_add

ONE, THREE = ((6, 1, 3, 3), (6,)), ((2, 1, 3, 3), (2, 1, 1, 5), (2, 1, 5, 1), (2,), (2,), (2,))
FUNCTIONS: dict[str, tuple[Any, tuple[tuple[int, ...], ...]]] = {
    "depthwise": (depthwise_conv, ONE),
    "naive depthwise": (naive_depthwise_conv, ONE),
    "inception": (inception_dwconv, THREE),
    "statistics": (lambda *inputs: inception_dwconv_with_statistics(*inputs)[0], THREE),
    "naive inception": (naive_inception_dwconv, THREE),
    "multiply and add": (lambda x: multiply_add(x.detach(), 16), ()),
}


@pytest.mark.interpreter
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_kernel_is_launched_where_its_tensors_are(
    name: str, layout: torch.memory_format, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, shapes = FUNCTIONS[name]
    x, *parameters = (torch.randn(shape).to(device).requires_grad_() for shape in ((2, 6, 5, 7), *shapes))
    x = x.detach().contiguous(memory_format=layout).requires_grad_()
    entered: list[int] = []
    launched: list[list[int]] = []
    enter, leave, run = torch.cuda.device.__enter__, torch.cuda.device.__exit__, type(forward_kernel).run

    def entering(self: Any) -> Any:
        entered.append(self.idx)
        return enter(self)

    def leaving(self: Any, *error: Any) -> Any:
        entered.pop()
        return leave(self, *error)

    def running(self: Any, *given: Any, **named: Any) -> Any:
        launched.append(list(entered))
        return run(self, *given, **named)

    monkeypatch.setattr(torch.cuda.device, "__enter__", entering)
    monkeypatch.setattr(torch.cuda.device, "__exit__", leaving)
    monkeypatch.setattr(type(forward_kernel), "run", running)
    y: Tensor = function(x, *parameters)
    if y.requires_grad:
        y.square().sum().backward()
    # One of what is not on a GPU is -1.
    assert launched
    assert all(guards[-1:] == [x.get_device()] for guards in launched)
