"""The stand-alone form: weights as safetensors, and a `load.py` that needs torch alone."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import EvaluationError, MissingDependency
from ..run.evaluation import one_line
from .code import forward_code, tensors
from .examples import Examples, layout
from .program import Difference, Program, differences, quiet

if TYPE_CHECKING:
    from types import ModuleType

WEIGHTS_FILE = "weights.safetensors"
CONSTANTS_FILE = "constants.safetensors"
LOADER_FILE = "load.py"
PROGRAM_FILE = "network.pt2"
_LIMIT = 1e-5  # relative; the operators are the same ones

_LOADER = '''\
"""The network, ready to run: `network = load()`. It needs torch and nothing else.

It is in evaluation mode: norms use the statistics that they learned, nothing is dropped. Weights
are read from {weights} beside this file; nothing in it is executed.
"""

import json
import math
import operator
import sys
from pathlib import Path

import torch
from torch import nn

SHAPE = {shape}  # of one input, without the batch
LAYOUT = {layout!r}  # of a batch
DTYPE = {given!r}  # of the inputs that `scaled` takes: the data set's; None: it is not known
RANGE = {bounds}  # least and largest of those in the training data; None: it is not known
BATCH = {batch}  # the only batch size; None: any
MEAN = {mean}  # of the training data, per channel; None: it is not known
STD = {std}
TARGET_MEAN = {target_mean}  # of the targets of a regression; None: it is none
TARGET_STD = {target_std}

# name, shape, type, kind
TENSORS = [
{table}
]

_TYPES = {{
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}}  # fmt: skip


class Network(nn.Module):
    """The network as the operators that it runs; its `state_dict` has the original names."""

    def __init__(self):
        super().__init__()
        for name, shape, dtype, kind in TENSORS:
            *path, last = name.split(".")
            module = self
            for part in path:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module._modules[part]
            value = torch.empty(shape, dtype=dtype)
            if kind == "parameter":
                module.register_parameter(last, nn.Parameter(value, value.is_floating_point()))
            else:
                module.register_buffer(last, value, persistent=kind == "buffer")

    def forward(self, x):
        """Return the outputs for a batch of (scaled) inputs."""
        check(x)
        t = dict(self.named_parameters(remove_duplicate=False))
        t.update(self.named_buffers(remove_duplicate=False))
{forward}


def read(path):
    """Return the tensors of a safetensors file by name."""
    data = Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])
    head.pop("__metadata__", None)
    found = {{}}
    for name, entry in head.items():
        start, end = entry["data_offsets"]
        dtype, raw = _TYPES[entry["dtype"]], bytearray(data[8 + size + start : 8 + size + end])
        flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        found[name] = flat.reshape(entry["shape"])
    return found


def check(x):
    """Refuse what is no batch of inputs."""
    if x.dim() != len(SHAPE) + 1 or tuple(x.shape[1:2]) != SHAPE[:1]:
        wanted = ", ".join(str(size) for size in ("N", *SHAPE))
        raise ValueError(
            f"inputs must be a batch of the shape ({{wanted}}), got {{tuple(x.shape)}}; "
            "x[None] makes one of a single input"
        )


def scaled(x):
    """Return inputs as the network was trained on: mean 0, standard deviation 1 per channel.

    Give them as the data set did: LAYOUT, with numbers of DTYPE in RANGE.
    """
    check(x)
    if MEAN is None:
        raise ValueError("mean and deviation of the training data are not known; scale x yourself")
    shape = (1, -1) + (1,) * (x.dim() - 2)
    mean = torch.tensor(MEAN, device=x.device).reshape(shape)
    return (x.float() - mean) / torch.tensor(STD, device=x.device).reshape(shape)


def unscaled(y):
    """Return the outputs of a regression in the unit of its targets."""
    if TARGET_MEAN is None:
        raise ValueError("outputs are scores, they have no unit to return to")
    mean, std = (torch.tensor(v, device=y.device) for v in (TARGET_MEAN, TARGET_STD))
    return y * std + mean


def load(folder=None):
    """Return the network with its weights, in evaluation mode.

    Args:
        folder: Where the weights are; the folder of this file when left out.
    """
    folder = Path(__file__).parent if folder is None else Path(folder)
    network = Network()
    network.load_state_dict(read(folder / "{weights}"))
    constants = folder / "{constants}"
    held = dict(network.named_buffers(remove_duplicate=False))
    for name, value in (read(constants) if constants.exists() else {{}}).items():
        held[name].copy_(value)
    return network.eval()


if __name__ == "__main__":
    with torch.no_grad():
        outputs = load(*sys.argv[1:2])(torch.zeros(BATCH or 1, *SHAPE, dtype={dtype}))
    print(outputs)
'''


def require_safetensors() -> None:
    """Check that the package is there before anything is computed.

    Raises:
        MissingDependency: If it is not.
    """
    if importlib.util.find_spec("safetensors") is None:
        raise MissingDependency(
            "the format torch needs the package safetensors; pip install 'netloom[export]'"
        )


def save_tensors(path: Path, named: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors."""
    from safetensors.torch import save

    # tied weights are written once for each name
    copies = {k: v.detach().cpu().clone().contiguous() for k, v in named.items()}
    path.write_bytes(save(copies))


