"""Networks that no space holds: files of exported programs, and functions that build one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import NetloomError, SpecError
from ...hw_models import Workload, read_network
from ...registry import load
from .parts import make_importable

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, ...]
_SHAPE = re.compile(r"^\s*\d+(\s*[x,]\s*\d+)*\s*$")


def parse_shape(text: str) -> Shape:
    """Return the sizes of `1x3x224x224`.

    Raises:
        SpecError: If the text is not sizes of at least 1, the batch first.
    """
    sizes = tuple(int(size) for size in re.findall(r"\d+", text)) if _SHAPE.match(text) else ()
    if not sizes or min(sizes) < 1:
        raise SpecError(
            f"--input must be a shape with the batch first, such as 1x3x224x224, got {text!r}"
        )
    return sizes


def parse_resolution(text: str) -> tuple[int, int]:
    """Return the height and width of `192` or `192x160`.

    Raises:
        SpecError: If the text is neither.
    """
    sizes = tuple(int(size) for size in re.findall(r"\d+", text)) if _SHAPE.match(text) else ()
    if len(sizes) not in (1, 2) or min(sizes) < 1:
        raise SpecError(
            "--resolution must be a side, or a height and a width, in pixels, such as 192 or "
            f"192x160, got {text!r}"
        )
    return (sizes[0], sizes[-1])


def network_workload(
    source: str, shapes: Sequence[Shape] = (), options: Mapping[str, Any] | None = None
) -> Workload:
    """Return the workload of a file, or of what `package.module:factory` builds.

    Args:
        source: A `.pt2` or `.onnx` file, or the import path of a module, its class, or a function
            that returns one; the current folder is importable.
        shapes: Of the inputs. A file that fixes them needs none; nor does a network that declares
            `example_shape = (channels, height, width)`.
        options: Arguments of the factory.

    Raises:
        SpecError: If there is no such file or factory, or the shapes do not fit.
        TraceError: If the network cannot be followed without data.
    """
    path = Path(source).expanduser()
    if ":" not in source or path.exists():
        if options:
            raise SpecError(
                f"a file is costed as it was exported and takes no --option, got "
                f"{', '.join(options)}; name a factory, or export the network you mean"
            )
        return read_network(path, shapes)
    from ...hw_models.tracer import trace_built

    make_importable(Path.cwd())
    build = _builder(source, dict(options or {}))
    return trace_built(build, _examples(source, build, shapes))


def _builder(source: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    """Return the function that makes the network.

    Raises:
        SpecError: If the import path does not lead to something that can.
    """
    from torch import nn

    target = load(source, kind="network")
    if isinstance(target, nn.Module):
        if options:
            raise SpecError(f"{source} is a finished network and takes no --option; name its class")
        return lambda: target
    if not callable(target):
        raise SpecError(
            f"--network must name a file, a torch module or a function that returns one, got "
            f"{source}, which is {type(target).__name__}"
        )

    def build() -> nn.Module:
        try:
            made = target(**options)
        except NetloomError:
            raise
        except Exception as error:
            raise SpecError(
                f"{source} raised {type(error).__name__}: {error}; check --option, or its code"
            ) from error
        if not isinstance(made, nn.Module):
            raise SpecError(f"{source} must return a torch.nn.Module, got {type(made).__name__}")
        return made

    return build


def _examples(source: str, build: Callable[[], nn.Module], shapes: Sequence[Shape]) -> Any:
    """Return tensors without data to call the network with.

    Raises:
        SpecError: If no shape is given and the network declares none.
    """
    import torch

    from ...hw_models.tracer import build_on_meta

    if not shapes:
        declared = getattr(build_on_meta(build), "example_shape", None)
        if declared is None:
            raise SpecError(
                f"the input of {source} is not known; give its shape, for example --input "
                "1x3x224x224, or give its class the attribute example_shape = (channels, height, "
                "width)"
            )
        shapes = [(1, *declared)]
    return tuple(torch.empty(shape, device="meta") for shape in shapes)
