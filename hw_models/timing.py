"""How long a network takes on this machine: the stop-watch behind calibration."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map

from ..errors import EvaluationError, MissingDependency
from .dtypes import Dtype

WARM_RUNS = 5
WARM_S = 0.2  # clocks and allocators settle, also under networks that take microseconds


@dataclass(frozen=True)
class Timing:
    """Milliseconds of single runs, summed up.

    Args:
        median_ms: Half of the runs were faster.
        q1_ms: A quarter was faster.
        q3_ms: Three quarters were faster.
        runs: How many there were, warm-up left out.
    """

    median_ms: float
    q1_ms: float
    q3_ms: float
    runs: int

    @property
    def spread_percent(self) -> float:
        """The distance between the quartiles, in per cent of the median."""
        return 100 * (self.q3_ms - self.q1_ms) / self.median_ms


def time_network(
    module: nn.Module,
    example_input: Any,
    *,
    place: str = "cpu",
    batch: int = 1,
    dtype: Dtype = "float32",
    runs: int = 30,
    seed: int = 0,
) -> Timing:
    """Run a network in evaluation mode and return how long it took.

    Each run is timed alone, from its call to the end of its last kernel.

    Args:
        module: The network.
        example_input: A tensor or a tuple of positional arguments, at batch 1.
        place: `cpu` or `cuda`.
        batch: Images at once.
        dtype: Number format of weights and of floating-point inputs.
        runs: Timed runs, after a warm-up of at least 5 runs and 0.2 s.
        seed: Of the random inputs.

    Raises:
        EvaluationError: If the network cannot run so; the cause is chained.
    """
    try:
        ready = module.eval().to(device=place, dtype=getattr(torch, dtype))
        inputs = _inputs(example_input, place, batch, getattr(torch, dtype), seed)
        arguments = inputs if isinstance(inputs, tuple | list) else (inputs,)
        with torch.inference_mode():
            step = _step(ready, arguments, place)
            _warm(step)
            spent = [step() for _ in range(runs)]
    except Exception as error:
        raise EvaluationError(
            f"{type(module).__name__} cannot run on {place} at batch {batch} in {dtype}: "
            f"{type(error).__name__}: {error}; choose another batch or number format"
        ) from error
    q1, median, q3 = np.percentile(np.array(spent) * 1e3, [25, 50, 75]).tolist()
    return Timing(median, q1, q3, runs)


def _inputs(example: Any, place: str, batch: int, dtype: torch.dtype, seed: int) -> Any:
    """Return inputs of the batch; random where they are numbers: zeros may take short cuts."""
    generator = torch.Generator().manual_seed(seed)

    def made(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        shape = (value.shape[0] * batch, *value.shape[1:])
        if not value.is_floating_point():
            return torch.cat([value] * batch).to(place)
        return torch.rand(shape, generator=generator).to(device=place, dtype=dtype)

    return tree_map(made, example)


def _step(module: nn.Module, arguments: Any, place: str) -> Callable[[], float]:
    """Return a function that runs the network once and returns the seconds."""
    wait: Callable[[], None] = torch.cuda.synchronize if place == "cuda" else _nothing

    def step() -> float:
        wait()
        start = time.perf_counter()
        module(*arguments)
        wait()
        return time.perf_counter() - start

    return step


def _nothing() -> None:
    """Wait for nothing: a CPU has finished when a call returns."""


def _warm(step: Callable[[], float]) -> None:
    spent, runs = 0.0, 0
    while runs < WARM_RUNS or spent < WARM_S:
        spent += step()
        runs += 1


@contextmanager
def thread_count(threads: int | None) -> Iterator[int]:
    """Let torch compute with so many threads (None: as many as it would), and yield the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def hardware_name(place: str) -> str:
    """Return what the machine calls the processor.

    Raises:
        MissingDependency: If there is no CUDA device.
    """
    if place == "cuda":
        if not torch.cuda.is_available():
            raise MissingDependency(
                "measuring on cuda needs a CUDA device and a build of torch for it; "
                "netloom doctor says what there is"
            )
        return str(torch.cuda.get_device_name())
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()
