"""Memory of MCUFormer's networks: what is read from a trace is what the space says of them."""

from __future__ import annotations

from functools import partial
from math import sqrt
from random import Random
from typing import Any

import pytest

from netloom.estimators.hardware import DeviceChoice, Hardware
from netloom.hw_models import PartCache
from netloom.hw_models.mcu import (
    from_sizes,
    naive,
    official_engine,
    official_engine_share,
    read_transformer,
    savings,
    scheduled,
)
from netloom.hw_models.tracer import trace_built
from netloom.spaces import SPACES, Space


def mcuformer(**options: Any) -> Any:
    space = SPACES.get("mcuformer")(**options)
    assert isinstance(space, Space)
    return space


@pytest.mark.parametrize("factors", [1, 2, 3])
@pytest.mark.parametrize("preset", ["T", "tiny"])
def test_traces_and_spaces_say_the_same(preset: str, factors: int) -> None:
    space, rng = mcuformer(preset=preset, factors=factors), Random(0)
    for _ in range(3):
        a = space.sample(rng)
        expected = from_sizes(**space.sizes(a))
        traced = trace_built(partial(space.build, a), space.example_input(a))
        assert read_transformer(traced) == expected
        assert read_transformer(PartCache().compose(space.parts(a))) == expected


@pytest.mark.parametrize("preset", ["T", "S", "B", "tiny"])
def test_operators_together_never_need_more(preset: str) -> None:
    for factors in (1, 2, 3):
        space, rng = mcuformer(preset=preset, factors=factors), Random(1)
        for _ in range(40):
            t = from_sizes(**space.sizes(space.sample(rng)))
            for in_sram in (False, True):
                plain = naive(t, weights_in_sram=in_sram)
                rows = savings(plain, scheduled(t, weights_in_sram=in_sram))
                assert all(row.bytes <= row.plain_bytes for row in rows)


@pytest.mark.parametrize(("r", "patch"), [(0.9, 16), (0.6, 16), (0.85, 20)])
def test_legal_share_of_drawn_networks(r: float, patch: int) -> None:
    """The exact share is within three standard deviations of that of 3,000 draws."""
    space, rng, n = mcuformer(patches=[patch], rank_ratios=[r]), Random(2), 3000
    budget = 320 * 1024
    legal = 0
    for _ in range(n):
        a = space.sample(rng, "decisions")
        widest = max(a[f"block{i}.mlp_ratio"] for i in range(1, a["depth"] + 1))
        legal += official_engine(240, patch, a["embed_dim"], widest, r) <= budget
    share = float(
        official_engine_share(
            240,
            patch,
            r,
            dims=(168, 192, 216),
            mlp_ratios=(3.5, 4),
            depths=(12, 13, 14),
            budget_bytes=budget,
        )
    )
    assert abs(legal / n - share) <= 3 * sqrt(share * (1 - share) / n)


def test_memory_modes_in_a_search() -> None:
    """Metrics of the reference network: both formulas and both schedules, to the byte."""
    space = mcuformer()
    devices = [
        DeviceChoice(device="stm32f746", runtime=runtime, as_=name)
        for name, runtime in {
            "engine": "mcuformer_engine",
            "plain": "mcuformer_naive",
            "plain_sram": {"preset": "mcuformer_naive", "weights": "sram"},
            "together": "mcuformer",
            "together_sram": {"preset": "mcuformer", "weights": "sram"},
        }.items()
    ]
    reference = {"patch": 20, "rank_ratio": 0.9, "depth": 12, "embed_dim": 192}
    a = space.parse({**reference, "mlp_ratio": [4] * 12, "num_heads": [3] * 12})
    estimator = Hardware(space, devices=devices)
    networks = estimator.networks(a)
    found = {  # Flash is another matter: no board has 10 MB
        name: target.cost_together(networks, breakdown=False, enforce=False).peak_memory_bytes
        for name, target in estimator.targets.items()
    }
    assert found == {
        "engine": 271_911,  # 271,910.4
        "plain": 250_560,
        "plain_sram": 430_848,
        "together": 139_968,
        "together_sram": 272_064,
    }
