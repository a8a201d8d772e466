"""What the gradients of a decision's options say about splitting it, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from ...spaces.decision import Option
from .matching import Matching
from .partition import MOST, Cut, minimum_cut

Zeros: TypeAlias = Literal["left_out", "counted"]


@dataclass(frozen=True)
class Judgement:
    """A decision's best cut.

    Args:
        matching: What was measured.
        cut: Of the options.
        agree: Whether every other batch and the rest give the same groups, each on its own; None
            with a single batch.
    """

    matching: Matching
    cut: Cut
    agree: bool | None

    @property
    def groups(self) -> list[list[Option]]:
        """The options of each group."""
        return [[self.matching.options[i] for i in group] for group in self.cut.groups]

    @property
    def each(self) -> Tensor:
        """The cut's score on each batch: (batches,)."""
        label = torch.zeros(len(self.matching.options), dtype=torch.int64)
        for number, group in enumerate(self.cut.groups):
            label[list(group)] = number
        crossing = (1 - self.matching.batches)[:, label[:, None] != label[None, :]]
        return crossing.mean(1)

    @property
    def error(self) -> float | None:
        """The standard error of the cut's score over batches; None with a single one."""
        each = self.each
        return float(each.std()) / math.sqrt(len(each)) if len(each) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        matching, single = self.matching, len(self.matching.batches) < 2
        return {
            "options": list(matching.options),
            "groups": self.groups,
            "cut": self.cut.cost,
            "pairs": self.cut.pairs,
            "score": self.cut.score,
            "score_error": self.error,
            "halves_agree": self.agree,
            "batches": len(matching.batches),
            "distances": matching.distances.tolist(),
            "errors": None if single else matching.error.tolist(),
            "silent": matching.silent.sum(0).tolist(),
        }


def judge(
    matching: Matching, groups: int, zeros: Zeros = "left_out", most: int = MOST
) -> Judgement:
    """Return the balanced minimum cut of a decision's options.

    Args:
        matching: Their gradient distances.
        groups: How many.
        zeros: `left_out`: pairs with a gradient of 0 say nothing; `counted`: they have distance 1.
        most: See `minimum_cut`.

    Raises:
        SpecError: As `minimum_cut` does.
    """
    agree = None
    if len(matching.batches) > 1:
        halves = [
            replace(matching, batches=matching.batches[i::2], silent=matching.silent[i::2])
            for i in (0, 1)
        ]
        even, odd = (minimum_cut(_similarity(half, zeros), groups, most).groups for half in halves)
        agree = even == odd
    return Judgement(matching, minimum_cut(_similarity(matching, zeros), groups, most), agree)


def settled(judgements: Sequence[Judgement], errors: float) -> bool:
    """Return whether more batches would hardly change which decision is split, and how.

    Every other batch and the rest give the best decision the same groups, and its score is below
    that of every other one by so many standard errors of the difference on the same batches.

    Args:
        judgements: Of the decisions that may be split, on the same two batches or more.
        errors: How many.
    """
    if not judgements:
        return False
    best, *others = sorted(judgements, key=lambda judgement: judgement.cut.score)
    gaps = [other.each - best.each for other in others]
    clear = all(float(g.mean()) >= errors * float(g.std()) / math.sqrt(len(g)) for g in gaps)
    return best.agree is True and clear


def _similarity(matching: Matching, zeros: Zeros) -> Tensor:
    return 1 - (matching.heard if zeros == "left_out" else matching.distances)
