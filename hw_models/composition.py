"""Workloads of architectures from the workloads of their parts, each part traced once.

What a part costs inside is worked out once and remembered with it; composing a network of a
hundred known parts is a walk over a short list. The layers themselves are joined only when asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Protocol, cast

from ..errors import TraceError
from .composed_peak import composed_peak
from .dtypes import DTYPE_BYTES, FLOAT_BYTES, Dtype
from .graph import in_place
from .workload import Layer, Shape, Tensor, Workload

NETWORK_INPUT = -1


class InputLike(Protocol):
    """Where a part reads one tensor: `source` is a position among the parts, or -1."""

    @property
    def source(self) -> int: ...  # noqa: D102

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102


class PartLike(Protocol):
    """A keyed piece of a network, as `netloom.spaces.Part` is one."""

    @property
    def key(self) -> str: ...  # noqa: D102

    @property
    def label(self) -> str: ...  # noqa: D102

    @property
    def build(self) -> Callable[[], Any]: ...  # noqa: D102

    @property
    def inputs(self) -> Sequence[InputLike]: ...  # noqa: D102


class KeyedParts(Protocol):
    """Parts in execution order, as `netloom.spaces.graph.Parts` are some."""

    @property
    def keys(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def sources(self) -> Sequence[tuple[int, ...]]: ...  # noqa: D102

    def labels(self) -> Sequence[str]: ...  # noqa: D102

    def __iter__(self) -> Iterator[Any]: ...


class PartCache:
    """Workloads of parts by key: each distinct part of any network is built and traced once.

    A part is built on the meta device where its constructor allows, and traced on float32 inputs
    of the shapes it declares.
    """

    def __init__(self) -> None:
        self._workloads: dict[str, Workload] = {}

    def __len__(self) -> int:
        return len(self._workloads)

    def workload(self, part: PartLike) -> Workload:
        """Return the workload of one part.

        Raises:
            TraceError: If the part cannot be built or traced; the cause is chained.
        """
        known = self._workloads.get(part.key)
        if known is None:
            known = self._workloads[part.key] = self._trace(part)
        return known

    def compose(self, parts: Sequence[PartLike]) -> Workload:
        """Return the workload of the network that `parts` make up.

        Parts that give their keys and sources as lists (`KeyedParts`) are not looked at one by one.
        A network whose last part returns several tensors is joined at once.
        """
        known = self._workloads
        if not hasattr(parts, "sources"):
            return _composed(parts, [known.get(p.key) or self.workload(p) for p in parts])
        keyed = cast(KeyedParts, parts)
        found = list(map(known.get, keyed.keys))
        if None in found:
            found = [self.workload(part) for part in parts]
        return _keyed(keyed, cast("list[Workload]", found))

    def _trace(self, part: PartLike) -> Workload:
        import torch

        from .tracer import trace_built

        try:
            operands = tuple(torch.empty(i.shape, device="meta") for i in part.inputs)
            return trace_built(part.build, operands)
        except Exception as error:
            raise TraceError(f"part {part.label!r}: {error}") from error


def compose(parts: Sequence[tuple[PartLike, Workload]]) -> Workload:
    """Return the workload of a network from its parts in execution order.

    What the last part returns, one tensor or several, the network returns. Equal to `trace` of
    the whole network in params, MACs, layers (but for their names) and memory.

    Raises:
        TraceError: If a part reads from one that does not come before it, does not return one
            tensor though others follow, or was traced with another number of inputs.
    """
    return _composed([part for part, _ in parts], [workload for _, workload in parts])


def _composed(parts: Sequence[PartLike], workloads: Sequence[Workload]) -> Workload:
    if not parts:
        raise TraceError("a network needs at least one part, got none")
    sources: list[tuple[int, ...]] = []
    for position, (part, workload) in enumerate(zip(parts, workloads, strict=True)):
        inputs = part.inputs
        count = len(inputs)
        read = (inputs[0].source,) if count == 1 else tuple([i.source for i in inputs])
        last = position == len(parts) - 1 and workload.arity[1] > 1
        if workload.arity != (count, 1) and not (last and workload.arity[0] == count):
            raise TraceError(
                f"part {part.label!r} must take {len(read)} tensors and return one; its workload "
                f"has {len(workload.inputs)} and {len(workload.outputs)} (only the last part of a "
                "network may return several)"
            )
        for source in read:
            if not NETWORK_INPUT <= source < position:
                raise TraceError(f"part {part.label!r} must read from parts before it, got {read}")
        sources.append(read)
    labels = [part.label for part in parts]
    if workloads[-1].arity[1] > 1:
        return _whole(labels, workloads, sources)
    return ComposedWorkload(partial(list, labels), workloads, sources)


def _whole(
    labels: Sequence[str], workloads: Sequence[Workload], sources: Sequence[tuple[int, ...]]
) -> Workload:
    """Return the joined workload of a network with several outputs.

    What costs are worked out from part by part has one tensor between parts and at the end.
    """
    layers, tensors, outputs = _join(labels, workloads, sources)
    return Workload(
        layers,
        tensors,
        inputs=(0,),
        outputs=outputs,
        params=sum([w.params for w in workloads]),
        weight_bytes=sum([w.weight_bytes for w in workloads]),
    )


def _keyed(parts: KeyedParts, workloads: Sequence[Workload]) -> Workload:
    """Return what `_composed` does; the parts are known to read from parts before them."""
    sources = parts.sources
    if not workloads or [w.arity for w in workloads] != [(len(s), 1) for s in sources]:
        return _composed(list(parts), workloads)  # says what is wrong
    return ComposedWorkload(parts.labels, workloads, sources)


class ComposedWorkload(Workload):
    """The workload of a network of parts; made by `compose`."""

    def __init__(
        self,
        labels: Callable[[], Sequence[str]],
        workloads: Sequence[Workload],
        sources: Sequence[tuple[int, ...]],
    ) -> None:
        self._name, self._workloads, self._sources = labels, workloads, tuple(sources)
        self.casts: dict[str, Workload] = {}
        self._cast_from: ComposedWorkload | None = None
        self._scaled: tuple[ComposedWorkload, int, int] | None = None  # cast from, bytes now, then

    @cached_property
    def params(self) -> int:  # type: ignore[override]
        """Elements of all parameters of the parts."""
        return sum([w.params for w in self._workloads])

    @cached_property
    def weight_bytes(self) -> int:  # type: ignore[override]
        """Bytes of all parameters and buffers of the parts."""
        return sum([w.weight_bytes for w in self._workloads])

    @cached_property
    def _labels(self) -> Sequence[str]:
        return self._name()

    @cached_property
    def dtype(self) -> str:
        """The floating-point format that its parts were traced in."""
        return self._workloads[0].dtype

    def _cast(self, dtype: Dtype) -> ComposedWorkload:
        parts = [w.casts.get(dtype) or w.cast(dtype) for w in self._workloads]
        found = ComposedWorkload(self._name, parts, self._sources)
        found._cast_from = self
        if all(w.only_floats for w in self.distinct):  # every byte scales alike
            found._scaled = (self, DTYPE_BYTES[dtype], FLOAT_BYTES[self.dtype])
        return found

    @property
    def parts(self) -> Sequence[Workload]:
        """The workloads of the parts, in execution order."""
        return self._workloads

    @cached_property
    def distinct(self) -> Sequence[Workload]:
        """The workloads of the parts, each once."""
        return tuple(dict.fromkeys(self._workloads))

    @property
    def input_shape(self) -> Shape:
        """Shape of the network's input."""
        return _input(self._workloads, self._sources).shape

    def at_resolution(self, height: int, width: int) -> ComposedWorkload:
        """Return the same network for images of another size; see `Workload.at_resolution`."""
        from .resolution import image_shape, refusal
        from .shape_rules import Refused

        image = image_shape([self.input_shape], height, width)
        found: list[Workload] = []
        shapes: list[Shape] = []
        for label, work, source in zip(self._labels, self._workloads, self._sources, strict=True):
            given = tuple([image if s == NETWORK_INPUT else shapes[s] for s in source])
            try:
                found.append(work.at_shapes(given))
            except Refused as refused:
                name = f"{label}.{refused.layer}" if refused.layer else label
                raise refusal(name, refused, height, width) from refused
            shapes.append(found[-1].tensors[found[-1].outputs[0]].shape)
        return ComposedWorkload(self._name, found, self._sources)

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of all convolutions, linear layers and matrix products."""
        origin = self._cast_from
        return sum([w.macs for w in self._workloads]) if origin is None else origin.macs

    @cached_property
    def pieces(self) -> tuple[tuple[str, Workload], ...]:
        """The labelled workloads of the parts, in execution order."""
        return tuple(zip(self._labels, self._workloads, strict=True))

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """For each part, where its inputs come from: the position of a part, or -1."""
        return self._sources

    @cached_property
    def peak_activation_bytes(self) -> int:
        """Largest number of bytes of activations alive at once (no allocator, no fusion)."""
        if self._scaled is not None:
            origin, new, old = self._scaled
            return origin.peak_activation_bytes * new // old
        given = _input(self._workloads, self._sources).size_bytes
        return composed_peak(self._workloads, self._sources, given)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in execution order; names start with the label of their part."""
        return self._joined[0]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors; their position is their identity."""
        return self._joined[1]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Indices of the network's inputs."""
        return (0,)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Indices of what the network returns."""
        return self._joined[2]

    @cached_property
    def _joined(self) -> tuple[tuple[Layer, ...], tuple[Tensor, ...], tuple[int, ...]]:
        return _join(self._labels, self._workloads, self._sources)


def _join(
    labels: Sequence[str], workloads: Sequence[Workload], sources: Sequence[tuple[int, ...]]
) -> tuple[tuple[Layer, ...], tuple[Tensor, ...], tuple[int, ...]]:
    """Return the layers and tensors of the whole network, and the indices of its outputs."""
    tensors = [_input(workloads, sources)._replace(storage=0, consumers=())]
    layers: list[Layer] = []
    consumers: list[list[int]] = [[]]
    results: list[int] = []
    image = 0
    for label, work, source in zip(labels, workloads, sources, strict=True):
        offset = len(layers)
        given = [image if s == NETWORK_INPUT else results[s] for s in source]
        place = dict(zip(work.inputs, given, strict=True))
        for index, tensor in enumerate(work.tensors):
            if index in place:
                continue
            place[index] = len(tensors)
            owner = tensors[place[tensor.storage]].storage if tensor.storage != index else None
            tensors.append(
                tensor._replace(
                    storage=place[index] if owner is None else owner,
                    producer=None if tensor.producer is None else tensor.producer + offset,
                )
            )
            consumers.append([])
        for number, layer in enumerate(work.layers, start=offset):
            read = tuple([place[i] for i in layer.inputs])
            written = tuple([place[i] for i in layer.outputs])
            name = f"{label}.{layer.name}" if layer.name else label
            layers.append(layer._replace(name=name, inputs=read, outputs=written))
            for index in set(read):
                consumers[index].append(number)
        results.append(place[work.outputs[0]])
        if renamed := _overwritten(work, place):
            image = renamed.get(image, image)
            results = [renamed.get(i, i) for i in results]
    returned = tuple([place[i] for i in work.outputs[1:]])  # beside the first, of the last part
    joined = [t._replace(consumers=tuple(c)) for t, c in zip(tensors, consumers, strict=True)]
    return tuple(layers), tuple(joined), (results[-1], *returned)


def _overwritten(work: Workload, place: Mapping[int, int]) -> dict[int, int]:
    """Return the inputs that a part overwrites in place, with the tensors that they become.

    Who reads such an input after the part reads what the part wrote.
    """
    last = {index: index for index in work.inputs}  # the name of each input's object by now
    for layer in work.layers:
        if in_place(layer, work.tensors):
            for given, now in last.items():
                if now in layer.inputs and len(layer.outputs) == 1:
                    written = layer.outputs[0]
                    same = work.tensors[written].shape == work.tensors[given].shape
                    if same and work.tensors[written].storage == work.tensors[given].storage:
                        last[given] = written
    return {place[given]: place[now] for given, now in last.items() if now != given}


def _input(workloads: Sequence[Workload], sources: Sequence[tuple[int, ...]]) -> Tensor:
    for work, source in zip(workloads, sources, strict=True):
        if NETWORK_INPUT in source:
            return work.tensors[work.inputs[source.index(NETWORK_INPUT)]]
    raise TraceError("a network needs at least one part that reads its input, got none")
