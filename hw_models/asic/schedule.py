"""Several networks at once on the accelerators of a chip: which layer runs where and when.

Each network is a chain of layers, each accelerator runs one layer at a time to its end. A layer
goes where it is done first, given what already runs there; which network goes on is decided the
same way. That is a list schedule, not the best one (an NP-hard problem): no shorter than the
longest network at its fastest, nor than the work divided by the accelerators.

Source: NASAIC (arXiv 2002.04116) for the problem; the rule is that of the earliest finish time
(Topcuoglu et al., TPDS 13(3), 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """One layer of a schedule.

    Args:
        network: Position of its network.
        layer: Position in the network.
        place: Position of the accelerator.
        start: When it starts.
        end: When it is done.
    """

    network: int
    layer: int
    place: int
    start: float
    end: float


def schedule(times: Sequence[Sequence[Sequence[float]]]) -> list[Step]:
    """Return the steps in the order in which they were decided.

    Args:
        times: For each network and layer, what it takes on each accelerator.
    """
    places = range(len(next((layer for chain in times for layer in chain), ())))
    free = [0.0 for _ in places]
    ready = [0.0 for _ in times]
    done = [0 for _ in times]
    waiting = [n for n, chain in enumerate(times) if chain]
    steps = []
    while waiting:
        end, n, place = min(
            (max(ready[n], free[k]) + times[n][done[n]][k], n, k) for n in waiting for k in places
        )
        steps.append(Step(n, done[n], place, max(ready[n], free[place]), end))
        ready[n] = free[place] = end
        done[n] += 1
        if done[n] == len(times[n]):
            waiting.remove(n)
    return steps
