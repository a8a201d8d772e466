"""`read_network`: the workload of a network in a file."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

from ..errors import SpecError
from .workload import Shape, Workload

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")


def read_network(path: str | PathLike[str], shapes: Sequence[Shape] = ()) -> Workload:
    """Return the workload of an exported network; no code of the file is run.

    Args:
        path: A program that `torch.export.save` wrote (`.pt2`), or an ONNX file (`.onnx`; needs
            the extra `onnx`).
        shapes: Shapes of the inputs, in order; needed where the file leaves sizes open.

    Raises:
        SpecError: If the file is none of these, or its inputs do not fit the shapes.
        TraceError: If the network has operators that cannot be costed; names them.
        MissingDependency: If reading it needs a package that is not installed.
    """
    file = Path(fspath(path)).expanduser()
    kind = file.suffix.lower()
    if kind in _PICKLES:
        raise SpecError(
            f"a network file must be .pt2 or .onnx, got {file}: a pickle of others can run any "
            "code; export it (torch.export.save), or name the function that builds it as "
            "package.module:factory"
        )
    if kind not in (".pt2", ".onnx"):
        raise SpecError(
            f"a network is a .pt2 or .onnx file, or package.module:factory, got {fspath(path)!r}"
        )
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise SpecError(f"the network file {file} {what}; name a file")
    if kind == ".pt2":
        from .exported import read_exported

        return read_exported(file, shapes)
    from .onnx_graph import read_onnx

    return read_onnx(file, shapes)
