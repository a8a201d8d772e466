"""Networks as programs, as code and as ONNX: what works, and what a refusal says."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from netloom.errors import EvaluationError, MissingDependency
from netloom.search.export import onnx_files
from netloom.search.export.examples import Examples
from netloom.search.export.onnx_files import write_onnx
from netloom.search.export.program import differences, exported, require_shapes
from netloom.search.export.torch_files import _module, write_torch


class Named(NamedTuple):
    heat: Tensor
    boxes: Tensor


class Rich(nn.Module):
    """Tied weights, a buffer that is not saved, a constant, nested outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("shift", torch.arange(4.0), persistent=False)

    def forward(self, x: Tensor) -> dict[str, object]:
        y = self.second(torch.relu(self.first(x))) + self.shift
        return {"a": (y, Named(y * torch.tensor([1.0, 2.0, 3.0, 4.0]), y[:, 0])), "b": [x.sum(1)]}


class Odd(nn.Module):
    """An operator that ONNX lacks."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


class Counting(nn.Module):
    """Asks for the batch as a number of Python's, which fixes it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1)


class Branching(nn.Module):
    """Cannot be followed without data."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Remembering(nn.Module):
    """Changes a buffer in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return x + self.seen


def test_code_holds_tied_weights_constants_and_nested_outputs(tmp_path: Path) -> None:
    made = exported(Rich(), torch.zeros(1, 4))
    assert made.outputs == ("output.a.0", "output.a.1.heat", "output.a.1.boxes", "output.b.0")
    write_torch(tmp_path, made, Examples(([0.5] * 4, [2.0] * 4)))
    module = _module(tmp_path / "load.py")
    network, x = module.load(), torch.randn(3, 4)
    assert list(network.state_dict()) == list(Rich().state_dict())
    with torch.no_grad():
        outputs = network(x)
        y = made.network(x)["a"][0]
    assert isinstance(outputs["a"], tuple)
    assert isinstance(outputs["b"], list)
    assert torch.equal(outputs["a"][1]["heat"], y * torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert torch.equal(outputs["a"][1]["boxes"], y[:, 0])
    assert torch.equal(module.scaled(torch.full((2, 4), 2.5)), torch.ones(2, 4))


def test_outputs_have_names_in_onnx(tmp_path: Path) -> None:
    import onnx

    made = exported(Rich(), torch.zeros(1, 4))
    write_onnx(tmp_path, made)
    graph = onnx.load(tmp_path / "network.onnx").graph
    assert tuple(output.name for output in graph.output) == made.outputs
    [given] = graph.input
    assert given.name == "input"
    assert [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim] == ["batch", 4]
    assert not any(node.metadata_props for node in graph.node)  # they hold paths of this machine


def test_an_operator_that_onnx_lacks_is_refused_with_its_layer(tmp_path: Path) -> None:
    network = nn.Sequential()
    network.add_module("stem", nn.Linear(4, 4))
    network.add_module("odd", Odd())
    with pytest.raises(
        EvaluationError, match=r"bessel_j0.*in the layer odd \(Odd\); write that layer"
    ):
        write_onnx(tmp_path, exported(network, torch.zeros(1, 4)))


def test_a_batch_size_that_a_network_fixes_is_one(tmp_path: Path) -> None:
    made = exported(nn.Sequential(nn.Linear(4, 4), Counting()), torch.zeros(1, 4))
    assert "batch" in made.fixed
    assert [d.batch for d in write_torch(tmp_path, made, Examples())] == [1]
    module = _module(tmp_path / "load.py")
    assert module.BATCH == 1
    with pytest.raises(ValueError, match="not known; scale x yourself"):
        module.scaled(torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Branching(), "must be one that torch.export can follow"),
        (Remembering(), "must not change its buffers in evaluation mode, got changes of seen"),
    ],
)
def test_a_network_that_is_no_program_is_refused(network: nn.Module, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        exported(network, torch.ones(1, 4))


def test_operators_of_others_are_refused_as_code(tmp_path: Path) -> None:
    @torch.library.custom_op("netloom_tests::twice", mutates_args=())
    def twice(x: Tensor) -> Tensor:
        return x * 2

    @twice.register_fake
    def _(x: Tensor) -> Tensor:
        return torch.empty_like(x)

    class Foreign(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return twice(x)

    network = nn.Sequential(nn.Linear(4, 4), Foreign())
    made = exported(network, torch.zeros(1, 4))
    message = r"got netloom_tests.twice.default in the layer 1 \(Foreign\); export it as pt2"
    with pytest.raises(EvaluationError, match=message):
        write_torch(tmp_path, made, Examples())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x * 1.01, r"got 0\.01 .*at batch size 1; export another format"),
        (lambda x: x[:, :2], r"the shapes \(1, 2\) instead of \(1, 4\)"),
        (lambda x: x * float("nan"), "got nan"),
    ],
)
def test_other_outputs_are_refused(answer: object, message: str) -> None:
    made = exported(nn.Identity(), torch.zeros(1, 4))
    with pytest.raises(EvaluationError, match=message):
        differences(made, answer, limit=1e-3, what="a file")  # type: ignore[arg-type]


def test_shapes_alone_are_compared_of_what_gives_other_numbers() -> None:
    made = exported(nn.Identity(), torch.zeros(1, 4))
    require_shapes(made, lambda x: x * 3, what="a file")
    words = r"a file must give finite outputs of the network's shapes, got the shapes \(1, 4\) inst"
    with pytest.raises(EvaluationError, match=words):
        require_shapes(made, lambda x: x[:1], what="a file")
    with pytest.raises(EvaluationError, match="got nan"):
        require_shapes(made, lambda x: x * float("nan"), what="a file")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "find_spec", lambda name: None if name == "onnxscript" else 1)
    with pytest.raises(MissingDependency, match=r"got no onnxscript; .*netloom\[export\]"):
        onnx_files.require_onnx()
