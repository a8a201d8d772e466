"""Which layers run as one kernel, for runtimes that fuse.

Layers run in execution order. A layer joins the kernel that wrote one of its operands when that
kernel can take it up (`fusion_rules`) and nobody else reads the operand; of several such operands,
the one written last. What only the next layer reads never leaves the kernel.

- `eager`: every layer is a kernel of its own, also one that does not matter for the output.
- `compiled`: a convolution, linear layer or matrix product takes up batch norms, activations and
  element-wise layers; these also form kernels of their own, which take up norms with statistics.
  `q k^T`, softmax and the product with `v` are one kernel, with what scales or masks between
  them, as is an attention layer.
- `tflm`: convolution or linear layer, batch norm folded into it, ReLU or ReLU6; additions, products
  of maps, pools with a window and batch norms that stand alone take up a ReLU or ReLU6 too.
- `tinyengine`: as `tflm`, and padding is part of the convolution that reads it.

All but `eager` leave out layers without a path to the output, which compilers and exporters
remove; `tflm` and `tinyengine` also those that do not depend on the input, which converters compute
once. Views move nothing and belong to no kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import SpecError
from .fusion_piece import CLOSED, Given, Group, Kernel, Piece, Use
from .fusion_rules import RULES, RUNTIMES, Runtime, State
from .workload import Workload

__all__ = ["RUNTIMES", "Kernel", "Runtime", "fusion_groups", "kernels"]


def fusion_groups(workload: Workload, runtime: Runtime) -> tuple[tuple[int, ...], ...]:
    """Return the layers of each kernel, kernels in the order in which their last layers run.

    Raises:
        SpecError: If there is no such runtime.
    """
    _check(runtime)
    if runtime == "eager":
        return tuple([(i,) for i, layer in enumerate(workload.layers) if not layer.view])
    pieces, chains = _fused(workload, runtime)
    offsets, count = [], 0
    for piece in pieces:
        offsets.append(count)
        count += len(piece.layers)
    found = [
        tuple([offsets[place] + i for place, group in chain for i in group.layers])
        for chain in chains
    ]
    return tuple(sorted(found, key=lambda group: group[-1]))


def kernels(workload: Workload, runtime: Runtime) -> tuple[Kernel, ...]:
    """Return the kernels that `fusion_groups` describes, in no particular order.

    A workload composed of parts is looked up part by part; its layers are not joined.

    Raises:
        SpecError: If there is no such runtime.
    """
    _check(runtime)
    if runtime == "eager":
        return tuple([k for piece in workload.parts for k in _singles(piece)])
    pieces, chains = _fused(workload, runtime)
    return tuple([_kernel(pieces, chain) for chain in chains])


def _check(runtime: str) -> None:
    if runtime not in RUNTIMES:
        raise SpecError(f"runtime must be one of {', '.join(RUNTIMES)}, got {runtime!r}")


def _singles(piece: Workload) -> tuple[Kernel, ...]:
    known: tuple[Kernel, ...] | None = piece.memo.get("eager")
    if known is None:
        known = piece.memo["eager"] = tuple(
            [Kernel((x,), x.input_bytes, x.output_bytes) for x in piece.layers if not x.view]
        )
    return known


# the groups of one kernel, each with the position of its piece
Chain = list[tuple[int, Group]]


def _fused(workload: Workload, runtime: Runtime) -> tuple[list[Piece], list[Chain]]:
    """Return the pieces of a network and the kernels that it runs as."""
    pieces = [_piece(work, runtime) for work in workload.parts]
    sources = workload.sources
    if len(pieces) > 1 and any(piece.writes_inputs for piece in pieces):
        # what a piece reads may change before it runs: only the joined graph tells
        pieces, sources = [_piece(workload, runtime)], ((-1,) * len(workload.inputs),)
    uses = _uses(pieces, sources)
    readers = _readers(uses, sources)
    chains: list[Chain] = []
    ends: dict[int, tuple[int, State, int]] = {}  # position of a piece -> chain, state, size
    for i, use in enumerate(uses):
        if use is None:
            continue
        roots = [readers.root(s) for s in sources[i]]
        given = _given(roots, [ends.get(r) if readers.count[r] == 1 else None for r in roots])
        groups = pieces[i].walk(use, given)
        for group in groups:
            if group.joins is None:
                chains.append([(i, group)])
                place = len(chains) - 1
            else:
                place = ends[roots[group.joins]][0]
                chains[place].append((i, group))
            if group.writes_output and group.state:
                ends[i] = (place, group.state, pieces[i].output_size)
    return pieces, [half for chain in chains for half in _settled(pieces, chain)]


def _piece(workload: Workload, runtime: Runtime) -> Piece:
    known: Piece | None = workload.memo.get(runtime)
    if known is None:
        known = workload.memo[runtime] = Piece(workload, RULES[runtime])
    return known


def _uses(pieces: Sequence[Piece], sources: Sequence[tuple[int, ...]]) -> list[Use | None]:
    """Return how each piece uses its inputs; None for one that nobody needs."""
    varies: list[tuple[bool, ...]] = []
    changes: list[bool] = []  # which outputs depend on the network's input
    for piece, read in zip(pieces, sources, strict=True):
        varies.append(tuple([s < 0 or changes[s] for s in read]))
        changes.append(piece.use(varies[-1]).varies)
    needed = [False] * len(pieces)
    needed[-1] = True
    uses: list[Use | None] = [None] * len(pieces)
    for i in range(len(pieces) - 1, -1, -1):
        if needed[i]:
            uses[i] = use = pieces[i].use(varies[i])
            for source, wanted in zip(sources[i], use.needed, strict=True):
                if wanted and source >= 0:
                    needed[source] = True
    return uses


class _Readers:
    """Who reads the output of each piece."""

    def __init__(self, count: int) -> None:
        self._root = list(range(count))  # the piece that wrote what a piece gives
        self.count = [0] * (count + 1)  # the last one is the network's input, piece -1

    def root(self, source: int) -> int:
        return source if source < 0 else self._root[source]

    def alias(self, piece: int, source: int) -> None:
        self._root[piece] = self.root(source)


def _readers(uses: Sequence[Use | None], sources: Sequence[tuple[int, ...]]) -> _Readers:
    found = _Readers(len(uses))
    for i, use in enumerate(uses):
        if use is None:
            continue
        readers: dict[int, frozenset[int]] = {}
        for source, layers in zip(sources[i], use.readers, strict=True):
            root = found.root(source)
            readers[root] = readers[root] | layers if root in readers else layers
        for root, layers in readers.items():
            found.count[root] += len(layers)
        if use.alias is None:
            found.count[i] += use.inner
        else:
            found.alias(i, sources[i][use.alias])
    found.count[found.root(len(uses) - 1)] += 1  # whoever asked for the output
    return found


def _given(
    roots: Sequence[int], ends: Sequence[tuple[int, State, int] | None]
) -> tuple[Given, ...]:
    """Return what a piece may join at each input; later kernels have larger numbers."""
    if not any(ends):
        return (CLOSED,) * len(roots)
    order = {root: n for n, root in enumerate(sorted(set(roots)))}
    return tuple(
        [
            CLOSED if end is None else Given(end[1], end[2], order[root])
            for root, end in zip(roots, ends, strict=True)
        ]
    )


def _settled(pieces: Sequence[Piece], chain: Chain) -> list[Chain]:
    """Part scores and softmax again where no product with `v` followed them."""
    if chain[-1][1].state != "weights":
        return [chain]
    for n, (place, group) in enumerate(chain):
        kinds = [pieces[place].layers[i].kind for i in group.layers]
        if "softmax" in kinds:
            first, second = pieces[place].parted(group, kinds.index("softmax"))
            head = [*chain[:n], *([(place, first)] if first else [])]
            return [head, [(place, second), *chain[n + 1 :]]]
    raise AssertionError("weights without a softmax")


def _kernel(pieces: Sequence[Piece], chain: Chain) -> Kernel:
    place, group = chain[0]
    if len(chain) == 1:
        return group.kernel
    return pieces[place].joined(tuple([g.kernel for _, g in chain]))
