"""What `trace` promises about the module it is given, and what it refuses."""

from __future__ import annotations

import collections
import copy
import dataclasses
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netloom.errors import EvaluationError, TraceError
from netloom.hw_models import trace
from netloom.hw_models.tracer import trace_built

IMAGE = torch.zeros(1, 3, 8, 8)


class Block(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)) + x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stage1 = nn.Sequential(Block(), Block())
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        return self.head(self.stage1(self.stem(x)).mean((2, 3)))


def test_layers_carry_the_names_of_their_modules():
    names = [layer.name for layer in trace(Net(), IMAGE).layers]
    block = ["{}.conv", "{}.bn", "{}.add", "{}.relu"]
    blocks = [name.format(f"stage1.{i}") for i in (0, 1) for name in block]
    assert names == ["stem", *blocks, "mean", "head"]


def test_a_repeated_name_is_numbered():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(self.act(x) + x) + x

    names = [layer.name for layer in trace(Twice(), IMAGE).layers]
    assert names == ["act", "add", "act#2", "add#2"]


def test_edges_join_producers_and_consumers():
    workload = trace(Block(), torch.zeros(1, 4, 8, 8))
    tensors = workload.tensors
    assert [t.role for t in tensors] == ["input", *["activation"] * 4]
    assert [t.producer for t in tensors] == [None, 0, 1, 2, 3]
    assert [t.consumers for t in tensors] == [(0, 2), (1,), (2,), (3,), ()]
    assert workload.inputs == (0,)
    assert workload.outputs == (4,)
    for index, layer in enumerate(workload.layers):
        assert all(index in tensors[i].consumers for i in layer.inputs)
        assert all(tensors[o].producer == index for o in layer.outputs)


class Stateful(nn.Module):
    """Does in `forward` everything that should leave no mark."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.bn = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(3))
        self.plain = torch.zeros(3)
        self.last = None

    def forward(self, x):
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * x.mean((0, 2, 3))
        self.plain.add_(1)
        self.last = x = self.drop(self.bn(self.conv(x)))
        self.conv.weight.data.mul_(2)
        return x + torch.randn_like(x) + torch.rand(3, 8, 8) + self.plain[:, None, None]


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_left_as_it_was(training):
    module = Stateful().train(training)
    module.drop.train(not training)  # modes may differ between submodules
    hook = module.conv.register_forward_hook(lambda *_: None)
    modes = [m.training for m in module.modules()]
    state = copy.deepcopy(module.state_dict())
    objects = {id(t) for t in (*module.parameters(), *module.buffers())}
    attributes = set(vars(module))
    generator = torch.get_rng_state()

    trace(module, IMAGE)

    assert torch.equal(torch.get_rng_state(), generator)
    assert [m.training for m in module.modules()] == modes
    assert {id(t) for t in (*module.parameters(), *module.buffers())} == objects
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert torch.equal(module.plain, torch.zeros(3))
    assert module.last is None
    assert set(vars(module)) == attributes
    assert hook.id in module.conv._forward_hooks
    assert nn.Module.__call__ is nn.Module._wrapped_call_impl
    assert not any("_compiled_call_impl" in vars(m) for m in module.modules())


def test_a_failed_trace_leaves_no_mark_either():
    class Fails(Stateful):
        def forward(self, x):
            super().forward(x)
            raise KeyError("head")

    module = Fails()
    state = copy.deepcopy(module.state_dict())
    with pytest.raises(
        TraceError, match="Fails failed in the network itself with KeyError: 'head'"
    ):
        trace(module, IMAGE)
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert module.last is None
    assert nn.Module.__call__ is nn.Module._wrapped_call_impl
    assert not any("_compiled_call_impl" in vars(m) for m in module.modules())


def test_parameters_may_be_on_meta():
    with torch.device("meta"):
        empty = Net()
    real, meta = trace(Net(), IMAGE), trace(empty, IMAGE)
    assert real.layers == meta.layers
    assert real.tensors == meta.tensors
    assert (real.params, real.weight_bytes) == (meta.params, meta.weight_bytes)


def test_training_mode_is_not_what_is_counted():
    class Auxiliary(Net):
        def forward(self, x):
            return [super().forward(x)] * 2 if self.training else super().forward(x)

    assert len(trace(Auxiliary().train(), IMAGE).outputs) == 1


@pytest.mark.full  # the compiler takes seconds to import
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_modules_are_traced_as_the_originals():
    inner = Net()
    inner.stage1[0] = torch.compile(inner.stage1[0])
    for module in (torch.compile(Net()), inner):
        assert trace(module, IMAGE).layers == trace(Net(), IMAGE).layers


class Named(nn.Module):
    """Its arguments have names that a recorder could want for itself."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, module, *, place, leaf, run):
        return self.layer(module + place + leaf + run)


def test_arguments_may_have_any_name():
    names = ("module", "place", "leaf", "run")
    assert trace(Named(), dict.fromkeys(names, torch.zeros(1, 3))).macs == 6


