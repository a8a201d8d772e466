"""Pieces of work of a few-shot search that may run in other processes.

States of super-networks travel as bytes: no two of them ever share storage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import nn

from ...estimators.loop import Prepared, quiet_settings
from ...estimators.network import seeded
from ...spaces import Architecture, DecisionSpace
from ...spaces.layers import calibrate
from ...spaces.restricted import RestrictedSpace
from ..run.tensors import pack_tensors, unpack_tensors
from ..strategy import Context
from ..testing import MemoryContext
from .matching import Matching, Probing
from .nodes import GateTrainer, KernelTrainer, MixtureTrainer, NodeTrainer, PathTrainer
from .sharing import Scope, kernel_masks
from .splitting import Node, Schedule
from .strategy import BilevelSearch
from .trainer import half_cosine

Base: TypeAlias = Literal["darts_1st", "darts_2nd", "snas", "rsps", "proxyless", "ofa_kernel"]

_TRAINERS: dict[str, Any] = {
    "darts_1st": MixtureTrainer,
    "darts_2nd": MixtureTrainer,
    "snas": MixtureTrainer,
    "rsps": PathTrainer,
    "proxyless": GateTrainer,
    "ofa_kernel": KernelTrainer,
}
_EVAL_BATCH = 256


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
        base: The base search.
        nesterov: Of the weights' SGD.
        schedule: When nodes are split, and what they train.
        batches: On how many gradients are compared.
        scope: Of the gradients.
        probing: Whether a probed option runs alone.
        candidates: Paths that are compared at the end of a leaf.
        calibration: Batches for the batch-norm statistics of what is compared.
        tuning: Epochs that what is compared is trained alone before.
    """

    space: DecisionSpace
    data: Any
    device: str
    seed: int
    name: str
    recipe: BilevelSearch
    base: Base
    nesterov: bool
    schedule: Schedule
    batches: int
    scope: Scope
    probing: Probing
    candidates: int
    calibration: int
    tuning: int = 0

    def context(self) -> MemoryContext:
        """Return a context for one piece of work."""
        return MemoryContext(self.space, (), seed=self.seed, device=self.device, data=self.data)

    def tree_space(self) -> DecisionSpace:
        """Return what is split: the space, of elastic kernels with all else at its largest."""
        if self.base != "ofa_kernel":
            return self.space
        space: Any = self.space
        return RestrictedSpace(space, kernel_masks(space, space.supernet(**self.recipe.supernet)))

    def trainer(self, context: Context, node: Node, state: bytes | None = None) -> NodeTrainer:
        """Return the trainer of a node, in a state of its own."""
        trainer: NodeTrainer = _TRAINERS[self.base](
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
    """A node to be trained, from its own state, its parent's, or anew.

    Args:
        node: Which.
        steps: How many; None: to the end of the epoch that it is in.
        state: What it saved.
        parent: What its parent saved.
    """

    node: Node
    steps: int | None
    state: bytes | None
    parent: bytes | None


class Trained(NamedTuple):
    """The state of a node after a job, its epoch, the steps of the job, curves' points, notes."""

    state: bytes
    epoch: float
    steps: int
    curves: dict[str, list[tuple[int, float]]]
    notes: dict[str, Any]


class Chosen(NamedTuple):
    """The best architecture of a leaf.

    Args:
        architecture: As JSON.
        held_out: See `held_out`.
        among: How many were compared.
    """

    architecture: str
    held_out: float
    among: int


def advance(work: Work, job: Job) -> Trained:
    """Train a node for a while."""
    context = work.context()
    trainer = work.trainer(context, job.node, job.state)
    if job.state is None and job.parent is not None:
        trainer.inherit(unpack_tensors(job.parent))
    before = trainer.done
    trainer.pause_after(job.steps)
    trainer.run()
    state = pack_tensors(context.restore(trainer.name) or {})
    steps = trainer.done - before
    return Trained(state, trainer.epoch, steps, context.curves, context.notes)


def compare(work: Work, item: tuple[Node, bytes, str, int, int]) -> Matching:
    """Return the gradient distances of the options of one decision, on some batches.

    Args:
        work: Of the search.
        item: Node, its state, decision, number of the first batch, and how many.
    """
    node, state, decision, first, count = item
    trainer = work.trainer(work.context(), node, state)
    with quiet_settings(trainer.device, None):
        return trainer.distances(decision, count, work.scope, work.probing, first)


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
            network = tuned(trainer, architecture, work.tuning)
            calibrate(network, inputs)
            found.append((held_out(network, trainer.data), architecture))
    best, architecture = max(found, key=lambda pair: pair[0])  # the first of equal ones
    return Chosen(architecture.to_json(), best, len(found))


def tuned(trainer: NodeTrainer, architecture: Architecture, epochs: int) -> nn.Module:
    """Return a network with the weights of its super-network, trained alone for some epochs.

    By the same SGD on the same half of the data; the learning rate falls anew, in a half cosine.
    """
    network, recipe = trainer.supernet.extract(architecture), trainer.recipe
    weights = [p for p in network.parameters() if p.requires_grad]
    if not epochs or not weights:
        return network
    momentum, decay = recipe.momentum, recipe.weight_decay
    optimizer = torch.optim.SGD(weights, recipe.lr, momentum, weight_decay=decay)
    network.train()
    for step in range(epochs * trainer.halves.steps):
        epoch, within = divmod(step, trainer.halves.steps)
        share = half_cosine(epoch, epochs)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr_min + (recipe.lr - recipe.lr_min) * share
        with seeded(trainer.seed, f"tune {step}", trainer.device):
            loss = trainer.loss(trainer.halves.train(epoch, within), network=network)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss, inputs=weights)
        if recipe.grad_clip:
            nn.utils.clip_grad_norm_(weights, recipe.grad_clip, foreach=True)
        optimizer.step()
    return network


@torch.no_grad()
def held_out(network: nn.Module, data: Prepared) -> float:
    """Return how good a network is on the validation split: more is better.

    The accuracy in %; of targets minus the root of the mean square error, in the standard
    deviations of the training split.
    """
    examples = data.split("valid")
    network.eval()
    outputs = [network(data.inputs.apply(x)).double() for x in torch.split(examples.x, _EVAL_BATCH)]
    predicted = torch.cat(outputs)
    if data.targets is None:
        return 100.0 * float((predicted.argmax(1) == examples.y).double().mean())
    wanted = examples.y.double().reshape(predicted.shape)
    return -float((predicted - wanted).square().mean().sqrt())
