"""Every named space: the loader needs torch alone, ONNX gives the same outputs."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from netloom.estimators.network import built
from netloom.search.export.examples import Examples
from netloom.search.export.onnx_files import write_onnx
from netloom.search.export.program import Program, exported
from netloom.search.export.torch_files import write_program, write_torch
from netloom.spaces import SPACES, Architecture, Space

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
    return made(space, space.sample(Random(3)))


def made(space: Space, architecture: Architecture) -> Program:
    network = stirred(built(space, architecture, seed=1))
    return exported(network, space.example_input(architecture))


@torch.no_grad()
def stirred(network: nn.Module) -> nn.Module:
    """Return it as training might leave it: scales that begin with 0 hide what is behind them."""
    draws = torch.Generator().manual_seed(0)
    for value in (*network.parameters(), *network.buffers()):
        noise = torch.empty_like(value).float().uniform_(0, 0.4, generator=draws)
        if value.dim() < 2 and value.is_floating_point():
            value += noise
    return network


def loaded_alone(folder: Path, x: Tensor) -> list[Tensor]:
    """Return the outputs of `load.py` in a process that has neither netloom nor safetensors."""
    inputs, outputs = folder / "x.pt", folder / "y.pt"
    torch.save(x, inputs)
    code = LOADER.format(folder=str(folder), inputs=str(inputs), outputs=str(outputs))
    done = subprocess.run([sys.executable, "-I", "-W", "ignore", "-c", code], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    found: list[Tensor] = torch.load(outputs, weights_only=True)
    return found


def everything(whole: Program, folder: Path) -> None:
    assert whole.fixed == ""
    for found in (write_torch(folder, whole, Examples()), write_onnx(folder, whole)):
        assert [d.batch for d in found] == [1, 2, 5]
        assert all(d.relative < 1e-3 for d in found)
    x = list(whole.inputs())[1]
    with torch.no_grad():
        wanted = pytree.tree_leaves(whole.network(x))
    for got, right in zip(loaded_alone(folder, x), wanted, strict=True):
        torch.testing.assert_close(got, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SPACES.names())
def test_a_small_network_of_every_space_is_delivered(name: str, tmp_path: Path) -> None:
    """The quick half of the next one: written as code, loaded again, compared."""
    space = SPACES.get(name)(preset="tiny")
    first = next(a for a in map(space.at, range(100)) if looks_at_its_inputs(space, a))
    found = write_torch(tmp_path, made(space, first), Examples())
    assert [(d.batch, d.relative < 1e-5) for d in found] == [(1, True), (2, True), (5, True)]


@torch.no_grad()
def looks_at_its_inputs(space: Space, architecture: Architecture) -> bool:
    """Not all do: the first cells of NAS-Bench-201 connect nothing."""
    network = stirred(built(space, architecture, seed=1)).eval()
    zeros = space.example_input(architecture)
    one, other = (pytree.tree_leaves(network(x))[0] for x in (zeros, torch.randn_like(zeros)))
    return not torch.equal(one, other)


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

    whole = tiny(name)
    assert [d.absolute for d in write_program(tmp_path, whole)] == [0.0, 0.0, 0.0]
    read = read_network(tmp_path / "network.pt2", [tuple(whole.example.shape)])
    assert read.params == trace(whole.network, whole.example.to("meta")).params
