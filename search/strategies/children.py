"""Children that nobody has asked for yet, made by the space's own mutation and crossover."""

from __future__ import annotations

from collections.abc import Container
from random import Random

from ...spaces import Architecture
from ..strategy import Context

_TRIES = 32  # draws at one distance before the next mutation is added
_STEPS = 3  # mutations before the neighbourhood counts as used up


def can_change(context: Context, architecture: Architecture) -> bool:
    """Return whether some active decision has another option (else `mutate` has nothing to do)."""
    return any(
        len(decision.options) > 1 or decision.index(architecture[decision.name]) is None
        for decision in context.space.decisions
        if decision.name in architecture
    )


def is_new(context: Context, architecture: Architecture, taken: Container[Architecture]) -> bool:
    """Return whether an architecture is neither known nor in `taken`."""
    return architecture not in taken and not context.known(architecture)


def fresh_mutant(
    context: Context, parent: Architecture, rng: Random, taken: Container[Architecture]
) -> Architecture | None:
    """Return a new architecture one mutation away from `parent`, or two, or three; else None.

    A mutant that is known or in `taken` is drawn again: its value is known already. More
    mutations are added only when the nearer ones seem used up.
    """
    for steps in range(1, _STEPS + 1):
        for _ in range(_TRIES):
            child = mutated(context, parent, rng, steps)
            if is_new(context, child, taken):
                return child
    return None


def mutated(context: Context, parent: Architecture, rng: Random, steps: int) -> Architecture:
    """Return `parent` after `steps` mutations, or fewer where nothing can change."""
    child = parent
    for _ in range(steps):
        if not can_change(context, child):
            break
        child = context.space.mutate(child, rng)
    return child