def test_what_modules_call_instead_is_called_and_stays():
    network = Net()
    first = network.stage1[0]
    calls = []

    def instead(x):
        calls.append(x.shape)
        return first._call_impl(x)

    first._compiled_call_impl = instead
    assert trace(network, IMAGE).macs == trace(Net(), IMAGE).macs
    assert len(calls) == 1
    assert first._compiled_call_impl is instead
    assert "_compiled_call_impl" not in network.__dict__


def test_inputs_in_every_form():
    class Sum(nn.Module):
        def forward(self, x, others=(), scale=1.0):
            for other in others:
                x = x + other
            return {"sum": x * scale}

    x = torch.zeros(1, 2)
    assert len(trace(Sum(), x).layers) == 1
    assert [layer.kind for layer in trace(Sum(), (x, [x + 1, x + 2])).layers] == [
        "add",
        "add",
        "mul",
    ]
    named = trace(Sum(), {"x": x, "others": (x + 1,)})
    assert len(named.inputs) == 2
    with pytest.raises(TraceError, match="must be a tensor, a tuple"):
        trace(Sum(), 3)


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x if x.sum() > 0 else -x, "__bool__"),
        (lambda x: x * x.mean().item(), "item"),
        (lambda x: x * float(x.max()), "__float__"),
        (lambda x: x[x > 0], "NotImplementedError"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: torch.unique(x), "unique"),
        (lambda x: torch.from_numpy(x.numpy()), "numpy"),
        (lambda x: x[: int(x.argmax())], "__int__"),
        (lambda x: x[: x.argmax()], "RuntimeError"),
    ],
)
def test_data_dependence_is_an_error(function, said):
    with pytest.raises(TraceError, match=r"inner .*must not depend") as caught:
        trace(Wrapped(function), IMAGE)
    assert said in str(caught.value)
    assert isinstance(caught.value, EvaluationError)


class Wrapped(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.inner = Calls(function)

    def forward(self, x):
        return self.inner(x)


def test_values_that_do_not_depend_on_the_input_may_be_read():
    def forward(x):
        side = int(torch.sqrt(torch.tensor(float(x.shape[2] * x.shape[3]))))
        steps = torch.linspace(0, 1, 3).tolist()
        table = torch.sin(torch.arange(8)[:, None] * torch.arange(8)[None] / 10)
        return x.reshape(1, 3, side, side) * steps[1] + table

    kinds = [layer.kind for layer in trace(Calls(forward), IMAGE).layers]
    assert kinds == ["reshape", "mul", "add"]


def test_flags_in_buffers_may_be_read_but_not_written():
    class Flagged(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("ready", torch.tensor(True))

        def forward(self, x):
            return x * 2 if self.ready else x

    assert len(trace(Flagged(), IMAGE).layers) == 1


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Conv2d(4, 4, 3), "channel"),
        (nn.Conv2d(3, 4, 9), "[Kk]ernel size"),
        (nn.Linear(9, 4), "reduction dim"),
        (nn.MaxPool2d(9), "too small|[Oo]utput size"),
        (nn.LayerNorm(9), "normalized_shape"),
        (nn.BatchNorm2d(4), "4"),
        (Calls(lambda x: F.group_norm(x, 2)), "divisible"),
        (Calls(lambda x: x + torch.zeros(5)), "broadcast|size"),
        (Calls(lambda x: torch.cat([x, x[:, :, :2]], 1)), "match"),
        (Calls(lambda x: x @ x[:, :, :3]), "size|dim"),
        (Calls(lambda x: x.view(7, -1)), "shape"),
    ],
)
def test_wrong_shapes_are_errors_with_torchs_words(module, said):
    with pytest.raises(TraceError, match=said):
        trace(module, IMAGE)


def test_the_failing_submodule_is_named():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(5, 4, 3)))
    with pytest.raises(TraceError, match=r"failed in 1\.1 with"):
        trace(network, IMAGE)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_scripted_modules_are_refused():
    network = nn.Sequential(torch.jit.script(nn.Linear(8, 8)))
    with pytest.raises(TraceError, match="0 is a TorchScript module"):
        trace(network, IMAGE)


def test_lazy_modules_are_refused():
    with pytest.raises(TraceError, match="1 is a lazy module"):
        trace(nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), IMAGE)


def test_packed_sequences_are_refused():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 8, batch_first=True)

        def forward(self, x):
            packed = nn.utils.rnn.pack_padded_sequence(x, [8], batch_first=True)
            return self.lstm(packed)[0].data

    with pytest.raises(TraceError, match="needs the values of a tensor"):
        trace(Packed(), IMAGE[0])


def test_something_else_than_a_module_is_refused():
    with pytest.raises(TraceError, match=r"takes a torch\.nn\.Module, got function"):
        trace(lambda x: x, IMAGE)  # type: ignore[arg-type]


def test_a_thread_that_runs_a_network_meanwhile_is_not_recorded():
    started, stop = threading.Event(), threading.Event()
    other, results = nn.Conv2d(3, 3, 1), []

    def run():
        with torch.no_grad():
            while not stop.is_set():
                results.append(other(IMAGE))
                started.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        started.wait()
        counts = {len(trace(Net(), IMAGE).layers) for _ in range(20)}
    finally:
        stop.set()
        thread.join()
    assert counts == {11}
    assert not any(result.is_meta for result in results)