def write_torch(folder: Path, program: Program, examples: Examples) -> list[Difference]:
    """Write `load.py` and the weights, load them again as a user will, and compare the outputs.

    Args:
        folder: Where to.
        program: What is written.
        examples: What is known of the training data.

    Returns:
        How far the outputs are from the network's.

    Raises:
        EvaluationError: If the network cannot be written as code.
    """
    held = list(tensors(program))
    save_tensors(folder / WEIGHTS_FILE, {n: v for n, v, kind in held if kind != "constant"})
    if constants := {n: v for n, v, kind in held if kind == "constant"}:
        save_tensors(folder / CONSTANTS_FILE, constants)
    rows = [f"    ({n!r}, {tuple(v.shape)}, {v.dtype}, {kind!r})," for n, v, kind in held]
    (mean, std), (target_mean, target_std) = (
        pair or (None, None) for pair in (examples.scale, examples.targets)
    )
    text = _LOADER.format(
        weights=WEIGHTS_FILE,
        constants=CONSTANTS_FILE,
        shape=tuple(program.example.shape[1:]),
        batch=1 if program.fixed else None,
        layout=layout(program.example.shape),
        given=examples.dtype or None,
        bounds=examples.bounds,
        mean=mean,
        std=std,
        target_mean=target_mean,
        target_std=target_std,
        table="\n".join(rows),
        forward="\n".join(f"        {line}" for line in forward_code(program)),
        dtype=program.example.dtype,
    )
    (folder / LOADER_FILE).write_text(text, encoding="utf-8")
    network = _module(folder / LOADER_FILE).load()
    return differences(program, network, limit=_LIMIT, what=LOADER_FILE)


def _module(path: Path) -> ModuleType:
    """Return the code of a file that was just written, imported."""
    spec = importlib.util.spec_from_file_location("netloom_exported_loader", path)
    if spec is None or spec.loader is None:
        raise EvaluationError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module


def write_program(folder: Path, program: Program) -> list[Difference]:
    """Write the program as `.pt2`, without example inputs, read it again and compare the outputs.

    Raises:
        EvaluationError: If torch cannot write it, or what is read differs.
    """
    from ...hw_models.exported import without_pickles

    path = folder / PROGRAM_FILE
    try:
        with quiet():
            torch.export.save(program.exported, written := io.BytesIO())
            path.write_bytes(without_pickles(path, written).getvalue())
            again: Callable[..., Any] = torch.export.load(path).module()
    except OSError:
        raise  # a full disk is no matter of the network: torch writes to memory for this
    except Exception as error:
        raise EvaluationError(
            f"a network to export as pt2 must be one that torch.export.save can write, got "
            f"{one_line(error)}; export another format"
        ) from error
    return differences(program, again, limit=_LIMIT, what=PROGRAM_FILE)
