"""Few-shot search with gradient matching: one super-network is split into several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...errors import SpecError
from ...options import options_of
from ...spaces import DecisionSpace
from ...spaces.decision import Option
from ..one_shot.splitting import ROOT, Schedule, check_enough
from ..one_shot.strategy import BilevelSearch, Count, GradientSearch, Positive, Share
from ..strategy import Context
from .darts import Darts
from .proxyless import Proxyless

if TYPE_CHECKING:
    from ..one_shot.few_shot import FewShotSearch
    from ..one_shot.trainer import Trainer


class GmFewshot(GradientSearch):
    """Splits a super-network where its options disagree about the shared weights.

    A super-network of everything is trained for a while; then one decision is split: its options
    are put into groups, and each group gets a super-network of its own. The groups are a balanced
    minimum cut of the options, whose similarity is the cosine of the gradients that they give the
    shared weights; the decision whose groups are least alike, per pair, is split. The parts go on
    and are split again; the leaves are searched by a method of one super-network. What each leaf
    ends with is proposed, ordered by its accuracy on the validation split with batch-norm
    statistics of its own.

    The defaults are the paper's for NAS-Bench-201. Gradients take `match_batches` passes for each
    option of each decision that is whole: 3000 on the first level there.

    Deviations: pairs with a gradient of 0 are left out (`zero_gradients: counted` is the paper's
    distance of 1); all shared parameters are compared (`scope: edges` leaves out stem, head and
    what lies between the cells, as the reference does on NAS-Bench-201 and DARTS); the decision is
    chosen by the mean similarity of crossing pairs, not by the sum; batch norms keep running
    statistics, and epochs hold each example once; logits start equal, also those of SNAS.

    Source: Hu et al., arXiv:2203.15207; skhu101/GM-NAS: WS-GM/nasbench201/train_search.py.

    Args:
        base: What searches a leaf: `darts_1st`, `darts_2nd`; `snas`: DARTS' loop with a sample of
            Gumbel-softmax per step, temperature from 1 to 0.1; `rsps`: random sampling with path
            evaluation; `proxyless`: paths with binary gates; `ofa_kernel`: on elastic spaces, a
            uniform kernel in each block per step, all else at its largest, and networks at random
            in the end.
        split_epochs: Epochs after which nodes are split.
        groups: Of each of these splits.
        epochs: Of a leaf.
        restart: `final`: leaves start from new weights; `none`: they go on from their parents.
        cosine: Of leaves that start anew: `whole`: the learning rate falls as if all epochs were
            still to come; `leaf`: within the epochs of a leaf.
        rule: `gradients`; `random`: any balanced groups of any decision, to compare with.
        decisions: Names of decisions that may be split; None: all.
        max_options: Decisions of more options stay whole: all partitions are tried (the paper: 8).
        match_batches: On how many the gradients are compared, at most.
        settle: Standard errors by which the best decision must lead for a comparison to end after
            8, 16, 32, ... batches, both halves of which give it the same groups; None: it never
            ends early.
        scope: `all` shared parameters, or those of the other `edges` only.
        probing: `hard`: a probed option runs alone; `soft`: with the weight that it has.
        zero_gradients: Whether pairs with a gradient of 0 are `left_out` or `counted`.
        paths: Random paths of a leaf that are evaluated at its end (`rsps`, `ofa_kernel`).
        gates: Of `proxyless`: options of a decision that run in a step on the logits.
        arch_every: Of `proxyless`: steps on the weights for each step on the logits.
        calibration_batches: For the batch-norm statistics of what is evaluated.
        tune_epochs: That each network is trained alone, from its leaf's weights, before its
            accuracy orders the leaves: weights of a mixture are worth little alone.
        batch_size: Examples of a step, of either half.
        augment: Any of `crop`, `flip`, `cutout`, for both halves.
        train_share: Of the training split that the weights learn from.
        lr: Learning rate of the weights at the start; see `cosine`.
        lr_min: At the end of the half cosine.
        momentum: Of the weights.
        nesterov: Whether it is Nesterov's.
        weight_decay: Of the weights; the paper has 1e-4 with `rsps`.
        grad_clip: Largest norm of the weights' gradient; None: no limit.
        arch_lr: Learning rate of the logits.
        arch_betas: Of their Adam; None: 0.5 and 0.999, of `proxyless` 0 and 0.999.
        arch_weight_decay: Of the logits; None: 1e-3, of `proxyless` 0.
        searches: Searches from different seeds.
        supernet: Options of the space's super-network (`channels`, `layers` of `darts`).
        accumulate: Pieces into which batches of training are cut; their gradients are added up.
        amp: Mixed precision (bfloat16): for GPUs, and CPUs that are made for it.
        channels_last: Whether the channels of a pixel are neighbours in memory.
        checkpoint_minutes: Between two checkpoints.

    Raises:
        SpecError: If options contradict each other.
    """

    name: ClassVar[str] = "gm_fewshot"
    needs: ClassVar[frozenset[str]] = frozenset({"split"})

    def __init__(
        self,
        *,
        base: Literal[
            "darts_1st", "darts_2nd", "snas", "rsps", "proxyless", "ofa_kernel"
        ] = "darts_2nd",
        split_epochs: list[Annotated[int, Field(ge=0)]] | None = None,
        groups: list[Annotated[int, Field(ge=2)]] | None = None,
        epochs: Count = 30,
        restart: Literal["final", "none"] = "final",
        cosine: Literal["whole", "leaf"] = "whole",
        rule: Literal["gradients", "random"] = "gradients",
        decisions: list[str] | None = None,
        max_options: Annotated[int, Field(ge=2, le=12)] = 8,
        match_batches: Count = 100,
        settle: Positive | None = None,
        scope: Literal["all", "edges"] = "all",
        probing: Literal["hard", "soft"] = "hard",
        zero_gradients: Literal["left_out", "counted"] = "left_out",
        paths: Count = 200,
        gates: Literal["two", "all"] = "two",
        arch_every: Count = 5,
        calibration_batches: Count = 8,
        tune_epochs: Annotated[int, Field(ge=0)] = 0,
        batch_size: Count = 48,
        augment: list[Literal["crop", "flip", "cutout"]] | None = None,
        train_share: Share = 0.5,
        lr: Positive = 0.025,
        lr_min: Annotated[float, Field(ge=0)] = 0.001,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        nesterov: bool = True,
        weight_decay: Annotated[float, Field(ge=0)] = 5e-4,
        grad_clip: Positive | None = 5.0,
        arch_lr: Positive = 3e-4,
        arch_betas: tuple[Annotated[float, Field(ge=0, lt=1)], Share] | None = None,
        arch_weight_decay: Annotated[float, Field(ge=0)] | None = None,
        searches: Count = 1,
        supernet: Mapping[str, Any] | None = None,
        accumulate: Count = 1,
        amp: bool = False,
        channels_last: bool = False,
        checkpoint_minutes: Positive = 5.0,
    ) -> None:
        binary = base == "proxyless"
        if arch_betas is None:
            arch_betas = (0.0 if binary else 0.5, 0.999)
        if arch_weight_decay is None:
            arch_weight_decay = 0.0 if binary else 1e-3
        super().__init__(
            epochs=epochs,
            batch_size=batch_size,
            augment=augment,
            train_share=train_share,
            lr=lr,
            lr_min=lr_min,
            momentum=momentum,
            weight_decay=weight_decay,
            grad_clip=grad_clip,
            arch_lr=arch_lr,
            arch_betas=arch_betas,
            arch_weight_decay=arch_weight_decay,
            searches=searches,
            supernet=supernet,
            accumulate=accumulate,
            amp=amp,
            channels_last=channels_last,
            checkpoint_minutes=checkpoint_minutes,
        )
        self.base, self.restart, self.cosine = base, restart, cosine
        self.split_epochs = (15, 30) if split_epochs is None else tuple(split_epochs)
        self.groups = (2,) * len(self.split_epochs) if groups is None else tuple(groups)
        self.rule, self.decisions = rule, decisions
        self.max_options, self.settle = max_options, settle
        self.gates, self.arch_every = gates, arch_every
        self.match_batches, self.scope, self.probing = match_batches, scope, probing
        self.zero_gradients, self.paths = zero_gradients, paths
        self.calibration_batches, self.nesterov = calibration_batches, nesterov
        self.tune_epochs = tune_epochs
        self._check()

    def _check(self) -> None:
        _ = self._schedule, self._recipe()
        if len(self.groups) != len(self.split_epochs):
            raise SpecError(
                f"groups must have one number for each of the {len(self.split_epochs)} splits, got "
                f"{list(self.groups)}"
            )
        if self.nesterov and not self.momentum:
            raise SpecError("nesterov needs momentum, got 0; set nesterov: false")

    @property
    def _schedule(self) -> Schedule:
        return Schedule(self.split_epochs, self.epochs, self.restart, self.cosine)

    def trainer(self, context: Context, seed: int, name: str) -> Trainer:
        """Return the trainer of the whole super-network, the root of the tree."""
        search = self.few_shot(context, seed, name)
        return search.work.trainer(search.work.context(), search.tree.nodes[ROOT])

    def few_shot(self, context: Context, seed: int, name: str) -> FewShotSearch:
        """Return the search that starts from `seed`, or goes on from its checkpoints.

        Raises:
            SpecError: If space, data and options do not fit, or a checkpoint is another search's.
        """
        from ..one_shot.few_shot import FewShotSearch
        from ..one_shot.work import Work

        work = Work(
            space=context.space,
            data=context.data,
            device=context.device,
            seed=seed,
            name=name,
            recipe=self._recipe(),
            base=self.base,
            nesterov=self.nesterov,
            schedule=self._schedule,
            batches=self.match_batches,
            scope=self.scope,
            probing=self.probing,
            candidates=self.paths,
            calibration=self.calibration_batches,
            tuning=self.tune_epochs,
        )
        return FewShotSearch(
            work,
            context,
            self.identity(context, seed),
            self._splittable(context.space),
            groups=self.groups,
            rule=self.rule,
            decisions=self.decisions,
            zeros=self.zero_gradients,
            most=self.max_options,
            settle=self.settle,
            checkpoint_minutes=self.checkpoint_minutes,
        )

    def check_space(self, space: DecisionSpace) -> None:
        """Check that the space has what is to be split, before anything is trained.

        Raises:
            SpecError: If its super-network does not take the options, the base search does not
                suit it, a decision that is to be split is unknown, or there are fewer decisions
                than splits.
        """
        super().check_space(space)
        rows = self._splittable(space)
        check_enough(rows, self.groups, self.max_options, self.decisions)

    def _splittable(self, space: Any) -> Mapping[str, tuple[Option, ...]]:
        """Return decision -> options of what can be split."""
        from ..one_shot.sharing import kernel_masks, kernels_of
        from ..one_shot.trainer import supernet_of

        if self.base == "ofa_kernel":
            supernet = space.supernet(**self.supernet)
            kernel_masks(space, supernet)
            options = kernels_of(supernet)
        elif "mixture" not in space.supports:
            raise SpecError(
                f"base: {self.base} needs a space that mixes operations; {space.name} offers "
                f"{', '.join(sorted(space.supports))}; set base: ofa_kernel, or take another space"
            )
        else:
            options = supernet_of(space, self.supernet).mixtures
        if unknown := [d for d in self.decisions or () if d not in options]:
            raise SpecError(f"decisions must be of {sorted(options)}, got {unknown[0]!r}")
        return options

    def prepare(self, context: Context) -> None:
        """Train, split and search; go on where an earlier process stopped.

        Raises:
            SpecError: If a checkpoint is that of another search, or nothing is left to split.
            EvaluationError: If training diverges.
        """
        self._ranked: list[tuple[float, str, dict[str, Any]]] = []
        super().prepare(context)

    def _search(self, number: int) -> bool:
        from ...seeds import derive_seed

        name = "search" if self.searches == 1 else f"search{number}"
        search = self.few_shot(self.context, derive_seed(self.context.seed, "search", number), name)
        finished = search.run()
        if finished:
            self._ranked += [
                (
                    chosen.held_out,
                    chosen.architecture,
                    {"search": number, "leaf": leaf, "held_out": round(chosen.held_out, 4)},
                )
                for leaf, chosen in search.ranking
            ]
        return finished

    def _proposals(self) -> list[tuple[str, dict[str, Any]]]:
        ranked = sorted(self._ranked, key=lambda found: -found[0])
        return [(architecture, tags) for _, architecture, tags in ranked]

    def _recipe(self) -> BilevelSearch:
        """Return the search of a leaf with the options of this one."""
        shared = {name: getattr(self, name) for name in options_of(GradientSearch).model_fields}
        if self.base == "proxyless":
            if self.restart == "none":
                shared["epochs"] = self._schedule.total
            return Proxyless(
                gates=self.gates, arch_every=self.arch_every, nesterov=self.nesterov, **shared
            )
        return Darts(
            order=2 if self.base == "darts_2nd" else 1,
            sampling="snas" if self.base == "snas" else "softmax",
            **shared,
        )
