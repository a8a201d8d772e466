"""Static int8 ONNX: calibrated on training data, compared on the test split."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import EvaluationError, MissingDependency, SpecError
from ...estimators.tasks.metrics import accuracy
from ..run.evaluation import one_line
from .examples import problem_text
from .onnx_files import INPUT, ONNX_FILE, runner
from .program import Program, quiet, require_shapes
from .source import Source

if TYPE_CHECKING:
    from ...estimators import DataSet
    from ...estimators.loop import Prepared

INT8_FILE = "network.int8.onnx"
CALIBRATION = 256  # examples
_BATCH = 64
_SEED = 0  # of the draw of the examples


@dataclass(frozen=True)
class Quantized:
    """What became of a quantisation.

    Args:
        examples: How many examples it was calibrated on.
        tested: How many examples of the test split were answered; 0: none.
        float_accuracy: Per cent, of the ONNX file before.
        int8_accuracy: Per cent.
        reason: Why nothing was measured.
    """

    examples: int
    tested: int = 0
    float_accuracy: float = float("nan")
    int8_accuracy: float = float("nan")
    reason: str = ""

    @property
    def drop(self) -> float:
        """Percentage points that int8 costs."""
        return self.float_accuracy - self.int8_accuracy


def require_data(source: Source) -> DataSet:
    """Return the data set that calibrates, before anything is computed.

    Raises:
        SpecError: If the experiment has none, or they are not those that it was run with.
        MissingDependency: If they are not on this machine.
    """
    from ...estimators import DataSet

    if (problem := source.examples.problem) is not None:
        kind = MissingDependency if isinstance(problem, MissingDependency) else SpecError
        raise kind(
            f"onnx-int8 calibrates on the training split that {source.record.name} was run with: "
            f"{problem_text(problem)}; put those data back, or export onnx"
        )
    if not isinstance(source.data, DataSet):
        raise SpecError(
            f"onnx-int8 calibrates on the training split, got {source.record.name}, which has no "
            "data set; export onnx, or retrain the network on data"
        )
    return source.data


def write_int8(folder: Path, program: Program, source: Source) -> Quantized:
    """Quantise `network.onnx` of the same folder, and measure what it costs.

    Weights have a scale per output channel, activations one per tensor, from their least and
    largest values on training examples; nodes stay in the form quantise - dequantise (QDQ).

    Args:
        folder: Where the ONNX file is.
        program: What it holds.
        source: Gives the data set and the scale of the inputs.

    Raises:
        EvaluationError: If onnxruntime cannot quantise it, or what it writes gives outputs of
            other shapes.
    """
    from ...estimators import loop

    data = require_data(source)
    ready = loop.prepared(data, torch.device("cpu"), tasks=True)
    size = 1 if program.fixed else _BATCH
    train = ready.split("train")
    draws = torch.Generator().manual_seed(_SEED)
    chosen = torch.randperm(len(train), generator=draws)[:CALIBRATION]
    try:
        with quiet():
            _quantize(folder, _batches(ready, "train", chosen, size))
    except Exception as error:
        raise EvaluationError(
            f"a network to export as onnx-int8 must be one that onnxruntime can quantise, got "
            f"{one_line(error)}; export onnx"
        ) from error
    require_shapes(program, runner(folder / INT8_FILE), what=INT8_FILE)
    if reason := _not_measured(data, program):
        return Quantized(len(chosen), reason=reason)
    everything = torch.arange(len(ready.split("test")))
    before, after = (
        _accuracy(runner(folder / name), ready, _batches(ready, "test", everything, size))
        for name in (ONNX_FILE, INT8_FILE)
    )
    return Quantized(len(chosen), len(everything), before, after)


def _quantize(folder: Path, batches: Iterator[Tensor]) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as work:
        whole = Path(work) / "prepared.onnx"
        # norms go into the convolutions before them: int8 has no norm of its own
        quant_pre_process(str(folder / ONNX_FILE), str(whole), skip_symbolic_shape=True)
        quantize_static(
            str(whole),
            str(folder / INT8_FILE),
            _Reader(batches),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )


class _Reader:
    """Batches as onnxruntime's calibration asks for them."""

    def __init__(self, batches: Iterator[Tensor]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, Any] | None:
        """Return the next inputs by name, or None."""
        x = next(self._batches, None)
        return None if x is None else {INPUT: x.numpy()}


def _batches(data: Prepared, split: str, index: Tensor, size: int) -> Iterator[Tensor]:
    examples = data.split(split)
    for part in torch.split(index, size):
        yield data.inputs.apply(examples.x[part])


def _not_measured(data: DataSet, program: Program) -> str:
    """Return why there is no accuracy to measure; empty where there is."""
    if data.tasks:
        return f"the data set {data.label} has the tasks {', '.join(data.tasks)}"
    if data.classes is None:
        return f"the data set {data.label} is one of regression"
    if len(program.outputs) != 1:
        return f"the network has {len(program.outputs)} outputs"
    return ""


def _accuracy(
    run: Callable[[Tensor], list[Tensor]], data: Prepared, batches: Iterator[Tensor]
) -> float:
    answers = torch.cat([run(x)[0] for x in batches])
    return accuracy(answers, data.split("test").y)
