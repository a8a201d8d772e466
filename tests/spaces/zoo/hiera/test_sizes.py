"""Hiera's parameters and multiply-adds: the reference's numbers, and a closed form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
import torch

from netloom.hw_models import PartCache, Workload
from netloom.spaces import Architecture
from netloom.spaces.zoo.hiera import Hiera

from ..conftest import traced
from .unrolled import config_of

NARROW = {"embed_dim": 64, "num_heads": 1, "stages": [1, 2, 7, 2]}
DIPPING = {"widths": [96, 64, 256, 512], "heads": [6, 4, 16, 32], "stages": [1, 2, 7, 2]}


def workload(space: Hiera, a: Architecture) -> Workload:
    """Trace the whole network without arithmetic."""
    with torch.device("meta"):
        return traced(space.build(a), space, a)


def macs_by_kind(found: Workload) -> dict[str, int]:
    kinds: Counter[str] = Counter()
    for layer in found.layers:
        kinds[layer.kind] += layer.macs
    return {kind: macs for kind, macs in kinds.items() if macs}


def by_hand(
    config: Mapping[str, Any], tokens: int, classes: int, in_channels: int = 3
) -> tuple[int, int, int]:
    """Parameters, multiply-adds, those of attention products, from the definition of a block.

    Args:
        config: What `format` prints, with all that it leaves out.
        tokens: Along a side of the first map.
        classes: Number of outputs.
        in_channels: Of the image.
    """
    widths, windows, n = config["widths"], (tokens // 8) ** 2, tokens**2
    params = 49 * in_channels * widths[0] + widths[0] + n * widths[0]
    macs, products = n * 49 * in_channels * widths[0], 0
    d = widths[0]
    for stage, (out, depth) in enumerate(zip(widths, config["stages"], strict=True)):
        for place in range(depth):
            local = config["mask_unit_attn"][max(0, stage - 1) if place == 0 else stage]
            w = windows if local else 1
            after = n // 4 if place == 0 < stage <= config["q_pool"] else n
            h = int(config["mlp_ratio"] * out)
            params += 2 * d + (3 * d * out + 3 * out) + (out * out + out) + 2 * out
            params += (out * h + h) + (h * out + out) + (d * out + out if d != out else 0)
            macs += n * 3 * d * out + after * out * out + 2 * after * out * h
            macs += n * d * out if d != out else 0
            products += 2 * w * (after // w) * (n // w) * out
            d, n = out, after
    return params + 2 * d + classes * (d + 1), macs + products + classes * d, products


def config(space: Hiera, a: Architecture) -> dict[str, Any]:
    return config_of(json.loads(space.format(a)))


# ---------------------------------------------------------------- the reference's numbers
def test_hiera_t_has_its_size() -> None:
    """A counter that misses fused attention gives 4.64 G."""
    space = Hiera()
    found = workload(space, space.parse("Hiera-T"))
    assert (found.params, found.macs) == (27_910_216, 4_900_830_720)
    parts = {"conv": 44_255_232, "linear": 4_596_086_784, "attention": 260_488_704}
    assert macs_by_kind(found) == parts


@pytest.mark.parametrize(
    ("network", "params", "macs"),
    [(NARROW, 12_659_752, 2_246_038_528), (DIPPING, 12_493_256, 2_178_903_040)],
)
def test_networks_of_turbovits_size_have_theirs(
    network: dict[str, Any], params: int, macs: int
) -> None:
    space = Hiera()
    a = space.parse(network)
    found = workload(space, a)
    assert (found.params, found.macs) == (params, macs)
    assert by_hand(config(space, a), 56, 1000)[:2] == (params, macs)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("Hiera-T", 27.91),
        ("Hiera-S", 35.01),
        ("Hiera-B", 51.52),
        ("Hiera-B+", 69.90),
        ("Hiera-L", 213.74),
        ("Hiera-H", 672.78),
    ],
)
def test_published_networks_have_their_sizes(name: str, millions: float) -> None:
    """Also beyond the lists: L and H are wider and deeper than anything that is drawn."""
    space = Hiera()
    a = space.parse(name)
    found = workload(space, a)
    params, macs, products = by_hand(config(space, a), 56, 1000)
    assert (found.params, found.macs) == (params, macs)
    assert macs_by_kind(found)["attention"] == products
    assert round(params / 1e6, 2) == millions


# ---------------------------------------------------------------- the closed form
def assert_closed_form(space: Hiera, genomes: int, seed: int, *, whole: bool) -> None:
    o, cache, rng = space.options, PartCache(), Random(seed)
    tokens = o["resolution"] // o["stem_stride"]
    for _ in range(genomes):
        a = space.sample(rng)
        found = workload(space, a) if whole else cache.compose(space.parts(a))
        params, macs, products = by_hand(config(space, a), tokens, o["classes"], o["in_channels"])
        assert (found.params, found.macs) == (params, macs), space.format(a)
        assert macs_by_kind(found)["attention"] == products


def test_any_network_has_the_size_of_the_definition() -> None:
    assert_closed_form(Hiera(), 15, 0, whole=False)
    assert_closed_form(Hiera(resolution=256, classes=7, in_channels=1), 2, 1, whole=True)
    assert_closed_form(Hiera(preset="tiny"), 10, 2, whole=True)
    assert_closed_form(Hiera(preset="tiny", stem_stride=4), 3, 3, whole=True)


@pytest.mark.full
def test_five_hundred_networks_have_the_size_of_the_definition() -> None:
    assert_closed_form(Hiera(), 500, 4, whole=True)


def test_flags_change_attention_products_only() -> None:
    space, rng = Hiera(), Random(5)
    for _ in range(5):
        a = {**space.sample(rng), "stage4.depth": 2}
        flags = [f"stage{i}.local" for i in range(1, 5)]
        inside, whole = (
            macs_by_kind(found) | {"params": found.params}
            for found in (
                workload(space, space.architecture({**a, **dict.fromkeys(flags, local)}))
                for local in (True, False)
            )
        )
        # all-local attention sees one of 49 windows
        assert whole.pop("attention") == 49 * inside.pop("attention")
        assert whole == inside


def test_global_attention_costs_thirteen_times_as_much_most_of_it_by_the_first_flag() -> None:
    space = Hiera()
    stock = space.parse("Hiera-T")
    first = {**stock, "stage1.local": False}
    every = {**first, "stage2.local": False}  # stages 3 and 4 are global anyway
    usual, one, two = (
        macs_by_kind(workload(space, space.architecture(a)))["attention"]
        for a in (stock, first, every)
    )
    assert two / usual == pytest.approx(13, abs=0.5)
    # stage 1, and the first block of stage 2, which still attends as stage 1
    own = 2 * 3136**2 * 96 + 2 * 784 * 3136 * 192
    assert one - usual == own - own // 49
    assert (one - usual) / (two - usual) == pytest.approx(0.889, abs=1e-3)


def test_the_head_size_changes_no_cost() -> None:
    space = Hiera()
    a = space.sample(Random(6))
    found = [workload(space, space.architecture({**a, "head_size": size})) for size in (16, 32)]
    assert (found[0].params, found[0].macs) == (found[1].params, found[1].macs)


def test_sizes_are_spread_as_the_reference_says() -> None:
    """Quantiles over 40,000 uniform draws there; half as many here."""
    space, rng = Hiera(), Random(7)
    sizes = []
    for _ in range(20_000):
        a = space.sample(rng)
        c = {
            key: [a[f"stage{i}.{name}"] for i in range(1, 5)]
            for key, name in (("widths", "width"), ("stages", "depth"), ("mask_unit_attn", "local"))
        }
        shared = {"q_pool": a["q_pool"], "mlp_ratio": a["mlp_ratio"]}
        sizes.append(by_hand({**c, **shared}, 56, 1000)[:2])
    n = len(sizes)
    for axis, unit, expected in ((0, 1e6, (3.8, 10.4, 23.7)), (1, 1e9, (1.25, 3.80, 8.75))):
        ordered = sorted(size[axis] for size in sizes)
        found = [ordered[int(q * n)] / unit for q in (0.05, 0.5, 0.95)]
        assert found == pytest.approx(expected, rel=0.04)
    small = sum(p <= 13e6 and m <= 2.5e9 for p, m in sizes) / n
    assert small == pytest.approx(0.247, abs=0.012)
    near = sum(abs(p / 12.7e6 - 1) < 0.05 and abs(m / 2.2e9 - 1) < 0.05 for p, m in sizes) / n
    assert near == pytest.approx(0.0016, abs=0.0009)
