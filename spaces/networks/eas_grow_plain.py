"""How plain networks grow: see `eas_growth`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import SpecError
from .eas_growth import (
    Draws,
    State,
    identity_conv,
    output_of,
    renumbered,
    state_of,
    undoing_norm,
    widen_inputs,
    widen_norm,
    widen_outputs,
    with_state,
)
from .eas_plain import ConvLayer, FullLayer, PlainNetwork
from .eas_plan import CONV, FULL, POOL, Entry


def widen_plain(
    network: PlainNetwork, layer: int, name: str, width: int, draws: Draws
) -> PlainNetwork:
    """Return a network with a wider layer.

    Args:
        network: The parent; it stays as it is.
        layer: Place of the layer among the entries.
        name: Of the map.
        width: Of the layer, more than it has.
        draws: Where the map comes from.
    """
    entry = network.plan[layer]
    state = state_of(network)
    g = draws.widened(name, entry.width, width)
    widen_outputs(state, f"layers.{layer}.layer", g, draws)
    widen_norm(state, f"layers.{layer}.norm", g)
    reader, pixels = _reader(network, layer)
    widen_inputs(state, f"{reader}.layer", g, pixels)
    wider = entry._replace(width=width)
    return _child(network, [*network.plan[:layer], wider, *network.plan[layer + 1 :]], state)


def _reader(network: PlainNetwork, layer: int) -> tuple[str, int]:
    """Return the name of the next layer that has weights, and the pixels of each channel there.

    Pools pass channels on; a linear layer behind a map reads every pixel of it.
    """
    for place in range(layer + 1, len(network.plan)):
        if network.plan[place].kind != POOL:
            break
    else:
        place = len(network.plan)
    convolution = place < len(network.plan) and network.plan[place].kind == CONV
    pixels = 1 if convolution else max(1, network.placed[place - 1].out_side) ** 2
    return f"layers.{place}" if place < len(network.plan) else "classifier", pixels


def deepen_plain(
    network: PlainNetwork, layer: int, kernel: int | None, images: Tensor | None, draws: Draws
) -> PlainNetwork:
    """Return a network with an identity behind a layer.

    Args:
        network: The parent; it stays as it is.
        layer: Place of the layer among the entries.
        kernel: Of the identity behind a convolution.
        images: A batch, the statistics of which the new norm begins with.
        draws: Where noise comes from.

    Raises:
        SpecError: If there are no images.
    """
    if images is None or not len(images):
        raise SpecError(
            "a new layer of a plain network needs the statistics of what it reads; give "
            "images=, a batch of training images (the original takes 64)"
        )
    entry, model = network.plan[layer], network.layers[layer]
    assert isinstance(model, ConvLayer | FullLayer)
    like = model.layer.weight.detach()
    if entry.kind == FULL:
        new, weight = entry, torch.eye(entry.width).to(like)
    else:
        new = entry._replace(kernel=kernel or 0)
        weight = identity_conv(entry.width, new.kernel, like)
    norm = undoing_norm(output_of(network.layers, layer, images.to(like)), model.norm.eps)
    state = renumbered(state_of(network), "layers.", layer + 1)
    state[f"layers.{layer + 1}.layer.weight"] = draws.on_identity(weight)
    state |= {f"layers.{layer + 1}.norm.{key}": value for key, value in norm.items()}
    return _child(network, [*network.plan[: layer + 1], new, *network.plan[layer + 1 :]], state)


def _child(network: PlainNetwork, entries: Sequence[Entry], state: State) -> PlainNetwork:
    with torch.device("meta"):
        child = PlainNetwork(entries, *network.rest)
    return with_state(child, state, training=network.training)
