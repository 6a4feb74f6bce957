"""A small depthwise convolution for the verifier's tests: its state, stock's call, and the definition by shifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from benchbench.case import Workload
from benchbench.work import Work

WORK = Work(0, 0, 0, 1)
K = 3


@dataclass
class State:
    x: Any
    weight: Any
    grad_y: Any


def make(dtype: Any = torch.float32, channels: int = 4, size: int = 9) -> State:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator).to(dtype)

    x, weight = normal(2, channels, size, size), normal(channels, 1, K, K)
    return State(x.requires_grad_(), weight.requires_grad_(), normal(2, channels, size, size))


def convolved(state: State) -> Any:
    return torch.nn.functional.conv2d(state.x, state.weight, padding=K // 2, groups=state.x.shape[1])


def shifted(state: State) -> Any:
    height, width = state.x.shape[-2:]
    padded = torch.nn.functional.pad(state.x, (1, 1, 1, 1))
    return sum(
        padded[..., i : i + height, j : j + width] * state.weight[:, 0, i, j, None, None]
        for i in range(K)
        for j in range(K)
    )


def with_gradients(forward: Any) -> Any:
    def call(state: State) -> dict[str, Any]:
        y = forward(state)
        grad_x, grad_weight = torch.autograd.grad(y, (state.x, state.weight), state.grad_y)
        return {"y": y, "grad_x": grad_x, "grad_weight": grad_weight}

    return call


CALL, PLAIN = with_gradients(convolved), with_gradients(shifted)


def workload(call: Any = CALL, plain: Any = PLAIN) -> Workload:
    return Workload(make=lambda device: make(), call=call, work=WORK, plain=plain)
