"""Number formats that a network may be costed in."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Dtype: TypeAlias = Literal["float32", "float16", "bfloat16", "int16", "int8"]

DTYPES: tuple[Dtype, ...] = get_args(Dtype)
FLOAT_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
DTYPE_BYTES: dict[Dtype, int] = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int16": 2,
    "int8": 1,
}