def test_custom_autograd_functions_keep_the_graph_together():
    class Clamp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    network = nn.Sequential(Calls(Clamp.apply), nn.Conv2d(3, 4, 1))
    workload = trace(network, IMAGE)
    assert [layer.kind for layer in workload.layers] == ["elementwise", "pointwise_conv"]
    assert workload.layers[0].outputs == workload.layers[1].inputs


def test_a_forward_that_writes_parameters_does_not_reach_them():
    class Clipped(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2).requires_grad_(False)

        def forward(self, x):
            self.layer.weight.data = self.layer.weight.data.clamp(-0.1, 0.1)
            self.layer.weight.requires_grad = True
            self.layer.bias.requires_grad_(True)
            return self.layer(x)

    module = Clipped()
    before = module.layer.weight.clone()
    assert trace(module, torch.zeros(1, 3)).macs == 6
    assert torch.equal(module.layer.weight, before)
    assert not any(p.requires_grad for p in module.parameters())


def test_draws_on_constants_move_no_generator():
    class DropPath(nn.Module):
        def forward(self, x):
            return x * torch.empty(len(x), 1).bernoulli_(0.5) + torch.rand_like(torch.ones(4))

    state = torch.get_rng_state()
    trace(DropPath(), torch.zeros(2, 4))
    assert torch.equal(torch.get_rng_state(), state)


class Record(collections.OrderedDict):
    """An output as the libraries of large models write it."""


@dataclasses.dataclass
class Outputs:
    first: torch.Tensor
    rest: Record


def test_outputs_in_records_live_to_the_end():
    class Heads(nn.Module):
        def forward(self, x):
            return Outputs(x.relu(), Record(tanh=x.tanh(), more=[x * 2]))

    workload = trace(Heads(), torch.zeros(1, 4))
    assert len(workload.outputs) == 3
    assert workload.peak_activation_bytes == 4 * 16


def test_inputs_in_named_tuples():
    pair = collections.namedtuple("pair", "a b")

    class Add(nn.Module):
        def forward(self, both):
            return both.a + both.b

    workload = trace(Add(), (pair(torch.zeros(3), torch.zeros(3)),))
    assert len(workload.inputs) == 2


def test_the_device_reads_as_a_plain_one():
    class Rotary(nn.Module):
        def forward(self, x):
            with torch.autocast(x.device.type, enabled=False):
                return x * torch.arange(4, device=x.device)

    workload = trace(Rotary(), torch.zeros(2, 4, device="meta"))
    assert [layer.kind for layer in workload.layers] == ["mul"]


class Sized(nn.Module):
    """Reads the values of a buffer, as the network may but its twin on meta cannot."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("sizes", torch.tensor([2, 2]))

    def forward(self, x):
        return self.layer(x).view(-1, *self.sizes.tolist())


def test_a_network_that_reads_its_buffers_is_built_with_them():
    assert trace_built(Sized, torch.zeros(1, 4)).macs == 16
    with pytest.raises(TraceError, match="reduction dim"):
        trace_built(Sized, torch.zeros(1, 5))


def test_a_product_with_zero_is_called_by_its_own_name():
    class Zero(nn.Module):
        def forward(self, x):
            return x * 0.0 + 0 * x + x * 2

    ops = [layer.op for layer in trace(Zero(), torch.zeros(1, 4)).layers if layer.kind == "mul"]
    assert ops == ["mul_zero", "mul_zero", "mul"]


def test_empty_and_dynamic_shapes_are_refused():
    for shape in [(0, 3, 8, 8), (1, 3, 0, 8)]:
        with pytest.raises(TraceError, match=f"positive number, got .*{shape[2]}"):
            trace(nn.Conv2d(3, 4, 1), torch.zeros(shape))
    exported = torch.export.export(
        nn.ReLU(), (torch.zeros(4, 3),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    (placeholder,) = (n for n in exported.graph.nodes if n.op == "placeholder")
    with pytest.raises(TraceError, match=r"got \(s\d+, 3\); .* one size at a time"):
        trace(nn.ReLU(), placeholder.meta["val"])


def test_maps_that_have_become_empty_are_refused():
    class Cut(nn.Module):
        def forward(self, x):
            return torch.relu(x[:, :, 8:])

    with pytest.raises(TraceError, match=r"'relu' .*\(1, 3, 0, 8\), which is empty"):
        trace(Cut(), IMAGE)
    with pytest.raises(TraceError, match=r"failed in 0 .*Kernel size can't be greater"):
        trace(nn.Sequential(nn.Conv2d(3, 4, 9)), IMAGE)


def test_an_empty_slice_may_be_padded():
    class Shifted(nn.Module):
        def forward(self, x):
            return nn.functional.pad(x[:, :, 8:], (0, 0, 0, 1))

    assert trace(Shifted(), IMAGE).layers[-1].output_shapes == ((1, 3, 1, 8),)
