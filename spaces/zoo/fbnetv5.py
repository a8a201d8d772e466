"""FBNetV5: parallel paths of four resolutions; which blocks and links are there, for every task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from ...errors import InvalidArchitecture, SpecError, did_you_mean
from ..arguments import with_preset
from ..decision import Architecture, Decision
from ..graph import Module, PartGraph, known_module
from ..networks.fbnetv5_plan import Live, bits_of, identity
from ..part import NETWORK_INPUT, Part
from ..space import Space
from .checks import LONGEST, at_least
from .fbnetv5_notation import KEYS, read_mask, write_mask
from .fbnetv5_options import read_plan
from .fbnetv5_tasks import KINDS, Task, read_tasks

if TYPE_CHECKING:
    from torch import nn

    from ..layers import ModuleSupernet

_NETWORKS = "netloom.spaces.networks.fbnetv5"
_ALIKE = {  # FBNetV3-A's
    "entries": ["k5_e4", "k5_e5_se", "k5_e5", "k3_e6_se"],
    "operators": ["k5_e2", "k5_e3_se", "k5_e3_se", "k5_e4_se"],
    "blocks": [1, 2, 3, 2],
}


class FBNetV5(Space):
    """The space of FBNetV5: paths at 1/4 to 1/32, 24 blocks and 18 links that may be there or not.

    A topology is written `{"blocks": [[stage][path][bit...]], "edges": [[stage][i][j]]}`; with
    `masks: each` there is one for each task, `{"classification": {...}, "detection": {...}}`. What
    does not reach a head is not built. The paper's super-network was not published: this one
    extends FBNetV3-A, as the paper's does.

    Source: arXiv 2111.10007; facebookresearch/mobile-vision: mobile_cv/arch/builder/multi_io.py,
    mobile_cv/arch/fbnet_v2.

    Args:
        preset: `full` or `tiny`; sets the options left out.
        tasks: Names of tasks (classification, detection, segmentation) and objects that describe
            others; none: the network gives the maps of all paths.
        masks: Whether all tasks share `one` topology (and its layers), or `each` has its own.
        width: Multiplier of all widths but those of heads, which are then divisible by 8.
        channels: Of the stem.
        channels_list: Of each path.
        entries: The block of stage 0 that makes each path, `k3_e6_se`: kernel, ratio,
            squeeze-and-excitation.
        operators: The blocks of each path.
        blocks: How many each path has in a stage.
        stages: How many follow stage 0.
        features: Channels before the classifier.
        head_channels: Of the heads of detection and segmentation.
        stem_stride: Of the first convolution, 2 or 1; the latter suits small images.
        classes: Of every task; None: 1000, 80 and 150, those of ImageNet, COCO and ADE20K.
        resolution: Side of the square image, a multiple of the last path's stride.
        in_channels: Channels of the image.
    """

    name = "fbnetv5"
    notation = (
        'an object {"blocks": [[stage][path][bit...]], "edges": [[stage][i][j]]}, or one for each '
        "task by its name"
    )
    presets: ClassVar = {
        "full": {
            **_ALIKE,
            "channels": 16,
            "channels_list": [24, 40, 120, 184],
            "features": 1984,
            "head_channels": 64,
            "stem_stride": 2,
            "resolution": 224,
        },
        "tiny": {
            **_ALIKE,
            "channels": 8,
            "channels_list": [8, 8, 16, 16],
            "features": 32,
            "head_channels": 16,
            "stem_stride": 2,
            "classes": 10,
            "resolution": 64,
        },
    }

    def __init__(
        self,
        *,
        preset: str = "full",
        tasks: Sequence[Any] = tuple(KINDS),
        masks: Literal["one", "each"] = "one",
        width: float = 1.0,
        channels: int | None = None,
        channels_list: Sequence[int] | None = None,
        entries: Sequence[str] | None = None,
        operators: Sequence[str] | None = None,
        blocks: Sequence[int] | None = None,
        stages: int = 3,
        features: int | None = None,
        head_channels: int | None = None,
        stem_stride: Literal[1, 2] | None = None,
        classes: int | None = None,
        resolution: int | None = None,
        in_channels: int = 3,
    ) -> None:
        own = {
            "channels": channels,
            "channels_list": channels_list,
            "entries": entries,
            "operators": operators,
            "blocks": blocks,
            "features": features,
            "head_channels": head_channels,
            "stem_stride": stem_stride,
            "classes": classes,
            "resolution": resolution,
        }
        o = with_preset(self.name, {"preset": preset, **own}, self.presets)
        said = {} if o["classes"] is None else {"classes": o["classes"]}
        at_least(1, LONGEST, stages=stages)
        at_least(1, in_channels=in_channels, **said)
        at_least(1, **{k: o[k] for k in ("channels", "features", "head_channels", "resolution")})
        self.plan = read_plan(o, width, stages, in_channels)
        self._side = o["resolution"]
        self.members = read_tasks(tasks, self.plan, o["classes"], o)
        if taken := [task.name for task in self.members if task.name in KEYS]:
            raise SpecError(f"tasks: the notation uses the name {taken[0]!r}; choose another")
        if masks not in ("one", "each") or (masks == "each" and not self.members):
            raise SpecError(
                f"masks must be one, or each where there are tasks; got {masks!r} and "
                f"{len(self.members)} tasks"
            )
        self._masks = masks
        super().__init__(
            [
                Decision(topology.prefix + name, (0, 1), ordered=True)
                for topology in self._topologies()
                for name in self.plan.bits()
            ]
        )

    # ---------------------------------------------------------------- tasks
    @property
    def supports(self) -> frozenset[str]:
        """What the class defines; `tasks` only where there are several."""
        return super().supports - (frozenset() if len(self.members) > 1 else {"tasks"})

    def tasks(self, architecture: Architecture) -> tuple[str, ...]:
        """Return the names of the outputs; empty where there is one task or none."""
        return tuple(task.name for task in self.members) if len(self.members) > 1 else ()

    def task(self, name: str) -> Task:
        """Return what a task is.

        Raises:
            SpecError: If there is none of that name.
        """
        known = {task.name: task for task in self.members}
        if name not in known:
            raise SpecError(f"{self.name}: there is no task {name!r}{did_you_mean(name, known)}")
        return known[name]

    def of_task(self, name: str) -> FBNetV5:
        """Return the space of the networks of one task, with the same super-network.

        Raises:
            SpecError: If there is none of that name.
        """
        entry = self.options["tasks"][self.members.index(self.task(name))]
        return FBNetV5(**{**self.options, "tasks": [entry], "masks": "one"})

    def mask(self, architecture: Mapping[str, Any], task: str | None = None) -> dict[str, Any]:
        """Return a topology, without what does not reach the head: `{"blocks": ..., "edges": ...}`.

        Args:
            architecture: Whose.
            task: The task whose head it must reach, which `of_task` reads; None: that of any task.

        Raises:
            SpecError: If there is no such task, or none is said where each has its own.
        """
        if task is None and self._masks == "each":
            raise SpecError(f"each task has its own mask: say one of {', '.join(self._names)}")
        reads = self._topologies()[0].reads if task is None else self.task(task).reads
        prefix = f"{task}." if self._masks == "each" else ""
        on = set(bits_of(self.plan.live(self._on(architecture, prefix), reads)))
        return write_mask({name: int(name in on) for name in self.plan.bits()}, self.plan)

    @property
    def _names(self) -> list[str]:
        return [task.name for task in self.members]

    # ---------------------------------------------------------------- networks
    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised, without what does not reach a head."""
        from ..networks.fbnetv5 import Backbones, FBNetV5, backbone
        from ..networks.fbnetv5_heads import heads

        bodies = Backbones(backbone(self.plan, live) for live in self._live(architecture))
        return FBNetV5(bodies, heads(*self._heads()))

    def supernet(self) -> ModuleSupernet:
        """Return a super-network with every block and edge once, whatever the number of tasks."""
        from ..layers import Choice, ModuleSupernet
        from ..networks.fbnetv5 import Fabric, FBNetV5
        from ..networks.fbnetv5_heads import heads

        chosen = {decision.name: Choice.of(decision) for decision in self.decisions}
        fabric = Fabric(
            self.plan,
            [
                ({name: chosen[prefix + name] for name in self.plan.bits()}, reads)
                for prefix, reads in self._topologies()
            ],
        )
        return ModuleSupernet(self, FBNetV5(fabric, heads(*self._heads())))

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per path of stage 0, sum, block, and one for all heads."""
        graph = PartGraph((1, self.plan.stem[0], self._side, self._side))
        found: list[int] = []
        for topology, live in zip(self._topologies(), self._live(architecture), strict=True):
            found += self._backbone(graph, topology.prefix.replace(".", " "), live)
        module = Module(f"{_NETWORKS}_heads:heads", self._heads())
        graph.add("heads" if len(self.members) != 1 else "head", module, *found, shape=())
        return graph.parts

    def _backbone(self, graph: PartGraph, prefix: str, live: Live) -> list[int]:
        """Append the parts of a backbone; return the positions of the maps that are read."""
        plan = self.plan
        widths, entries = plan.widths, plan.entries
        shapes = [
            (1, width, self._side // stride, self._side // stride)
            for width, stride in zip(widths, plan.strides(), strict=True)
        ]
        stem = known_module(f"{_NETWORKS}:Stem", *plan.stem, widths[0], entries[0])
        x, maps = NETWORK_INPUT, {}
        for p in range(live.depth):
            args = (widths[p - 1], widths[p], entries[p], 2)
            module = stem if p == 0 else known_module(f"{_NETWORKS}:residual", *args)
            x = maps[p] = graph.add(f"{prefix}path{p}", module, x, shape=shapes[p])
        for stage, lanes in enumerate(live.stages, start=1):
            before = dict(maps)
            for p, sources, _ in lanes:
                if sources:
                    fusion = known_module(f"{_NETWORKS}:Fusion", p, sources, widths)
                    label, read = f"{prefix}stage{stage} sum{p}", (p, *sources)
                    reads = [before[i] for i in read]
                    maps[p] = graph.add(label, fusion, *reads, shape=shapes[p])
            for p, _, blocks in lanes:
                block = known_module(
                    f"{_NETWORKS}:residual", widths[p], widths[p], plan.operators[p]
                )
                for b in blocks:
                    label = f"{prefix}stage{stage} path{p} block{b + 1}"
                    maps[p] = graph.add(label, block, maps[p], shape=shapes[p])
        return [maps[p] for p in live.reads]

    def _topologies(self) -> list[_Topology]:
        if self._masks == "each":
            return [_Topology(f"{task.name}.", task.reads) for task in self.members]
        reads = {p for task in self.members for p in task.reads}
        return [_Topology("", tuple(sorted(reads or range(len(self.plan.widths)))))]

    def _heads(self) -> tuple[tuple[tuple[Any, ...], tuple[int, ...]], ...]:
        """Return the values of each head's plan, and which of the backbones' maps it reads."""
        strides, widths = self.plan.strides(), self.plan.widths
        shared, found, first = self._topologies()[0].reads, [], 0
        for task in self.members:
            own = tuple(widths[p] for p in task.reads), tuple(strides[p] for p in task.reads)
            places = tuple(shared.index(p) for p in task.reads if self._masks == "one")
            if self._masks == "each":
                places = tuple(range(first, first + len(task.reads)))
                first += len(task.reads)
            found.append(((task.name, task.head, *own, task.classes, task.options), places))
        return tuple(found)

    # ---------------------------------------------------------------- topologies
    def _on(self, a: Mapping[str, Any], prefix: str) -> set[str]:
        return {name for name in self.plan.bits() if a[prefix + name]}

    def _live(self, a: Mapping[str, Any]) -> list[Live]:
        return [self.plan.live(self._on(a, prefix), reads) for prefix, reads in self._topologies()]

    def pruned(self, architecture: Mapping[str, Any]) -> Architecture:
        """Return the architecture with everything cleared that reaches no head."""
        return self.architecture(
            {name: int(name in self._reached(architecture)) for name in self._position}
        )

    def _reached(self, a: Mapping[str, Any]) -> set[str]:
        pairs = zip(self._topologies(), self._live(a), strict=True)
        return {t.prefix + name for t, live in pairs for name in bits_of(live)}

    def canonical(self, architecture: Architecture) -> str:
        """Return a text of what reaches the heads; blocks of a path are alike wherever they are."""
        return " ".join(identity(live) for live in self._live(architecture))

    def counts(self) -> dict[str, int]:
        """Return the architectures, the topologies of a task, and those all of which is used."""
        counts = {"architectures": self.size, "topologies of a task": 2 ** len(self.plan.bits())}
        for task in self.members:
            counts[f"connected to {task.name}"] = self.plan.connected(task.reads)
        return counts

    # ---------------------------------------------------------------- notation
    def parse_object(self, value: Mapping[str, Any]) -> Architecture:
        """Read a mask for all tasks, one for each by name, or decisions."""
        names = self._names
        if any(key in KEYS for key in value):
            bits = read_mask(self.name, value, self.plan)
            return self._of(dict.fromkeys(names or [""], bits))
        if value and all(isinstance(each, Mapping) for each in value.values()):
            for key in value:
                if key not in names:
                    raise InvalidArchitecture(
                        f"{self.name}: there is no task {key!r}{did_you_mean(str(key), names)}"
                    )
            if missing := [name for name in names if name not in value]:
                raise InvalidArchitecture(f"{self.name}: the task {missing[0]!r} needs a mask too")
            masks = {n: read_mask(f"{self.name}, {n}", value[n], self.plan) for n in names}
            return self._of(masks)
        return self.architecture(value)

    def _of(self, masks: Mapping[str, Mapping[str, int]]) -> Architecture:
        """Return the architecture with a mask for each task."""
        if self._masks == "each":
            bits = {f"{t}.{name}": bit for t, mask in masks.items() for name, bit in mask.items()}
            return self.architecture(bits)
        first, *others = masks.items()
        for task, mask in others:
            if differing := [name for name in mask if mask[name] != first[1][name]]:
                raise InvalidArchitecture(
                    f"{self.name}: all tasks share one mask, but {differing[0]} is not the same "
                    f"for {first[0]} and {task}; set masks: each"
                )
        return self.architecture(first[1])

    def format(self, architecture: Architecture) -> str:
        """Return the mask, or those of each task, as JSON."""
        masks = {
            topology.prefix[:-1]: write_mask(
                {name: architecture[topology.prefix + name] for name in self.plan.bits()}, self.plan
            )
            for topology in self._topologies()
        }
        return json.dumps(masks if self._masks == "each" else masks[""])


class _Topology(NamedTuple):
    """What the names of its decisions begin with, and the paths that are read."""

    prefix: str
    reads: tuple[int, ...]
