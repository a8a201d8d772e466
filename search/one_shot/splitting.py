"""A super-network split into several: a tree of masks, and when each of its nodes is trained.

A split replaces one decision that a node still has whole by one group of its options in each
child. Children are disjoint and cover their parent, siblings may be split by different decisions,
and no decision is split twice on the way to a leaf.

Source: arXiv 2203.15207; skhu101/GM-NAS: WS-GM/nasbench201/train_search.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from ...errors import SpecError
from ...spaces import Architecture, DecisionSpace
from ...spaces.decision import Option, as_options
from ...spaces.restricted import RestrictedSpace

ROOT = "root"

Masks: TypeAlias = Mapping[str, tuple[Option, ...]]


@runtime_checkable
class Connections(Protocol):
    """A space that can tell whether anything flows through an architecture."""

    def connected(self, architecture: Architecture) -> bool:
        """Return whether a path leads from the input to the output."""


def connects(space: Any, architecture: Architecture) -> bool:
    """Return whether a path leads through the architecture, as far as the space can tell."""
    return space.connected(architecture) if isinstance(space, Connections) else True


@dataclass(frozen=True)
class Node:
    """One super-network of the tree.

    Args:
        name: `root`, then the numbers of the groups on the way: `0`, `0.1`.
        masks: The options that are left, of every decision that was split.
        parent: Name of the node that was split; None for the root.
        split: The decision by which this node was split; None for a leaf.
    """

    name: str
    masks: Masks
    parent: str | None = None
    split: str | None = None

    @property
    def level(self) -> int:
        """How many splits lead to it."""
        return len(self.masks)


class SplitTree:
    """Masks of super-networks, from one whole space down to the leaves.

    Args:
        space: What is split.
        options: Decision -> options, of what can be split (`ModuleSupernet.mixtures`).
    """

    def __init__(self, space: DecisionSpace, options: Mapping[str, Sequence[Option]]) -> None:
        self._space = space
        self._options = {name: tuple(row) for name, row in options.items()}
        self.nodes: dict[str, Node] = {ROOT: Node(ROOT, {})}

    @property
    def leaves(self) -> list[Node]:
        """The nodes that were not split, in the order of the tree."""
        return [node for node in self.nodes.values() if node.split is None]

    def level(self, number: int) -> list[Node]:
        """Return the nodes that so many splits lead to."""
        return [node for node in self.nodes.values() if node.level == number]

    def whole(self, name: str) -> dict[str, tuple[Option, ...]]:
        """Return the decisions that a node still has whole: name -> options."""
        masks = self.nodes[name].masks
        return {n: row for n, row in self._options.items() if n not in masks}

    def size(self, name: str) -> int:
        """Return how many architectures a node holds, exact.

        The leaves' sizes add up to the space's where every architecture makes every decision;
        architectures that leave a decision out are in all children that are split by it.
        """
        return self._restricted(self.nodes[name].masks).size

    def children(self, name: str, decision: str, groups: Iterable[Iterable[Any]]) -> list[Node]:
        """Return what a node would be split into, without splitting it.

        Raises:
            SpecError: If the node or the decision was split before, if the groups are not a
                partition of the decision's options into two or more, or if a child would hold no
                architecture with a path from input to output.
        """
        node = self.nodes[name]
        if node.split is not None:
            raise SpecError(f"a node is split once, got {name!r}, split by {node.split!r} already")
        rows = self.whole(name)
        if decision not in rows:
            raise SpecError(
                f"a split needs a decision that {name!r} has whole, one of {sorted(rows)}; got "
                f"{decision!r}"
            )
        found = [as_options(tuple(group)) for group in groups]
        wanted = sorted(map(repr, rows[decision]))
        if len(found) < 2 or sorted(repr(o) for group in found for o in group) != wanted:
            raise SpecError(
                f"{decision}: groups must hold each of {rows[decision]} once, in two groups or "
                f"more, got {found}"
            )
        prefix = "" if name == ROOT else f"{name}."
        children = [
            Node(f"{prefix}{i}", {**node.masks, decision: group}, name)
            for i, group in enumerate(found)
        ]
        for child in children:
            self._check_connected(child)
        return children

    def split(self, name: str, decision: str, groups: Iterable[Iterable[Any]]) -> list[Node]:
        """Split a node and return its children.

        Raises:
            SpecError: As `children` does.
        """
        children = self.children(name, decision, groups)
        self.nodes[name] = replace(self.nodes[name], split=decision)
        self.nodes |= {child.name: child for child in children}
        return children

    def _check_connected(self, child: Node) -> None:
        try:
            space = self._restricted(child.masks)
        except SpecError:
            space = None
        if space is None or not any(connects(self._space, a) for a in space.enumerate()):
            raise SpecError(
                f"every part of a split must hold a network with a path from input to output; "
                f"{dict(child.masks)} leaves none"
            )

    def _restricted(self, masks: Masks) -> RestrictedSpace:
        """Return the architectures of masks, which may hold options that none takes (`none`)."""
        known = {d.name: d for d in self._space.decisions}
        own = {
            name: tuple(o for o in row if known[name].index(o) is not None)
            for name, row in masks.items()
        }
        return RestrictedSpace(self._space, own)

    # ---------------------------------------------------------------- state
    def to_json(self) -> list[dict[str, Any]]:
        """Return the nodes as JSON values."""
        return [
            {
                "name": node.name,
                "parent": node.parent,
                "split": node.split,
                "masks": {name: list(row) for name, row in node.masks.items()},
            }
            for node in self.nodes.values()
        ]

    def load(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        """Take over what `to_json` returned."""
        self.nodes = {
            n["name"]: Node(
                n["name"],
                {name: tuple(row) for name, row in n["masks"].items()},
                n["parent"],
                n["split"],
            )
            for n in nodes
        }


def may_split(
    rows: Mapping[str, tuple[Option, ...]],
    groups: int,
    most: int,
    names: Sequence[str] | None = None,
) -> dict[str, tuple[Option, ...]]:
    """Return those of some decisions that can be split.

    Args:
        rows: Decision -> options.
        groups: Into how many.
        most: Options of which all partitions are tried.
        names: What may be split; None: everything.
    """
    return {
        name: row
        for name, row in rows.items()
        if groups <= len(row) <= most and (names is None or name in names)
    }


def check_enough(
    rows: Mapping[str, tuple[Option, ...]],
    groups: Sequence[int],
    most: int,
    names: Sequence[str] | None = None,
) -> None:
    """Check that there is a decision for each split.

    Args:
        rows: Decision -> options.
        groups: Of each split.
        most: See `may_split`.
        names: See `may_split`.

    Raises:
        SpecError: If there are too few.
    """
    for number in sorted(set(groups)):
        found, splits = len(may_split(rows, number, most, names)), groups.count(number)
        if found < splits:
            larger = sorted({len(row) for row in rows.values() if most < len(row)})
            more = f"; max_options {larger[0]} tries those of {larger[0]} too" if larger else ""
            raise SpecError(
                f"each split needs a decision of its own with {number} to {most} options (all "
                f"partitions are tried), got {found} for {splits} splits into {number} groups; "
                f"take fewer split_epochs, or a space with fewer options of each decision{more}"
            )


@dataclass(frozen=True)
class Segment:
    """What one node trains.

    Args:
        first: Epoch that it starts with; a fresh start is epoch 0.
        last: Epoch that it ends before.
        period: Epochs after which the half cosine of the learning rate would be at its end.
        fresh: Whether it starts from new weights, logits and optimizers.
        frozen: Whether the logits stay as they are.
    """

    first: int
    last: int
    period: int
    fresh: bool
    frozen: bool


@dataclass(frozen=True)
class Schedule:
    """When a tree is split, and what each level trains.

    Args:
        splits: Epochs c_1 < ... < c_T of the splits; a first one of 0 splits an untrained network.
        epochs: W, of a leaf.
        restart: `final`: leaves start anew; `none`: they go on from their parents.
        cosine: Of leaves that start anew: `whole`: the learning rate falls as if all c_T + W epochs
            were still to come, and does not reach its minimum; `leaf`: over the W epochs.

    Raises:
        SpecError: If the epochs do not rise.
    """

    splits: tuple[int, ...]
    epochs: int
    restart: Literal["final", "none"] = "final"
    cosine: Literal["whole", "leaf"] = "whole"

    def __post_init__(self) -> None:
        if not self.splits or any(b <= a for a, b in pairwise(self.splits)):
            raise SpecError(f"split_epochs must be one or more rising epochs, got {self.splits}")

    @property
    def total(self) -> int:
        """Epochs on the way from the root to the end of a leaf."""
        return self.splits[-1] + self.epochs

    def segment(self, level: int) -> Segment:
        """Return what the nodes train that `level` splits lead to."""
        first = 0 if level == 0 else self.splits[level - 1]
        if level < len(self.splits):
            return Segment(first, self.splits[level], self.total, fresh=level == 0, frozen=True)
        if self.restart == "none":
            return Segment(first, self.total, self.total, fresh=False, frozen=False)
        period = self.total if self.cosine == "whole" else self.epochs
        return Segment(0, self.epochs, period, fresh=True, frozen=False)

    def cost(self, groups: Sequence[int]) -> int:
        """Return the epochs of all nodes, of splits into so many groups each."""
        total, nodes = 0, 1
        for level in range(len(self.splits) + 1):
            segment = self.segment(level)
            total += nodes * (segment.last - segment.first)
            nodes *= groups[level] if level < len(groups) else 1
        return total
