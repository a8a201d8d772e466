"""Memory of vision transformers: the formulas, the schedule, what is read from a network."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netloom.errors import SpecError
from netloom.hw_models import load_device, trace
from netloom.hw_models.mcu import PRESETS, McuModel, plan_memory, policy
from netloom.hw_models.mcu.tokens import (
    dev_steps,
    engine_steps,
    naive,
    official_dev,
    official_engine,
    official_engine_share,
    savings,
    scheduled,
)
from netloom.hw_models.mcu.transformer import Block, Transformer, from_sizes, read_transformer
from netloom.options import SpecProblems

KB = 1024


def sizes(patch, r, depth, dim, ratio, heads, *, top=256, factors=3, resolution=240):
    """Return the record of a member of MCUFormer's space; ranks in hundredths."""
    side = -(-resolution // patch)
    block = {
        "dim": dim,
        "heads": heads,
        "head_dim": 64,
        "hidden": int(dim * ratio),
        "rank_attn": (top if factors == 3 else 64 * heads) * r // 100,
        "rank_mlp": dim * r // 100,
        "factors": factors,
    }
    return from_sizes(
        in_channels=3, resolution=resolution, patch=patch, patches=side**2, blocks=[block] * depth
    )


CASE = sizes(20, 90, 12, 192, 4, 3)


def peak(steps):
    worst = max(steps, key=lambda step: step.live_bytes)
    return worst.live_bytes, worst.op


# ---------------------------------------------------------------- the formulas
@pytest.mark.parametrize(
    ("patch", "r", "dim", "ratio", "heads", "depth", "expected"),
    [
        (20, 90, 192, 4, 3, 12, 271_910.4),
        (20, 90, 216, 4, 4, 14, 324_561.6),
        (28, 50, 168, 3.5, 3, 13, 105_690.857),
        (16, 60, 216, 4, 4, 12, 356_054.4),
    ],
)
def test_official_engine(patch, r, dim, ratio, heads, depth, expected):
    """The released code run on four networks; a network's own record gives the same."""
    assert official_engine(240, patch, dim, ratio, r / 100) == pytest.approx(expected, abs=1e-3)
    [step] = engine_steps(sizes(patch, r, depth, dim, ratio, heads))
    assert step.live_bytes == -int(-expected // 1)


def test_official_engine_has_real_numbers_of_tokens():
    """73.47 instead of 81 at 28, 56.25 instead of 64 at 32."""
    for patch, tokens in ((28, (240 / 28) ** 2), (32, 56.25)):
        assert official_engine(240, patch, 1, 0, 0) == tokens + 1
    assert round((240 / 28) ** 2, 2) == 73.47


@pytest.mark.parametrize(("dim", "expected"), [(216, 211_749), (168, 179_241)])
def test_official_dev(dim, expected):
    """224 pixels, patches of 24, ratios 0.7 and 0.6: bound by the MLP, and by attention."""
    found = official_dev(101, dim, [(256, 4)] * 12, attention_ratio=0.7, mlp_ratio=0.6)
    assert found == expected
    assert official_dev(101, dim, [(256, 4)], attention_ratio=0.7, mlp_ratio=0.6) == expected


def test_official_dev_of_a_network_has_its_ranks():
    """By hand: 216 wide, 4 heads, ranks 179 = int(256 x 0.7) and 129 = int(216 x 0.6)."""
    block = Block(4, (216, 179, 768), (256, 216), (216, 129, 864), (864, 129, 216))
    t = Transformer((3, 224, 224), (24, 24), 216, 100, 101, (block,))
    attention, mlp = dev_steps(t)
    assert attention.live_bytes == 768 * 101 + 179 * 101 + 768 * 179
    assert mlp.live_bytes == 211_749
    maps, *rest = dev_steps(t, attention_maps=True)
    assert maps.live_bytes == 3 * 256 * 101 + 4 * 101**2
    assert rest == [attention, mlp]


def test_maps_of_attention_can_dominate():
    """At patches of 16 the scores of 4 heads alone are 204,304 bytes."""
    t = sizes(16, 60, 12, 216, 4, 4)
    [scores] = [b for b in dev_steps(t, attention_maps=True)[0].blocks if b.name == "scores"]
    assert scores.size_bytes == 4 * 226**2 == 204_304
    [kept] = [s for s in scheduled(t, attention_maps=True) if s.op == "block1.scores+softmax+mix"]
    [row] = [s for s in scheduled(t) if s.op == "block1.scores+softmax+mix"]
    assert kept.live_bytes - row.live_bytes == 204_304 - 226


def test_formulas_grow_with_what_they_should():
    for patch, dim, ratio, r in product((16, 24, 32), (168, 216), (3, 4), (0.4, 0.9)):
        here = official_engine(240, patch, dim, ratio, r)
        assert official_engine(240, patch, dim + 24, ratio, r) > here
        assert official_engine(240, patch, dim, ratio + 0.5, r) > here
        assert official_engine(240, patch, dim, ratio, r + 0.05) > here
        assert official_engine(240, patch - 2, dim, ratio, r) > here
        tokens = (240 // patch) ** 2 + 1

        def dev(tokens, dim, ratio, r, inner=192):
            return official_dev(tokens, dim, [(inner, ratio)], attention_ratio=r, mlp_ratio=r)

        here = dev(tokens, dim, ratio, r)
        assert dev(tokens + 40, dim, ratio, r) >= here
        assert dev(tokens, dim + 24, ratio, r) >= here
        assert dev(tokens, dim, ratio + 0.5, r) >= here
        assert dev(tokens, dim, ratio, r + 0.05) >= here
        assert dev(tokens, dim, ratio, r, inner=256) >= here


# ---------------------------------------------------------------- legal shares
T = {"dims": (168, 192, 216), "mlp_ratios": (3.5, 4), "depths": (12, 13, 14)}


@pytest.mark.parametrize(
    ("r", "patch", "budget", "expected"),
    [
        (0.9, 16, 320 * KB, 1 / 3),
        (0.6, 16, 320 * KB, 2 / 3),
        (0.85, 20, 320 * KB, 1),
        (0.7, 20, 256 * KB, 2 / 3),
        (0.9, 28, 256 * KB, 1),
    ],
)
def test_legal_shares(r, patch, budget, expected):
    """Thirds of the widths, and networks whose ratios are all 3.5: at most 2^-12 of a third."""
    share = official_engine_share(240, patch, r, budget_bytes=budget, **T)
    assert expected <= share <= expected + 2**-12


def test_the_share_is_that_of_counting():
    options = {"dims": (168, 192, 216), "mlp_ratios": (3.5, 4), "depths": (1, 2, 3)}
    for budget in (250_000, 310_000, 320_000, 350_000, 400_000):
        legal = Fraction(0)
        for dim, depth in product(options["dims"], options["depths"]):
            ratios = list(product(options["mlp_ratios"], repeat=depth))
            fits = [official_engine(240, 16, dim, max(r), 0.9) <= budget for r in ratios]
            legal += Fraction(sum(fits), len(fits)) / 9
        assert official_engine_share(240, 16, 0.9, budget_bytes=budget, **options) == legal


def test_shares_fall_with_rank_and_tokens_and_rise_with_the_budget():
    def share(r, patch, budget=320 * KB):
        return official_engine_share(240, patch, r, budget_bytes=budget, **T)

    ratios, patches = [i / 100 for i in range(40, 100, 5)], (16, 20, 24, 28, 32)
    for patch in patches:
        shares = [share(r, patch) for r in ratios]
        assert shares == sorted(shares, reverse=True)
    for r in ratios:
        assert [share(r, p) for p in patches] == sorted(share(r, p) for p in patches)
    budgets = [share(0.9, 16, b * KB) for b in (192, 256, 288, 320, 352, 512)]
    assert budgets == sorted(budgets)
    assert (budgets[0], budgets[-1]) == (0, 1)


# ---------------------------------------------------------------- the schedule
def test_schedule_of_the_reference():
    assert peak(naive(CASE)) == (250_560, "block1.gelu")
    assert peak(naive(CASE, weights_in_sram=True)) == (430_848, "patches")
    assert peak(scheduled(CASE)) == (139_968, "block1.fc13+gelu")
    assert peak(scheduled(CASE, weights_in_sram=True)) == (272_064, "block1.fc13+gelu")


def test_plain_operators_by_hand():
    """x = 145 x 192 = 27,840; ranks 230 and 172; 192 in the heads, 768 hidden; 3 heads."""
    x, t, h = 27_840, 145, 3 * 145**2
    expected = {
        "patches": 240**2 * 3 + 144 * 192,
        "block1.ln1": 2 * x,
        "block1.qkv1": 2 * x + t * 230,
        "block1.qkv2": x + 2 * t * 230,
        "block1.qkv3": x + t * 230 + 3 * t * 192,
        "block1.scores": x + 3 * t * 192 + h,
        "block1.softmax": x + t * 192 + 2 * h,
        "block1.mix": x + 2 * t * 192 + h,
        "block1.proj1": x + t * 192 + t * 230,
        "block1.proj2": x + 2 * t * 230,
        "block1.proj3": 2 * x + t * 230,
        "block1.add1": 3 * x,
        "block1.ln2": 2 * x,
        "block1.fc11": 2 * x + t * 172,
        "block1.fc12": x + 2 * t * 172,
        "block1.fc13": x + t * 172 + t * 768,
        "block1.gelu": x + 2 * t * 768,
        "block1.fc21": x + t * 768 + t * 172,
        "block1.fc22": x + 2 * t * 172,
        "block1.fc23": 2 * x + t * 172,
        "block1.add2": 3 * x,
    }
    found = {step.op: step.live_bytes for step in naive(CASE)}
    assert {op: found[op] for op in expected} == expected
    assert list(found)[:21] == list(expected)
    assert len(found) == 1 + 12 * 20


def test_operators_together_by_hand():
    x, t, r, m, q, f = 27_840, 145, 230, 172, 192, 768
    expected = {
        "patches": (3 * 400 + x + 4 * 192, 3 * 20 * 192),
        "block1.ln1+qkv1": (x + t * r + 192, 192 * r),
        "block1.qkv2": (x + t * r + r, r * r),
        "block1.qkv3": (x + t * 3 * q + 3 * q, r * 3 * q),
        "block1.scores+softmax+mix": (x + 3 * t * q + 5 * t, 0),
        "block1.proj1": (x + t * r + r, q * r),
        "block1.proj2": (x + t * r + r, r * r),
        "block1.proj3+add1": (x + t * r + 192, r * 192),
        "block1.ln2+fc11": (x + t * m + 192, 192 * m),
        "block1.fc12": (x + t * m + m, m * m),
        "block1.fc13+gelu": (x + t * f + f, m * f),
        "block1.fc21": (x + t * f + m, f * m),
        "block1.fc22": (x + t * m + m, m * m),
        "block1.fc23+add2": (x + t * m + 192, m * 192),
    }
    plain = {step.op: step.live_bytes for step in scheduled(CASE)}
    copied = {step.op: step.live_bytes for step in scheduled(CASE, weights_in_sram=True)}
    for op, (held, weights) in expected.items():
        assert (plain[op], copied[op]) == (held, held + weights), op


@pytest.mark.parametrize("in_sram", [False, True])
@pytest.mark.parametrize("factors", [3, 2, 1])
def test_operators_together_never_need_more(factors, in_sram):
    """Every operator beside those that it stands for, over the three spaces."""
    presets = {
        256: ((168, 192, 216), (3, 4), (3.5, 4)),
        448: ((320, 384, 448), (5, 6, 7), (3, 3.5, 4)),
        640: ((528, 576, 624), (9, 10), (3, 3.5, 4)),
    }
    for top, (dims, heads, ratios) in presets.items():
        for dim, n, ratio, patch, r in product(dims, heads, ratios, (16, 24, 32), (40, 65, 95)):
            t = sizes(patch, r, 2, dim, ratio, n, top=top, factors=factors)
            plain, together = (
                naive(t, weights_in_sram=in_sram),
                scheduled(t, weights_in_sram=in_sram),
            )
            rows = savings(plain, together)
            assert len(rows) == len(together)
            assert all(row.bytes <= row.plain_bytes for row in rows), (dim, n, ratio, patch, r)
            stood_for = [name for row in rows for name in row.op.rpartition(".")[2].split("+")]
            assert len(stood_for) == len(plain)


def test_weights_in_sram_never_need_less():
    for patch, r, factors in product((16, 32), (40, 95), (1, 2, 3)):
        t = sizes(patch, r, 2, 192, 4, 3, factors=factors)
        for plan in (naive, scheduled):
            pairs = zip(plan(t), plan(t, weights_in_sram=True), strict=True)
            assert all(b.live_bytes >= a.live_bytes for a, b in pairs)


def test_two_factors_skip_the_middle_steps():
    names = [s.op for s in scheduled(sizes(20, 90, 1, 192, 4, 3, factors=2))]
    assert names == [
        "patches",
        "block1.ln1+qkv1",
        "block1.qkv2",
        "block1.scores+softmax+mix",
        "block1.proj+add1",
        "block1.ln2+fc11",
        "block1.fc12+gelu",
        "block1.fc21",
        "block1.fc22+add2",
    ]


def test_tiles_of_the_mlp():
    """x + t (F + 2 R + E), and one matrix at a time; the hidden layer of all tokens for t = T."""
    x, widths = 27_840, 768 + 2 * 172 + 192
    for tile in (1, 8, 145):
        [step] = [s for s in scheduled(CASE, mlp_tile=tile) if s.op.startswith("block1.ln2")]
        assert step.live_bytes == x + tile * widths
        [step] = [
            s
            for s in scheduled(CASE, mlp_tile=tile, weights_in_sram=True)
            if s.op.startswith("block1.ln2")
        ]
        assert step.live_bytes == x + tile * widths + 172 * 768
    peaks = [peak(scheduled(CASE, mlp_tile=tile))[0] for tile in (1, 8, 64, 100, 145)]
    assert peaks == sorted(peaks)
    assert peaks[0] == 27_840 + 3 * 145 * 192 + 5 * 145  # attention needs most by then
    assert scheduled(CASE, mlp_tile=1000) == scheduled(CASE, mlp_tile=145)
    untiled = 27_840 + 145 * 768  # without the row of one token
    tiled = next(s for s in scheduled(CASE, mlp_tile=145) if s.op.startswith("block1.ln2"))
    assert {b.name: b.size_bytes for b in tiled.blocks if b.name != "tile.hidden"} == {
        "residual": x,
        "tile.tokens": 145 * 192,
        "tile.rank1": 145 * 172,
        "tile.rank2": 145 * 172,
    }
    assert tiled.live_bytes - 145 * (2 * 172 + 192) == untiled


def test_steps_add_up():
    for steps in (naive(CASE, weights_in_sram=True), scheduled(CASE, weights_in_sram=True)):
        for step in steps:
            assert step.live_bytes == sum(block.size_bytes for block in step.blocks)
            assert step.blocks[0].size_bytes > 0


# ---------------------------------------------------------------- reading networks
class Heads(nn.Module):
    def __init__(self, dim, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(-1, -2) * 0.5).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(n, t, c))


class Vit(nn.Module):
    """A vision transformer without a class token."""

    def __init__(self, dim=12, heads=3, fused=True, residual=True, post=False):
        super().__init__()
        self.residual, self.post = residual, post
        self.patches = nn.Conv2d(3, dim, 4, 4)
        self.positions = nn.Parameter(torch.zeros(16, dim))
        self.norm1, self.norm2, self.norm = (nn.LayerNorm(dim) for _ in range(3))
        self.attention = Heads(dim, heads, fused)
        self.mlp = nn.Sequential(nn.Linear(dim, 20), nn.GELU(), nn.Linear(20, dim))
        self.classifier = nn.Linear(dim, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        if self.post:
            x = self.norm1(x + self.attention(x))
        else:
            y = self.attention(self.norm1(x))
            x = x + y if self.residual else y
        x = x + self.mlp(self.norm2(x))
        return self.classifier(self.norm(x).mean(1))


@pytest.mark.parametrize("fused", [True, False])
def test_any_vision_transformer_is_read(fused):
    t = read_transformer(trace(Vit(fused=fused), torch.zeros(1, 3, 16, 16)))
    assert t == Transformer(
        (3, 16, 16), (4, 4), 12, 16, 16, (Block(3, (12, 36), (12, 12), (12, 20), (20, 12)),)
    )
    found = {s.op: s.live_bytes for s in scheduled(t)}
    x = 16 * 12
    assert found["block1.ln1+qkv"] == x + 16 * 36 + 12
    assert found["block1.proj+add1"] == x + 16 * 12 + 12
    assert found["block1.ln2+fc1+gelu"] == x + 16 * 20 + 12


@pytest.mark.parametrize(
    "network",
    [
        Vit(residual=False),
        Vit(post=True),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 196, 2)),
    ],
)
def test_what_is_no_such_transformer_is_refused(network):
    workload = trace(network, torch.zeros(1, 3, 16, 16))
    with pytest.raises(SpecError, match="this planner plans transformers of patches"):
        McuModel(load_device("stm32f746"), "mcuformer").memory_plan(workload)


# ---------------------------------------------------------------- as runtimes
@pytest.mark.parametrize("runtime", ["mcuformer", "mcuformer_naive", "mcuformer_engine"])
def test_the_runtime_decides_the_peak(runtime):
    workload = trace(Vit(), torch.zeros(1, 3, 16, 16))
    model = McuModel(load_device("stm32f746"), runtime)
    t = read_transformer(workload)
    steps = {"mcuformer": scheduled, "mcuformer_naive": naive, "mcuformer_engine": engine_steps}
    report = model.report(workload)
    assert report.memory.timeline == steps[runtime](t)
    assert report.cost.peak_memory_bytes == peak(steps[runtime](t))[0]
    assert report.memory.peak_op == peak(steps[runtime](t))[1]
    assert report.memory.to_dict()["peak_bytes"] == report.memory.peak_bytes


def test_keys_of_the_runtime():
    workload = trace(Vit(), torch.zeros(1, 3, 16, 16))
    device, t = load_device("stm32f746"), read_transformer(workload)
    for keys, expected in (
        ({"weights": "sram"}, scheduled(t, weights_in_sram=True)),
        ({"mlp_tile": 2}, scheduled(t, mlp_tile=2)),
        ({"attention_maps": True}, scheduled(t, attention_maps=True)),
        ({"preset": "mcuformer_naive", "weights": "sram"}, naive(t, weights_in_sram=True)),
        (
            {"preset": "mcuformer_dev", "attention_maps": True},
            dev_steps(t, attention_maps=True),
        ),
    ):
        model = McuModel(device, {"preset": "mcuformer", **keys})
        assert model.memory_plan(workload).timeline == expected
        assert model.cost(workload, enforce=False).peak_memory_bytes == peak(expected)[0]


def test_external_memory_does_not_help_a_fixed_schedule(tmp_path):
    text = Path(load_device("esp32s3").origin).read_text()
    path = tmp_path / "small.yaml"
    path.write_text(re.sub(r"sram_reserved: {value: \d+", "sram_reserved: {value: 319", text))
    network = Vit(dim=48)
    workload = trace(network, torch.zeros(1, 3, 16, 16))
    model = McuModel(load_device(path), {"preset": "mcuformer", "kernels": "esp_nn"})
    needed, where = peak(scheduled(read_transformer(workload)))
    [excess] = model.cost(workload, enforce=False).excesses
    assert (excess.resource, excess.layer) == ("contiguous SRAM", where)
    assert (excess.needed, excess.limit) == (needed, 1024)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"preset": "tinyengine", "mlp_tile": 4}, "mlp_tile is for planner tokens"),
        ({"preset": "mcuformer_naive", "mlp_tile": 4}, "mlp_tile is for planner tokens"),
        ({"preset": "mcuformer", "mlp_tile": 0}, "greater than or equal to 1"),
        ({"preset": "mcuformer_engine", "attention_maps": True}, "attention_maps is for"),
        ({"preset": "mcuformer", "overhead": "tflm"}, "overhead must be codegen or none"),
        ({"preset": "mcuformer", "reorder": "dp"}, "patch and reorder are not for"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys, problem):
    with pytest.raises((SpecProblems, SpecError), match=problem):
        policy(keys)


def test_one_image_at_a_time():
    workload = trace(Vit(), torch.zeros(1, 3, 16, 16))
    model = McuModel(load_device("stm32f746"), "mcuformer")
    with pytest.raises(SpecError, match="plans one image at a time, got batch 2"):
        model.cost(workload, 2)
    with pytest.raises(SpecError, match=r"ask McuModel\.memory_plan"):
        plan_memory(model.graph(workload), PRESETS["mcuformer"])
