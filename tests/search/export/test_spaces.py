"""Every named space: the loader needs torch alone, ONNX gives the same outputs."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from netloom.estimators.network import built
from netloom.search.export.onnx_files import write_onnx
from netloom.search.export.program import Program, exported
from netloom.search.export.torch_files import write_program, write_torch
from netloom.spaces import SPACES

QUICK = ("eas_plain",)
LOADER = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("netloom", "safetensors", "onnx"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, {folder!r})
import torch
from torch.utils import _pytree as pytree
from load import load
with torch.no_grad():
    outputs = load()(torch.load({inputs!r}, weights_only=True))
torch.save(pytree.tree_leaves(outputs), {outputs!r})
"""


@cache
def tiny(name: str) -> Program:
    """Return the program of a small network: several tests take it."""
    return program(name, "tiny")


def program(name: str, preset: str) -> Program:
    space = SPACES.get(name)(preset=preset)
    architecture = space.sample(Random(3))
    return exported(built(space, architecture, seed=1), space.example_input(architecture))


def loaded_alone(folder: Path, x: Tensor) -> list[Tensor]:
    """Return the outputs of `load.py` in a process that has neither netloom nor safetensors."""
    inputs, outputs = folder / "x.pt", folder / "y.pt"
    torch.save(x, inputs)
    code = LOADER.format(folder=str(folder), inputs=str(inputs), outputs=str(outputs))
    done = subprocess.run([sys.executable, "-I", "-W", "ignore", "-c", code], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    found: list[Tensor] = torch.load(outputs, weights_only=True)
    return found


def everything(made: Program, folder: Path) -> None:
    assert made.fixed == ""
    for found in (write_torch(folder, made, None), write_onnx(folder, made)):
        assert [d.batch for d in found] == [1, 2, 5]
        assert all(d.relative < 1e-3 for d in found)
    x = list(made.inputs())[1]
    with torch.no_grad():
        wanted = pytree.tree_leaves(made.network(x))
    for got, right in zip(loaded_alone(folder, x), wanted, strict=True):
        torch.testing.assert_close(got, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SPACES.names())
def test_the_first_tiny_network_of_every_space_is_delivered(name: str, tmp_path: Path) -> None:
    """The quick half of the next one: written as code, loaded again, compared."""
    space = SPACES.get(name)(preset="tiny")
    architecture = space.at(0)
    made = exported(built(space, architecture, seed=1), space.example_input(architecture))
    assert [(d.batch, d.relative < 1e-5) for d in write_torch(tmp_path, made, None)] == [
        (1, True),
        (2, True),
        (5, True),
    ]


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.full) for n in SPACES.names()],
)
def test_a_tiny_network_of_every_space_runs_without_us(name: str, tmp_path: Path) -> None:
    everything(tiny(name), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("name", SPACES.names())
def test_a_full_network_of_every_space_runs_without_us(name: str, tmp_path: Path) -> None:
    largest = next(iter(SPACES.get(name).presets))  # the published size comes first
    assert largest != "tiny"
    everything(program(name, largest), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("name", SPACES.names())
def test_a_program_of_every_space_is_read_back_without_a_pickle(name: str, tmp_path: Path) -> None:
    """The reader of network files refuses pickles: it takes what was written."""
    from netloom.hw_models import read_network, trace

    made = tiny(name)
    assert [d.absolute for d in write_program(tmp_path, made)] == [0.0, 0.0, 0.0]
    read = read_network(tmp_path / "network.pt2", [tuple(made.example.shape)])
    assert read.params == trace(made.network, made.example.to("meta")).params
