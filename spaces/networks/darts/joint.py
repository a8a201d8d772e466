"""Mixtures of all operations on all edges, as few large operations instead of many small ones.

The mathematics is that of running each operation of each edge and adding what they give, times
their weights; rounding apart, values, gradients and batch-norm statistics are the same. What is
saved: edges that read one state share its ReLU and its pools; one operation of several edges is
one convolution of more channels; a batch norm multiplies by the weight of its operation; dilated
convolutions, with the layers behind them, run on the image taken apart into its four phases, where
their kernels are dense.

Only on a CPU while gradients are recorded; elsewhere, and for layers with hooks or of other
classes than those of `operations`, each candidate runs by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from ...layers import OneOf, Zero
from ...layers.depthwise import (
    DepthwiseConv2d,
    depthwise_conv2d,
    phases,
    records_on_cpu,
    unphased,
)
from .operations import AvgPool, DilConv, MaxPool, SepConv, added

if TYPE_CHECKING:
    from .cell import SearchNode

Norms: TypeAlias = "list[nn.BatchNorm2d]"

_TOGETHER = 2**18  # numbers of a tensor up to which running edges together pays
_SMALL = 8  # channels up to which one matrix with zeros is faster than several without


class Edge:
    """What one edge of a cell has to do.

    Args:
        layer: Its operations.
        node: Position of the node that it leads to.
        source: Position of the state that it reads.
        x: That state, or the part of its channels that the operations see.
        rest: The channels that pass the operations by, if there are any.
        scale: Weight of the edge in its node; None: 1.
    """

    def __init__(
        self,
        layer: OneOf,
        node: int,
        source: int,
        x: Tensor,
        rest: Tensor | None,
        scale: Tensor | None,
    ) -> None:
        self.layer, self.node, self.source = layer, node, source
        self.x, self.rest, self.scale = x, rest, scale
        self.candidates = list(layer.candidates)
        choice = layer.choice
        wanted = choice.allowed if layer.mode == "mix" else (choice.active,)
        self.columns = tuple(  # the positions of the operations that run and are not zero
            i
            for i, option in enumerate(choice.options)
            if option in wanted and not isinstance(self.candidates[i], Zero)
        )

    @property
    def weights(self) -> Tensor:
        """The weights of the operations, times that of the edge."""
        layer = self.layer
        if layer.mode == "one" or layer.weights is None:
            weights = self.x.new_ones(len(self.candidates))
        else:
            weights = layer.weights
        return weights if self.scale is None else weights * self.scale

    def zeros(self) -> Tensor:
        """Return what it gives when no operation but zero runs."""
        y: Tensor = next(c for c in self.candidates if isinstance(c, Zero))(self.x)
        return y


class Shared:
    """What the edges of a cell compute once, and what their batch norms have seen."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Tensor] = {}
        self._seen: dict[float, tuple[Norms, list[Tensor]]] = {}

    def of(self, name: str, edges: Sequence[Edge], function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return `function` of the states that the edges read, side by side."""
        for edge in edges:
            if (name, edge.source) not in self._known:
                self._known[name, edge.source] = function(edge.x)
        return _beside([self._known[name, edge.source] for edge in edges])

    def norm(self, x: Tensor, norms: Norms, weight: Tensor | None = None) -> Tensor:
        """Normalise the channels of several norms, and multiply each by a weight."""
        first = norms[0]
        if not first.training:
            mean = torch.cat([cast(Tensor, n.running_mean) for n in norms])
            variance = torch.cat([cast(Tensor, n.running_var) for n in norms])
            return F.batch_norm(x, mean, variance, weight, None, False, 0.0, first.eps)
        statistics = x.new_zeros(2, x.shape[1])
        y = F.batch_norm(x, statistics[0], statistics[1], weight, None, True, 1.0, first.eps)
        assert first.momentum is not None
        layers, seen = self._seen.setdefault(first.momentum, ([], []))
        layers += norms
        seen.append(statistics)
        return y

    @torch.no_grad()
    def finish(self) -> None:
        """Move the running statistics of the norms."""
        for momentum, (norms, seen) in self._seen.items():
            means, variances = torch.cat(seen, 1).view(2, len(norms), -1)
            running = [cast(Tensor, n.running_mean) for n in norms]
            torch._foreach_lerp_(running, means.unbind(), momentum)
            running = [cast(Tensor, n.running_var) for n in norms]
            torch._foreach_lerp_(running, variances.unbind(), momentum)
            torch._foreach_add_([cast(Tensor, n.num_batches_tracked) for n in norms], 1)


def runs_jointly(nodes: Sequence[SearchNode], x: Tensor) -> bool:
    """Return whether all nodes are mixtures that can be computed together."""
    if not records_on_cpu(x) or not all(node.mixes for node in nodes):
        return False
    hooked = (_hooked(m) for node in nodes for m in (node, node.junction, *node.edges))
    return not (any(hooked) or _has_any_global_hook())  # type: ignore[no-untyped-call]


def mixture(nodes: Sequence[SearchNode], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the states of a cell: its inputs, and the nodes, all of which mix."""
    states = list(inputs)
    shared, running = Shared(), [node.running() for node in nodes]
    arrived: list[list[tuple[Edge, Tensor]]] = [[] for _ in nodes]
    fresh = [0, 1]
    for i in range(len(nodes)):
        edges: list[Edge] = []
        for source in fresh:
            wanted = [n for n in range(i, len(nodes)) if source in running[n]]
            edges += _edges(nodes, wanted, source, states[source])
        for edge, y in _outputs(edges, shared):
            arrived[edge.node].append((edge, y))
        fresh = [len(states)]
        states.append(_sum(arrived[i]))
    shared.finish()
    return states


def _edges(
    nodes: Sequence[SearchNode], wanted: Sequence[int], source: int, x: Tensor
) -> Iterator[Edge]:
    """Yield the edges that lead from the state `x` to the nodes in `wanted`."""
    split = None
    for number in wanted:
        node = nodes[number]
        layer = node.layers[source]
        if layer.channels is not None and split is None:
            split = layer.channels.split(x)
        part, rest = (x, None) if split is None else split
        yield Edge(layer, number, source, part, rest, node.scale(source))


def _sum(arrived: Sequence[tuple[Edge, Tensor]]) -> Tensor:
    """Return the value of a node: what its edges give, and the channels that pass them by."""
    total = added([y for _, y in arrived])
    channels = arrived[0][0].layer.channels
    if channels is None:
        return total
    edges = [edge for edge, _ in arrived]
    rests = [e.rest if e.scale is None else e.rest * e.scale for e in edges if e.rest is not None]
    return channels.join(total, added(rests))


# ---------------------------------------------------------------- several edges at once
def _outputs(edges: Sequence[Edge], shared: Shared) -> Iterator[tuple[Edge, Tensor]]:
    """Yield what each edge gives; edges with the same operations run together."""
    alike: dict[object, list[Edge]] = {}
    for edge in edges:
        alike.setdefault((edge.layer.choice.options, edge.columns), []).append(edge)
    for group in alike.values():
        size = max(1, _TOGETHER // group[0].x.numel())
        for start in range(0, len(group), size):
            some = group[start : start + size]
            yield from zip(some, _together(some, shared).chunk(len(some), dim=1), strict=True)


def _together(edges: Sequence[Edge], shared: Shared) -> Tensor:
    """Return what edges with the same operations give, side by side: (N, edges C, H, W)."""
    width, columns = edges[0].x.shape[1], edges[0].columns
    if not columns:  # nothing but zeros
        return _beside([edge.zeros() for edge in edges])
    weights = torch.stack([edge.weights for edge in edges]).t()  # (operations, edges)
    scales = weights[:, :, None].repeat(1, 1, width).flatten(1).unbind()
    dense: list[Tensor] = []
    apart: list[Tensor] = []  # in phases
    for column in columns:
        candidates = [edge.candidates[column] for edge in edges]
        run = _joint(candidates)
        if run is None:
            each = zip(edges, candidates, weights[column].unbind(), strict=True)
            dense.append(_beside([layer(edge.x) * w for edge, layer, w in each]))
        else:
            y, in_phases = run(edges, candidates, scales[column], shared)
            (apart if in_phases else dense).append(y)
    if apart:
        dense.append(unphased(added(apart), 2))
    return added(dense)


def _joint(candidates: Sequence[nn.Module]) -> Run | None:
    """Return how one operation of several edges runs at once; None: one by one."""
    forms = {_form(candidate) for candidate in candidates}
    form = forms.pop()
    return None if forms or form is None else _RUNS[form[0]]


def _form(candidate: nn.Module) -> tuple[Any, ...] | None:
    """Return the class and the modes of an operation as this module knows it, or None."""
    kind = type(candidate)
    layers = (candidate, *candidate._modules.values())
    if tuple(map(type, layers[1:])) not in _LAYERS.get(kind, ()):
        return None
    modes = None
    for layer in layers:
        if layer is None or _hooked(layer):
            return None
        if isinstance(layer, nn.BatchNorm2d):
            own = (layer.training, layer.momentum, layer.eps)
            usual = layer.track_running_stats and not layer.affine and layer.momentum is not None
            if not usual or (modes and own != modes):
                return None
            modes = own
    return (kind, modes)


def _skip(
    edges: Sequence[Edge], candidates: Sequence[Any], scale: Tensor, shared: Shared
) -> tuple[Tensor, bool]:
    return shared.of("x", edges, lambda x: x) * scale.view(1, -1, 1, 1), False


def _pool(
    edges: Sequence[Edge], candidates: Sequence[Any], scale: Tensor, shared: Shared
) -> tuple[Tensor, bool]:
    pool = candidates[0][0]
    pooled = shared.of(type(pool).__name__, edges, pool)
    return shared.norm(pooled, [c[1] for c in candidates], scale), False


def _separable(
    edges: Sequence[Edge], candidates: Sequence[Any], scale: Tensor, shared: Shared
) -> tuple[Tensor, bool]:
    first, second = ([list(c)[i : i + 4] for c in candidates] for i in (0, 4))
    x = _convolve(shared.of("relu", edges, F.relu), first, first[0][1].stride[0], shared)
    return _convolve(F.relu_(x), second, 1, shared, scale), False


def _dilated(
    edges: Sequence[Edge], candidates: Sequence[Any], scale: Tensor, shared: Shared
) -> tuple[Tensor, bool]:
    stride = candidates[0][1].stride[0]
    height, width = edges[0].x.shape[2:]
    apart = stride == 1 and height % 2 == width % 2 == 0
    if apart:
        x = shared.of("phases", edges, lambda x: phases(F.relu(x), 2))
    elif stride == 2:
        x = shared.of("even", edges, lambda x: F.relu(x[..., ::2, ::2]))
    else:
        x = shared.of("relu", edges, F.relu)
    dilation = 1 if apart or stride == 2 else 2
    layers = [list(c) for c in candidates]
    return _convolve(x, layers, 1, shared, scale, dilation), apart


def _convolve(
    x: Tensor,
    layers: Sequence[Sequence[Any]],
    stride: int,
    shared: Shared,
    scale: Tensor | None = None,
    dilation: int = 1,
) -> Tensor:
    """Run depthwise convolutions, 1x1 convolutions and batch norms of several edges."""
    _, filters, matrices, norms = zip(*layers, strict=True)
    x = depthwise_conv2d(x, _cat([f.weight for f in filters]), stride, dilation)
    x = _mix_channels(x, [m.weight for m in matrices])
    return shared.norm(x, list(norms), scale)


def _mix_channels(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Run a 1x1 convolution on each of several blocks of channels.

    Args:
        x: (N, blocks C, H, W).
        weights: (C, C, 1, 1) for each block.
    """
    if len(weights) == 1:
        return F.conv2d(x, weights[0])
    width = len(weights[0])
    if width <= _SMALL:
        matrix = torch.block_diag(*[w[:, :, 0, 0] for w in weights])  # type: ignore[no-untyped-call]
        return F.conv2d(x, matrix[:, :, None, None])
    n, _, height, side = x.shape
    blocks = x.permute(0, 2, 3, 1).reshape(-1, len(weights), width).transpose(0, 1)
    y = torch.bmm(blocks, torch.cat(list(weights), 2)[..., 0].permute(2, 1, 0))
    return y.transpose(0, 1).reshape(n, height, side, -1).permute(0, 3, 1, 2)


def _beside(parts: Sequence[Tensor]) -> Tensor:
    """Return tensors side by side in their channels."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


def _cat(weights: Sequence[Tensor]) -> Tensor:
    return weights[0] if len(weights) == 1 else torch.cat(list(weights))


def _hooked(layer: nn.Module) -> bool:
    """Return whether calling the layer does more than its forward pass."""
    return bool(
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
    )


Run: TypeAlias = Callable[[Sequence[Edge], Sequence[Any], Tensor, Shared], tuple[Tensor, bool]]

_CONVOLUTION = (nn.ReLU, DepthwiseConv2d, nn.Conv2d, nn.BatchNorm2d)
_LAYERS: dict[type[nn.Module], tuple[tuple[type[nn.Module], ...], ...]] = {
    nn.Identity: ((),),
    nn.Sequential: ((MaxPool, nn.BatchNorm2d), (AvgPool, nn.BatchNorm2d)),
    SepConv: (_CONVOLUTION * 2,),
    DilConv: (_CONVOLUTION,),
}
_RUNS: dict[type[nn.Module], Run] = {
    nn.Identity: _skip,
    nn.Sequential: _pool,
    SepConv: _separable,
    DilConv: _dilated,
}
