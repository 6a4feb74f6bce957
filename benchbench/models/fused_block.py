"""An InceptionNeXt block whose BatchNorm reads nothing: its scale and shift go into the weights of the next layer.

fc1(BN(y)) = (W diag(a)) y + (b + W c), a = gamma / sqrt(variance + eps), c = beta - mean a. This is exact in training
too, once the statistics exist: our mixer gives them with y; after any other they are one read. The gradients of a and c
follow from fc1's own weight and bias gradients, [4C, C] and [4C], so that BatchNorm's backward needs no reduction over
the images; its part of the input's gradient, k1 + k2 y with k1 and k2 a channel, is the bias of one 1 x 1 convolution
and one pass. The layer scale goes into fc2's weights likewise. In 16 bits y is rounded before it is normalised, and not
after, which costs accuracy where a channel's mean is far above its deviation.

In channels_last the 1 x 1 convolutions are matrix products with the bias in their epilogue, where cuDNN adds it in a
pass of its own. GELU stays an operation: the epilogue that cuBLASLt offers, and torch exposes, is the tanh
approximation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from benchbench.kernels import InceptionDWConv2d

WAS = "_fused_from"


def statistics(y: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1 / sqrt(variance + eps) of each channel, float32 at least, in one read of ``y``."""
    if y.is_cuda and y.dtype != torch.float64:
        mean, inverse = torch.batch_norm_stats(y, eps)
        return mean, inverse
    variance, mean = torch.var_mean(y.to(torch.promote_types(y.dtype, torch.float32)), (0, 2, 3), correction=0)
    return mean, (variance + eps).rsqrt()


