"""Few-shot search: train, split, train the parts, and choose among what they end with.

Everything that takes long is a piece of work for `context.map`: an epoch of a node, the distances
of one decision, the choice within a leaf. States of nodes travel as bytes, so that no two
super-networks ever share storage. A search that is stopped goes on from the last epoch that is
stored.

Source: arXiv 2203.15207; skhu101/GM-NAS: WS-GM/nasbench201/train_search.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import torch
from torch import nn

from ...errors import SpecError
from ...estimators.loop import Prepared, quiet_settings
from ...spaces import DecisionSpace
from ...spaces.decision import Option
from ..run.tensors import pack_tensors, unpack_tensors
from ..strategy import Context
from ..testing import MemoryContext
from .matching import Matching, Probing, Scope
from .nodes import NodeTrainer, PathTrainer
from .partition import MOST, Cut, balanced_labels, best_split, minimum_cut
from .splitting import Node, Schedule, SplitTree

if TYPE_CHECKING:
    from ..strategies.darts import Darts

TREE_VERSION = 1
_EVAL_BATCH = 256
TRIES = 1000  # random splits after which a possible one is given up

Zeros: TypeAlias = Literal["left_out", "counted"]


@dataclass(frozen=True)
class Work:
    """What a worker needs to know of a search.

    Args:
        space: What is searched.
        data: What is trained on.
        device: Where.
        seed: Of the tree.
        name: Of the search; checkpoints and curves of nodes are named after it.
        recipe: Options of the base search.
        paths: Whether the base search is random sampling with path evaluation.
        nesterov: Of the weights' SGD.
        schedule: When nodes are split, and what they train.
        batches: On how many gradients are compared.
        scope: Of the gradients.
        probing: Whether a probed option runs alone.
        candidates: Paths that are compared at the end of a leaf.
        calibration: Batches for the batch-norm statistics of what is compared.
    """

    space: DecisionSpace
    data: Any
    device: str
    seed: int
    name: str
    recipe: Darts
    paths: bool
    nesterov: bool
    schedule: Schedule
    batches: int
    scope: Scope
    probing: Probing
    candidates: int
    calibration: int

    def context(self) -> MemoryContext:
        """Return a context for one piece of work."""
        return MemoryContext(self.space, (), seed=self.seed, device=self.device, data=self.data)

    def trainer(self, context: Context, node: Node, state: bytes | None = None) -> NodeTrainer:
        """Return the trainer of a node, in a state of its own."""
        kind = PathTrainer if self.paths else NodeTrainer
        trainer = kind(
            self.recipe,
            context,
            self.seed,
            f"{self.name}/{node.name}",
            masks=node.masks,
            segment=self.schedule.segment(node.level),
            nesterov=self.nesterov,
        )
        if state is not None:
            trainer.load(unpack_tensors(state))
        return trainer


class Job(NamedTuple):
    """A node to be trained up to an epoch, from its own state, its parent's, or anew."""

    node: Node
    until: int
    state: bytes | None
    parent: bytes | None


class Trained(NamedTuple):
    """The state of a node after some epochs, and the points of its curves meanwhile."""

    state: bytes
    curves: dict[str, list[tuple[int, float]]]


class Chosen(NamedTuple):
    """The best architecture of a leaf.

    Args:
        architecture: As JSON.
        held_out: Accuracy in % on the validation split (r2 of targets).
        among: How many were compared.
    """

    architecture: str
    held_out: float
    among: int


def advance(work: Work, job: Job) -> Trained:
    """Train a node up to an epoch."""
    context = work.context()
    trainer = work.trainer(context, job.node, job.state)
    if job.state is None and job.parent is not None:
        trainer.inherit(unpack_tensors(job.parent))
    trainer.until = job.until
    trainer.run()
    return Trained(pack_tensors(context.restore(trainer.name) or {}), context.curves)


def compare(work: Work, item: tuple[Node, bytes, str]) -> Matching:
    """Return the gradient distances of the options of one decision."""
    node, state, decision = item
    trainer = work.trainer(work.context(), node, state)
    with quiet_settings(trainer.device, None):
        return trainer.distances(decision, work.batches, work.scope, work.probing)


