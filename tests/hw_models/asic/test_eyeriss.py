"""The row-stationary array against the published predictor, and against trying every tiling."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netloom.errors import UnsupportedLayer
from netloom.hw_models import HardwareModel, model_for, trace
from netloom.hw_models.asic.eyeriss import Energies, Limits, best_tiling
from netloom.hw_models.asic.layers import Job
from netloom.hw_models.testing import HardwareContract

LIMITS = Limits(16, 168, 12, 192, 65536)
ENERGIES = Energies(1.0, 0.3, 0.5, 0.5, 2.0, 2.0)


class TestEyeriss(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("eyeriss_168")


class TestEyerissDensePool(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("eyeriss_168_dense_pool")


@pytest.mark.parametrize(
    ("sizes", "options", "cycles_", "energy_mj"),
    [
        ((16, 16, 32, 3), {}, 24_576, 0.0196631),
        ((16, 16, 32, 1), {}, 4_096, 0.0017384),
        ((16, 32, 32, 3), {"stride": 2}, 12_288, None),
    ],
)
def test_the_published_layers(sizes, options, cycles_, energy_mj, conv, cycles):
    model = model_for("eyeriss_168")
    work = conv(*sizes, **options)
    assert cycles(model, work) == cycles_
    assert model.cost(work).latency_ms == cycles_ / 250e3
    if energy_mj is not None:
        assert model.cost(work).energy_mj == pytest.approx(energy_mj, abs=5e-8)


def test_pooling_as_the_published_tables_take_it(cycles):
    work = trace(nn.AvgPool2d(3, 1, 1), torch.zeros(1, 16, 32, 32))
    quirk = model_for("eyeriss_168_dense_pool")
    assert cycles(quirk, work) == 24_576
    free = model_for("eyeriss_168").cost(work)
    assert (free.latency_ms, free.energy_mj, free.utilization) == (0, 0, None)


def test_pooling_is_charged_no_arithmetic():
    """The same tiling's 0.0173038 mJ: the convolution's without its 2,359,296 multiply-adds."""
    work = trace(nn.AvgPool2d(3, 1, 1), torch.zeros(1, 16, 32, 32))
    cost = model_for("eyeriss_168_dense_pool").cost(work)
    assert cost.energy_mj == pytest.approx(0.0173038, abs=5e-8)
    assert cost.layers[0].macs == 0


def test_global_pooling_is_no_convolution():
    work = trace(nn.AdaptiveAvgPool2d(1), torch.zeros(1, 16, 32, 32))
    assert model_for("eyeriss_168_dense_pool").cost(work).latency_ms == 0


def test_the_fastest_tiling_is_not_the_one_chosen():
    """1x1, 16 -> 16 on 32x32: 2,048 cycles are possible, 4,096 are chosen."""
    job = Job(1, 1, 16, 16, 32, 32, iy=32, ix=32, py=32, px=32)
    chosen = best_tiling(job, LIMITS, ENERGIES, False)
    valid = every_tiling(job)
    assert min(c for c, _ in valid) == 2048
    assert chosen.cycles == 4096


def every_tiling(job: Job) -> list[tuple[int, float]]:
    """Cycles and energy of all valid tilings, written down one by one from the equations."""

    def splits(n, parts):
        if parts == 1:
            return [(n,)]
        return [
            (d, *rest) for d in range(1, n + 1) if n % d == 0 for rest in splits(n // d, parts - 1)
        ]

    r, s, e, f, stride = job.fy, job.fx, job.oy, job.ox, job.sy
    ni, nw, no = job.iy * job.ix * job.c, r * s * job.c * job.k, e * f * job.k
    found = []
    for (m0, m1, m2, m3), (c0, c1, c2), (e1, e3) in product(
        splits(job.k, 4), splits(job.c, 3), splits(e, 2)
    ):
        buffered = (
            c1 * c0 * ((e1 - 1) * stride + r) * ((f - 1) * stride + s) + m2 * m1 * m0 * e1 * f
        )
        if not (
            m0 <= 16
            and (e1 != 1 or e == 1)
            and m1 * c1 * e1 * r < 168
            and c0 * s < 12
            and m0 * c0 * s < 192
            and buffered < 65536
        ):
            continue
        shared = r * e / job.iy * ni
        dram = m3 * ni + e3 * nw + no
        buffer = m3 * m2 * ni + max(2 * (c2 - 1), 1) * no
        noc = m3 * m2 * m1 * shared + e3 * e1 * nw + max(c2 * (c1 * r - 1), 1) * no
        register = (
            m3 * m2 * m1 * shared * m0 * s * f / job.ix
            + e3 * e1 * f * nw
            + max(2 * c2 * c1 * r * (c0 * s - 1), 1) * no
        )
        energy = nw * e * f + 0.3 * dram + 0.5 * (m3 * ni + no) + 0.5 * buffer
        found.append((m3 * m2 * m0 * c2 * c0 * e3 * f * s, energy + 2 * noc + 2 * register))
    return found


@settings(max_examples=25, deadline=None)
@given(
    k=st.sampled_from([1, 2, 6, 8, 12, 16, 30]),
    c=st.sampled_from([1, 3, 4, 8, 12, 18]),
    side=st.sampled_from([1, 2, 7, 8, 12, 28]),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
)
def test_the_search_finds_what_trying_all_finds(k, c, side, kernel, stride):
    wide = side * stride
    job = Job(1, 1, k, c, side, side, kernel, kernel, stride, stride, 1, 1, wide, wide, wide, wide)
    valid = every_tiling(job)
    times, joules = zip(*valid, strict=True)

    def score(cycles, energy):
        waste = (energy - min(joules)) / max(joules)
        return waste + (cycles - min(times)) / max(times)

    chosen = best_tiling(job, LIMITS, ENERGIES, False)
    best = min(score(*tiling) for tiling in valid)
    assert score(chosen.cycles, chosen.energy_pj) == pytest.approx(best, abs=1e-9)
    assert any(
        chosen.cycles == cycles and chosen.energy_pj == pytest.approx(energy)
        for cycles, energy in valid
    )


def test_a_tiling_multiplies_out_and_fits():
    job = Job(1, 1, 96, 40, 14, 14, 3, 3, 1, 1, 1, 1, 14, 14, 16, 16)
    tiling = best_tiling(job, LIMITS, ENERGIES, False)
    (m0, m1, m2, m3), (c0, c1, c2), (e1, e3) = tiling.m, tiling.c, tiling.e
    assert (m0 * m1 * m2 * m3, c0 * c1 * c2, e1 * e3) == (96, 40, 14)
    assert tiling.cycles == m3 * m2 * m0 * c2 * c0 * e3 * 14 * 3
    assert m1 * c1 * e1 * 3 < 168
    assert tiling.cycles * 167 >= job.macs


def test_groups_and_images_follow_one_another(conv, cycles):
    model = model_for("eyeriss_168")
    one = cycles(model, conv(1, 1, 28))
    assert cycles(model, conv(24, 24, 28, groups=24)) == 24 * one
    assert cycles(model, conv(24, 24, 28, groups=24), batch=3) == 3 * 24 * one
    half = cycles(model, conv(8, 16, 28))
    assert cycles(model, conv(16, 32, 28, groups=2)) == 2 * half


def test_rows_that_no_factor_splits_are_padded(altered, conv, cycles):
    """59 rows at once need 177 elements for a kernel of 3 rows; 60 are split."""
    model = model_for("eyeriss_168")
    padded = best_tiling(
        Job(1, 1, 4, 4, 60, 59, 3, 3, 1, 1, 1, 1, 59, 59, 61, 61), LIMITS, ENERGIES, False
    )
    assert cycles(model, conv(4, 4, 59)) == padded.cycles
    with pytest.raises(UnsupportedLayer, match=r"no tiling of 4x4 channels.*59x59 outputs"):
        altered("eyeriss_168", pad_rows=False).cost(conv(4, 4, 59))


def test_kernels_wider_than_the_registers_are_refused(conv):
    with pytest.raises(UnsupportedLayer, match="less than 12 wide, got 13x13") as caught:
        model_for("eyeriss_168").cost(conv(4, 4, 32, 13))
    assert caught.value.layer == "conv2d"


def test_a_map_that_the_buffer_cannot_hold_is_refused(conv):
    with pytest.raises(UnsupportedLayer, match="65536 words of buffer; use a narrower map"):
        model_for("eyeriss_168").cost(conv(1, 1, 16_384, 9))


def test_rows_of_a_product_are_the_width_of_one_row(cycles):
    tokens = trace(nn.Linear(16, 16, bias=False), torch.zeros(1, 197, 16))
    job = Job(1, 1, 16, 16, 1, 197, ix=197, px=197)
    assert (
        cycles(model_for("eyeriss_168"), tokens) == best_tiling(job, LIMITS, ENERGIES, False).cycles
    )
