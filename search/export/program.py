"""A network as an exported program: whatever is written of it comes from there."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from ...errors import EvaluationError
from ..run.evaluation import one_line

BATCHES = (1, 2, 5)
_SEED = 0  # of the inputs that outputs are compared on


@dataclass(frozen=True)
class Program:
    """A network in evaluation mode and what `torch.export` makes of it.

    Args:
        network: What the space built, with its weights.
        exported: The program; its first input dimension is the batch.
        example: An input of batch size 1.
        fixed: Why the batch size is fixed to 1; empty: it is free.
    """

    network: nn.Module
    exported: torch.export.ExportedProgram
    example: Tensor
    fixed: str = ""

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes that outputs are compared at."""
        return (1,) if self.fixed else BATCHES

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """A name for each tensor that comes out, in their order."""
        with torch.no_grad():
            found = self.network(self.example)
        paths = [path for path, _ in pytree.tree_flatten_with_path(found)[0]]
        words = [".".join(_word(key) for key in path) for path in paths]
        return tuple((word and f"output.{word}") or "output" for word in words)

    def inputs(self) -> Iterator[Tensor]:
        """Yield an input of each batch size to compare outputs on."""
        draws = torch.Generator().manual_seed(_SEED)
        for batch in self.batches:
            shape = (batch, *self.example.shape[1:])
            if self.example.is_floating_point():
                yield torch.randn(shape, generator=draws, dtype=self.example.dtype)
            else:
                yield torch.randint(0, 2, shape, generator=draws, dtype=self.example.dtype)

    def layer(self, node: fx.Node) -> str:
        """Return the layer that a node came from: its name, and its class."""
        stack = node.meta.get("nn_module_stack") or {}
        found = [(str(path), kind) for path, kind, *_ in stack.values() if str(path)]
        if not found:
            return type(self.network).__name__
        path, kind = found[-1]
        return f"{path} ({getattr(kind, '__name__', str(kind)).rpartition('.')[2]})"


def _word(key: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


@dataclass(frozen=True)
class Difference:
    """How far apart two sets of outputs are at most.

    Args:
        batch: Batch size.
        absolute: Largest difference of two numbers.
        relative: The same divided by the largest number of the tensor, at most.
    """

    batch: int
    absolute: float
    relative: float


def exported(network: nn.Module, example: Tensor) -> Program:
    """Return the program of a network, its batch size free where the network leaves it so.

    Args:
        network: With its weights. Tuples with names that it returns become mappings from now on:
            files know no other type than those of Python.
        example: An input of batch size 1.

    Raises:
        EvaluationError: If its forward pass cannot be followed, or the program changes its weights.
    """
    network = network.eval()
    _require_constant(network, example)
    network.register_forward_hook(_plain_outputs)
    fixed = ""
    with quiet():
        try:
            batch = torch.export.Dim("batch")
            several = torch.cat([example] * 3)  # sizes 0 and 1 would be taken for constants
            program = torch.export.export(network, (several,), dynamic_shapes=({0: batch},))
        except Exception as error:
            fixed = one_line(error)
            try:
                program = torch.export.export(network, (example,))
            except Exception as other:
                raise EvaluationError(
                    f"a network to export must be one that torch.export can follow, got "
                    f"{one_line(other)}; write its forward pass without "
                    "branches on the values of tensors"
                ) from other
    return Program(network, program, example, fixed)


@torch.no_grad()
def _require_constant(network: nn.Module, example: Tensor) -> None:
    """Refuse a network whose next answer would be another one.

    Raises:
        EvaluationError: If a forward pass raises, or changes a buffer in evaluation mode.
    """
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        network(example)
    except Exception as error:
        raise EvaluationError(
            f"a network to export must run on its example input, got "
            f"{one_line(error)}; mend its forward pass, or example_input of its space"
        ) from error
    for name, buffer in network.named_buffers():
        if not torch.equal(buffer, before[name]):
            raise EvaluationError(
                f"a network to export must not change its buffers in evaluation mode, got changes "
                f"of {name}; change them only where self.training is set"
            )


def _plain_outputs(network: nn.Module, given: Any, outputs: Any) -> Any:
    """Return outputs in lists, tuples and mappings alone (a forward hook)."""
    return _plain(outputs)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: _plain(each) for name, each in zip(value._fields, value, strict=True)}
    if isinstance(value, list | tuple):
        return type(value)(_plain(each) for each in value)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value


@torch.no_grad()
def differences(
    program: Program, answer: Callable[[Tensor], Any], *, limit: float, what: str
) -> list[Difference]:
    """Compare outputs with the network's, at several batch sizes.

    Args:
        program: Whose network is right.
        answer: Gives the other outputs; nested as the network's, or as a flat list.
        limit: Largest relative difference.
        what: The compared file, for messages.

    Raises:
        EvaluationError: If they differ by more, in number or in shape.
    """
    found = []
    for x in program.inputs():
        right = pytree.tree_leaves(program.network(x))
        others = pytree.tree_leaves(answer(x))
        difference = _difference(len(x), right, others)
        if difference is None or not difference.relative <= limit:
            raise EvaluationError(
                f"{what} must give the network's outputs to within {limit:g} of the largest, got "
                f"{_seen(difference, right, others)} at batch size {len(x)}; export another format"
            )
        found.append(difference)
    return found


@torch.no_grad()
def require_shapes(program: Program, answer: Callable[[Tensor], Any], *, what: str) -> None:
    """Compare the shapes of outputs alone, for what is to give other numbers than the network.

    Raises:
        EvaluationError: If they differ at some batch size, or an output is not finite.
    """
    for x in program.inputs():
        right = pytree.tree_leaves(program.network(x))
        others = pytree.tree_leaves(answer(x))
        found = _difference(len(x), right, others)
        if found is None or not math.isfinite(found.absolute):
            raise EvaluationError(
                f"{what} must give finite outputs of the network's shapes, got "
                f"{_seen(found, right, others)} at batch size {len(x)}; export another format"
            )


def _difference(batch: int, right: Sequence[Tensor], others: Sequence[Tensor]) -> Difference | None:
    if [r.shape for r in right] != [o.shape for o in others]:
        return None
    absolute, relative = 0.0, 0.0
    for r, o in zip(right, others, strict=True):
        gap = float((r.double() - o.double()).abs().max())
        largest = float(r.double().abs().max())
        absolute = max(absolute, gap)
        relative = max(relative, gap / largest if largest else gap)
        if gap != gap:  # NaN is not lost in a maximum
            return Difference(batch, gap, gap)
    return Difference(batch, absolute, relative)


def _seen(found: Difference | None, right: Sequence[Tensor], others: Sequence[Tensor]) -> str:
    if found is not None:
        return f"{found.relative:.3g} ({found.absolute:.3g} absolute)"
    shapes = [", ".join(str(tuple(t.shape)) for t in some) for some in (others, right)]
    return f"the shapes {shapes[0]} instead of {shapes[1]}"


@contextmanager
def quiet() -> Iterator[None]:
    """Run a block without the warnings and log lines that torch's exporters write of themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
