"""How DenseNets grow: see `eas_growth`.

The norm that reads a layer belongs to its readers here: it is theirs that are gathered. What a
mini-block or transition makes is read by all that follows in the block and by what ends it; a map
of the outputs becomes one of the joined channels, which keeps those before and behind in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .eas_dense import DenseNetwork
from .eas_growth import (
    Draws,
    State,
    renumbered,
    state_of,
    widen_inputs,
    widen_norm,
    widen_outputs,
    with_state,
)
from .eas_plan import DensePlan, dense_plan


def widen_mini_block(
    network: DenseNetwork, block: int, layer: int, name: str, growth: int, draws: Draws
) -> DenseNetwork:
    """Return a network with a higher growth rate in one place: bottleneck first, then its reader.

    Args:
        network: The parent; it stays as it is.
        block: Which dense block.
        layer: Which of its mini-blocks.
        name: Of the maps.
        growth: More than there is.
        draws: Where the maps come from.
    """
    plan, state = network.plan, state_of(network)
    rates, ratio = plan.blocks[block], network.rest[2]
    mini = f"blocks.{block}.{layer}"
    inner = draws.widened(f"{name}.bottleneck", ratio * rates[layer], ratio * growth)
    widen_outputs(state, f"{mini}.conv1", inner, draws)
    widen_norm(state, f"{mini}.norm2", inner)
    widen_inputs(state, f"{mini}.conv2", inner)
    g = draws.widened(name, rates[layer], growth)
    widen_outputs(state, f"{mini}.conv2", g, draws)
    before = plan.inputs(block)[layer]
    _push(state, plan, block, layer + 1, [*range(before), *(before + old for old in g)])
    changed = (*rates[:layer], growth, *rates[layer + 1 :])
    return _child(network, _with_block(plan, block, changed), state)


def deepen_mini_block(
    network: DenseNetwork, block: int, layer: int, name: str, draws: Draws
) -> DenseNetwork:
    """Return a network with a copy of a mini-block behind it.

    The copy ignores the channels that its model adds, and makes the same ones, drawn with
    replacement; what follows divides the weight of a channel among its copies.

    Args:
        network: The parent; it stays as it is.
        block: Which dense block.
        layer: Which of its mini-blocks.
        name: Of the map of the new one.
        draws: Where the map comes from.
    """
    plan = network.plan
    rates, inputs = plan.blocks[block], plan.inputs(block)
    state = renumbered(state_of(network), f"blocks.{block}.", layer + 1)
    _copy(state, f"blocks.{block}.{layer}", f"blocks.{block}.{layer + 1}", rates[layer])
    new = f"blocks.{block}.{layer + 1}"
    g = draws.remapped(name, rates[layer])
    state[f"{new}.conv1.weight"] = draws.on_copy(state[f"{new}.conv1.weight"])
    state[f"{new}.conv2.weight"] = draws.on_copy(state[f"{new}.conv2.weight"][g])
    before, after = inputs[layer], inputs[layer + 1]
    joined = [*range(after), *(before + old for old in g)]
    _push(state, plan, block, layer + 1, joined, shift=1)
    changed = (*rates[: layer + 1], rates[layer], *rates[layer + 1 :])
    return _child(network, _with_block(plan, block, changed), state)


def widen_transitions(
    network: DenseNetwork, names: Sequence[str], reduction: float, draws: Draws
) -> DenseNetwork:
    """Return a network whose stem and transitions are as wide as its growth rates ask for.

    None becomes narrower. A transition counts what it reads after those before were widened.

    Args:
        network: The parent; it stays as it is.
        names: Of the maps of stem and transitions.
        reduction: Of the transitions.
        draws: Where the maps come from.
    """
    plan, state = network.plan, state_of(network)
    layers = ["stem.conv", *(f"transitions.{i}.conv" for i in range(len(plan.transitions)))]
    for place, (layer, name) in enumerate(zip(layers, names, strict=True)):
        old = plan.widths[place]
        wanted = (
            dense_plan(plan.blocks, reduction).stem
            if place == 0
            else int(plan.inputs(place - 1)[-1] * reduction)
        )
        if wanted <= old:
            continue
        g = draws.widened(name, old, wanted)
        widen_outputs(state, layer, g, draws)
        _push(state, plan, place, 0, g)
        widths = [*plan.widths[:place], wanted, *plan.widths[place + 1 :]]
        plan = DensePlan(widths[0], plan.blocks, tuple(widths[1:]))
    return _child(network, plan, state)


def _push(
    state: State, plan: DensePlan, block: int, first: int, joined: list[int], shift: int = 0
) -> None:
    """Tell what follows in a block, and what ends it, of a map of the joined channels.

    Args:
        state: Of the network.
        plan: Of the parent.
        block: Which dense block.
        first: Its first mini-block that reads them, as the parent counts.
        joined: The map of the channels that it reads.
        shift: By how much the numbers of these mini-blocks are higher in the state.
    """
    rates, inputs = plan.blocks[block], plan.inputs(block)
    for layer in range(first, len(rates)):
        name = f"blocks.{block}.{layer + shift}"
        widen_norm(state, f"{name}.norm1", joined)
        widen_inputs(state, f"{name}.conv1", joined)
        joined = [*joined, *range(inputs[layer], inputs[layer + 1])]
    last = block == len(plan.blocks) - 1
    end, layer_name = ("head", "linear") if last else (f"transitions.{block}", "conv")
    widen_norm(state, f"{end}.norm", joined)
    widen_inputs(state, f"{end}.{layer_name}", joined)


def _copy(state: State, model: str, new: str, growth: int) -> None:
    """Add a mini-block that reads `growth` channels more than its model, with weights of 0."""
    for name in [n for n in state if n.startswith(f"{model}.")]:
        state[f"{new}.{name.removeprefix(f'{model}.')}"] = state[name].clone()
    fresh = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for key, value in fresh.items():
        old = state[f"{new}.norm1.{key}"]
        state[f"{new}.norm1.{key}"] = torch.cat([old, old.new_full((growth,), value)])
    weight = state[f"{new}.conv1.weight"]
    none = weight.new_zeros(weight.shape[0], growth, *weight.shape[2:])
    state[f"{new}.conv1.weight"] = torch.cat([weight, none], 1)


def _with_block(plan: DensePlan, block: int, rates: tuple[int, ...]) -> DensePlan:
    blocks = (*plan.blocks[:block], rates, *plan.blocks[block + 1 :])
    return DensePlan(plan.stem, blocks, plan.transitions)


def _child(network: DenseNetwork, plan: DensePlan, state: State) -> DenseNetwork:
    with torch.device("meta"):
        child = DenseNetwork(plan, *network.rest)
    return with_state(child, state, training=network.training)
