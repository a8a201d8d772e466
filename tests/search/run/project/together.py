"""Work for several workers of Ray Train."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch
from torch import distributed as dist

from netloom.errors import SpecError


def work(how: str, context: Any) -> list[float]:
    """Send a checkpoint, then do as is said; both workers add their numbers up."""
    number = torch.tensor([float(dist.get_rank() + 1)])
    dist.all_reduce(number)
    context.checkpoint("work", {"sum": number})
    context.record("work/sum", float(number), 1)
    if dist.get_rank() == 1 and how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if dist.get_rank() == 1 and how == "raises":
        raise SpecError("its own words")
    while how == "waits" and not context.stopping():
        context.progress("waiting", 0, 1)
        if dist.get_rank() == 1:
            break
    dist.all_reduce(number)
    return number.tolist()
