"""Networks built with their own random draws, and the failures that building may bring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
