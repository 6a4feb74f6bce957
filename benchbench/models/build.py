"""One name, one network: timm's, timm's with another mixer, ours, or whatever ``module:function`` builds.

Weights are random and seeded, never pretrained: a throughput does not depend on what was learned, but power does on
whether the numbers are zeros.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import warnings
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.models.mixers import PartialDepthwiseConv2d
from benchbench.models.own import HEADS, OWN

# Layer scale starts at 1e-6 in ConvNeXt and InceptionNeXt, and at 0 in timm's ResNets: a wrong mixer would then not
# change the output. Trained networks have values of this order.
LAYER_SCALE = 0.2


class ImageSizeError(ValueError):
    """The network does not take images of this size."""


def build(
    name: str,
    *,
    kernel_size: int | None = None,
    ratio: str | None = None,
    img_size: int = 224,
    aspect: int = 1,
    drop_path: float | None = 0.0,
) -> nn.Module:
    """The network of that name, with random weights, on the CPU, in training mode.

    kernel_size: of the depthwise convolutions of a ConvNeXt, of the bands of an InceptionNeXt; None: the network's own.
    ratio:       share of the channels that a ConvNeXt convolves, or of each branch of an InceptionNeXt, such as "1/8".
    img_size:    height and width of the input, for networks whose parameters or windows depend on it.
    aspect:      width over height of the input, for networks that segment.
    drop_path:   rate of stochastic depth in training; None: the network's own default.
    ``module:function`` builds a network of the user's: the function is called without arguments.

    Raises ValueError for an unknown name, with the nearest one, or for an argument the network does not have;
    ImageSizeError where the network does not take such images; ImportError where timm cannot be imported.
    """
    if ":" in name:
        return _users(name, kernel_size, ratio)
    head, _, backbone = name.partition(".")
    if name in OWN or (head in HEADS and backbone):
        return _own(name, kernel_size=kernel_size, ratio=ratio, img_size=img_size, aspect=aspect, drop_path=drop_path)
    options: dict[str, Any] = {} if drop_path is None else {"drop_path_rate": drop_path}
    with _LargeRandomStartsSkipped():
        if name.startswith("inception_next"):
            model = _timm(name, _inception(kernel_size, ratio) | options)
        elif name.startswith("convnext"):
            model = _convnext(name, kernel_size, ratio, options)
        elif kernel_size is not None or ratio is not None:
            raise ValueError(f"{name} has no kernel size or ratio to choose: only convnext_* and inception_next_* have")
        else:
            model = _timm(name, options, img_size)
    _randomise(model)
    return model


def _own(name: str, **options: Any) -> nn.Module:
    """One of our networks; it draws its own weights, because some need small ones, but from a fixed seed."""
    import_timm()
    module, function, *arguments = OWN.get(name) or ("segmentation", *name.split(".", 1))
    builder = getattr(importlib.import_module(f"benchbench.models.{module}"), function)
    taken = inspect.signature(builder).parameters
    for option in ("kernel_size", "ratio"):
        if options[option] is not None and option not in taken:
            raise ValueError(f"{name} has no {option.replace('_', ' ')} to choose")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = builder(*arguments, **{key: value for key, value in options.items() if key in taken})
    _randomise(model, large=False)
    return model


def _convnext(name: str, kernel_size: int | None, ratio: str | None, options: dict[str, Any]) -> nn.Module:
    if kernel_size is not None:
        options = options | {"kernel_sizes": kernel_size}
    model = _timm(name, options)
    if ratio is not None and Fraction(ratio) != 1:
        _convolve_a_share(model, ratio)
    return model


def _convolve_a_share(model: nn.Module, ratio: str) -> None:
    for path, whole in list(model.named_modules()):
        if path.endswith(".conv_dw"):
            assert isinstance(whole, nn.Conv2d)
            part = PartialDepthwiseConv2d(whole.in_channels, kernel_size=whole.kernel_size[0], ratio=ratio)
            model.set_submodule(path, part)


def _inception(kernel_size: int | None, ratio: str | None) -> dict[str, Any]:
    if kernel_size is None and ratio is None:
        return {}
    import_timm()
    from timm.models.inception_next import InceptionDWConv2d

    chosen: dict[str, Any] = {}
    if kernel_size is not None:
        chosen["band_kernel_size"] = kernel_size
    if ratio is not None:
        # timm multiplies and rounds down: the exact fraction leaves no doubt about a third of 96 channels.
        chosen["branch_ratio"] = Fraction(ratio)
    return {"token_mixers": partial(InceptionDWConv2d, **chosen)}


def _timm(name: str, options: dict[str, Any], img_size: int = 0) -> nn.Module:
    """timm's network; img_size goes to the constructors that have it."""
    timm = import_timm()
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, [*OWN, *timm.list_models()], n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else "timm.list_models() lists them"
        raise ValueError(f"no model is called {name!r}: {hint}")
    tries = [options | {"img_size": img_size}, options] if img_size else [options]
    tries += [{key: value for key, value in attempt.items() if key != "drop_path_rate"} for attempt in tries]
    refused: TypeError | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for attempt in tries:
            try:
                model: nn.Module = timm.create_model(name, **attempt)
                return model
            except TypeError as error:
                # Constructors differ in what they take: one without this argument has no such thing to set.
                refused = error
            except AssertionError as error:
                raise ImageSizeError(f"{name} cannot be built for images of {img_size} px ({error})") from None
    raise ValueError(f"timm does not build {name}: {refused}")


