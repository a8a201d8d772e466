"""Which layers an exported network runs."""

from __future__ import annotations

import random

import torch
from torch import nn

from netloom.estimators.complexity import Workloads
from netloom.hw_models import trace
from netloom.hw_models.executed import every_kernel, live_kernels
from netloom.spaces import SPACES


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3)
        self.zeroed, self.after = nn.Conv2d(3, 3, 5, padding=2), nn.Conv2d(3, 3, 7, padding=3)

    def forward(self, x):
        self.unused(x)
        nothing = self.zeroed(x) * 0.0
        return self.used(x) + self.after(nothing)


def names(kernels):
    return [layer.name for kernel in kernels for layer in kernel.layers]


def test_dead_layers_and_operands_of_a_zero_do_not_run_what_reads_zeros_does():
    workload = trace(Branches(), torch.zeros(1, 3, 8, 8))
    assert names(every_kernel(workload)) == [
        *("unused", "zeroed", "mul_zero", "used", "after", "add")
    ]
    assert names(live_kernels(workload)) == ["mul_zero", "used", "after", "add"]


def test_what_is_written_in_place_runs():
    class InPlace(nn.Module):
        def forward(self, x):
            y = torch.relu(x)
            y.view(-1).add_(1.0)
            return y

    workload = trace(InPlace(), torch.zeros(1, 4))
    assert len(live_kernels(workload)) == len(every_kernel(workload)) == 2


def test_the_cells_of_nb201():
    space = SPACES.get("nb201")(preset="tiny")  # one cell per stack
    workloads = Workloads(space)
    dead = space.parse(
        "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
    )
    every, live = (
        [kernel.layers[0].kind for kernel in run(workloads.of(dead))]
        for run in (every_kernel, live_kernels)
    )
    # the pool reads node 1, which the output needs; only node 2 (none, pool, sum) is dropped
    assert every.count("pool") - live.count("pool") == 3
    assert every.count("mul") - live.count("mul") == 3
    assert every.count("pointwise_conv") == live.count("pointwise_conv")


def test_composed_networks_run_what_traced_ones_do():
    space = SPACES.get("nb201")(preset="tiny")
    workloads = Workloads(space)
    for seed in range(20):
        a = space.sample(random.Random(seed))
        with torch.device("meta"):
            network = space.build(a).eval()
        traced = trace(network, space.example_input(a))
        ours = [k.signature for k in live_kernels(workloads.of(a))]
        assert ours == [k.signature for k in live_kernels(traced)]
