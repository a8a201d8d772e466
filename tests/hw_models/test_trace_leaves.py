"""Leaf modules whose `forward` is not run are recorded as if it were."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

from netloom.errors import TraceError
from netloom.hw_models import trace
from netloom.hw_models.leaves import _LEAVES, only_forward

MAPS = (2, 4, 9, 8)
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.SiLU),
    *(nn.GELU, nn.ELU, nn.LeakyReLU, nn.Mish, nn.Sigmoid, nn.Tanh),
)
LEAVES = {
    "conv1d": (nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9)),
    "conv2d": (nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), MAPS),
    "conv2d same": (nn.Conv2d(4, 6, 3, padding="same"), MAPS),
    "conv2d without bias": (nn.Conv2d(4, 6, (3, 1), bias=False), MAPS),
    "conv2d reflecting": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), MAPS),
    "conv2d unbatched": (nn.Conv2d(4, 6, 3), MAPS[1:]),
    "conv3d": (nn.Conv3d(4, 6, 3), (1, 4, 5, 6, 7)),
    "linear": (nn.Linear(8, 3), MAPS),
    "batch norm 1d": (nn.BatchNorm1d(4), (2, 4)),
    "batch norm 2d": (nn.BatchNorm2d(4), MAPS),
    "batch norm plain": (nn.BatchNorm2d(4, affine=False), MAPS),
    "batch norm stateless": (nn.BatchNorm2d(4, track_running_stats=False), MAPS),
    "batch norm 3d": (nn.BatchNorm3d(4), (1, 4, 5, 6, 7)),
    "layer norm": (nn.LayerNorm([9, 8]), MAPS),
    "layer norm plain": (nn.LayerNorm(8, elementwise_affine=False), MAPS),
    "adaptive": (nn.AdaptiveAvgPool2d((None, 3)), MAPS),
    "max pool": (nn.MaxPool2d(3, 2, 1), MAPS),
    "max pool up": (nn.MaxPool2d(2, ceil_mode=True), MAPS),
    "max pool with places": (nn.MaxPool2d(2, return_indices=True), MAPS),
    "average pool": (nn.AvgPool2d(2), MAPS),
    "average pool up": (nn.AvgPool2d(2, ceil_mode=True), MAPS),
    "identity": (nn.Sequential(nn.ReLU(), nn.Identity(), nn.Dropout(), nn.Dropout2d()), MAPS),
    "nested": (nn.Sequential(nn.Sequential(), nn.Sequential(nn.Conv2d(4, 4, 1))), MAPS),
    **{kind.__name__: (kind(), MAPS) for kind in ACTIVATIONS},
    "in place": (nn.Sequential(nn.ReLU(), nn.ReLU6(inplace=True), nn.SiLU(inplace=True)), MAPS),
}


def results(module, shape):
    if isinstance(module, nn.MaxPool2d) and module.return_indices:
        module = Both(module)
    workload = trace(module, torch.zeros(shape))
    return (*workload.layers,), workload.tensors, workload.outputs


class Both(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        return self.pool(x)


@pytest.mark.parametrize("name", LEAVES)
def test_the_rule_of_a_leaf_is_that_of_its_functions(name):
    module, shape = LEAVES[name]
    known = results(module, shape)
    handles = [m.register_forward_pre_hook(lambda *_: None) for m in module.modules()]
    assert not any(map(only_forward, module.modules()))
    run = results(module, shape)
    for handle in handles:
        handle.remove()
    assert known == run


def test_every_leaf_is_compared():
    tried = {type(m) for module, _ in LEAVES.values() for m in module.modules()}
    assert tried == set(_LEAVES)


def ops(module):
    return [layer.op for layer in trace(module, torch.zeros(MAPS)).layers]


def test_hooks_run():
    module = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1))
    module[0].register_forward_hook(lambda m, args, out: out.sigmoid())
    module[1].register_forward_pre_hook(lambda m, args: (args[0].tanh(),))
    assert ops(module) == ["relu", "sigmoid", "tanh", "conv2d"]


def test_global_hooks_run():
    handle = nn.modules.module.register_module_forward_hook(
        lambda m, args, out: out.tanh() if isinstance(m, nn.ReLU) else None
    )
    try:
        assert ops(nn.Sequential(nn.ReLU())) == ["relu", "tanh"]
    finally:
        handle.remove()


def test_a_forward_of_its_own_runs(monkeypatch):
    class Louder(nn.ReLU):
        def forward(self, x):
            return super().forward(x) * 2

    assert ops(Louder()) == ["relu", "mul"]
    single = nn.ReLU()
    single.forward = lambda x: x.tanh()
    assert ops(single) == ["tanh"]
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x.sigmoid())
    assert ops(nn.ReLU()) == ["sigmoid"]


def test_weights_that_somebody_replaced_are_read():
    module = nn.Conv2d(4, 4, 1)
    weight = module.weight
    del module.weight
    module.plain = weight
    module.weight = weight * 2
    assert [layer.kind for layer in trace(module, torch.zeros(MAPS)).layers] == ["pointwise_conv"]
    parametrized = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1))
    assert ops(parametrized)[-1] == "conv2d"
    assert len(ops(parametrized)) > 1


def test_errors_are_those_of_torch():
    with pytest.raises(TraceError, match="expected 4D input"):
        trace(nn.BatchNorm2d(4), torch.zeros(2, 4))
    with pytest.raises(TraceError, match="unexpected keyword argument"):
        trace(nn.ReLU(), {"inputs": torch.zeros(2)})
    with pytest.raises(TraceError, match="positional argument"):
        trace(nn.Sequential(nn.ReLU()), (torch.zeros(2), torch.zeros(2)))


def test_a_stride_of_one_number_holds_for_every_dimension():
    class Functions(nn.Module):
        def forward(self, x):
            weight = torch.zeros(4, 4, 1, 1, device=x.device)
            return torch.nn.functional.conv2d(x, weight, stride=(2,), padding=[1], dilation=1)

    assert trace(Functions(), torch.zeros(MAPS)).layers[-1].output_shapes == ((2, 4, 6, 5),)


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


LINE, BOX = MAPS[:3], (1, 4, 6, 7, 8)


@pytest.mark.parametrize(
    ("direct", "named", "shape"),
    [
        (lambda x: torch.max_pool1d(x, 3, 2, 1), nn.MaxPool1d(3, 2, 1), LINE),
        (lambda x: torch.max_pool2d(x, 2), nn.MaxPool2d(2), MAPS),
        (
            lambda x: torch.max_pool2d(x, [3], 2, 1, 2, True),
            nn.MaxPool2d(3, 2, 1, 2, False, True),
            MAPS,
        ),
        (
            lambda x: torch.max_pool2d(x, kernel_size=(3, 2), stride=1, ceil_mode=True),
            nn.MaxPool2d((3, 2), 1, ceil_mode=True),
            MAPS,
        ),
        (lambda x: torch.max_pool3d(x, 2, padding=1), nn.MaxPool3d(2, padding=1), BOX),
        (lambda x: torch.avg_pool1d(x, 3, 2, 1), nn.AvgPool1d(3, 2, 1), LINE),
        (lambda x: torch._C._nn.avg_pool2d(x, 2), nn.AvgPool2d(2), MAPS),
        (lambda x: torch._C._nn.avg_pool3d(x, 2), nn.AvgPool3d(2), BOX),
        (lambda x: torch.adaptive_avg_pool1d(x, 3), nn.AdaptiveAvgPool1d(3), LINE),
        (lambda x: torch.conv1d(x, torch.ones(4, 4, 3)), nn.Conv1d(4, 4, 3), LINE),
        (
            lambda x: torch.conv2d(x, torch.ones(4, 4, 3, 3), None, 2, 1),
            nn.Conv2d(4, 4, 3, 2, 1),
            MAPS,
        ),
    ],
)
def test_functions_of_torch_record_the_window_of_the_module(direct, named, shape):
    ours, theirs = (trace(m, torch.zeros(shape)).layers[0] for m in (Calls(direct), named))
    assert len(ours.kernel) == len(shape) - 2
    for field in ("kind", "kernel", "stride", "padding", "dilation", "ceil", "output_shapes"):
        assert getattr(ours, field) == getattr(theirs, field)


def test_the_garbage_collector_is_left_as_it_was():
    seen = []
    network = Calls(lambda x: seen.append(gc.isenabled()) or x + 1)
    trace(network, torch.zeros(MAPS))
    assert gc.isenabled()
    with pytest.raises(TraceError):
        trace(Calls(lambda x: x @ x), torch.zeros(2, 3))
    assert gc.isenabled()
    gc.disable()
    try:
        trace(network, torch.zeros(MAPS))
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert seen == [False, False]
