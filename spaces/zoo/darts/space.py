"""The cell space of DARTS and PC-DARTS, with its search network and its final networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ....errors import InvalidArchitecture, SpecError, did_you_mean
from ...arguments import with_preset
from ...decision import Architecture
from ...networks.darts.plan import KINDS, Plan, plan
from ...part import Part
from ...space import Space
from ..checks import LONGEST, at_least, true_or_false
from .form import Form
from .genotype import KEYS, Cell, read_genotype, read_python, write_genotype
from .operations import NONE, choices, operations_of
from .parts import network_parts
from .published import published_cells

if TYPE_CHECKING:
    from torch import nn

    from ...layers import ModuleSupernet

_SKELETONS: dict[str, dict[str, int]] = {
    "cifar": {"channels": 36, "layers": 20, "classes": 10, "resolution": 32},
    "imagenet": {"channels": 48, "layers": 14, "classes": 1000, "resolution": 224},
}
_SEARCH = {"full": (16, 8), "tiny": (4, 3)}  # channels and cells of the search network


class Darts(Space):
    """The cell space of DARTS: a normal and a reduction cell whose nodes add two operations each.

    Written as a genotype, `{"normal": [[operation, input], ...], "normal_concat": [2, 3, 4, 5],
    "reduce": ..., "reduce_concat": ...}`, two pairs for each node, or as a published one's name.
    Pairs of a node have no order; they are printed by input. Cells of another form (those of
    NASNet and AmoebaNet have five nodes, repeat inputs, put out some of the nodes and have more
    operations) are read and built too; they are one decision.

    The super-network is the search network: every operation on every edge, cells of a kind share
    the choices, batch norms without scale and shift, one behind each pool, usually smaller than
    the final networks. Extracting gives the network of a genotype in that style.

    Source: arXiv 1806.09055, 1907.05737, 1909.09656; quark0/darts: cnn/model.py, model_search.py;
    yuhuixu1993/PC-DARTS: model_search.py, model_search_imagenet.py.

    Args:
        preset: `full`, the networks of the papers, or `tiny`; sets the options left out.
        skeleton: `cifar` (one 3x3 convolution as stem) or `imagenet` (three of stride 2).
        channels: Width of the first cell, even; 36 for CIFAR, 48 for ImageNet.
        layers: Number of cells, two of which are reductions; 20 and 14.
        classes: Number of outputs; 10 and 1000.
        resolution: Side of the square image; 32 and 224.
        auxiliary: Whether final networks have the auxiliary classifier; in train mode they then
            return its outputs too.
        steps: Nodes of a cell.
        multiplier: How many of the last nodes a cell puts out.
        operations: To choose from on each edge: `darts`, the stress spaces `S1` .. `S4`, or a list.
        in_channels: Channels of the image.
    """

    name = "darts"
    notation = '{"normal": [[operation, input], ...], "normal_concat": [...], "reduce": ..., ...}'
    presets: ClassVar = {"full": {}, "tiny": {"channels": 4, "layers": 3, "resolution": 16}}
    mixture = True

    def __init__(
        self,
        *,
        preset: str = "full",
        skeleton: Literal["cifar", "imagenet"] = "cifar",
        channels: int | None = None,
        layers: int | None = None,
        classes: int | None = None,
        resolution: int | None = None,
        auxiliary: bool = False,
        steps: int = 4,
        multiplier: int = 4,
        operations: str | Sequence[str] = "darts",
        in_channels: int = 3,
    ) -> None:
        if skeleton not in tuple(_SKELETONS):  # a list is none, but not hashable
            raise SpecError(f"skeleton must be cifar or imagenet, got {skeleton!r}")
        given = {"channels": channels, "layers": layers, "classes": classes}
        given["resolution"] = resolution
        o = _filled(skeleton, with_preset(self.name, {"preset": preset, **given}, self.presets))
        sizes = {name: o[name] for name in given}
        at_least(1, **sizes, in_channels=in_channels)
        at_least(1, LONGEST, layers=o["layers"], steps=steps, multiplier=multiplier)
        true_or_false(auxiliary=auxiliary)
        _check_even(channels=o["channels"])
        if multiplier > steps:
            raise SpecError(f"multiplier must be at most steps, {steps}; got {multiplier}")
        self._preset, self._skeleton, self._auxiliary = preset, skeleton, auxiliary
        self._channels, self._layers = o["channels"], o["layers"]
        self._image = (in_channels, o["classes"], o["resolution"])
        self._searched = operations_of(operations, steps)
        self._concat = tuple(range(2 + steps - multiplier, 2 + steps))
        finished = choices(self._searched)
        self._forms = {kind: Form(kind, finished[kind], self._concat) for kind in KINDS}
        super().__init__([d for form in self._forms.values() for d in form.decisions()])

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options; those left out are those of the preset, or of the skeleton."""
        options = super().options
        return _filled(options["skeleton"], options) if "skeleton" in options else options

    def counts(self) -> dict[str, int]:
        """Return the genotypes, the cells of each kind, and the edges of a cell."""
        cells = {f"{kind} cells": self._cells(kind) for kind in KINDS}
        edges = sum(map(len, self._searched["normal"]))
        return {"architectures": self.size, **cells, "edges": edges}

    def _cells(self, kind: str) -> int:
        return prod(
            sum(len(a) * len(b) for i, a in enumerate(node) for b in node[:i])
            for node in self._forms[kind].operations
        )

    # ---------------------------------------------------------------- networks
    def build(self, architecture: Architecture) -> nn.Module:
        """Return the final network, freshly initialised."""
        from ...networks.darts.network import finished_network

        cells = self.cells(architecture)
        return finished_network(self._plan(cells), _plain(cells), auxiliary=self._auxiliary)

    def supernet(
        self, *, channels: int | None = None, layers: int | None = None, partial: int = 1
    ) -> ModuleSupernet:
        """Return the search network.

        The logits of a search are rows of weights for the edges (`edges`), its edge
        normalisation rows for the nodes, both set by `mix`.

        Args:
            channels: Width of the first cell; the papers have 16.
            layers: Number of cells; the papers have 8.
            partial: K of PC-DARTS (4 for CIFAR, 2 for ImageNet): the operations work on the first
                1/K of the channels.

        Raises:
            SpecError: If a number is too small, or the width does not divide by K.
        """
        from ...layers import ModuleSupernet
        from ...networks.darts.network import search_network

        usual = _SEARCH[self._preset]
        channels = usual[0] if channels is None else channels
        layers = usual[1] if layers is None else layers
        at_least(1, channels=channels, layers=layers, partial=partial)
        _check_even(channels=channels)
        if channels % partial:
            raise SpecError(
                f"channels must divide by partial={partial}, got {channels}; choose channels that "
                "are a multiple of it, or another partial"
            )
        nodes = dict.fromkeys(KINDS, len(self._concat))
        skeleton = plan(self._skeleton, 3 * channels, channels, layers, nodes, self._image)
        network = search_network(skeleton, self._searched, self._concat, partial)
        return ModuleSupernet(self, network)

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per layer of the stem, operation, sum, concatenation and head.

        The auxiliary classifier is no part: it does not belong to what is deployed.
        """
        cells = self.cells(architecture)
        return network_parts(self._plan(cells), cells)

    def _plan(self, cells: Mapping[str, Cell]) -> Plan:
        stem = self._channels * (3 if self._skeleton == "cifar" else 1)
        nodes = {kind: len(cell.concat) for kind, cell in cells.items()}
        return plan(self._skeleton, stem, self._channels, self._layers, nodes, self._image)

    # ---------------------------------------------------------------- edges
    @property
    def edges(self) -> dict[str, tuple[str, ...]]:
        """The names of the edges into each node, in the order of the search's logits."""
        forms = self._forms.values()
        return {node: names for form in forms for node, names in form.edges().items()}

    @property
    def operations(self) -> dict[str, tuple[str, ...]]:
        """The operations that the search has on each edge, `none` included, in order."""
        return {
            form.edge(node, source): names
            for kind, form in self._forms.items()
            for node, edges in enumerate(self._searched[kind], start=2)
            for source, names in enumerate(edges)
        }

    def from_edges(self, chosen: Mapping[str, str]) -> Architecture:
        """Return the architecture that keeps some edges: name -> operation.

        Args:
            chosen: Two edges for each node; those that are left out, or `none`, are not kept.

        Raises:
            InvalidArchitecture: If a name is unknown, or a node does not keep two.
        """
        kept = {name: operation for name, operation in chosen.items() if operation != NONE}
        decided: dict[str, Any] = {form.name: form.searched for form in self._forms.values()}
        for node, names in self.edges.items():
            sources = [str(j) for j, name in enumerate(names) if name in kept]
            if len(sources) != 2:
                raise InvalidArchitecture(
                    f"{self.name}: {node} must keep two of its edges, {', '.join(names)}; got "
                    f"{len(sources)}"
                )
            if len(names) > 2:
                decided[f"{node}.inputs"] = "+".join(sources)
        return self.architecture({**decided, **kept})

    def kept_edges(self, architecture: Architecture) -> dict[str, str]:
        """Return the edges that an architecture keeps: name -> operation.

        Raises:
            InvalidArchitecture: If a cell has another form than the searched one.
        """
        for form in self._forms.values():
            if architecture[form.name] != form.searched:
                raise InvalidArchitecture(
                    f"{self.name}: {form.name} must be {form.searched}, a cell with two inputs for "
                    f"each node and the operations of the space; got {architecture[form.name]!r}"
                )
        return {n: str(o) for n, o in architecture.items() if n in self.operations}

    # ---------------------------------------------------------------- notation
    def cells(self, architecture: Architecture) -> dict[str, Cell]:
        """Return the normal and the reduction cell."""
        return {kind: form.read(architecture) for kind, form in self._forms.items()}

    def canonical(self, architecture: Architecture) -> str:
        """Return a text shared by the architectures whose cells differ in the order of nodes only.

        A node may trade places with another one where neither reads the other; the channels of
        the output then trade places, and with them the weights that read them.
        """
        return " ".join(cell.canonical() for cell in self.cells(architecture).values())

    def parse_object(self, value: Mapping[str, Any]) -> Architecture:
        """Read a genotype, or decision -> option."""
        if not value.keys() & set(KEYS):
            return self.architecture(value)
        return self._of(read_genotype(self.name, value))

    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read a genotype in the words of the repositories: `Genotype(normal=[...], ...)`."""
        genotype = read_python(value) if isinstance(value, str) else None
        if genotype is None:
            known = self._published if isinstance(value, str) and value.isidentifier() else ()
            raise self.unreadable(value, did_you_mean(str(value), known)[2:] if known else "")
        return self.parse_object(genotype)

    def format(self, architecture: Architecture) -> str:
        """Return the genotype as JSON."""
        return write_genotype(self.cells(architecture))

    def published(self) -> dict[str, Architecture]:
        """Return the genotypes of the papers, by the names of their repositories."""
        return {name: self._of(cells) for name, cells in published_cells().items()}

    def _of(self, cells: Mapping[str, Cell]) -> Architecture:
        written = [form.write(cells[kind]) for kind, form in self._forms.items()]
        return self.architecture({name: o for own in written for name, o in own.items()})


def _filled(skeleton: str, options: dict[str, Any]) -> dict[str, Any]:
    usual = _SKELETONS.get(skeleton, {})
    return {name: usual.get(name) if o is None else o for name, o in options.items()}


def _check_even(**options: int) -> None:
    for name, value in options.items():
        if value % 2:
            raise SpecError(
                f"{name} must be even: a reduction joins two halves of the width; got {value}"
            )


def _plain(cells: Mapping[str, Cell]) -> dict[str, tuple[Any, Any]]:
    return {kind: (cell.nodes, cell.concat) for kind, cell in cells.items()}