def choose(work: Work, item: tuple[Node, bytes]) -> Chosen:
    """Return the best of a leaf by held-out accuracy, with batch-norm statistics of its own."""
    node, state = item
    trainer = work.trainer(work.context(), node, state)
    inputs = [
        trainer.halves.train(0, i).x for i in range(min(work.calibration, trainer.halves.steps))
    ]
    found = []
    with quiet_settings(trainer.device, None):
        for architecture in trainer.candidates(work.candidates):
            network = trainer.supernet.calibrated(architecture, inputs)
            found.append((held_out(network, trainer.data), architecture))
    best, architecture = max(found, key=lambda pair: pair[0])  # the first of equal ones
    return Chosen(architecture.to_json(), best, len(found))


@torch.no_grad()
def held_out(network: nn.Module, data: Prepared) -> float:
    """Return the accuracy in % on the validation split; of targets r2, for them all together."""
    examples = data.split("valid")
    network.eval()
    outputs = [network(data.inputs.apply(x)).double() for x in torch.split(examples.x, _EVAL_BATCH)]
    predicted = torch.cat(outputs)
    if data.targets is None:
        return 100.0 * float((predicted.argmax(1) == examples.y).double().mean())
    wanted = examples.y.double().reshape(predicted.shape)
    spread = (wanted - wanted.mean(0)).square().sum()
    return float(1 - (predicted - wanted).square().sum() / spread)


