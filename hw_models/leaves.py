"""What torch's own leaf modules do, recorded without running their `forward`.

Most layers of most networks are such modules; to look their rule up by class saves the way through
torch's dispatch. Only exact classes count, with torch's own `forward` and without hooks: everything
else runs, and its functions are recorded one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as globals_of

from .recorder import Recorder
from .rules import RULES

Leaf: TypeAlias = Callable[..., Any]  # (recorder, module, input) -> output, or NotImplemented


def known_leaves() -> dict[type[nn.Module], Leaf]:
    """Return what to call for each class, those left out whose `forward` somebody replaced."""
    if (
        globals_of._global_forward_hooks
        or globals_of._global_forward_pre_hooks
        or globals_of._global_backward_hooks
        or globals_of._global_backward_pre_hooks
    ):
        return {}
    return {c: leaf for c, (forward, leaf) in _LEAVES.items() if c.forward is forward}


def only_forward(module: nn.Module) -> bool:
    """Whether a call of the module runs the `forward` of its class and nothing else."""
    own = module.__dict__
    return not (
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
    )


def _leaf(rule: Callable[[Recorder, Any, Tensor], Any]) -> Leaf:
    """Return a rule that sees plain tensors only and calls torch directly."""

    def run(rec: Recorder, module: Any, *args: Any) -> Any:
        if len(args) != 1 or type(args[0]) is not Tensor:
            return NotImplemented
        with torch._C.DisableTorchFunction():
            return rule(rec, module, args[0])

    return run


def _sequential(rec: Recorder, module: Any, *args: Any) -> Any:
    if len(args) != 1:
        return NotImplemented
    (value,) = args
    for child in module._modules.values():
        value = child(value)
    return value


def _same(rec: Recorder, module: Any, *args: Any) -> Any:
    """Return the input: identities, and dropouts outside training."""
    return args[0] if len(args) == 1 and not module.training else NotImplemented


def _weighted(function: Any, *options: str) -> Leaf:
    """Return the rule of a function of input, weight, bias and the module's options."""
    rule = RULES[function]

    def run(rec: Recorder, module: Any, x: Tensor) -> Any:
        weights, own = module._parameters, module.__dict__
        if "weight" not in weights or "bias" not in weights:  # somebody took them out
            return NotImplemented
        if own.get("padding_mode", "zeros") != "zeros":
            return NotImplemented
        values = [own[name] for name in options]
        return rule(rec, function, x, weights["weight"], weights["bias"], *values)

    return _leaf(run)


_NORM_STATE = dict.fromkeys(("running_mean", "running_var", "weight", "bias")).keys()


def _batch_norm(*dims: int) -> Leaf:
    rule = RULES[F.batch_norm]

    def run(rec: Recorder, module: Any, x: Tensor) -> Any:
        if x.dim() not in dims or module.training:
            return NotImplemented
        state = {**module._buffers, **module._parameters}
        if not state.keys() >= _NORM_STATE:  # somebody took some out
            return NotImplemented
        known = [t for name in _NORM_STATE if (t := state[name]) is not None]
        return rule(rec, F.batch_norm, x, *known)

    return _leaf(run)


def _layer_norm(rec: Recorder, module: Any, x: Tensor) -> Any:
    weights = module._parameters
    if "weight" not in weights or "bias" not in weights:
        return NotImplemented
    rule = RULES[F.layer_norm]
    given = (module.normalized_shape, weights["weight"], weights["bias"], module.eps)
    return rule(rec, F.layer_norm, x, *given)


def _activation(function: Any) -> Leaf:
    rule = RULES[function]

    def run(rec: Recorder, module: Any, x: Tensor) -> Any:
        return rule(rec, function, x, inplace=module.__dict__.get("inplace", False))

    return _leaf(run)


def _with_options(function: Any, *options: str) -> Leaf:
    rule = RULES[function]

    def run(rec: Recorder, module: Any, x: Tensor) -> Any:
        return rule(rec, function, x, **{name: module.__dict__[name] for name in options})

    return _leaf(run)


def _table() -> dict[type[nn.Module], Leaf]:
    conv = ("stride", "padding", "dilation", "groups")
    found: dict[type[nn.Module], Leaf] = {
        nn.Sequential: _sequential,
        nn.Identity: _same,
        nn.Dropout: _same,
        nn.Dropout2d: _same,
        nn.Conv1d: _weighted(F.conv1d, *conv),
        nn.Conv2d: _weighted(F.conv2d, *conv),
        nn.Conv3d: _weighted(F.conv3d, *conv),
        nn.Linear: _weighted(F.linear),
        nn.BatchNorm1d: _batch_norm(2, 3),
        nn.BatchNorm2d: _batch_norm(4),
        nn.BatchNorm3d: _batch_norm(5),
        nn.LayerNorm: _leaf(_layer_norm),
        nn.AdaptiveAvgPool2d: _with_options(F.adaptive_avg_pool2d, "output_size"),
        nn.MaxPool2d: _with_options(
            F.max_pool2d,
            *("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
        ),
        nn.AvgPool2d: _with_options(F.avg_pool2d, "kernel_size", "stride", "padding", "ceil_mode"),
    }
    activations = {
        nn.ReLU: F.relu,
        nn.ReLU6: F.hardtanh,
        nn.Hardtanh: F.hardtanh,
        nn.Hardswish: F.hardswish,
        nn.Hardsigmoid: F.hardsigmoid,
        nn.SiLU: F.silu,
        nn.GELU: F.gelu,
        nn.ELU: F.elu,
        nn.LeakyReLU: F.leaky_relu,
        nn.Mish: F.mish,
        nn.Sigmoid: torch.sigmoid,
        nn.Tanh: torch.tanh,
    }
    return {**found, **{c: _activation(function) for c, function in activations.items()}}


_LEAVES = {c: (c.forward, leaf) for c, leaf in _table().items()}
