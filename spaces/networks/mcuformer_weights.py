"""Weights of low-rank networks from those of whole layers, and of two factors from three."""

from __future__ import annotations

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn

from ...errors import SpecError
from ..layers import LowRankLinear


@torch.no_grad()
def take_over(network: nn.Module, whole: nn.Module) -> list[str]:
    """Start a network of low-rank layers from one of whole layers: the best approximation of each.

    Of a layer's matrix U S V it takes the largest singular values: the first factor is V, the
    middle one S, the last one U (with two factors U S), and the bias goes to the last. Rows of
    queries, keys and values that take turns in a super-network do so in the last factor alone: the
    others have no such rows. All other tensors of equal name and size are copied.

    Args:
        network: A super-network, or a network, of any space with `factors` 2 or 3.
        whole: The same with `factors` 1: both super-networks, or both stand-alone networks.

    Returns:
        The names of the parameters that keep their own values, because there is nothing of their
        size to take over: embedding and positions of other patches.

    Raises:
        SpecError: If a layer of `whole` is missing or has another size.
    """
    taken: set[str] = set()
    for path, layer in network.named_modules():
        if isinstance(layer, LowRankLinear):
            weight, bias = _source(whole, path, layer)
            layer.factorize(weight, bias)
            taken |= {f"{path}.{name}" for name, _ in layer.named_parameters()}
    given = dict(whole.named_parameters())
    kept = []
    for name, parameter in network.named_parameters():
        if name in taken:
            continue
        source = given.get(name)
        if source is None or source.shape != parameter.shape:
            kept.append(name)
        else:
            parameter.copy_(source)
    return kept


def _source(whole: nn.Module, path: str, layer: LowRankLinear) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of the whole layer at a path."""
    first, *_, last = (cast(Tensor, factor.weight) for factor in layer)
    wanted = (len(last), first.shape[1])
    try:
        found = whole.get_submodule(path)
    except AttributeError:
        found = None
    weight = getattr(found, "weight", None)
    if not isinstance(weight, Tensor) or tuple(weight.shape) != wanted:
        size = tuple(weight.shape) if isinstance(weight, Tensor) else "none"
        raise SpecError(
            f"{path} must be one layer of {wanted} in the network to take over from, got {size}; "
            "build it by the same space with factors: 1"
        )
    return weight, cast("Tensor | None", getattr(found, "bias", None))


@torch.no_grad()
def folded(network: nn.Module) -> nn.Module:
    """Return a copy of a stand-alone network with two factors where there were three.

    The middle one goes into the last: the same outputs with fewer parameters and multiply-adds.

    Args:
        network: Without choices.
    """
    copy = deepcopy(network)
    for parent in list(copy.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, LowRankLinear) and len(layer) == 3:
                setattr(parent, name, _folded(layer))
    return copy


def _folded(layer: LowRankLinear) -> LowRankLinear:
    first, middle, last = (cast(nn.Linear, factor) for factor in layer)
    rank, bias = first.out_features, last.bias is not None
    new = LowRankLinear(first.in_features, last.out_features, rank, bias=bias)
    new.to(first.weight).train(layer.training)
    new[0].load_state_dict(first.state_dict())
    own = cast(nn.Linear, new[1])
    own.weight.copy_(last.weight @ middle.weight)
    if bias:
        own.bias.copy_(last.bias)
    return new