class FewShotSearch:
    """One search: the tree, the states of its nodes, and what came out.

    Args:
        work: What workers know.
        context: Of the strategy.
        belongs: Digest of everything that decides how the search goes on.
        options: Decision -> options, of what can be split.
        groups: Of each split.
        rule: `gradients`, or `random`: any balanced groups of any decision.
        decisions: What may be split; None: everything.
        zeros: `left_out`: pairs with a gradient of 0 say nothing; `counted`: they have distance 1.
        checkpoint_minutes: Between two checkpoints of nodes in training.
    """

    def __init__(
        self,
        work: Work,
        context: Context,
        belongs: str,
        options: Mapping[str, Sequence[Option]],
        *,
        groups: Sequence[int],
        rule: Literal["gradients", "random"] = "gradients",
        decisions: Sequence[str] | None = None,
        zeros: Zeros = "left_out",
        checkpoint_minutes: float = 5.0,
    ) -> None:
        self.work, self.context, self._belongs = work, context, belongs
        self.tree = SplitTree(work.space, options)
        self._groups, self._rule, self._zeros = tuple(groups), rule, zeros
        self._decisions, self._minutes = decisions, checkpoint_minutes
        self.scores: dict[str, dict[str, Any]] = {}  # node -> what its split was decided by
        self.chosen: dict[str, Chosen] = {}  # leaf -> what it ends with
        self._states: dict[str, bytes] = {}
        self._epochs: dict[str, int] = {}  # node -> epochs done
        self._stale: set[str] = set()  # nodes whose state is not stored yet
        self._saved = time.monotonic()
        if (stored := context.restore(f"{work.name}/tree")) is not None:
            self._load(stored)
        else:
            self._save_tree()

    def run(self) -> bool:
        """Search to the end; return whether it came there.

        Raises:
            SpecError: If nothing is left to be split.
            EvaluationError: If training diverges.
        """
        for level in range(len(self._groups)):
            waiting = [node for node in self.tree.level(level) if node.split is None]
            if not self._train(waiting):
                return False
            for node in waiting:
                if self.context.stopping():
                    return False
                self._split(node, self._groups[level])
        leaves = [leaf for leaf in self.tree.leaves if leaf.name not in self.chosen]
        return self._train(leaves) and self._finish(leaves)

    # ---------------------------------------------------------------- training
    def _train(self, nodes: Sequence[Node]) -> bool:
        """Train nodes side by side, an epoch at a time; return whether they came to the end."""
        while waiting := [node for node in nodes if not self._done(node)]:
            if self.context.stopping():
                self._save_nodes()
                return False
            trained = self.context.map(partial(advance, self.work), list(map(self._job, waiting)))
            for node, (state, curves) in zip(waiting, trained, strict=True):
                self._states[node.name] = state
                self._epochs[node.name] = self._job_end(node)
                self._stale.add(node.name)
                for name, points in curves.items():
                    for step, value in points:
                        self.context.record(name, value, step)
            self._show_progress()
            if time.monotonic() - self._saved > 60 * self._minutes:
                self._save_nodes()
        self._save_nodes()
        return True

    def _job(self, node: Node) -> Job:
        state, parent = self._state(node), None
        fresh = self.work.schedule.segment(node.level).fresh
        if state is None and not fresh and node.parent is not None:
            parent = self._state(self.tree.nodes[node.parent])
        return Job(node, self._job_end(node), state, parent)

    def _job_end(self, node: Node) -> int:
        segment = self.work.schedule.segment(node.level)
        return min(segment.last, self._epochs.get(node.name, segment.first) + 1)

    def _show_progress(self) -> None:
        nodes = self.tree.nodes.values()
        done = sum(self._reached(n) - self.work.schedule.segment(n.level).first for n in nodes)
        total = self.work.schedule.cost(self._groups)
        self.context.progress(f"{self.work.name}: epochs of super-networks", done, total)

    def _reached(self, node: Node) -> int:
        """Return the epoch that a node has come to."""
        segment = self.work.schedule.segment(node.level)
        if node.split is not None or node.name in self.chosen:
            return segment.last
        return self._epochs.get(node.name, segment.first)

    def _done(self, node: Node) -> bool:
        if self._state(node) is None:
            return False
        return self._epochs[node.name] >= self.work.schedule.segment(node.level).last

    def _state(self, node: Node) -> bytes | None:
        if node.name not in self._states:
            stored = self.context.restore(f"{self.work.name}/{node.name}")
            if stored is None:
                return None
            self._epochs[node.name] = stored["epoch"]
            self._states[node.name] = pack_tensors(stored)
        return self._states[node.name]

    # ---------------------------------------------------------------- splitting
    def _split(self, node: Node, groups: int) -> None:
        rows = {
            name: row
            for name, row in self.tree.whole(node.name).items()
            if groups <= len(row) <= MOST and (self._decisions is None or name in self._decisions)
        }
        if not rows:
            raise SpecError(
                f"a split into {groups} groups needs a decision of {groups} to {MOST} options that "
                f"may be split and is not yet, {node.name!r} has none left; take fewer "
                "split_epochs, or a space with fewer options"
            )
        split = self._by_chance if self._rule == "random" else self._by_gradients
        decision, parts = split(node, rows, groups)
        self.tree.split(node.name, decision, parts)
        self._save_tree()

    def _by_gradients(
        self, node: Node, rows: Mapping[str, tuple[Option, ...]], groups: int
    ) -> tuple[str, list[list[Option]]]:
        state = self._state(node)
        items = [(node, state, decision) for decision in rows]
        matchings = self.context.map(partial(compare, self.work), items)
        cuts: dict[str, Cut] = {}
        scores: dict[str, Any] = {}
        for matching in matchings:
            distances = matching.heard if self._zeros == "left_out" else matching.distances
            cut = minimum_cut(1 - distances, groups)
            parts = _named(rows[matching.decision], cut)
            scores[matching.decision] = _scored(matching, cut, parts)
            try:
                self.tree.children(node.name, matching.decision, parts)
            except SpecError as error:  # a part without a network: another decision is split
                scores[matching.decision]["refused"] = str(error)
                continue
            cuts[matching.decision] = cut
        self.scores[node.name] = scores
        decision = best_split(cuts)
        return decision, _named(rows[decision], cuts[decision])

    def _by_chance(
        self, node: Node, rows: Mapping[str, tuple[Option, ...]], groups: int
    ) -> tuple[str, list[list[Option]]]:
        rng = self.context.rng("split", self.work.name, node.name)
        for _ in range(TRIES):
            decision = rng.choice(list(rows))
            labels = rng.choice(list(balanced_labels(len(rows[decision]), groups)))
            parts: list[list[Option]] = [[] for _ in range(groups)]
            for option, label in zip(rows[decision], labels, strict=True):
                parts[label].append(option)
            try:
                self.tree.children(node.name, decision, parts)
            except SpecError:  # drawn again
                continue
            return decision, parts
        raise SpecError(
            f"none of {TRIES} random splits of {node.name!r} leaves networks on all sides"
        )

    # ---------------------------------------------------------------- the end
    def _finish(self, leaves: Sequence[Node]) -> bool:
        if leaves:
            if self.context.stopping():
                return False
            items = [(leaf, self._state(leaf)) for leaf in leaves]
            found = self.context.map(partial(choose, self.work), items)
            self.chosen |= {leaf.name: c for leaf, c in zip(leaves, found, strict=True)}
            for leaf in leaves:
                trainer = self.work.trainer(self.work.context(), leaf, self._state(leaf))
                self.context.publish(f"{self.work.name}/{leaf.name}", trainer.supernet, leaf.masks)
            self._save_tree()
        return True

    @property
    def ranking(self) -> list[tuple[str, Chosen]]:
        """The leaves with what they end with, the best first; equal ones in the tree's order."""
        return sorted(self.chosen.items(), key=lambda item: -item[1].held_out)

    # ---------------------------------------------------------------- state
    def note(self) -> dict[str, Any]:
        """Return the tree with everything that was found out, as JSON values."""
        nodes = self.tree.to_json()
        for node in nodes:
            node["architectures"] = str(self.tree.size(node["name"]))
            node["epoch"] = self._reached(self.tree.nodes[node["name"]])
            if node["name"] in self.scores:
                node["decisions"] = self.scores[node["name"]]
            if node["name"] in self.chosen:
                node |= self.chosen[node["name"]]._asdict()
        return {"rule": self._rule, "seed": self.work.seed, "nodes": nodes}

    def _save_nodes(self) -> None:
        for name in sorted(self._stale):
            state = {**unpack_tensors(self._states[name]), "epoch": self._epochs[name]}
            self.context.checkpoint(f"{self.work.name}/{name}", state)
        self._stale.clear()
        self._saved = time.monotonic()

    def _save_tree(self) -> None:
        found = {
            "nodes": self.tree.to_json(),
            "scores": self.scores,
            "chosen": {name: list(c) for name, c in self.chosen.items()},
        }
        self.context.checkpoint(
            f"{self.work.name}/tree",
            {"version": TREE_VERSION, "belongs": self._belongs, "tree": json.dumps(found)},
        )
        self.context.note(f"{self.work.name}/tree", self.note())

    def _load(self, stored: Mapping[str, Any]) -> None:
        if stored["version"] != TREE_VERSION or stored["belongs"] != self._belongs:
            raise SpecError(
                f"the checkpoint of {self.work.name!r} must belong to this space, data set, seed "
                "and options; it does not: resume with the spec that it was made with, or start a "
                "new search"
            )
        found = json.loads(stored["tree"])
        self.tree.load(found["nodes"])
        self.scores = found["scores"]
        self.chosen = {name: Chosen(*values) for name, values in found["chosen"].items()}


def _named(row: Sequence[Option], cut: Cut) -> list[list[Option]]:
    return [[row[i] for i in group] for group in cut.groups]


def _scored(matching: Matching, cut: Cut, parts: Sequence[Sequence[Option]]) -> dict[str, Any]:
    """Return what a decision was judged by, as JSON values."""
    errors = matching.error.tolist()
    return {
        "options": list(matching.options),
        "groups": [list(part) for part in parts],
        "cut": cut.cost,
        "pairs": cut.pairs,
        "score": cut.score,
        "batches": len(matching.batches),
        "distances": matching.distances.tolist(),
        "errors": None if len(matching.batches) < 2 else errors,
        "silent": matching.silent.sum(0).tolist(),
    }
