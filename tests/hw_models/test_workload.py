"""Lifetimes and peaks, by hand."""

from __future__ import annotations

import torch
from torch import nn

from netloom.hw_models import trace
from netloom.hw_models.testing import toy_network


def test_liveness_of_a_residual_network_by_hand():
    workload = toy_network(channels=8, side=4, blocks=1)
    image, maps, pooled, logits = 4 * 3 * 16, 4 * 8 * 16, 4 * 8, 4 * 10
    assert workload.live_bytes == (
        image,
        image + maps,  # stem
        2 * maps,  # convolution; its input stays for the addition
        3 * maps,  # ReLU: input, output and the shortcut
        3 * maps,  # addition: both operands and the sum
        maps + pooled,
        pooled + logits,
    )
    assert workload.peak_activation_bytes == 3 * maps
    assert workload.peak_layer == "block0.relu"


def live(module, *shape):
    return trace(module, torch.zeros(shape)).live_bytes


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_in_place_layers_share_memory():
    x = 4 * 16
    assert live(nn.ReLU(), 1, 16) == (x, 2 * x)
    assert live(nn.ReLU(inplace=True), 1, 16) == (x, x)
    workload = trace(nn.ReLU(inplace=True), torch.zeros(1, 16))
    assert (workload.inputs, workload.outputs) == ((0,), (1,))
    assert workload.tensors[1].storage == 0
    assert live(Calls(lambda t: t.add_(1).mul_(2)), 1, 16) == (x, x, x)

    def add(t):
        t = t + 1
        t += t.sum()
        return t

    assert live(Calls(add), 1, 16) == (x, 2 * x, x + 4, x + 4)


def test_views_share_memory_and_copies_do_not():
    x = 4 * 16
    assert live(Calls(lambda t: t.view(4, 4).t()), 1, 16) == (x, x, x)
    assert live(Calls(lambda t: t.view(4, 4).t().reshape(16)), 1, 16) == (x, x, x, 2 * x)
    # a slice keeps all of its owner alive
    assert live(Calls(lambda t: torch.relu(t[:, :4])), 1, 16) == (x, x, x + 16)
    # an expanded tensor occupies what it was expanded from
    assert live(Calls(lambda t: t.expand(8, 16).sum()), 1, 16) == (x, x, x + 4)


def test_a_tensor_lives_until_its_last_reader():
    def forward(t):
        a = torch.relu(t)
        b = torch.relu(a)
        c = torch.relu(b)
        return c + a

    x = 4 * 16
    assert live(Calls(forward), 1, 16) == (x, 2 * x, 2 * x, 3 * x, 3 * x)


def test_outputs_live_to_the_end_and_unread_tensors_die_at_once():
    def forward(t):
        early = torch.relu(t)
        torch.sigmoid(early)  # nobody reads it
        return early, torch.tanh(early[:, :4])

    x = 4 * 16
    assert live(Calls(forward), 1, 16) == (x, 2 * x, 2 * x, x, x + 16)


def test_an_early_output_that_nobody_reads_stays_to_the_end():
    def forward(t):
        early = torch.relu(t)
        b = torch.tanh(t)
        return early, torch.tanh(b)

    x = 4 * 16
    assert live(Calls(forward), 1, 16) == (x, 2 * x, 3 * x, 3 * x)


def test_weights_and_constants_do_not_count():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.zeros(1, 16))
            self.mask = torch.ones(1, 16)

        def forward(self, t):
            return (t + self.table) * self.mask + torch.zeros(16)

    x = 4 * 16
    workload = trace(Positions(), torch.zeros(1, 16))
    assert workload.live_bytes == (x, 2 * x, 2 * x, 2 * x)
    assert [t.role for t in workload.tensors].count("constant") == 2
    assert workload.weight_bytes == x


def test_a_buffer_filled_in_forward_is_an_activation():
    def forward(t):
        buffer = torch.zeros(1, 32)
        buffer[:, :16] = t
        return torch.relu(buffer)

    x = 4 * 16
    assert live(Calls(forward), 1, 16) == (x, 3 * x, 4 * x)


def test_nothing_but_a_view_of_the_input():
    assert live(nn.Identity(), 1, 16) == (64,)
    assert trace(nn.Identity(), torch.zeros(1, 16)).peak_layer == ""


def test_another_number_format_changes_bytes_alone():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    full = trace(network, torch.zeros(1, 3, 8, 8))
    assert (full.dtype, full.cast("float32")) == ("float32", full)
    half, small = full.cast("bfloat16"), full.cast("int8")
    assert half is full.cast("bfloat16")
    assert (half.macs, half.params) == (small.macs, small.params) == (full.macs, full.params)
    assert small.weight_bytes == full.params
    assert half.peak_activation_bytes == 2 * 2 * 8 * 36  # the map and its ReLU
    assert small.layers[0].input_bytes == 3 * 64
    assert small.layers[0].weight_bytes == 8 * 27 + 8
    assert [t.dtype for t in small.tensors] == ["int8"] * len(small.tensors)


def test_integers_keep_their_format():
    table = trace(nn.Embedding(100, 4), torch.zeros(1, 5, dtype=torch.long)).cast("float16")
    assert [t.size_bytes for t in table.tensors] == [5 * 8, 5 * 4 * 2]
