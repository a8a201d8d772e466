"""The page about ASICs says what the code holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from netloom.hw_models import load_device, model_for, trace
from netloom.hw_models.device import shipped_devices
from netloom.spaces import AcceleratorSpace

from .test_docs import options_table

PAGE = (Path(__file__).parents[2] / "docs" / "hardware" / "asic.md").read_text("utf-8")
FAMILIES = ("systolic", "eyeriss", "maestro", "array")


def test_the_options_of_the_accelerator_are_those_listed():
    assert options_table(AcceleratorSpace) in PAGE
    assert f"{AcceleratorSpace().size:,} chips" in PAGE


@pytest.mark.parametrize("family", FAMILIES)
def test_devices_stand_with_their_family(family):
    named = {n for n in shipped_devices() if load_device(n).family == family}
    [row] = re.findall(rf"^\| `{family}` \| (.*?) \|", PAGE, re.M)
    assert set(re.findall(r"`(\w+)`", row)) == named


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((256, 256, 14, 3), "125,854 cycles and 89.75 uJ: 3.8 % and 1.2 % below"),
        ((16, 96, 112, 1), "175,663 cycles and 137.6 uJ: 0.1 % and 1.2 % above"),
    ],
)
def test_the_errors_against_zigzag_are_those_stated(sizes, said):
    assert said in " ".join(PAGE.split())
    cycles, joules, of_cycles, of_joules = re.fullmatch(
        r"([\d,]+) cycles and ([\d.]+) uJ: ([\d.]+) % and ([\d.]+) % \w+", said
    ).groups()
    c, k, side, kernel = sizes
    layer = nn.Conv2d(c, k, kernel, padding=kernel // 2, bias=False)
    cost = model_for("tpu_like_32x32").cost(trace(layer, torch.zeros(1, c, side, side)))
    published = float(cycles.replace(",", "")) / 1e6
    assert f"{abs(cost.latency_ms / published - 1) * 100:.1f}" == of_cycles
    assert f"{abs(cost.energy_mj * 1e3 / float(joules) - 1) * 100:.1f}" == of_joules
    assert (cost.latency_ms > published) == ("above" in said)
