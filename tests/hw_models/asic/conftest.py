from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from netloom.hw_models import load_device, model_for, trace


@pytest.fixture
def altered():
    """Return the model of a shipped device with other numbers."""

    def altered(name, **numbers):
        device = load_device(name)
        return model_for(replace(device, numbers=device.numbers.model_copy(update=numbers)))

    return altered


@pytest.fixture
def conv():
    """Return the workload of one convolution."""

    def conv(channels, filters, side, kernel=3, **options):
        layer = nn.Conv2d(
            channels, filters, kernel, **{"padding": kernel // 2, "bias": False, **options}
        )
        return trace(layer, torch.zeros(1, channels, side, side))

    return conv


@pytest.fixture
def cycles():
    """Return the cycles that a cost says."""

    def cycles(model, workload, **options):
        return round(model.cost(workload, **options).latency_ms / model.cycle_ms)

    return cycles
