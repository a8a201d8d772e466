"""Networks timed on a GPU: to the end of their last kernel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netloom.hw_models.timing import hardware_name, time_network

pytestmark = pytest.mark.cuda


def test_the_kernels_are_waited_for():
    """Sixteen times the work of a layer that fills the GPU takes several times as long."""
    wide = nn.Conv2d(256, 256, 3, padding=1)
    x = torch.zeros(1, 256, 64, 64)
    small, large = (time_network(wide, x, place="cuda", batch=n, runs=5) for n in (16, 256))
    assert large.median_ms > 4 * small.median_ms > 0
    assert large.q1_ms <= large.median_ms <= large.q3_ms


def test_number_formats():
    for dtype in ("float32", "float16", "bfloat16"):
        found = time_network(
            nn.Linear(64, 64), torch.zeros(1, 64), place="cuda", dtype=dtype, runs=3
        )
        assert found.median_ms > 0


def test_the_gpu_has_a_name():
    assert hardware_name("cuda") == torch.cuda.get_device_name()
