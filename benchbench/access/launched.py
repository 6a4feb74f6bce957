"""What would Triton compile for a launch with these arguments? Specialised on their values, as its own launcher does.

An integer that is 1 becomes a constant, one that is divisible by 16 and a pointer that is aligned to 16 bytes are
compiled as such; without that, loads and stores become scalar and another kernel is looked at.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchbench.access import assembly, compiled, sass

DIVISOR = 16

TRITON_TYPES = {
    "float64": "fp64",
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8e4nv",
    "float8_e5m2": "fp8e5",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint8": "u8",
    "bool": "i1",
}


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a kernel of the user's: what triton.compile needs, and its grid. divisible: parameters by 16."""

    function: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any]
    divisible: tuple[str, ...]
    grid: tuple[int, ...]
    options: Mapping[str, Any]

    @property
    def programs(self) -> int:
        """Programs of the grid."""
        return math.prod(self.grid)


def launch_of(function: Any, args: tuple[Any, ...], grid: Any, kwargs: dict[str, Any]) -> Launch:
    """The launch function[grid](*args, **kwargs). Raises ValueError for arguments and options that do not fit."""
    names = inspect.signature(function.fn).parameters
    own = {name: value for name, value in kwargs.items() if name in names}
    try:
        bound = inspect.signature(function.fn).bind(*args, **own)
    except TypeError as error:
        raise ValueError(f"{function.__name__}: {error}") from None
    bound.apply_defaults()
    options = {
        name: value for name, value in kwargs.items() if name not in names and value is not None and name != "stream"
    }
    _refuse_unknown(function.__name__, options)
    signature, constants, divisible = {}, {}, []
    for parameter in function.params:
        name, value = parameter.name, bound.arguments[parameter.name]
        fixed = parameter.is_constexpr or value is None
        if fixed or (_is_integer(value) and value == 1 and not parameter.do_not_specialize):
            signature[name], constants[name] = "constexpr", value
            continue
        signature[name] = _type_of(function.__name__, name, value)
        if _is_divisible(parameter, value):
            divisible.append(name)
    sizes = grid_of(function.__name__, grid(dict(bound.arguments)) if callable(grid) else grid)
    return Launch(function, signature, constants, tuple(divisible), sizes, options)


def grid_of(kernel: str, grid: Any) -> tuple[int, ...]:
    """The sizes of a grid. Raises ValueError for what Triton cannot launch."""
    if not isinstance(grid, (tuple, list)) or not 1 <= len(grid) <= 3:
        raise ValueError(f"{kernel}: its grid must be a tuple of one to three sizes, such as (n,); got {grid!r}")
    return tuple(int(size) for size in grid)


def resources_of(launch: Launch, arch: str) -> compiled.Resources:
    """The resources of the launch's machine code. Raises ValueError, in one line, where it does not compile."""
    made = assembled(launch, arch)
    return compiled.resources_of(launch.function.__name__, arch, made)


def listing_of(launch: Launch, arch: str) -> sass.Listing:
    """The instructions of the launch's machine code with their source lines."""
    return sass.parse(assembly.disassembled(assembled(launch, arch).cubin)[0])


def assembled(launch: Launch, arch: str) -> assembly.Assembly:
    """The launch's machine code, compiled anew."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    target = GPUTarget("cuda", assembly.capability(arch), 32)
    function = launch.function
    places = [(place,) for place, name in enumerate(function.arg_names) if name in launch.divisible]
    source = ASTSource(
        function,
        dict(launch.signature),
        dict(launch.constants),
        {place: [["tt.divisibility", DIVISOR]] for place in places},
    )
    try:
        with assembly._true_lines():
            made = triton.compile(source, target=target, options={"enable_fp_fusion": True, **launch.options})
    except Exception as error:
        raise ValueError(f"{function.__name__} does not compile for {arch}: {reason_of(error, function)}") from error
    return assembly.Assembly(
        "", made.asm["cubin"], made.asm["ttir"], 32 * made.metadata.num_warps, made.metadata.shared
    )


def reason_of(error: BaseException, function: Any) -> str:
    """Triton's message without its excerpt of the source, behind the line of the file that it is about."""
    message = getattr(error, "error_message", None) or getattr(error.__cause__, "args", None) or str(error)
    text = " ".join(str(message[0] if isinstance(message, tuple) and message else message).split())
    if not hasattr(error, "node") or getattr(error, "src", None) != function.src:
        return text or type(error).__name__
    # The source that Triton parses begins at the def, behind the decorators.
    head = next(i for i, row in enumerate(function.raw_src) if row.lstrip().startswith("def "))
    line = function.starting_line_number + head + error.node.lineno - 1
    return f"{os.path.basename(function.fn.__code__.co_filename)}:{line}: {text}"


def _refuse_unknown(kernel: str, options: Mapping[str, Any]) -> None:
    from triton.backends.nvidia.compiler import CUDAOptions

    known = {field.name for field in dataclasses.fields(CUDAOptions)}
    for name in options:
        if name not in known:
            raise ValueError(f"{kernel}: neither an argument nor a launch option is called {name}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_divisible(parameter: Any, value: Any) -> bool:
    if parameter.do_not_specialize or parameter.do_not_specialize_on_alignment:
        return False
    if hasattr(value, "data_ptr"):
        return bool(value.data_ptr() % DIVISOR == 0)
    return _is_integer(value) and bool(value % DIVISOR == 0)


def _type_of(kernel: str, name: str, value: Any) -> str:
    if hasattr(value, "dtype") and hasattr(value, "data_ptr"):
        dtype = str(value.dtype).removeprefix("torch.")
        if dtype not in TRITON_TYPES:
            raise ValueError(f"{kernel}: argument {name} is of {value.dtype}, for which Triton has no type")
        return "*" + TRITON_TYPES[dtype]
    if isinstance(value, bool):
        return "u1"
    if isinstance(value, int):
        return "i32" if -(1 << 31) <= value < 1 << 31 else "i64"
    if isinstance(value, float):
        return "fp32"
    if hasattr(value, "block_shape"):
        from triton.runtime.jit import mangle_type

        return str(mangle_type(value))
    raise ValueError(f"{kernel}: argument {name} is a {type(value).__name__}, which can't be compiled for")
