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
from functools import partial
from typing import Any, Literal

from ...errors import SpecError
from ...spaces import Architecture
from ...spaces.decision import Option
from ..run.tensors import pack_tensors, unpack_tensors
from ..strategy import Context
from .genotypes import GENOTYPES
from .judging import Judgement, Zeros, judge, settled
from .matching import Matching
from .partition import MOST, balanced_labels, best_split
from .splitting import ROOT, Node, SplitTree, check_enough, may_split
from .work import Chosen, Job, Trained, Work, advance, choose, compare

TREE_VERSION = 1
TRIES = 1000  # random splits after which a possible one is given up
FIRST = 8  # batches after which a comparison may end


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
        most: Options of a decision of which all partitions are tried; others stay whole.
        settle: Standard errors of a lead at which gradients are compared on no more batches; None:
            they are compared on all.
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
        most: int = MOST,
        settle: float | None = None,
        checkpoint_minutes: float = 5.0,
    ) -> None:
        self.work, self.context, self._belongs = work, context, belongs
        self.tree = SplitTree(work.tree_space(), options)
        self._groups, self._rule, self._zeros = tuple(groups), rule, zeros
        self._decisions, self._minutes = decisions, checkpoint_minutes
        self._most, self._settle = most, settle
        self.scores: dict[str, dict[str, Any]] = {}  # node -> what its split was decided by
        self.chosen: dict[str, Chosen] = {}  # leaf -> what it ends with
        self._states: dict[str, bytes] = {}
        self._epochs: dict[str, float] = {}  # node -> epochs done
        self._round: int | None = None  # steps of a job; None: an epoch
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
        whole = self.tree.whole(ROOT)
        check_enough(whole, self._groups, self._most, self._decisions)
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
        """Train nodes side by side, in short rounds; return whether they came to the end."""
        while waiting := [node for node in nodes if not self._done(node)]:
            if self.context.stopping():
                self._save_nodes()
                return False
            began = time.monotonic()
            jobs = [self._job(node) for node in waiting]
            trained = self.context.map(partial(advance, self.work), jobs)
            for node, found in zip(waiting, trained, strict=True):
                self._take(node, found)
            self._show_progress()
            if time.monotonic() - began > 60 * self._minutes:  # a stop would have to wait
                self._round = max(1, max(found.steps for found in trained) // 2)
            if time.monotonic() - self._saved > 60 * self._minutes:
                self._save_nodes()
        self._save_nodes()
        return True

    def _take(self, node: Node, found: Trained) -> None:
        self._states[node.name], self._epochs[node.name] = found.state, found.epoch
        self._stale.add(node.name)
        for name, points in found.curves.items():
            for step, value in points:
                self.context.record(name, value, step)
        for name, note in found.notes.items():  # of genotypes: of the epoch that ended, if any
            self.context.note(name, note, GENOTYPES)
            last = note["genotypes"][-1]
            costs = self.context.costs(Architecture(last["architecture"]))
            for metric, value in costs.items():
                if (place := f"{self.work.name}/{node.name}/{metric}") not in found.curves:
                    self.context.record(place, value, last["epochs"][1])

    def _job(self, node: Node) -> Job:
        state, parent = self._state(node), None
        fresh = self.work.schedule.segment(node.level).fresh
        if state is None and not fresh and node.parent is not None:
            parent = self._state(self.tree.nodes[node.parent])
        return Job(node, self._round, state, parent)

    def _show_progress(self) -> None:
        nodes = self.tree.nodes.values()
        done = int(sum(self._reached(n) - self.work.schedule.segment(n.level).first for n in nodes))
        total = self.work.schedule.cost(self._groups)
        self.context.progress(f"{self.work.name}: epochs of super-networks", done, total)

    def _reached(self, node: Node) -> float:
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
    def _open(self, node: Node, groups: int) -> dict[str, tuple[Option, ...]]:
        """Return the decisions by which a node may be split."""
        return may_split(self.tree.whole(node.name), groups, self._most, self._decisions)

    def _split(self, node: Node, groups: int) -> None:
        rows = self._open(node, groups)
        if not rows:
            raise SpecError(
                f"a split into {groups} groups needs a decision of {groups} to {self._most} "
                f"options that {node.name!r} has whole, got none; take fewer split_epochs or other "
                "groups"
            )
        split = self._by_chance if self._rule == "random" else self._by_gradients
        decision, parts = split(node, rows, groups)
        self.tree.split(node.name, decision, parts)
        self._save_tree()

    def _by_gradients(
        self, node: Node, rows: Mapping[str, tuple[Option, ...]], groups: int
    ) -> tuple[str, list[list[Option]]]:
        """Compare on batches, twice as many each time, until all were seen or it is clear."""
        found: dict[str, Matching] = {}
        judged: dict[str, Judgement] = {}
        done, batches, state = 0, self.work.batches, self._state(node)
        while done < batches:
            count = batches if self._settle is None else min(max(done, FIRST), batches - done)
            items = [(node, state, decision, done, count) for decision in rows]
            for matching in self.context.map(partial(compare, self.work), items):
                name = matching.decision
                found[name] = found[name].joined(matching) if name in found else matching
            done += count
            judged = self._judged(node, list(found.values()), groups)
            if self._settle is not None and settled(list(judged.values()), self._settle):
                break
        decision = best_split({name: j.cut for name, j in judged.items()})
        return decision, judged[decision].groups

    def _judged(
        self, node: Node, matchings: Sequence[Matching], groups: int
    ) -> dict[str, Judgement]:
        """Return the judgements of the decisions whose parts all hold a network; note all."""
        judged: dict[str, Judgement] = {}
        scores: dict[str, Any] = {}
        for matching in matchings:
            judgement = judge(matching, groups, self._zeros, self._most)
            scores[matching.decision] = judgement.to_json()
            try:
                self.tree.children(node.name, matching.decision, judgement.groups)
            except SpecError as error:  # a part without a network: another decision is split
                scores[matching.decision]["refused"] = str(error)
                continue
            judged[matching.decision] = judgement
        self.scores[node.name] = scores
        return judged

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
                self.context.publish(
                    f"{self.work.name}/{leaf.name}", trainer.supernet, trainer.supernet.masks
                )
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
                architecture = Architecture.from_json(node["architecture"])
                node["notation"] = self.work.space.format(architecture)
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
        self.context.note(f"{self.work.name}/tree", self.note(), "split_tree")

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