def import_timm() -> Any:
    """The timm package. Raises ImportError, with the reason, where it does not import."""
    try:
        return importlib.import_module("timm")
    except (ImportError, RuntimeError, OSError) as error:
        # A torchvision of another torch build fails with RuntimeError, not ImportError.
        reason = str(error).partition("\n")[0]
        raise ImportError(f"timm does not import here ({type(error).__name__}: {reason})") from None


def _users(name: str, kernel_size: int | None, ratio: str | None) -> nn.Module:
    module, _, function = name.partition(":")
    if kernel_size is not None or ratio is not None:
        raise ValueError(f"{name} is built as its function builds it: it takes no kernel size or ratio")
    try:
        builder = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot build {name!r}: {error}; write it as importable.module:function") from None
    model = builder()
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} built a {type(model).__name__}, not a torch.nn.Module")
    return model


class _LargeRandomStartsSkipped(torch.overrides.TorchFunctionMode):
    """While it is on, random values are not drawn for parameters of two and more dimensions: _randomise fills them.

    Truncated normal values and values that are drawn twice are two thirds of what building a network costs on one core.
    """

    DRAWS = frozenset(
        {
            torch.Tensor.uniform_,
            torch.Tensor.normal_,
            torch.Tensor.erfinv_,
            torch.Tensor.clamp_,
            nn.init.uniform_,
            nn.init.normal_,
            nn.init.kaiming_uniform_,
            nn.init.kaiming_normal_,
        }
    )

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in self.DRAWS:
            drawn = args[0] if args else kwargs.get("tensor")
            if isinstance(drawn, nn.Parameter) and drawn.ndim > 1:
                return drawn
        return function(*args, **kwargs)


@torch.no_grad()
def _randomise(model: nn.Module, *, large: bool = True, seed: int = 0) -> None:
    """Give large parameters, where asked, uniform values of variance 2 / fan-in; show biases and layer scales."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and large:
            _uniform(parameter, (6 / max(1, parameter[0].numel())) ** 0.5, generator)
        elif name.endswith("bias"):
            _uniform(parameter, 0.1, generator)
        elif parameter.ndim == 1 and parameter.numel() and parameter.abs().max() < 1e-2:
            parameter.fill_(LAYER_SCALE)


def _uniform(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    parameter.uniform_(-bound, bound, generator=generator)
