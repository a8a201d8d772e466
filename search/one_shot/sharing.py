"""Which decisions a super-network can be split by, and which weights their options share.

A decision may choose one of several candidates, each with weights of its own (`OneOf`), or the side
of a kernel that is cut out of a larger one (Once-for-All): then all options share all weights, and
what lies outside the block of the decision is compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from torch import nn

from ...errors import SpecError
from ...spaces import DecisionSpace
from ...spaces.decision import Option
from ...spaces.layers import Choice, ElasticConv2d, ModuleSupernet, OneOf, Sortable

Scope: TypeAlias = Literal["all", "edges"]


def kernels_of(supernet: ModuleSupernet) -> dict[str, tuple[Option, ...]]:
    """Return the decisions among sides of one kernel: name -> options."""
    kernels = [m.kernel for m in supernet.modules() if isinstance(m, ElasticConv2d)]
    return {k.name: k.options for k in kernels if isinstance(k, Choice)}


def splittable(supernet: ModuleSupernet) -> dict[str, tuple[Option, ...]]:
    """Return the decisions whose options can be compared: name -> options, in their order."""
    return {**supernet.mixtures, **kernels_of(supernet)}


def kernel_masks(space: DecisionSpace, supernet: ModuleSupernet) -> dict[str, tuple[Option, ...]]:
    """Return masks that leave only kernels to choose: all else has its largest option.

    Raises:
        SpecError: If there is no kernel to choose, or a decision has no largest option, or no layer
            holds it although it has several.
    """
    kernels, held = kernels_of(supernet), supernet.active
    if not kernels:
        raise SpecError(
            f"ofa_kernel needs decisions among kernels of one weight; {space.name} has none: "
            "choose another base"
        )
    others = [d for d in space.decisions if d.name not in kernels and len(d.options) > 1]
    for decision in others:
        if not decision.ordered or decision.name not in held:
            raise SpecError(
                f"ofa_kernel trains everything but kernels at its largest; {decision.name!r} must "
                f"be an ordered decision that a layer holds, got {len(decision.options)} options "
                f"from {decision.options[0]!r} to {decision.options[-1]!r}; leave it one"
            )
    return {d.name: d.options[-1:] for d in others}


def shared_parameters(
    supernet: ModuleSupernet, decision: str, scope: Scope = "all"
) -> dict[str, nn.Parameter]:
    """Return the parameters that are compared for the options of a decision, by name.

    Args:
        supernet: Whose.
        decision: What is probed; the parameters of its own candidates (of a kernel: of its block)
            are left out.
        scope: `all`, or `edges`: of those only the parameters of other decisions' candidates or
            blocks (what the reference compares on NAS-Bench-201, but for its reduction blocks, and
            on DARTS).

    Raises:
        SpecError: If nothing is shared.
    """
    own: set[int] = set()
    others: set[int] = set()
    for name, block in _blocks(supernet, None):
        (own if name == decision else others).update(map(id, block.parameters()))
    found = {
        name: p
        for name, p in supernet.named_parameters()
        if p.requires_grad and id(p) not in own and (scope == "all" or id(p) in others)
    }
    if not found:
        raise SpecError(
            f"the options of {decision!r} must share parameters to be compared, got none in the "
            f"scope {scope!r}" + ("; use the scope 'all'" if scope == "edges" else "")
        )
    return found


def _blocks(module: nn.Module, around: nn.Module | None) -> Iterator[tuple[str, nn.Module]]:
    """Yield decisions with what is theirs: candidates, or the block around a kernel."""
    around = module if isinstance(module, Sortable) else around
    if isinstance(module, OneOf):
        yield module.choice.name, module.candidates
    if isinstance(module, ElasticConv2d) and isinstance(module.kernel, Choice):
        yield module.kernel.name, around or module
    for child in module.children():
        yield from _blocks(child, around)
