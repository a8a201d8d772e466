"""Names of torch's operators, by what kind of layer they are."""

from __future__ import annotations

import re

from .workload import Kind

MUL_ZERO = "mul_zero"  # x * 0: a result that needs no x, where a runtime folds it


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


# ---------------------------------------------------------------- functions and tensor methods
VIEWS = words("""
    view reshape flatten permute transpose squeeze unsqueeze chunk split unbind expand narrow
    select movedim swapaxes unflatten view_as reshape_as expand_as contiguous clone repeat roll
    flip detach t tensor_split swapdims adjoint as_strided tile split_with_sizes unfold
    channel_shuffle
""")
VIEW_GETTERS = words("T mT H mH data")
ACTIVATIONS = words("""
    relu relu6 hardtanh hardswish hardsigmoid silu gelu sigmoid tanh elu leaky_relu prelu mish
    softplus selu celu logsigmoid softsign tanhshrink hardshrink softshrink threshold
""")
ELEMENTWISE = words("abs neg exp log sqrt rsqrt square reciprocal sin cos erf clamp clip pow")

# methods that say something about a tensor without reading its values
FREE = words("""
    size stride dim ndimension numel nelement element_size is_contiguous storage_offset
    is_floating_point is_complex is_signed get_device __len__ __hash__ __repr__
    __format__ register_hook untyped_storage data_ptr
""")
# functions and methods whose result depends on values
READERS = words("""
    item tolist numpy __bool__ __int__ __float__ __index__ __complex__ __array__ __contains__
    nonzero argwhere unique unique_consecutive masked_select equal allclose is_nonzero bincount
""")
RANDOM = words("rand randn randint randperm normal")
# draws on a tensor, which may be a constant
DRAWS = words("""
    bernoulli_ normal_ uniform_ random_ exponential_ log_normal_ cauchy_ geometric_ bernoulli
    multinomial poisson rand_like randn_like randint_like
""")

# ---------------------------------------------------------------- operators below them
# name -> position of the left matrix among the arguments
ATEN_PRODUCTS = {
    "mm": 0,
    "bmm": 0,
    "addmm": 1,
    "baddbmm": 1,
    "mv": 0,
    "addmv": 1,
    "_int_mm": 0,
    "_scaled_mm": 0,
    "_addmm_activation": 1,
}
# fused operators that multiply inside: counting them as nothing would be a lie
OPAQUE_PRODUCTS = re.compile(r"(^|_)(attention|[a-z]*mm|rnn|lstm|gru|encoder_layer)(_|$)")
ATEN_DOTS = frozenset({"dot", "vdot"})
_ATEN: dict[Kind, str] = {
    "norm": """native_batch_norm native_layer_norm native_group_norm native_batch_norm_legit
        native_batch_norm_legit_no_training fused_rms_norm""",
    "activation": """relu hardtanh hardswish hardsigmoid silu gelu sigmoid tanh elu leaky_relu
        prelu_kernel mish softplus celu selu log_sigmoid_forward threshold""",
    "softmax": "softmax log_softmax safe_softmax",
    "pool": """max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d
        adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d""",
    "reduce": """mean sum amax amin max min argmax argmin var std var_mean prod norm
        linalg_vector_norm all any logsumexp cumsum""",
    "add": "add sub rsub",
    "mul": "mul div",
    "elementwise": """abs neg exp log log1p sqrt rsqrt square reciprocal sin cos erf clamp
        clamp_min clamp_max pow to_copy where masked_fill maximum minimum logical_not eq ne
        lt le gt ge floor round sign bitwise_and bitwise_or bitwise_not lerp addcmul addcdiv
        floor_divide remainder isnan triu tril fill zero new_zeros new_ones new_full
        zeros_like ones_like full_like empty_like rand_like randn_like bernoulli""",
    "concat": "cat stack",
    "reshape": "clone copy repeat roll flip unsafe_view reshape_copy native_channel_shuffle",
    "pad": """constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d
        replication_pad2d""",
    "resize": """grid_sampler_2d grid_sampler_3d upsample_nearest1d upsample_nearest2d
        upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d
        upsample_trilinear3d pixel_shuffle pixel_unshuffle""",
    "embedding": "embedding",
    "index": "index gather index_select scatter scatter_add sort topk index_put index_add",
}
ATEN_KINDS: dict[str, Kind] = {name: kind for kind, text in _ATEN.items() for name in words(text)}