def pointwise(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """The 1 x 1 convolution of x [N, C, H, W] by matrix [K, C], in the memory format of x."""
    if bias is None or not is_channels_last(x):
        return conv2d(x, matrix[:, :, None, None], bias)
    batch, channels, height, width = x.shape
    flat = torch.addmm(bias, x.permute(0, 2, 3, 1).reshape(-1, channels), matrix.t())
    return flat.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


def is_channels_last(x: Tensor) -> bool:
    """Whether x is dense in channels_last and in no other format."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


class _Folded(torch.autograd.Function):
    """conv1x1(a y + c, weight) + bias without a pass over y for the affine part, forward or backward."""

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        mean: Tensor,
        inverse: Tensor,
        gamma: Tensor,
        beta: Tensor,
        weight: Tensor,
        bias: Tensor,
        of_batch: bool,
        dtype: torch.dtype,
    ) -> Tensor:
        exact = mean.dtype
        scale = gamma.to(exact) * inverse
        shift = beta.to(exact) - mean * scale
        matrix = weight[:, :, 0, 0].to(exact)
        folded = (matrix * scale).to(dtype)
        ctx.save_for_backward(y, mean, inverse, gamma, beta, weight, bias, folded)
        ctx.of_batch = of_batch
        with torch.autocast(y.device.type, enabled=False):
            return pointwise(y.to(dtype), folded, (bias.to(exact) + matrix @ shift).to(dtype))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, mean, inverse, gamma, beta, weight, bias, folded = ctx.saved_tensors
        exact = mean.dtype
        scale = gamma.to(exact) * inverse
        shift = beta.to(exact) - mean * scale
        matrix = weight[:, :, 0, 0].to(exact)
        rest = ([folded.shape[0]], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, True])
        _, grad_folded, grad_shifted = torch.ops.aten.convolution_backward(
            grad, y.to(folded.dtype), folded[:, :, None, None], *rest
        )
        grad_matrix, grad_sum = grad_folded[:, :, 0, 0].to(exact), grad_shifted.to(exact)

        grad_shift = matrix.t() @ grad_sum
        grad_scale = (grad_matrix * matrix).sum(0) - mean * grad_shift
        grad_weight = grad_matrix * scale + torch.outer(grad_sum, shift)
        grad_y = None
        if ctx.needs_input_grad[0]:
            constant = slope = None
            if ctx.of_batch:
                count = y.numel() // y.shape[1]
                slope = -grad_scale * gamma.to(exact) * inverse**3 / count
                constant = (-scale * grad_shift / count - slope * mean).to(folded.dtype)
            grad_y = pointwise(grad, folded.t(), constant).to(y.dtype)
            if slope is not None:
                grad_y = grad_y.addcmul_(y, slope.to(y.dtype)[:, None, None])
        return (
            grad_y,
            None,
            None,
            (grad_scale * inverse).to(gamma.dtype),
            grad_shift.to(beta.dtype),
            grad_weight[:, :, None, None].to(weight.dtype),
            grad_sum.to(bias.dtype),
            None,
            None,
        )


def of_batch(norm: nn.BatchNorm2d) -> bool:
    """Whether ``norm`` takes the statistics of what it is given."""
    return norm.training or norm.running_mean is None


def normalized_linear(
    y: Tensor, norm: nn.BatchNorm2d, linear: nn.Conv2d, found: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """linear(norm(y)), the running statistics of ``norm`` kept as it keeps them. Under autocast in autocast's type.

    found: mean and 1 / sqrt(variance + eps) of the channels of y, where they are known already.
    """
    dtype = torch.get_autocast_dtype(y.device.type) if torch.is_autocast_enabled(y.device.type) else y.dtype
    if of_batch(norm):
        mean, inverse = found or statistics(y.detach(), norm.eps)
        if norm.training and norm.running_mean is not None:
            keep(norm, mean, inverse, y.numel() // y.shape[1])
    else:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        exact = torch.promote_types(y.dtype, torch.float32)
        mean, inverse = norm.running_mean.to(exact), (norm.running_var.to(exact) + norm.eps).rsqrt()
    bias = linear.weight.new_zeros(linear.out_channels) if linear.bias is None else linear.bias
    h: Tensor = _Folded.apply(y, mean, inverse, norm.weight, norm.bias, linear.weight, bias, of_batch(norm), dtype)
    return h


@torch.no_grad()
def keep(norm: nn.BatchNorm2d, mean: Tensor, inverse: Tensor, count: int) -> None:
    """Move the running statistics as BatchNorm does: the variance of a sample, momentum None being the plain mean."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if count == 1:
        raise ValueError("expected more than one value a channel in training")
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    variance = (inverse**-2 - norm.eps) * (count / (count - 1))
    for running, found in ((norm.running_mean, mean), (norm.running_var, variance)):
        share: float | Tensor
        if norm.momentum is not None:
            share = norm.momentum
        elif norm.num_batches_tracked is not None:
            # Where it lies: a number that the host waits for cannot be captured in a CUDA graph.
            share = norm.num_batches_tracked.to(running.dtype).reciprocal()
        else:
            share = 0.0
        running.lerp_(found.to(running.dtype), share)


class FusedBlock(nn.Module):
    """Stands in for timm's MetaNeXtBlock with the very submodules and parameters of it, under the same names."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        parts: Any = block
        self.token_mixer: nn.Module = parts.token_mixer
        self.norm: nn.BatchNorm2d = parts.norm
        self.mlp: Any = parts.mlp
        self.drop_path: nn.Module = parts.drop_path
        self.gamma: nn.Parameter | None
        self.register_parameter("gamma", parts.gamma)

    def forward(self, x: Tensor) -> Tensor:
        mlp, gamma = self.mlp, self.gamma
        found = None
        if isinstance(self.token_mixer, InceptionDWConv2d) and of_batch(self.norm):
            y, mean, variance = self.token_mixer.with_statistics(x)
            found = mean, (variance + self.norm.eps).rsqrt()
        else:
            y = self.token_mixer(x)
        h = mlp.drop(mlp.act(normalized_linear(y, self.norm, mlp.fc1, found)))
        matrix, bias = mlp.fc2.weight[:, :, 0, 0], mlp.fc2.bias
        if gamma is not None:
            matrix, bias = matrix * gamma[:, None], None if bias is None else bias * gamma
        h = pointwise(h, matrix, bias)
        out: Tensor = self.drop_path(h) + x
        return out


def fuse(model: nn.Module) -> tuple[str, ...]:
    """Put a FusedBlock in place of each of timm's MetaNeXtBlocks with a BatchNorm before a 1 x 1 MLP; their names."""
    fused = []
    for path, parent, name, module in _children(model):
        if fusible(module):
            block = FusedBlock(module)
            block.training = module.training
            block.__dict__[WAS] = module
            parent._modules[name] = block
            fused.append(path)
    return tuple(fused)


def unfuse(model: nn.Module) -> tuple[str, ...]:
    """Put back the very blocks that ``fuse`` replaced, with the parts that they have now; their names."""
    back = []
    for path, parent, name, module in _children(model):
        block = module.__dict__.get(WAS)
        if block is not None:
            block._modules.update(module._modules)
            block._parameters.update(module._parameters)
            block.training = module.training
            parent._modules[name] = block
            back.append(path)
    return tuple(back)


def fusible(block: nn.Module) -> bool:
    """Whether the block is one of timm's that FusedBlock computes: BatchNorm with weights, a 1 x 1 MLP, no hooks."""
    if type(block).__name__ != "MetaNeXtBlock" or not type(block).__module__.startswith("timm."):
        return False
    parts: Any = block
    norm, mlp = parts.norm, parts.mlp
    if type(norm) is not nn.BatchNorm2d or not norm.affine or type(mlp).__name__ != "ConvMlp":
        return False
    linear = all(
        type(layer) is nn.Conv2d and layer.kernel_size == layer.stride == (1, 1) and layer.groups == 1
        for layer in (mlp.fc1, mlp.fc2)
    )
    hooked = any(
        getattr(each, kind, None)
        for each in (block, norm, mlp, mlp.fc1, mlp.fc2)
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    )
    return linear and type(mlp.norm) is nn.Identity and not hooked


def _children(model: nn.Module) -> list[tuple[str, nn.Module, str, nn.Module]]:
    """Every module with its path, its parent and its name there, from a list made before anything is replaced."""
    found = []
    for path, parent in model.named_modules():
        for name, module in parent.named_children():
            found.append((f"{path}.{name}" if path else name, parent, name, module))
    return found
