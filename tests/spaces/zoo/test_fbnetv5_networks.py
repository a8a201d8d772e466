"""FBNetV5's networks: what masks mean, what reaches a head, heads and tasks, bad input."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from random import Random
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.hw_models import trace
from netloom.spaces import Architecture
from netloom.spaces.layers import ModuleSupernet
from netloom.spaces.networks.fbnetv5_blocks import InvertedResidual
from netloom.spaces.networks.fbnetv5_heads import Detection, Heads, Level
from netloom.spaces.zoo.fbnetv5 import FBNetV5

from .conftest import (
    assert_extraction_is_exact,
    assert_parameters_are_those_read,
    images,
    randomize,
)

TASKS = ("classification", "detection", "segmentation")


def tiny(**options: Any) -> FBNetV5:
    return FBNetV5(**{"preset": "tiny", "in_channels": 1, "resolution": 32, **options})


def bits(space: FBNetV5, *on: str, rest: int = 0) -> Architecture:
    """Return the architecture with these bits turned round."""
    names = [d.name for d in space.decisions]
    assert set(on) <= set(names)
    return space.architecture({name: (1 - rest) if name in on else rest for name in names})


def ready(space: FBNetV5, precise: bool = False) -> ModuleSupernet:
    """Return a super-network whose norms no longer make blocks identities."""
    torch.manual_seed(0)
    supernet = space.supernet().eval()
    randomize(supernet)
    return supernet.double() if precise else supernet


def flat(output: Any) -> Tensor:
    if isinstance(output, dict):
        output = [output[key] for key in sorted(output)]
    if isinstance(output, list | tuple):
        return torch.cat([flat(each).flatten() for each in output])
    return output


# ---------------------------------------------------------------- what bits mean
def test_without_a_bit_the_maps_are_those_of_stage_0() -> None:
    space = tiny(tasks=[])
    supernet = ready(space)
    x = images(space, bits(space))
    supernet.activate(bits(space))
    with torch.no_grad():
        maps, fabric = supernet(x), supernet.module.backbones
        assert all(map(torch.equal, maps, fabric.body.enter(x, 4)))


def test_a_block_left_out_is_the_identity() -> None:
    """And one that is there changes its own path alone."""
    space = tiny(tasks=[])
    supernet = ready(space)
    x = images(space, bits(space))
    with torch.no_grad():
        supernet.activate(bits(space))
        before = supernet(x)
        supernet.activate(bits(space, "stage2.path2.block3"))
        after = supernet(x)
        block = supernet.module.backbones.body.unit("stage2.path2.block3")
        assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [1, 1, 0, 1]
        assert torch.equal(after[2], block(before[2]))


def test_an_edge_adds_a_map_and_carries_its_gradient() -> None:
    space = tiny(tasks=[])
    supernet = ready(space)
    x = images(space, bits(space))
    edge = supernet.module.backbones.body.unit("stage3.edge1_2")
    for on in ((), ("stage3.edge1_2",)):
        supernet.zero_grad(set_to_none=True)
        supernet.activate(bits(space, *on))
        maps = supernet(x)
        maps[2].square().sum().backward()
        assert all((p.grad is not None) == bool(on) for p in edge.parameters())
    entered = supernet.module.backbones.body.enter(x, 4)
    torch.testing.assert_close(maps[2], entered[2] + edge(entered[1]))


def test_maps_are_exchanged_as_they_were_before_the_stage() -> None:
    """Both ways at once: neither sees what the other has become."""
    space = tiny(tasks=[])
    supernet = ready(space)
    x = images(space, bits(space))
    supernet.activate(bits(space, "stage1.edge0_1", "stage1.edge1_0", "stage1.path0.block1"))
    body = supernet.module.backbones.body
    with torch.no_grad():
        first, second = body.enter(x, 2)
        up, down = body.unit("stage1.edge1_0"), body.unit("stage1.edge0_1")
        block = body.unit("stage1.path0.block1")
        maps = supernet(x)
        torch.testing.assert_close(maps[0], block(first + up(second)))
        torch.testing.assert_close(maps[1], second + down(first))


def test_at_first_every_block_that_may_be_there_is_the_identity() -> None:
    """So that a search must warm up the weights before it looks at the loss."""
    space = tiny(tasks=[])
    torch.manual_seed(0)
    supernet = space.supernet().eval()
    x = images(space, bits(space))
    blocks = [b for b in space.plan.bits() if "block" in b]
    with torch.no_grad():
        supernet.activate(bits(space))
        nothing = supernet(x)
        supernet.activate(bits(space, *blocks))
        assert all(map(torch.equal, nothing, supernet(x)))
    assert not InvertedResidual(8, 8, 3, 2).project.norm.weight.any()
    assert InvertedResidual(8, 8, 3, 2, stride=2).project.norm.weight.all()
    assert InvertedResidual(8, 16, 3, 2).project.norm.weight.all()


def test_a_negative_stride_enlarges_before_the_depthwise_convolution() -> None:
    block = InvertedResidual(8, 16, 3, 2, stride=-2)
    assert block(torch.randn(2, 8, 3, 3)).shape == (2, 16, 6, 6)
    macs = trace(block, torch.randn(1, 8, 3, 3)).macs
    assert macs == 9 * 8 * 16 + 36 * (9 * 16 + 16 * 16)


# ---------------------------------------------------------------- what reaches a head
def test_what_reaches_no_head_is_cleared() -> None:
    space = tiny(tasks=["classification"])
    a = bits(
        space,
        "stage3.edge2_3",  # reaches the last path
        "stage2.path2.block1",  # and so does this
        "stage3.path2.block1",  # this comes too late
        "stage2.edge3_2",
        "stage1.path0.block1",  # nothing leads from here
        "stage3.edge0_1",
    )
    kept = {name for name, bit in space.pruned(a).items() if bit}
    assert kept == {"stage3.edge2_3", "stage2.path2.block1", "stage2.edge3_2"}
    assert space.canonical(a) == space.canonical(space.pruned(a))
    everything = tiny()
    mask = everything.mask(everything.architecture(dict(a)), "classification")
    assert everything.of_task("classification").parse(mask) == space.pruned(a)
    assert everything.pruned(a) == a  # segmentation reads all paths


def test_detection_needs_no_block_of_the_first_path_that_no_edge_leaves() -> None:
    space = tiny(tasks=["detection"])
    assert space.task("detection").reads == (1, 2, 3)
    kept = space.pruned(bits(space, "stage3.path0.block1", "stage1.path0.block1"))
    assert not any(kept.values())
    kept = space.pruned(bits(space, "stage1.path0.block1", "stage2.edge0_1"))
    assert kept["stage1.path0.block1"] == 1


def test_blocks_of_a_path_are_alike_unless_an_edge_comes_between() -> None:
    space = tiny()
    first = "stage1.path2.block1"
    same = (first, "stage1.path2.block3", "stage2.path2.block2", "stage3.path2.block1")
    assert len({space.canonical(bits(space, name)) for name in same}) == 1
    for between in ("stage2.edge2_1", "stage2.edge1_2"):
        texts = [space.canonical(bits(space, name, between)) for name in same]
        assert texts[0] == texts[1] != texts[2] == texts[3]
    assert space.canonical(bits(space, first)) != space.canonical(bits(space, *same[:2]))
    assert space.canonical(bits(space, first)) != space.canonical(
        bits(space, "stage1.path3.block1")
    )
    # in which stage maps are added does not matter as long as they are the same
    edges = [[f"stage{s}.edge0_1", f"stage{t}.edge2_1"] for s, t in ((1, 1), (1, 2), (3, 2))]
    assert len({space.canonical(bits(space, *pair)) for pair in edges}) == 1


@pytest.mark.parametrize("task", TASKS)
def test_parameters_that_a_task_does_not_reach_get_no_gradient(task: str) -> None:
    space = tiny(tasks=[task])
    supernet = ready(space)
    rng = Random(1)
    for _ in range(4):
        a = space.sample(rng)
        supernet.zero_grad(set_to_none=True)
        supernet.activate(a)
        flat(supernet(images(space, a))).sum().backward()
        kept = {name for name, bit in space.pruned(a).items() if bit}
        for name in space.plan.bits():
            unit = supernet.module.backbones.body.unit(name)
            assert all((p.grad is not None) == (name in kept) for p in unit.parameters()), name


def test_one_pass_serves_all_tasks() -> None:
    """Whether they share a mask or not: stage 0 has no bits."""
    for options in ({"tasks": TASKS[:1]}, {"tasks": TASKS}, {"tasks": TASKS, "masks": "each"}):
        space = tiny(**options)
        supernet, calls = space.supernet(), []
        body = supernet.module.backbones.body
        for layer in (*body.stage0, body.unit("stage1.path3.block1")):
            layer.register_forward_hook(lambda layer, *_, calls=calls: calls.append(layer))
        supernet.activate(bits(space, rest=1))
        supernet(images(space, bits(space)))
        assert calls[:4] == list(body.stage0)
        assert len(calls) == 4 + (3 if "masks" in options else 1)


# ---------------------------------------------------------------- extraction
@pytest.mark.parametrize(
    "options", [{}, {"masks": "each"}, {"tasks": ["classification"]}, {"tasks": []}], ids=str
)
def test_extraction_is_exact(options: dict[str, Any]) -> None:
    space = tiny(**options)
    supernet, rng = ready(space, precise=True), Random(5)
    for _ in range(2):
        a = space.sample(rng)
        x = images(space, a).double()
        supernet.activate(a)
        network = supernet.extract(a).eval()
        alone = space.build(a).double().eval()
        alone.load_state_dict(network.state_dict())
        with torch.no_grad():
            expected = flat(supernet(x))
            torch.testing.assert_close(flat(network(x)), expected, rtol=0, atol=1e-10)
            torch.testing.assert_close(flat(alone(x)), expected, rtol=0, atol=1e-10)


def test_extraction_of_classifiers_is_exact_to_the_bit() -> None:
    supernet = tiny(tasks=["classification"]).supernet()
    assert_extraction_is_exact(supernet, members=2)
    assert_parameters_are_those_read(supernet, members=2)


def test_networks_cut_out_for_each_task_share_no_weights() -> None:
    space = tiny(masks="each")
    network = space.supernet().extract(bits(space, rest=1))
    seen = [{p.data_ptr() for p in body.parameters()} for body in network.backbones]
    assert len(seen) == 3
    assert seen[0].isdisjoint(seen[1])
    assert seen[1].isdisjoint(seen[2])


def test_a_mask_for_each_task_is_what_its_network_alone_computes() -> None:
    space = tiny(masks="each")
    a = space.sample(Random(3))
    network = space.supernet().extract(a).eval()
    randomize(network)
    x = images(space, a)
    with torch.no_grad():
        outputs = network(x)
        for place, name in enumerate(TASKS):
            one = space.of_task(name)
            alone = one.build(one.parse(space.mask(a, name))).eval()
            alone.backbones[0].load_state_dict(network.backbones[place].state_dict())
            alone.heads.tasks[name].load_state_dict(network.heads.tasks[name].state_dict())
            torch.testing.assert_close(flat(alone(x)), flat(outputs[name]))


def test_samples_run_networks_of_their_own_together() -> None:
    space = tiny(masks="each")
    supernet, rng = ready(space, precise=True), Random(7)
    members = [space.sample(rng) for _ in range(4)]
    x = images(space, members[0]).double()
    with torch.no_grad():
        with supernet.together(members):
            found = supernet(x)
        for i, a in enumerate(members):
            supernet.activate(a)
            expected = supernet(x[i : i + 1])
            of_one = copy.copy(found)
            of_one["detection"] = [
                [part[i : i + 1] for part in level] for level in found["detection"]
            ]
            of_one = {k: v if k == "detection" else v[i : i + 1] for k, v in of_one.items()}
            torch.testing.assert_close(flat(of_one), flat(expected))


# ---------------------------------------------------------------- heads and tasks
def test_outputs_have_the_shapes_that_losses_take() -> None:
    space = FBNetV5(preset="tiny", classes=7)
    network = space.build(space.sample(Random(0)))
    outputs = network(torch.randn(2, 3, 64, 96))  # any multiple of the largest stride
    assert list(outputs) == list(TASKS)
    assert outputs["classification"].shape == (2, 7)
    assert outputs["segmentation"].shape == (2, 7, 16, 24)
    levels = outputs["detection"]
    assert isinstance(levels, list)
    assert [tuple(level.heat.shape) for level in levels] == [
        (2, 7, 8 >> i, 12 >> i) for i in range(3)
    ]
    assert [tuple(level.boxes.shape) for level in levels] == [
        (2, 4, 8 >> i, 12 >> i) for i in range(3)
    ]
    assert all(isinstance(level, Level) and len(level) == 2 for level in levels)
    assert all((level.boxes > 0).all() for level in levels)


def test_detection_begins_with_few_objects_and_boxes_of_about_a_stride() -> None:
    torch.manual_seed(0)
    head = Detection((8, 16), (8, 16), 3, 16).eval()
    with torch.no_grad():
        heat = [level.heat.sigmoid() for level in head(*maps_of((8, 16)))]
        head.boxes.weight.zero_()
        boxes = [level.boxes for level in head(*maps_of((8, 16)))]
    assert all((each < 0.02).all() and (each > 0.005).all() for each in heat)
    for each, stride in zip(boxes, (8, 16), strict=True):
        torch.testing.assert_close(each, torch.full_like(each, stride * 0.693147))


def maps_of(widths: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(2, width, 8 >> i, 8 >> i) for i, width in enumerate(widths)]


def test_the_pyramid_goes_down_and_its_convolutions_are_shared() -> None:
    head = Detection((8, 16), (8, 16), 3, 16).eval()
    first, second = maps_of((8, 16))
    with torch.no_grad():
        a, b = head(first, second), head(first, second + 1)
        c = head(first + 1, second)
    assert not torch.equal(a[0].heat, b[0].heat)  # the coarse map reaches the fine level
    assert torch.equal(a[1].heat, c[1].heat)  # not the other way round
    shared = [conv for conv in head.modules() if isinstance(conv, nn.Conv2d)]
    assert len(shared) == 2 + 2 + 2  # projections, convolutions, outputs
    assert sum(isinstance(m, nn.BatchNorm2d) for m in head.modules()) == 2 + 2 * 2


def test_one_task_gives_its_output_and_none_the_maps() -> None:
    one, none = tiny(tasks=["segmentation"]), tiny(tasks=[])
    a = one.sample(Random(0))
    x = images(one, a)
    assert one.build(a)(x).shape == (4, 10, 8, 8)
    assert [tuple(m.shape) for m in none.build(a)(x)] == [
        (4, w, 8 >> i, 8 >> i) for i, w in enumerate((8, 8, 16, 16))
    ]
    assert one.tasks(a) == none.tasks(a) == ()
    assert tiny().tasks(a) == TASKS
    assert "tasks" not in one.supports
    assert tiny().supports == {"supernet", "tasks"}


@pytest.fixture
def own_heads() -> Iterator[str]:
    """A user's module: a head that says a depth for each place of the first map that it reads."""
    module = ModuleType("own_heads")

    class Depth(nn.Module):
        def __init__(
            self, widths: tuple[int, ...], strides: tuple[int, ...], classes: int, scale: float = 1
        ) -> None:
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in widths)
            self.factors, self.scale = [stride // strides[0] for stride in strides], scale

        def forward(self, *maps: Tensor) -> Tensor:
            found = [
                nn.functional.interpolate(conv(x), scale_factor=factor)
                for conv, x, factor in zip(self.convs, maps, self.factors, strict=True)
            ]
            return self.scale * torch.stack(found).sum(0)

    module.Depth = Depth
    sys.modules["own_heads"] = module
    yield "own_heads:Depth"
    del sys.modules["own_heads"]


def test_a_task_of_ones_own(own_heads: str) -> None:
    depth = {
        "name": "depth",
        "head": own_heads,
        "reads": [0, 1],
        "classes": 1,
        "options": {"scale": 2.0},
        "label": "metres",
        "loss": "torch.nn.functional:l1_loss",
        "budget": {"macs": 1e6, "latency_ms@cpu_generic": 3},
    }
    space = tiny(tasks=["classification", depth])
    task = space.task("depth")
    assert (task.label, task.loss) == ("metres", "torch.nn.functional:l1_loss")
    assert dict(task.budget) == {"macs": 1e6, "latency_ms@cpu_generic": 3.0}
    assert space.task("classification").label == "classification"
    a = space.sample(Random(4))
    network = space.build(a)
    outputs = network(images(space, a))
    assert list(outputs) == ["classification", "depth"]
    assert outputs["depth"].shape == (4, 1, 8, 8)
    alone = space.of_task("depth")
    assert alone.options["tasks"] == [depth]
    only = alone.build(bits(alone, rest=0))
    assert len(only.backbones[0].stage0) == 2  # it reads no more than two paths
    assert isinstance(only.heads, Heads)
    assert only.heads.tasks["depth"].scale == 2.0
    extracted = space.supernet().extract(a)
    assert {*extracted.state_dict()} == {*network.state_dict()}


def test_classes_are_those_of_the_data_sets_unless_said() -> None:
    def classes(space: FBNetV5) -> list[int]:
        return [task.classes for task in space.members]

    assert classes(FBNetV5()) == [1000, 80, 150]
    assert classes(FBNetV5(classes=5)) == [5, 5, 5]
    tasks = ["classification", {"name": "segmentation", "classes": 6}]
    assert classes(FBNetV5(classes=5, tasks=tasks)) == [5, 6]


# ---------------------------------------------------------------- notation
def test_the_notation_has_the_bits_by_stage_and_path() -> None:
    space = tiny()
    a = bits(space, "stage2.path2.block3", "stage1.edge0_1", "stage3.edge3_2")
    value = json.loads(space.format(a))
    assert value["blocks"] == [
        [[0], [0, 0], [0, 0, 0], [0, 0]],
        [[0], [0, 0], [0, 0, 1], [0, 0]],
        [[0], [0, 0], [0, 0, 0], [0, 0]],
    ]
    edges = [
        (s, i, j) for s in range(3) for i in range(4) for j in range(4) if value["edges"][s][i][j]
    ]
    assert edges == [(0, 0, 1), (2, 3, 2)]
    assert space.parse(value) == space.parse(json.dumps(value)) == a
    value["edges"][1][2][2] = 1  # a path's own map is always there
    value["blocks"][0][0] = [0.0]
    assert space.parse(value) == a


def test_masks_may_be_one_for_all_or_one_for_each() -> None:
    one, each = tiny(), tiny(masks="each")
    a = one.sample(Random(0))
    mask = json.loads(one.format(a))
    assert one.parse(dict.fromkeys(TASKS, mask)) == a
    many = each.parse(mask)
    assert json.loads(each.format(many)) == dict.fromkeys(TASKS, mask)
    assert many["detection.stage1.edge0_1"] == a["stage1.edge0_1"]
    other = json.loads(one.format(one.mutate(a, Random(1))))
    masks = {"classification": mask, "detection": other, "segmentation": mask}
    assert json.loads(each.format(each.parse(masks))) == masks
    with pytest.raises(InvalidArchitecture, match=r"all tasks share one mask.*set masks: each"):
        one.parse(masks)
    with pytest.raises(SpecError, match="each task has its own mask: say one of classification"):
        each.mask(many)


def broken(change: str) -> dict[str, Any]:
    space = tiny()
    value: dict[str, Any] = json.loads(space.format(bits(space)))
    exec(change, {"v": value})  # a line that breaks one place
    return value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("del v['edges']", "a mask needs 'edges'"),
        ("v['edge'] = v.pop('edges')", "a mask has no 'edge'; did you mean edges"),
        ("v['blocks'].pop()", "blocks: there are 3 stages, this has 2"),
        ("v['blocks'][1].pop()", "blocks, stage 2: there are 4 paths, this has 3"),
        ("v['blocks'][1][2].append(0)", "blocks, stage 2, path 2: there are 3 blocks, this has 4"),
        ("v['blocks'][1][2][0] = 2", r"stage2\.path2\.block1 must be 0 or 1, got 2"),
        ("v['blocks'][1][2][0] = True", r"stage2\.path2\.block1 must be 0 or 1, got True"),
        ("v['blocks'][1][2] = 1", "expected a list of 3 blocks, got 1"),
        ("v['edges'][0][1].pop()", "edges, stage 1, path 1: there are 4 paths, this has 3"),
        ("v['edges'][0][1][3] = 1", r"stage1\.edge1_3: only paths next to each other"),
        ("v['edges'][0][1][2] = 'x'", r"stage1\.edge1_2 must be 0 or 1, got 'x'"),
    ],
)
def test_errors_name_the_place(change: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        tiny().parse(broken(change))


def test_errors_name_the_task() -> None:
    space = tiny(masks="each")
    mask = broken("pass")
    with pytest.raises(InvalidArchitecture, match="the task 'segmentation' needs a mask too"):
        space.parse({"classification": mask, "detection": mask})
    with pytest.raises(InvalidArchitecture, match="no task 'detect'; did you mean detection"):
        space.parse({"classification": mask, "detect": mask, "segmentation": mask})
    bad = broken("v['blocks'].pop()")
    with pytest.raises(InvalidArchitecture, match="fbnetv5, detection: blocks: there are 3"):
        space.parse({"classification": mask, "detection": bad, "segmentation": mask})


# ---------------------------------------------------------------- options
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "small"}, "preset must be one of full, tiny; got 'small'"),
        ({"resolution": 225}, "resolution must be a multiple of 32, .* got 225"),
        ({"resolution": 48, "stem_stride": 2}, "resolution must be a multiple of 32"),
        ({"resolution": 8, "stem_stride": 1}, "resolution must be a multiple of 16"),
        ({"stem_stride": 4}, "stem_stride must be 1 or 2, got 4"),
        ({"blocks": [1, 2]}, r"blocks must have an entry for each of the 4 paths .* got \[1, 2\]"),
        ({"blocks": [1, 2, 3, -1]}, r"blocks\[3\] must be an integer of at least 0, got -1"),
        ({"channels_list": []}, r"channels_list must be a list with an entry .* got \[\]"),
        ({"channels_list": [8, 8, 8, 0]}, r"channels_list\[3\] must be an integer of at least 1"),
        ({"entries": ["k3_e1"] * 3}, "entries must have an entry for each of the 4 paths"),
        ({"operators": ["k4_e1"] * 4}, "operators: a block is written as kernel .* got 'k4_e1'"),
        ({"stages": 0}, "stages must be an integer of at least 1, got 0"),
        ({"width": 0}, "width must be a positive multiplier, got 0"),
        ({"masks": "all"}, "masks must be one, or each where there are tasks; got 'all' and 3"),
        ({"masks": "each", "tasks": []}, "masks must be one, or each where there are tasks"),
        ({"tasks": "detection"}, "tasks must be a list of names and objects, got 'detection'"),
        ({"tasks": ["detect"]}, "needs a head, .* 'detect' is none of .* did you mean detection"),
        ({"tasks": ["detection", "detection"]}, "got 'detection' more than once"),
        ({"tasks": [7]}, "a task is a name, or an object with a name, got 7"),
        ({"tasks": [{"name": "a b", "head": "m:f"}]}, "a name is made of letters"),
        ({"tasks": [{"name": "blocks", "head": "m:f", "classes": 1}]}, "uses the name 'blocks'"),
        ({"tasks": [{"name": "detection", "reads": [4]}]}, "reads must list paths, 0 to 3"),
        ({"tasks": [{"name": "detection", "reads": [2, 1]}]}, r"reads must rise, got \[2, 1\]"),
        ({"tasks": [{"name": "detection", "classes": 0}]}, "classes must be an integer of at"),
        (
            {"tasks": [{"name": "x", "head": "no path"}], "classes": 1},
            "head must be an import path",
        ),
        ({"tasks": [{"name": "detection", "hed": 1}]}, "has no 'hed'; did you mean head"),
        ({"tasks": [{"name": "detection", "budget": {"macs": 0}}]}, "budget of macs must be a"),
        ({"tasks": [{"name": "detection", "loss": "ce"}]}, "loss must be an import path"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        FBNetV5(**options)


def test_tasks_and_heads_that_are_not_there() -> None:
    with pytest.raises(SpecError, match="no task 'depth'"):
        tiny().task("depth")
    task = {"name": "x", "head": "netloom.spaces:nothing", "classes": 1}
    space = tiny(tasks=[task])
    with pytest.raises(SpecError, match="nothing"):
        space.build(space.at(0))


def test_definitions_are_not_changed_by_building() -> None:
    tasks = [{"name": "detection", "options": {"channels": 8}}]
    space = tiny(tasks=tasks)
    shapes = [[p.shape for p in space.build(space.at(0)).parameters()] for _ in range(2)]
    assert shapes[0] == shapes[1]
    assert tasks == [{"name": "detection", "options": {"channels": 8}}]
