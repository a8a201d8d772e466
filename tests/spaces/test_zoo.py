from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest
import torch

from netloom.errors import InvalidArchitecture, SpecError
from netloom.options import build, options_of
from netloom.spaces import SPACES, Space
from netloom.spaces.zoo.nas_bench_macro import NasBenchMacro
from netloom.spaces.zoo.nats_sss import NatsSSS
from netloom.spaces.zoo.nb201 import NB201

ALL_CONV = "|c3~0|+|c3~0|c3~1|+|c3~0|c3~1|c3~2|".replace("c3", "nor_conv_3x3")


@pytest.mark.parametrize("resolution", [1, 2, 7, 9, 30])
@pytest.mark.parametrize("cls", [NB201, NatsSSS, NasBenchMacro])
def test_any_resolution_builds(cls: type[Space], resolution: int) -> None:
    space = cls(resolution=resolution, in_channels=2, classes=3)  # type: ignore[call-arg]
    a = space.sample(Random(0))
    values = {-1: space.example_input(a)}
    for i, part in enumerate(space.parts(a) or []):
        assert all(tuple(values[s.source].shape) == s.shape for s in part.inputs)
        with torch.no_grad():
            values[i] = part.build().eval()(*(values[s.source] for s in part.inputs))
    assert space.build(a).eval()(values[-1]).shape == (1, 3) == values[len(values) - 2].shape


@pytest.mark.parametrize(
    ("space", "text", "message"),
    [
        ("nb201", ALL_CONV.replace("nor_conv_3x3~2", "nor_conv_5x5~2"), "nor_conv_5x5.*did you"),
        ("nb201", "|none~0|+|none~0|none~1|", "3 nodes, this has 2"),
        ("nb201", "|none~0|+|none~0|+|none~0|none~1|none~2|", "node 2 has 2 operations"),
        ("nb201", "|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", "op~0; got 'none~1'"),
        ("nb201", "none none none none none none", r"written as \|op~0\|"),
        ("nb201", "||none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "node 1 has 1 operation"),
        ("nb201", f"|none~{'0' * 5000}|+|none~0|none~1|+|none~0|none~1|none~2|", "written op~0"),
        ("nats_sss", "8:8:8:8", "c1:c2:c3:c4:c5"),
        ("nats_sss", "8:8:8:8:x", "layer5.width must be one of 8, 16"),
        ("nats_sss", "8:8:8:8:72", "layer5.width must be one of 8, 16"),
        ("nats_sss", f"8:8:8:8:{'9' * 5000}", "layer5.width must be one of 8, 16"),
        ("nats_sss", "[8, 8, 8, 8, Infinity]", "layer5.width must be one of 8, 16.* got inf"),
        ("nats_sss", "[8, 8, 8, 8, NaN]", "layer5.width must be one of 8, 16.* got nan"),
        ("nas_bench_macro", "0120", "4 characters"),
        ("nas_bench_macro", "01201203", "'3' at place 8"),
        ("nas_bench_macro", '{"stage1.layer1": "identitty"}', "stage1.layer1 must be one of"),
    ],
)
def test_errors_name_the_rule(space: str, text: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        SPACES.get(space)().parse(text)


SIDES = {
    "fbnetv5": 32,
    "hiera": 32,
    "mcuformer": 32,
    "vit_resnas": 56,
}  # of images, where 8 pixels are none


@pytest.mark.parametrize("name", sorted(SPACES.names()))
def test_options_are_validated(name: str) -> None:
    cls = SPACES.get(name)
    fields = options_of(cls).model_fields
    assert {"classes", "resolution", "in_channels"} <= set(fields)
    side = SIDES.get(name, 8)
    space = build(cls, {"classes": 7, "resolution": side}, where="space")
    assert space.options["classes"] == 7
    assert set(space.options) == set(fields)
    for bad in ({"classes": 0}, {"resolution": "big"}, {"clases": 10}):
        with pytest.raises(SpecError):
            build(cls, bad, where="space")


def test_a_subclass_is_another_space() -> None:
    class Mine(NB201):
        pass

    assert Mine().name == "Mine"
    assert Mine().fingerprint != NB201().fingerprint
    assert Mine(cells=1).options == NB201(cells=1).options

    class Fixed(NB201):
        def __init__(self, *, depth: int = 2) -> None:
            super().__init__(preset="tiny", cells=depth)

    assert Fixed(depth=3).options == {"depth": 3}
    assert Fixed().fingerprint != Fixed(depth=3).fingerprint
    assert len(Fixed(depth=3).build(Fixed().parse("ResNet")).layers) == 3 * 3 + 2


def test_named_spaces_need_no_torch_until_they_build() -> None:
    code = (
        "import sys, random\n"
        "from netloom.spaces import SPACES\n"
        "for name in SPACES.names():\n"
        "    s = SPACES.get(name)(); a = s.sample(random.Random(0))\n"
        "    s.parse(s.format(a)); s.encode(a); s.parts(a); s.canonical(a); s.fingerprint\n"
        "sys.exit('torch' in sys.modules or 'ray' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(SPACES.names()))
def test_networks_export(name: str) -> None:
    space = SPACES.get(name)(resolution=SIDES.get(name, 8))
    a = space.sample(Random(0))
    network, x = space.build(a).eval(), space.example_input(a)
    program = torch.export.export(network, (x,))
    torch.testing.assert_close(program.module()(x), network(x))
