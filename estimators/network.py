"""Networks built with their own random draws, and the failures that building may bring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from ..errors import EvaluationError, NetloomError
from ..seeds import derive_seed
from ..spaces import Architecture, DecisionSpace

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def seeded(seed: int, role: str, device: torch.device | None = None) -> Iterator[None]:
    """Run a block on torch generators seeded for `role`, and put the old ones back after it."""
    cuda = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        # not torch.manual_seed, which would also seed devices that are not put back
        torch.default_generator.manual_seed(derive_seed(seed, role))
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(derive_seed(seed, role))
        yield


def built(space: DecisionSpace, architecture: Architecture, *, seed: int) -> nn.Module:
    """Return the network of an architecture, on the CPU, initialised from the seed.

    Raises:
        EvaluationError: If `build` raises or gives something else than a module.
    """
    with seeded(seed, "init"):
        try:
            network = space.build(architecture)  # type: ignore[attr-defined]
        except NetloomError:
            raise
        except Exception as error:
            raise EvaluationError(
                f"space {space.name}: build raised {type(error).__name__}: {error} for "
                f"{architecture.to_json()}"
            ) from error
    if not isinstance(network, torch.nn.Module):
        raise EvaluationError(
            f"space {space.name}: build must return a torch.nn.Module, got {type(network).__name__}"
        )
    return network


def misfit(network: nn.Module, weights: Mapping[str, Any]) -> str:
    """Return the first tensor of a state dict that is missing, of another shape, or not known.

    Args:
        network: What the weights are for.
        weights: The state dict.

    Returns:
        In words; empty where the weights are those of the network.
    """
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name, shape in wanted.items():
        if name not in weights:
            return f"no {name} {shape}"
        value = weights[name]
        got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        if got != shape:
            return f"{name} {got} instead of {shape}"
    more = next((name for name in weights if name not in wanted), None)
    return "" if more is None else f"{more}, which it does not have"
