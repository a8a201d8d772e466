"""When tensors live, the bytes alive at each step, and what a part adds to those of a network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .workload import Tensor, Workload


def lifetimes(
    tensors: Sequence[Tensor], layers: int, outputs: Sequence[int]
) -> dict[int, tuple[int, int]]:
    """Return, for each storage of an input or activation, the first and last step it is alive.

    Step 0 is before the first layer, step i + 1 is layer i. A tensor that nobody reads lives while
    it is written.
    """
    spans: dict[int, tuple[int, int]] = {}
    results = set(outputs)
    for index, tensor in enumerate(tensors):
        if tensors[tensor.storage].role == "constant":
            continue
        first = 0 if tensor.producer is None else tensor.producer + 1
        last = tensor.consumers[-1] + 1 if tensor.consumers else first
        if index in results:
            last = layers
        old = spans.get(tensor.storage)
        spans[tensor.storage] = (
            (first, last) if old is None else (min(old[0], first), max(old[1], last))
        )
    return spans


def liveness(tensors: Sequence[Tensor], layers: int, outputs: Sequence[int]) -> tuple[int, ...]:
    """Return the bytes alive at each of the `layers + 1` steps; see `Workload.live_bytes`."""
    change = [0] * (layers + 2)
    for storage, (first, last) in lifetimes(tensors, layers, outputs).items():
        change[first] += tensors[storage].size_bytes
        change[last + 1] -= tensors[storage].size_bytes
    return tuple(accumulate(change[:-1]))


class MemoryProfile:
    """How much memory a workload with one output needs as a part of a larger one.

    Args:
        workload: The part.
        read_later: Whether its output is still needed after it.
    """

    def __init__(self, workload: Workload, *, read_later: bool) -> None:
        tensors, count = workload.tensors, len(workload.layers)
        position = {tensors[index].storage: n for n, index in enumerate(workload.inputs)}
        change = [0] * (count + 2)
        #: step at which each input is needed last; 0: never
        self.last = [0] * len(workload.inputs)
        spans = lifetimes(tensors, count, workload.outputs if read_later else ())
        for storage, (first, last) in spans.items():
            if storage in position:
                self.last[position[storage]] = last
            else:
                change[first] += tensors[storage].size_bytes
                change[last + 1] -= tensors[storage].size_bytes
        #: that of the first input
        self.first_last = self.last[0] if self.last else 0
        self._own = tuple(accumulate(change[:-1]))
        #: most bytes alive at once, inputs left out
        self.top = max(self._own)
        owner = tensors[workload.outputs[0]].storage
        #: the input in whose memory the output lives, if any
        self.alias = position.get(owner)
        #: what the output occupies
        self.output_bytes = 0 if tensors[owner].role == "constant" else tensors[owner].size_bytes
        self._peaks: dict[tuple[tuple[int, int], ...], int] = {}
        #: `peak_with` by its argument
        self.peaks: dict[int, int] = {}

    def peak_with(self, size: int) -> int:
        """Return the most bytes alive at once, when the only input, of `size` bytes, ends here."""
        found = self.peaks[size] = self.peak(((self.last[0], size),))
        return found

    def peak(self, ending: tuple[tuple[int, int], ...]) -> int:
        """Return the most bytes alive at once, with inputs that end in this part.

        Args:
            ending: (last step, bytes) of the memory of each such input.
        """
        known = self._peaks.get(ending)
        if known is None:
            known = self._peaks[ending] = max(
                own + sum([size for last, size in ending if step <= last])
                for step, own in enumerate(self._own)
            )
        return known
