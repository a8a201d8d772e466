"""Parameters and multiply-adds of every kind of layer, against the arithmetic on paper."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from netloom.errors import TraceError
from netloom.hw_models import trace, tracer

IMAGE = (1, 4, 8, 8)
TOKENS = (1, 6, 8)  # batch, tokens, features


class Calls(nn.Module):
    """A module that calls a function; keyword arguments become attributes."""

    def __init__(self, function, **attributes):
        super().__init__()
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def weight(*shape):
    return nn.Parameter(torch.randn(*shape))


# name: (module, input shape(s), kind that must occur, MACs, parameters)
CASES = {
    "conv": (nn.Conv2d(4, 8, 3, padding=1), IMAGE, "conv", 64 * 8 * 4 * 9, 296),
    "conv strided": (nn.Conv2d(4, 8, 3, 2, 1, bias=False), IMAGE, "conv", 16 * 8 * 36, 288),
    "conv dilated": (nn.Conv2d(4, 8, 3, dilation=2), IMAGE, "conv", 16 * 8 * 36, 296),
    "conv same": (nn.Conv2d(4, 8, 3, padding="same"), IMAGE, "conv", 64 * 8 * 36, 296),
    "conv reflect": (
        nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect"),
        IMAGE,
        "conv",
        64 * 8 * 36,
        296,
    ),
    "conv no batch": (nn.Conv2d(4, 8, 3), IMAGE[1:], "conv", 36 * 8 * 36, 296),
    "pointwise": (nn.Conv2d(4, 8, 1), IMAGE, "pointwise_conv", 64 * 8 * 4, 40),
    "depthwise": (nn.Conv2d(4, 4, 5, padding=2, groups=4), IMAGE, "depthwise_conv", 6400, 104),
    "depthwise x2": (nn.Conv2d(4, 8, 3, 1, 1, groups=4), IMAGE, "depthwise_conv", 64 * 72, 80),
    "grouped": (nn.Conv2d(4, 8, 3, 1, 1, groups=2), IMAGE, "grouped_conv", 64 * 8 * 18, 152),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, 2), IMAGE, "transposed_conv", 64 * 4 * 54, 222),
    "transposed grouped": (
        nn.ConvTranspose2d(4, 8, 3, 2, groups=2),
        IMAGE,
        "transposed_conv",
        64 * 4 * 36,
        152,
    ),
    "conv 1d": (nn.Conv1d(6, 5, 3, padding=1), TOKENS, "conv", 8 * 5 * 18, 95),
    "conv 3d": (nn.Conv3d(1, 2, 3), (1, *IMAGE), "conv", 2 * 27 * 2 * 36, 56),
    "functional conv": (
        Calls(lambda m, x: F.conv2d(x, m.w, m.b, 2, 1), w=weight(8, 4, 3, 3), b=weight(8)),
        IMAGE,
        "conv",
        16 * 8 * 36,
        296,
    ),
    "sliced conv": (
        Calls(lambda m, x: F.conv2d(x, m.w[:3, :4], m.b[:3]), w=weight(8, 8, 1, 1), b=weight(8)),
        IMAGE,
        "pointwise_conv",
        64 * 3 * 4,
        72,
    ),
    "linear": (nn.Linear(8, 3), TOKENS, "linear", 6 * 8 * 3, 27),
    "linear vector": (nn.Linear(8, 3), (8,), "linear", 24, 27),
    "bilinear": (nn.Bilinear(8, 8, 3), (TOKENS, TOKENS), "linear", 6 * 3 * (64 + 8), 195),
    "matmul": (Calls(lambda m, t: t @ t.mT), TOKENS, "matmul", 6 * 6 * 8, 0),
    "matmul weight": (Calls(lambda m, t: t @ m.w, w=weight(8, 3)), TOKENS, "linear", 144, 24),
    "matmul 4d": (
        Calls(lambda m, x: torch.matmul(x, x.transpose(-1, -2))),
        IMAGE,
        "matmul",
        4 * 8 * 8 * 8,
        0,
    ),
    "bmm": (Calls(lambda m, t: torch.bmm(t, t.transpose(1, 2))), TOKENS, "matmul", 288, 0),
    "baddbmm": (
        Calls(lambda m, t: torch.baddbmm(t[:, :, :6], t, t.transpose(1, 2))),
        TOKENS,
        "matmul",
        288,
        0,
    ),
    "matmul vector": (Calls(lambda m, t: t[0] @ t[0, 0]), TOKENS, "matmul", 48, 0),
    "dot": (Calls(lambda m, t: torch.dot(t[0, 0], t[0, 1])), TOKENS, "matmul", 8, 0),
    "addbmm": (
        Calls(lambda m, x: torch.addbmm(x[0, 0], x[0], x[0])),
        IMAGE,
        "matmul",
        4 * 8 * 8 * 8,
        0,
    ),
    "tensordot": (
        Calls(lambda m, t: torch.tensordot(t, m.w, 1), w=weight(8, 3)),
        TOKENS,
        "linear",
        144,
        24,
    ),
    "einsum": (
        Calls(lambda m, x: torch.einsum("bchw,bcij->bhwij", x, x)),
        IMAGE,
        "matmul",
        64 * 64 * 4,
        0,
    ),
    "einsum weight": (
        Calls(lambda m, t: torch.einsum("bid,do->bio", t, m.w), w=weight(8, 3)),
        TOKENS,
        "linear",
        144,
        24,
    ),
    "sdpa": (
        Calls(lambda m, t: F.scaled_dot_product_attention(t, t, t)),
        TOKENS,
        "attention",
        2 * 36 * 8,
        0,
    ),
    "sdpa causal": (
        Calls(lambda m, t: F.scaled_dot_product_attention(t, t, t, is_causal=True)),
        TOKENS,
        "attention",
        2 * 36 * 8,
        0,
    ),
    "sdpa cross": (
        Calls(lambda m, q, kv: F.scaled_dot_product_attention(q, kv, kv[..., :4].repeat(1, 1, 1))),
        (TOKENS, (1, 9, 8)),
        "attention",
        6 * 9 * (8 + 4),
        0,
    ),
    "lstm": (nn.LSTM(8, 5, 2), (6, 1, 8), "rnn", 6 * (20 * 13 + 20 * 10), 20 * 15 + 20 * 12),
    "lstm projected": (nn.LSTM(8, 5, proj_size=3), (6, 1, 8), "rnn", 6 * (160 + 60 + 15), 275),
    "gru": (nn.GRU(8, 5, bidirectional=True), (6, 1, 8), "rnn", 2 * 6 * 15 * 13, 450),
    "rnn": (nn.RNN(8, 5), (6, 1, 8), "rnn", 6 * 5 * 13, 75),
    "lstm cell": (
        Calls(lambda m, t: m.cell(t[:, 0])[0], cell=nn.LSTMCell(8, 5)),
        TOKENS,
        "linear",
        20 * 13,
        300,
    ),
    "batch norm": (nn.BatchNorm2d(4), IMAGE, "norm", 0, 8),
    "group norm": (nn.GroupNorm(2, 4), IMAGE, "norm", 0, 8),
    "layer norm": (nn.LayerNorm(8), TOKENS, "norm", 0, 16),
    "instance norm": (nn.InstanceNorm2d(4, affine=True), IMAGE, "norm", 0, 8),
    "rms norm": (nn.RMSNorm(8), TOKENS, "norm", 0, 8),
    "relu": (nn.ReLU(), IMAGE, "activation", 0, 0),
    "prelu": (nn.PReLU(4), IMAGE, "activation", 0, 4),
    "softmax": (nn.Softmax(-1), TOKENS, "softmax", 0, 0),
    "max pool": (nn.MaxPool2d(3, 2, 1), IMAGE, "pool", 0, 0),
    "average pool": (nn.AvgPool2d(2), IMAGE, "pool", 0, 0),
    "global pool": (nn.AdaptiveAvgPool2d(1), IMAGE, "pool", 0, 0),
    "mean": (Calls(lambda m, x: x.mean((2, 3))), IMAGE, "reduce", 0, 0),
    "add": (Calls(lambda m, x: x + x), IMAGE, "add", 0, 0),
    "mul": (Calls(lambda m, x: x * m.w, w=weight(4, 1, 1)), IMAGE, "mul", 0, 4),
    "concat": (Calls(lambda m, x: torch.cat([x, x], 1)), IMAGE, "concat", 0, 0),
    "reshape": (nn.Flatten(), IMAGE, "reshape", 0, 0),
    "pad": (nn.ZeroPad2d(1), IMAGE, "pad", 0, 0),
    "resize": (nn.Upsample(scale_factor=2), IMAGE, "resize", 0, 0),
    "exp": (Calls(lambda m, x: x.exp()), IMAGE, "elementwise", 0, 0),
    "gather": (
        Calls(lambda m, t: t.gather(1, torch.zeros(1, 6, 8, dtype=torch.long))),
        TOKENS,
        "index",
        0,
        0,
    ),
}


def inputs_of(shapes):
    shapes = shapes if isinstance(shapes[0], tuple) else (shapes,)
    return tuple(torch.randn(shape) for shape in shapes)


@pytest.mark.parametrize("name", CASES)
def test_counts_on_paper(name):
    module, shapes, kind, macs, params = CASES[name]
    workload = trace(module, inputs_of(shapes))
    assert workload.macs == macs
    assert workload.params == params
    assert kind in {layer.kind for layer in workload.layers}


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # oneDNN has none; torch falls back
@pytest.mark.parametrize("name", CASES)
def test_shapes_are_those_of_real_execution(name):
    module, shapes, *_ = CASES[name]
    inputs = inputs_of(shapes)
    workload = trace(module, inputs)
    with torch.no_grad():
        real = module.eval()(*inputs)
    first = real[0] if isinstance(real, tuple) else real
    result = workload.tensors[workload.outputs[0]]
    assert result.shape == tuple(first.shape)
    assert result.size_bytes == first.numel() * first.element_size()


@pytest.mark.parametrize("name", CASES)
def test_the_general_path_agrees_with_the_rules(name, monkeypatch):
    module, shapes, _, macs, params = CASES[name]
    fast = trace(module, inputs_of(shapes))
    monkeypatch.setattr(tracer, "RULES", {})
    slow = trace(module, inputs_of(shapes))
    assert (slow.macs, slow.params) == (macs, params)
    output = [w.tensors[w.outputs[0]] for w in (fast, slow)]
    assert output[0][:3] == output[1][:3]


class Attention(nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.need_weights = need_weights

    def forward(self, t):
        return self.attention(t, t, t, need_weights=self.need_weights)[0]


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_multihead_attention(need_weights, training):
    projections, products = 6 * 8 * 24 + 6 * 8 * 8, 2 * 6 * 6 * 8
    workload = trace(Attention(need_weights).train(training), torch.zeros(TOKENS))
    assert workload.macs == projections + products
    assert workload.params == 4 * 64 + 4 * 8


@pytest.mark.parametrize("training", [True, False])
def test_the_encoder_fast_path_hides_nothing(training):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).train(training)
    one = 6 * 8 * 24 + 6 * 8 * 8 + 2 * 6 * 6 * 8 + 2 * 6 * 8 * 16
    assert trace(layer.train(training), torch.zeros(TOKENS)).macs == one
    assert trace(encoder, torch.zeros(TOKENS)).macs == 2 * one


def test_torchs_own_counter_agrees_once_its_blind_spots_are_shut():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 12, 1),
        nn.ConvTranspose2d(12, 8, 2, 2),
        nn.Flatten(2),
        Calls(lambda m, x: x.transpose(1, 2)),
        nn.TransformerEncoderLayer(8, 4, 32, batch_first=True),
        Calls(lambda m, t: F.scaled_dot_product_attention(t, t, t)),
    ).eval()
    x = torch.randn(1, 3, 16, 16)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network(x)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert 2 * trace(network, x).macs == counter.get_total_flops()


def test_shared_parameters_count_once_and_unused_ones_too():
    shared = nn.Linear(8, 8)
    network = Calls(lambda m, t: m.b(m.a(t)), a=shared, b=shared, spare=nn.Linear(8, 2))
    workload = trace(network, torch.zeros(TOKENS))
    assert workload.params == 72 + 18
    assert workload.macs == 2 * 6 * 64
    assert [layer.name for layer in workload.layers] == ["a", "a#2"]


def test_layer_fields_of_a_convolution():
    module = nn.Conv2d(4, 8, (3, 5), stride=(2, 1), padding=(1, 2), dilation=1, groups=2)
    (layer,) = trace(module, torch.zeros(IMAGE)).layers
    assert (layer.kernel, layer.stride, layer.padding) == ((3, 5), (2, 1), (1, 2))
    assert (layer.dilation, layer.groups) == ((1, 1), 2)
    assert (layer.input_shapes, layer.output_shapes) == (((1, 4, 8, 8),), ((1, 8, 4, 8),))
    assert layer.weight_bytes == 4 * layer.params == 4 * (8 * 2 * 15 + 8)
    assert (layer.input_bytes, layer.output_bytes) == (4 * 256, 4 * 256)


def test_bytes_follow_the_type():
    workload = trace(nn.Conv2d(4, 4, 1).bfloat16(), torch.zeros(IMAGE, dtype=torch.bfloat16))
    assert workload.weight_bytes == 2 * 20
    assert workload.peak_activation_bytes == 2 * 2 * 256


def test_the_encoder_with_a_padding_mask_is_traced():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    tokens, mask = torch.zeros(TOKENS), torch.zeros(1, 6, dtype=torch.bool)
    masked = trace(encoder, {"src": tokens, "src_key_padding_mask": mask})
    assert masked.macs == trace(encoder, tokens).macs > 0
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (lambda m, x: torch.bmm(input=x, mat2=x), 2 * 4**3),
        (lambda m, x: torch.matmul(x, x, out=torch.empty(2, 4, 4)), 2 * 4**3),
        (lambda m, x: torch.baddbmm(x, x, x), 2 * 4**3),
        (lambda m, x: x.clone().baddbmm_(x, x), 2 * 4**3),
        (lambda m, x: x[0].clone().addmm_(x[0], x[1]), 4**3),
        (lambda m, x: x[0, 0].clone().addmv_(x[0], x[1, 0]), 4**2),
        (lambda m, x: x[0].clone().addbmm_(x, x), 2 * 4**3),
        (lambda m, x: torch.conv_tbc(x, x.new_ones(3, 4, 5), x.new_ones(5), 1), 2 * 4 * 5 * 12),
        (lambda m, x: F.max_pool2d(x[None], 2, []), 0),
        (lambda m, x: torch.pow(2.0, x), 0),
        (lambda m, x: torch.softmax(x, -1, torch.float64), 0),
    ],
)
def test_unusual_spellings_are_traced(function, macs):
    workload = trace(Calls(function), torch.zeros(2, 4, 4))
    real = function(None, torch.zeros(2, 4, 4))
    assert workload.macs == macs
    tensor = workload.tensors[workload.outputs[0]]
    assert (tensor.shape, f"torch.{tensor.dtype}") == (tuple(real.shape), str(real.dtype))


def test_a_backends_own_attention_kernel_counts_like_the_public_function():
    query, memory = torch.zeros(1, 2, 6, 8), torch.zeros(1, 2, 5, 8)

    def kernel(m, q, k):
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, k)[0]

    def public(m, q, k):
        return F.scaled_dot_product_attention(q, k, k)

    direct, through = (trace(Calls(f), (query, memory)) for f in (kernel, public))
    assert direct.macs == through.macs == 2 * 2 * 6 * 5 * 8
    assert "attention" in {layer.kind for layer in direct.layers}


def test_a_fused_operator_whose_products_are_hidden_is_refused():
    """Its multiply-adds are not nothing, so they are not counted as nothing."""

    def fused(m, t):
        return torch._native_multi_head_attention(t, t, t, 8, 2, m.w, m.b, m.v, m.c)[0]

    network = Calls(fused, w=weight(24, 8), b=weight(24), v=weight(8, 8), c=weight(8))
    with pytest.raises(TraceError, match=r"_native_multi_head_attention.*cannot be seen"):
        trace(network, torch.zeros(TOKENS))


@pytest.mark.parametrize(
    "function",
    [
        lambda m, q: F.scaled_dot_product_attention(q, q[:, :3], q[:, :3], enable_gqa=True),
        lambda m, q: F.scaled_dot_product_attention(q, q, q, attn_mask=torch.zeros(3, 3)),
        lambda m, q: q.sum((0, 0)),
    ],
)
def test_calls_that_cannot_run_are_not_counted(function):
    with pytest.raises(TraceError, match="the forward pass of Calls failed"):
        trace(Calls(function), torch.zeros(1, 8, 5, 4))
