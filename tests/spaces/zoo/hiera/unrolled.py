"""Hiera's arithmetic with its tokens in the original's order, one operation after the other.

Tokens are put in another order once, the place inside a window slow and the window fast: pooling
is then a maximum over a leading axis, and a window every W-th token. Weights come from the
network that is checked, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 3  # poolings that the order provides for

Config = Mapping[str, Any]  # widths, heads, stages, q_pool, q_stride, mask_unit_size, ...


def unroll(height: int, width: int, stride: Sequence[int] = (2, 2), levels: int = LEVELS) -> Tensor:
    """Return the place, row by row, of the token at each position of the order."""
    rows = [height // stride[0] ** levels] + [stride[0]] * levels
    columns = [width // stride[1] ** levels] + [stride[1]] * levels
    places = torch.arange(height * width).view(*rows, *columns)
    n = levels + 1
    inner = [axis for level in range(levels, 0, -1) for axis in (level, n + level)]
    return places.permute(*inner, 0, n).flatten()


def config_of(written: Config) -> dict[str, Any]:
    """Return what `format` printed with all that it leaves out."""
    usual = {
        "q_pool": 3,
        "q_stride": [2, 2],
        "mask_unit_size": [8, 8],
        "mask_unit_attn": [True, True, False, False],
        "mlp_ratio": 4,
    }
    return {**usual, **written}


def logits(state: Mapping[str, Tensor], written: Config, images: Tensor, stride: int) -> Tensor:
    """Return the outputs of a whole network."""
    config = config_of(written)
    x = F.conv2d(images, state["stem.conv.weight"], state["stem.conv.bias"], stride, 3)
    side = x.shape[-1]
    x = x.flatten(2).transpose(1, 2) + state["stem.positions.weight"]
    x = x[:, unroll(side, side, config["q_stride"])]
    area = prod(config["mask_unit_size"])
    for stage, (depth, heads) in enumerate(zip(config["stages"], config["heads"], strict=True)):
        for place in range(depth):
            pools = place == 0 < stage <= config["q_pool"]
            area //= prod(config["q_stride"]) if pools else 1
            lagging = max(0, stage - 1) if place == 0 else stage
            own = of(state, f"stages.{stage}.{place}.")
            q_stride = prod(config["q_stride"]) if pools else 1
            x = block(own, x, heads, q_stride, area if config["mask_unit_attn"][lagging] else None)
    x = norm(of(state, "head."), "norm", x.mean(1))
    return F.linear(x, state["head.classifier.weight"], state["head.classifier.bias"])


def block(
    state: Mapping[str, Tensor], x: Tensor, heads: int, q_stride: int, window: int | None
) -> Tensor:
    """Return the output of a block.

    Args:
        state: Its weights.
        x: (N, tokens, dim), in the order.
        heads: Their number.
        q_stride: So many queries become one.
        window: Tokens of a window behind that; None: all.
    """
    n = norm(state, "norm1", x)
    width = len(state["proj.weight"])
    if "shortcut.source.proj.weight" in state:
        x = F.linear(n, state["shortcut.source.proj.weight"], state["shortcut.source.proj.bias"])
    x = x.view(len(x), q_stride, -1, width).amax(1)
    windows = 1 if window is None else n.shape[1] // (q_stride * window)
    qkv = F.linear(n, state["qkv.weight"], state["qkv.bias"])
    qkv = qkv.view(len(x), -1, windows, 3, heads, width // heads).permute(3, 0, 4, 2, 1, 5)
    q, k, v = qkv  # (N, heads, windows, tokens of a window, width of a head)
    q = q.reshape(*q.shape[:3], q_stride, -1, q.shape[-1]).amax(3)
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    mixed = (weights @ v).transpose(1, 3).reshape(*x.shape)
    x = x + F.linear(mixed, state["proj.weight"], state["proj.bias"])
    hidden = F.gelu(F.linear(norm(state, "norm2", x), state["mlp.0.weight"], state["mlp.0.bias"]))
    return x + F.linear(hidden, state["mlp.2.weight"], state["mlp.2.bias"])


def norm(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Return the layer norm of the last dimension."""
    centred = x - x.mean(-1, keepdim=True)
    y = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return y * state[f"{name}.weight"] + state[f"{name}.bias"]


def of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the weights of a part, without its prefix."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
