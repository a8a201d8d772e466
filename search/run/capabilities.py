"""Which strategy works on which space: computed from what the classes declare."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ...registry import Registry
from ...spaces import SPACES, DecisionSpace
from ..registry import STRATEGIES
from ..strategy import Strategy

_LOG = logging.getLogger(__name__)
_NEEDS = {
    "supernet": "a space with a super-network",
    "mixture": "a space that mixes operations",
    "widths": "a space whose decisions are all widths",
    "split": "a space that mixes operations or chooses kernels of one weight",
    "partial": "a space whose operations can work on part of the channels",
    "gradients": "a space with a differentiable super-network",
    "tasks": "a space with several tasks",
}
_OFFERS = {"gradients": ("mixture",), "split": ("mixture", "kernels")}  # what meets a need as well


@runtime_checkable
class SpaceCheck(Protocol):
    """A strategy whose options decide whether it can search a space."""

    def check_space(self, space: DecisionSpace) -> None:
        """Refuse a space that the options do not suit, before anything is trained.

        Raises:
            SpecError: Says why.
        """


@dataclass(frozen=True)
class Pairing:
    """Whether a strategy works on a space; `reason` says why not."""

    strategy: str
    space: str
    reason: str = ""

    @property
    def valid(self) -> bool:
        """Whether the pair may run."""
        return not self.reason


def pairing_problem(
    strategy: type[Strategy], space: DecisionSpace | Any, objectives: int | None = None
) -> str:
    """Return why the strategy cannot search the space for so many objectives; empty: it can.

    Args:
        strategy: The class.
        space: The space, or anything with `name` and `supports`.
        objectives: How many; None leaves them out of the question.
    """
    name = strategy.name or strategy.__name__
    missing = sorted(need for need in strategy.needs if not _offers(space.supports, need))
    if missing:
        wanted = " and ".join(_NEEDS.get(need, need) for need in missing)
        offered = ", ".join(sorted(space.supports)) or "plain architectures only"
        return (
            f"{name} needs {wanted}; {space.name} offers {offered}; "
            f"strategies that fit: {', '.join(_fitting(space)) or 'none'}"
        )
    if objectives is not None and strategy.objectives == "single" and objectives > 1:
        return (
            f"{name} takes one objective, got {objectives}; make the others constraints, or use "
            f"one of {', '.join(_multi(space))}"
        )
    if objectives is not None and strategy.objectives == "multi" and objectives < 2:
        return f"{name} takes two objectives or more, got {objectives}; add one"
    return ""


def capability_matrix(
    strategies: Iterable[str] | None = None, spaces: Iterable[str] | None = None
) -> list[Pairing]:
    """Return every pair of registered strategy and space, with the reason where it is refused.

    Plug-ins that cannot be loaded are left out, unless they are asked for by name.
    """
    pairs = []
    offers = [offer for name in spaces or loadable(SPACES) if (offer := _offer(name)) is not None]
    for name in strategies or loadable(STRATEGIES):
        cls = STRATEGIES.get(name)
        pairs += [Pairing(name, offer.name, pairing_problem(cls, offer)) for offer in offers]
    return pairs


def loadable(registry: Registry) -> list[str]:
    """Return the names whose classes can be imported: one broken plug-in must not hide the rest.

    `netloom doctor` says what is wrong with the others.
    """
    names = []
    for name in registry:
        try:
            registry.get(name)
        except Exception as error:  # a plug-in's module may raise anything
            _LOG.debug("%s %s cannot be loaded: %s", registry.kind, name, error)
        else:
            names.append(name)
    return names


@dataclass(frozen=True)
class _Offer:
    name: str
    supports: frozenset[str]


def _offer(name: str) -> _Offer | None:
    """Return what a registered space offers; None for one that cannot be made without options.

    A plug-in's constructor may raise anything, and must not hide the other spaces.
    """
    cls = SPACES.get(name)
    try:
        return _Offer(name, cls().supports)
    except Exception as error:
        _LOG.debug("space %s cannot be made without options: %s", name, error)
        return None


def _offers(supports: frozenset[str], need: str) -> bool:
    return need in supports or not supports.isdisjoint(_OFFERS.get(need, ()))


def _fitting(space: Any) -> list[str]:
    return [
        name
        for name in loadable(STRATEGIES)
        if all(_offers(space.supports, need) for need in STRATEGIES.get(name).needs)
    ]


def _multi(space: Any) -> list[str]:
    return [name for name in _fitting(space) if STRATEGIES.get(name).objectives != "single"]
