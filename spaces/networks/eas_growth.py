"""Growing a network without changing its function: the steps that every kind of network takes.

A network is its state, a mapping of names to tensors; each step returns changed tensors under the
names of the child. Exact in eval mode and without noise:

- *Wider.* A map g lists for each new output the old one that it copies, g = [0, ..., n-1] and then
  draws with replacement. The layer's outputs are gathered by g, and so are the scale, shift, mean
  and variance of the norm that reads them. The next layer's inputs are gathered by g and divided
  by how often each is copied, so that they sum to what they were.
- *Deeper.* A convolution whose centre is the identity, or an identity matrix. Its norm has the
  mean and the variance of what comes in, over a batch, and undoes them: shift = mean, scale =
  sqrt(variance + eps). It reads outputs of a ReLU, so that its own ReLU changes nothing.

In train mode norms use the statistics of the batch, so that outputs differ.

Source: arXiv 1511.05641, 1707.04873; han-cai/EAS: code/models/layers.py (re-written).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from random import Random
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from ...errors import SpecError
from .eas_actions import Maps, Noise

State: TypeAlias = dict[str, Tensor]
_Network = TypeVar("_Network", bound=nn.Module)
_NORM = ("weight", "bias", "running_mean", "running_var")


class Draws:
    """Where maps and noise come from.

    Args:
        rng: The only source of randomness.
        noise: How much; None: none, so that the function stays exactly as it is.
        maps: Those of an earlier growth, taken instead of drawn.
    """

    def __init__(
        self, rng: Random, noise: Noise | None, maps: Mapping[str, Sequence[int]] | None
    ) -> None:
        self._rng, self._noise, self._given = rng, noise, maps
        self._generator: torch.Generator | None = None
        self.maps: Maps = {}

    def widened(self, name: str, old: int, new: int) -> list[int]:
        """Return a map from `new` outputs to `old` ones that begins with each of them."""
        drawn = [*range(old), *(self._rng.randrange(old) for _ in range(new - old))]
        return self._taken(name, drawn, old)

    def remapped(self, name: str, old: int) -> list[int]:
        """Return a map from as many outputs to `old` ones, all drawn with replacement."""
        return self._taken(name, [self._rng.randrange(old) for _ in range(old)], old)

    def _taken(self, name: str, drawn: list[int], old: int) -> list[int]:
        """Return the map given under this name, or the one drawn."""
        if self._given is not None:
            given = self._given.get(name)
            if given is None or len(given) != len(drawn) or not set(given) <= set(range(old)):
                raise SpecError(
                    f"the maps of a growth must have {len(drawn)} places below {old} for {name}, "
                    f"got {given!r}; give those that the same action recorded"
                )
            drawn = list(given)
        self.maps[name] = drawn
        return drawn

    def on_copies(self, weight: Tensor, old: int) -> Tensor:
        """Return a weight whose outputs from `old` on are noisy."""
        if self._noise is None:
            return weight
        return torch.cat([weight[:old], self._noisy(weight[old:], self._noise.wider)])

    def on_copy(self, weight: Tensor) -> Tensor:
        """Return the weight of a copied layer, noisy everywhere."""
        return weight if self._noise is None else self._noisy(weight, self._noise.wider)

    def on_identity(self, weight: Tensor) -> Tensor:
        """Return the weight of an identity, noisy everywhere."""
        return weight if self._noise is None else self._noisy(weight, self._noise.deeper)

    def _noisy(self, weight: Tensor, ratio: float) -> Tensor:
        if self._generator is None:
            self._generator = torch.Generator().manual_seed(self._rng.getrandbits(62))
        noise = torch.randn(weight.shape, generator=self._generator, dtype=torch.float64)
        spread = ratio * float(weight.double().std(correction=0))
        return weight + (spread * noise).to(weight)


# ---------------------------------------------------------------- wider
def shares(g: Sequence[int]) -> list[float]:
    """Return what each copy is worth: 1 over the number of copies.

    >>> shares([0, 1, 2, 0])
    [0.5, 1.0, 1.0, 0.5]
    """
    copies = Counter(g)
    return [1 / copies[old] for old in g]


def widen_outputs(state: State, layer: str, g: Sequence[int], draws: Draws) -> None:
    """Gather the outputs of a layer by a map; those that were added get the noise."""
    name = f"{layer}.weight"
    old = state[name].shape[0]
    state[name] = draws.on_copies(state[name][list(g)], old)


def widen_norm(state: State, norm: str, g: Sequence[int]) -> None:
    """Gather everything that a norm knows of its channels."""
    for each in _NORM:
        state[f"{norm}.{each}"] = state[f"{norm}.{each}"][list(g)].clone()


def widen_inputs(state: State, layer: str, g: Sequence[int], pixels: int = 1) -> None:
    """Gather the inputs of a layer by a map and divide them among the copies.

    Args:
        state: Of the network.
        layer: Its name.
        g: The map of the channels that it reads.
        pixels: Of each channel, where a linear layer reads a whole map.
    """
    name = f"{layer}.weight"
    inputs = [channel * pixels + pixel for channel in g for pixel in range(pixels)]
    scale = state[name].new_tensor([share for share in shares(g) for _ in range(pixels)])
    weight = state[name][:, inputs]
    state[name] = weight * scale.view(-1, *(1 for _ in weight.shape[2:]))


# ---------------------------------------------------------------- deeper
def identity_conv(channels: int, kernel: int, like: Tensor) -> Tensor:
    """Return the weight of a convolution that changes nothing."""
    weight = like.new_zeros(channels, channels, kernel, kernel)
    weight[:, :, kernel // 2, kernel // 2] = torch.eye(channels).to(like)
    return weight


def undoing_norm(x: Tensor, eps: float) -> State:
    """Return the state of a norm that changes nothing.

    Args:
        x: What comes in, (N, C) or (N, C, H, W): the norm takes its mean and variance.
        eps: Of the norm.
    """
    over = [axis for axis in range(x.ndim) if axis != 1]
    mean, variance = x.mean(over), x.var(over, correction=0)
    return {
        "weight": (variance + eps).sqrt(),
        "bias": mean.clone(),  # not the same tensor: training moves both
        "running_mean": mean,
        "running_var": variance,
        "num_batches_tracked": torch.zeros((), dtype=torch.long, device=x.device),
    }


@torch.no_grad()
def output_of(layers: nn.Sequential, last: int, images: Tensor) -> Tensor:
    """Return what a layer makes of images in eval mode; the layers stay as they are."""
    output: Tensor = deepcopy(layers[: last + 1]).eval()(images)
    return output


# ---------------------------------------------------------------- both
def state_of(network: nn.Module) -> State:
    """Return a copy of the state of a network."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def renumbered(state: State, prefix: str, first: int) -> State:
    """Return the state with the numbers behind `prefix` raised by 1 from `first` on."""
    found = {}
    for name, value in state.items():
        number, dot, rest = name.removeprefix(prefix).partition(".")
        if name.startswith(prefix) and int(number) >= first:
            name = f"{prefix}{int(number) + 1}{dot}{rest}"
        found[name] = value
    return found


def with_state(network: _Network, state: State, *, training: bool) -> _Network:
    """Return a network made on the meta device with its state in it."""
    network.load_state_dict(state, assign=True)
    return network.train(training)


@torch.no_grad()
def logit_change(parent: nn.Module, child: nn.Module, images: Tensor) -> float:
    """Return the largest change of an output between two networks, in eval mode."""
    before, after = (deepcopy(network).eval()(images) for network in (parent, child))
    return float((before - after).abs().max())
