"""Networks in files: exported programs and ONNX graphs whose numbers are known."""

from __future__ import annotations

import io
import json
import random
import zipfile

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper
from torch import nn

from netloom.errors import SpecError, TraceError
from netloom.hw_models import model_for, read_network, trace
from netloom.spaces import SPACES


def totals(workload):
    return {
        "params": workload.params,
        "macs": workload.macs,
        "weights": workload.weight_bytes,
        "peak": workload.peak_activation_bytes,
    }


class Mixed(nn.Module):
    """A convolution, a norm, attention and a classifier; its input may have any height."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.classifier = nn.Linear(8, 5)

    def forward(self, x):
        tokens = torch.relu(self.stem(x)).flatten(2).transpose(1, 2)
        return self.classifier(self.attention(tokens, tokens, tokens)[0].mean(1))


# ------------------------------------------------------------------------ .pt2


def exported(path, module, *inputs, **options):
    torch.export.save(torch.export.export(module.eval(), inputs, **options), path)
    return path


def test_an_exported_program_costs_what_its_module_costs(tmp_path):
    module, x = Mixed(), torch.zeros(1, 3, 16, 16)
    read = read_network(exported(tmp_path / "n.pt2", module, x))
    assert totals(read) == totals(trace(module, x))
    names = [layer.name for layer in read.layers]
    assert names[:3] == ["stem.0", "stem.1", "relu"]
    assert names[-1] == "classifier"
    assert "attention.softmax" in names
    assert model_for("cpu_generic").cost(read).latency_ms > 0


def test_an_exported_member_of_a_space_costs_what_the_space_says(tmp_path):
    space = SPACES.get("nb201")(channels=4, cells=1)
    member = space.sample(random.Random(0))
    module, x = space.build(member), space.example_input(member)
    assert totals(read_network(exported(tmp_path / "n.pt2", module, x))) == totals(trace(module, x))


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory):
    path = tmp_path_factory.mktemp("dynamic") / "d.pt2"
    height = torch.export.Dim("height", min=8, max=64)
    shapes = ({0: torch.export.Dim("batch"), 2: height},)
    return exported(path, Mixed(), torch.zeros(2, 3, 16, 16), dynamic_shapes=shapes)


def test_open_sizes_are_asked_for(dynamic):
    with pytest.raises(SpecError, match=r"input x \(\?x3x\?x16\) are open.*--input"):
        read_network(dynamic)
    assert totals(read_network(dynamic, [(1, 3, 32, 16)])) == totals(
        trace(Mixed(), torch.zeros(1, 3, 32, 16))
    )
    with pytest.raises(SpecError, match=r"exported as \?x3x\?x16, got 1x3x32x17"):
        read_network(dynamic, [(1, 3, 32, 17)])
    with pytest.raises(SpecError, match=r"takes 1 tensors .*got 2 shapes"):
        read_network(dynamic, [(1, 3, 32, 16)] * 2)


class Bomb:
    """Unpickling it is noticed."""

    def __reduce__(self):
        return (exec, ("raise AssertionError('a pickle ran')",))


def rewritten(source, target, change):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            name, data = change(entry.filename, old.read(entry))
            new.writestr(name, data)
    return target


def test_no_pickle_of_a_file_is_run(tmp_path):
    x = torch.zeros(1, 3, 16, 16)
    good = exported(tmp_path / "good.pt2", Mixed(), x)
    bomb = io.BytesIO()
    torch.save(Bomb(), bomb)

    def in_the_example(name, data):
        return name, bomb.getvalue() if "sample_inputs" in name else data

    assert totals(read_network(rewritten(good, tmp_path / "a.pt2", in_the_example))) == totals(
        trace(Mixed(), x)
    )

    def in_the_weights(name, data):
        if name.endswith("weights_config.json"):
            config = json.loads(data)
            next(iter(config["config"].values()))["use_pickle"] = True
            return name, json.dumps(config)
        return name, bomb.getvalue() if name.endswith("/weight_0") else data

    with pytest.raises(SpecError, match="holds pickled tensors"):
        read_network(rewritten(good, tmp_path / "b.pt2", in_the_weights))

    def as_legacy_weights(name, data):
        return name.replace("data/weights/weight_0", "data/weights/model.pt"), data

    with pytest.raises(SpecError, match=r"holds data/weights/model\.pt, a pickled"):
        read_network(rewritten(good, tmp_path / "c.pt2", as_legacy_weights))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("n.pt", b"", "a pickle of others can run any code"),
        ("n.txt", b"", r"a \.pt2 or \.onnx file, or package\.module:factory"),
        ("n.pt2", b"no archive", r"must be a whole \.pt2 archive"),
        ("n.onnx", b"no model", "must be an ONNX model"),
        ("none.onnx", None, "does not exist"),
    ],
)
def test_what_is_no_network_file_is_told_so(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError, match=said):
        read_network(tmp_path / name)


# ------------------------------------------------------------------------ ONNX


def tensor(name, *shape, kind=T.FLOAT):
    values = [1] * max(1, torch.Size(shape).numel())
    return h.make_tensor(name, kind, shape, values)


def saved(path, nodes, inputs, outputs, weights=(), **options):
    value = h.make_tensor_value_info
    graph = h.make_graph(
        nodes,
        "g",
        [value(name, T.FLOAT, shape) for name, shape in inputs.items()],
        [value(name, T.FLOAT, shape) for name, shape in outputs.items()],
        list(weights),
    )
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], **options), path)
    return path


@pytest.fixture
def convnet(tmp_path):
    """Return a function that writes a network of every kind of convolution, with its batch open."""

    def write(batch="batch", **changes):
        nodes = [
            h.make_node(
                "Conv", ["x", "w0", "b0"], ["c0"], "stem", strides=[2, 2], pads=[1, 1, 1, 1]
            ),
            h.make_node("BatchNormalization", ["c0", "g", "s", "m", "v"], ["n0"], "/norm/bn"),
            h.make_node("Relu", ["n0"], ["r0"]),
            h.make_node("Conv", ["r0", "w1"], ["c1"], "dw", group=8, auto_pad="SAME_UPPER"),
            h.make_node("Conv", ["c1", "w2"], ["c2"], "pw"),
            h.make_node("Add", ["c2", "r0"], ["sum"], "add"),
            h.make_node("GlobalAveragePool", ["sum"], ["p"], "gap"),
            h.make_node("Shape", ["p"], ["shape"]),
            h.make_node("Gather", ["shape", "zero"], ["n"]),
            h.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
            h.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
            h.make_node("Reshape", ["p", "target"], ["f"], "flat"),
            h.make_node("Gemm", ["f", "w3", "b3"], ["y"], "fc", transB=1),
        ]
        weights = [
            tensor("w0", 8, 3, 3, 3), tensor("b0", 8), *(tensor(n, 8) for n in "gsmv"),
            tensor("w1", 8, 1, 5, 5), tensor("w2", 8, 8, 1, 1),
            tensor("w3", 10, 8), tensor("b3", 10),
            h.make_tensor("zero", T.INT64, (), [0]), h.make_tensor("axis", T.INT64, (1,), [0]),
            h.make_tensor("rest", T.INT64, (1,), [8]),
        ]  # fmt: skip
        return saved(
            tmp_path / "n.onnx", nodes, {"x": (batch, 3, 16, 16)}, {"y": (batch, 10)}, weights
        )

    return write


def test_an_onnx_graph_is_counted_to_the_unit(convnet):
    work = read_network(convnet())
    assert [(layer.name, layer.kind) for layer in work.layers] == [
        ("stem", "conv"), ("norm.bn", "norm"), ("r0", "activation"), ("dw", "depthwise_conv"),
        ("pw", "pointwise_conv"), ("add", "add"), ("gap", "pool"), ("flat", "reshape"),
        ("fc", "linear"),
    ]  # fmt: skip
    assert [layer.macs for layer in work.layers] == [
        8 * 64 * 27, 0, 0, 8 * 64 * 25, 8 * 64 * 8, 0, 0, 0, 80,
    ]  # fmt: skip
    learned = [8 * 27 + 8, 16, 0, 200, 64, 0, 0, 0, 90]
    assert [layer.params for layer in work.layers] == learned
    assert work.params == sum(learned)
    assert work.weight_bytes == 4 * (sum(learned) + 16)  # mean and variance are stored too
    assert work.layers[3].padding == (2, 2)
    assert work.layers[7].view
    assert work.peak_activation_bytes == 4 * 3 * 512  # r0, c1 and c2 at the 1x1 convolution


def test_the_open_batch_is_one_and_other_sizes_are_asked_for(convnet, tmp_path):
    assert totals(read_network(convnet(1))) == totals(read_network(convnet()))
    assert read_network(convnet(), [(4, 3, 16, 16)]).macs == 4 * read_network(convnet()).macs
    with pytest.raises(SpecError, match=r"exported as \?x3x16x16, got 1x3x16x17"):
        read_network(convnet(), [(1, 3, 16, 17)])
    relu = [h.make_node("Relu", ["x"], ["y"])]
    shape = ("n", 3, "side", "side")
    path = saved(tmp_path / "open.onnx", relu, {"x": shape}, {"y": shape})
    with pytest.raises(SpecError, match=r"\(\?x3x\?x\?\) are open"):
        read_network(path)
    assert read_network(path, [(1, 3, 4, 5)]).tensors[-1].shape == (1, 3, 4, 5)


def test_weights_beside_the_file_are_not_needed(convnet, tmp_path):
    whole = totals(read_network(convnet()))
    model = onnx.load(convnet())
    for weight in model.graph.initializer:
        if weight.data_type == T.FLOAT:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight), weight.name))
    onnx.save(
        model, tmp_path / "thin.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    assert totals(read_network(tmp_path / "thin.onnx")) == whole
    (tmp_path / "w").unlink()
    assert totals(read_network(tmp_path / "thin.onnx")) == whole


def test_functions_of_a_file_are_written_out(tmp_path):
    opset = [h.make_opsetid("", 20)]
    body = [h.make_node("Relu", ["a"], ["t"]), h.make_node("Add", ["t", "a"], ["b"])]
    twice = h.make_function("mine", "Twice", ["a"], ["b"], body, opset)
    node = h.make_node("Twice", ["x"], ["y"], "n", domain="mine")
    value = h.make_tensor_value_info
    shape = (1, 2, 3)
    inside = [value("x", T.FLOAT, shape)], [value("y", T.FLOAT, shape)]
    graph = h.make_graph([node], "g", *inside)
    model = h.make_model(
        graph, functions=[twice], opset_imports=[*opset, h.make_opsetid("mine", 1)]
    )
    onnx.save(model, tmp_path / "f.onnx")
    assert [layer.op for layer in read_network(tmp_path / "f.onnx").layers] == ["relu", "add"]


def test_operators_are_called_as_those_of_a_trace(convnet, tmp_path):
    called = ["conv2d", "batch_norm", "relu", "conv2d", "conv2d", "add", "adaptive_avg_pool2d"]
    assert [layer.op for layer in read_network(convnet()).layers] == [*called, "reshape", "linear"]
    number = h.make_tensor
    nodes = [
        h.make_node("Constant", [], ["six"], value=number("six", T.FLOAT, (), [6.0])),
        h.make_node("Clip", ["x", "zero", "six"], ["a"], "relu6"),
        h.make_node("Clip", ["a", "zero", "one"], ["b"], "clamp"),
        h.make_node("Concat", ["a", "b"], ["c"], "cat", axis=-3),
        h.make_node("Transpose", ["c"], ["d"], "permute", perm=[0, 2, 3, 1]),
        h.make_node("ReduceMean", ["d", "axes"], ["y"], "mean", keepdims=0),
    ]
    weights = [number("zero", T.FLOAT, (), [0.0]), number("one", T.FLOAT, (), [1.0])]
    weights += [number("axes", T.INT64, (2,), [-3, 2])]
    path = saved(tmp_path / "o.onnx", nodes, {"x": (1, 3, 4, 4)}, {"y": (1, 6)}, weights)
    layers = read_network(path).layers
    assert [(layer.op, layer.kind) for layer in layers] == [
        ("relu6", "activation"), ("clamp", "elementwise"), ("cat", "concat"),
        ("permute", "reshape"), ("mean", "reduce"),
    ]  # fmt: skip
    assert [layer.axes for layer in layers] == [(), (), (1,), (0, 2, 3, 1), (1, 2)]
    assert all(layer.name == layer.op for layer in layers)
    assert read_network(path).params == 0


def test_positions_that_are_known_move_rows_and_others_look_them_up(tmp_path):
    nodes = [
        h.make_node("Gather", ["x", "first"], ["a"], "select", axis=1),
        h.make_node("Gather", ["table", "ids"], ["b"], "embedding"),
        h.make_node("Gather", ["x", "ids"], ["c"], "lookup", axis=1),
    ]
    value = h.make_tensor_value_info
    inputs = [value("x", T.FLOAT, (1, 6, 4)), value("ids", T.INT64, (1, 3))]
    outputs = [value(name, T.FLOAT, None) for name in "abc"]
    weights = [tensor("table", 10, 4), h.make_tensor("first", T.INT64, (), [0])]
    graph = h.make_graph(nodes, "g", inputs, outputs, weights)
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 20)]), tmp_path / "g.onnx")
    work = read_network(tmp_path / "g.onnx")
    assert [(x.name, x.kind) for x in work.layers] == [
        ("select", "reshape"), ("embedding", "embedding"), ("lookup", "index"),
    ]  # fmt: skip
    assert [x.output_shapes[0] for x in work.layers] == [(1, 4), (1, 3, 4), (1, 1, 3, 4)]
    assert work.params == 40


def test_products_of_weights_and_of_activations(tmp_path):
    nodes = [
        h.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),  # of a weight: no layer
        h.make_node("MatMul", ["x", "wt"], ["q"], "q"),
        h.make_node("Transpose", ["x"], ["k"], "t", perm=[0, 2, 1]),
        h.make_node("MatMul", ["q", "k"], ["s"], "scores"),
        h.make_node("Softmax", ["s"], ["a"], "softmax"),
        h.make_node("Einsum", ["a", "x"], ["y"], "mix", equation="bqk,bkd->bqd"),
    ]
    path = saved(
        tmp_path / "a.onnx", nodes, {"x": (1, 6, 4)}, {"y": (1, 6, 4)}, [tensor("w", 4, 4)]
    )
    work = read_network(path)
    assert [(x.name, x.kind, x.macs, x.params) for x in work.layers] == [
        ("q", "linear", 6 * 4 * 4, 16), ("t", "reshape", 0, 0), ("scores", "matmul", 6 * 6 * 4, 0),
        ("softmax", "softmax", 0, 0), ("mix", "matmul", 6 * 6 * 4, 0),
    ]  # fmt: skip
    assert work.params == 16


def test_quantised_weights_are_stored_in_their_own_format(tmp_path):
    scale = [h.make_tensor("scale", T.FLOAT, (), [0.1]), h.make_tensor("zp", T.INT8, (), [0])]
    nodes = [
        h.make_node("DequantizeLinear", ["w", "scale", "zp"], ["wf"]),
        h.make_node("QuantizeLinear", ["x", "scale", "zp"], ["xq"], "quant"),
        h.make_node("DequantizeLinear", ["xq", "scale", "zp"], ["xf"], "dequant"),
        h.make_node("Conv", ["xf", "wf"], ["y"], "conv"),
    ]
    weights = [tensor("w", 4, 3, 1, 1, kind=T.INT8), *scale]
    work = read_network(
        saved(tmp_path / "q.onnx", nodes, {"x": (1, 3, 2, 2)}, {"y": (1, 4, 2, 2)}, weights)
    )
    assert [x.view for x in work.layers] == [True, True, False]
    assert (work.params, work.weight_bytes, work.macs) == (12, 12, 4 * 4 * 3)


def whole(name, *values):
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def padding(name, zeros):
    """Return the nodes that exporters write for the pad (0, 1, 0, 1) of an image."""
    constants = [whole("few", 0, 1, 0, 1), whole("pairs", -1, 2), whole("all", -1)]
    return [
        *[h.make_node("Constant", [], [c.name], value=c) for c in constants],
        h.make_node("Constant", [], ["zeros"], value=whole("zeros", zeros)),
        h.make_node("ConstantOfShape", ["zeros"], ["rest"], value=whole("zero", 0)),
        h.make_node("Concat", ["few", "rest"], ["joined"], axis=0),
        h.make_node("Reshape", ["joined", "pairs"], ["rows"]),
        *[h.make_node("Constant", [], [n], value=whole(n, v)) for n, v in RANGE.items()],
        h.make_node("Slice", ["rows", "start", "stop", "axis", "step"], ["reversed"]),
        h.make_node("Transpose", ["reversed"], ["sides"], perm=[1, 0]),
        h.make_node("Reshape", ["sides", "all"], ["flat"]),
        h.make_node("Cast", ["flat"], [name], to=T.INT64),
    ]


RANGE = {"start": -1, "stop": -(2**62), "axis": 0, "step": -1}


def test_a_pad_whose_width_the_file_works_out(tmp_path):
    nodes = [*padding("pads", 4), h.make_node("Pad", ["x", "pads"], ["y"])]
    path = saved(tmp_path / "p.onnx", nodes, {"x": (1, 3, 8, 6)}, {"y": None})
    [layer] = read_network(path).layers
    assert (layer.kind, layer.input_shapes) == ("pad", ((1, 3, 8, 6),))
    assert layer.output_shapes == ((1, 3, 9, 7),)
    with pytest.raises(SpecError, match="may have been worked out from the size"):
        read_network(path).at_resolution(16, 16)


def test_numbers_of_a_file_that_make_no_sense_are_no_traceback(tmp_path):
    nodes = [*padding("pads", 3), h.make_node("Pad", ["x", "pads"], ["y"])]  # no pairs
    path = saved(tmp_path / "p.onnx", nodes, {"x": (1, 3, 8, 6)}, {"y": None})
    with pytest.raises((SpecError, TraceError), match=r"p\.onnx"):
        read_network(path)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (h.make_node("NonMaxSuppression", ["x", "x"], ["y"], "nms"), r"NonMaxSuppression \(nms\)"),
        (h.make_node("Mine", ["x"], ["y"], "mine", domain="com.mine"), r"Mine \(mine\)"),
        (h.make_node("Einsum", ["x", "x"], ["y"], "e", equation="...i,...i->..."), "MatMul"),
    ],
)
def test_operators_without_a_cost_are_named(tmp_path, node, said):
    path = saved(tmp_path / "u.onnx", [node], {"x": (1, 4, 4)}, {"y": None})
    with pytest.raises(TraceError, match=said):
        read_network(path)


def test_nothing_and_contradictions_are_refused(tmp_path):
    relu = h.make_node("Relu", ["x"], ["y"])
    path = saved(tmp_path / "z.onnx", [relu], {"x": (1, 0, 4)}, {"y": (1, 0, 4)})
    with pytest.raises(SpecError, match="at least 1, got 1x0x4"):
        read_network(path)
    path = saved(tmp_path / "c.onnx", [relu], {"x": (1, 2)}, {"y": (1, 3)})
    with pytest.raises(SpecError, match="contradict each other"):
        read_network(path)
