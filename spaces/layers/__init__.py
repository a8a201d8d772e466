"""Mutable layers and super-networks; needs torch."""

from __future__ import annotations

from .attention import Attention, ElasticAttention, LowRankLinear, Mlp, attention
from .calibrate import calibrate
from .elastic import Elastic, ElasticConv2d, ElasticLinear
from .grouped import ElasticGroupedLinear, grouped_linear, low_rank
from .make import batch_norm2d, conv2d, layer_norm, linear, repeat
from .mutable import Choice, Derived, Mutable, Product, Size, as_size, fixed
from .norms import ElasticBatchNorm2d, ElasticLayerNorm
from .one_of import OneOf, Zero
from .partial_channels import Junction
from .relative import (
    ElasticRelativeAttention,
    RelativeAttention,
    RelativePositions,
    relative_attention,
)
from .removable import Removable, removable
from .reorder import Remembered, reorder
from .repeat import Repeat
from .sorting import Sortable, importance_order, sort_channels, sort_hidden
from .squeeze_excite import SqueezeExcite
from .supernet import ModuleSupernet, Supernet
from .switchable import SwitchableBatchNorm2d
from .tokens import (
    ClassToken,
    DropPath,
    ElasticClassToken,
    ElasticPositions,
    Positions,
    class_token,
    positions,
    resized,
)
from .tree import cut, derive_decisions, mutables

__all__ = [
    "Attention",
    "Choice",
    "ClassToken",
    "Derived",
    "DropPath",
    "Elastic",
    "ElasticAttention",
    "ElasticBatchNorm2d",
    "ElasticClassToken",
    "ElasticConv2d",
    "ElasticGroupedLinear",
    "ElasticLayerNorm",
    "ElasticLinear",
    "ElasticPositions",
    "ElasticRelativeAttention",
    "Junction",
    "LowRankLinear",
    "Mlp",
    "ModuleSupernet",
    "Mutable",
    "OneOf",
    "Positions",
    "Product",
    "RelativeAttention",
    "RelativePositions",
    "Remembered",
    "Removable",
    "Repeat",
    "Size",
    "Sortable",
    "SqueezeExcite",
    "Supernet",
    "SwitchableBatchNorm2d",
    "Zero",
    "as_size",
    "attention",
    "batch_norm2d",
    "calibrate",
    "class_token",
    "conv2d",
    "cut",
    "derive_decisions",
    "fixed",
    "grouped_linear",
    "importance_order",
    "layer_norm",
    "linear",
    "low_rank",
    "mutables",
    "positions",
    "relative_attention",
    "removable",
    "reorder",
    "repeat",
    "resized",
    "sort_channels",
    "sort_hidden",
]
