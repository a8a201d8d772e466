"""One JSON text per value: what keys, fingerprints and stored columns are made of."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the shortest JSON text of `value` with sorted keys; equal values give equal text.

    Integral floats are written as integers, so that 4 and 4.0 are one value.

    Raises:
        TypeError: If `value` holds something that JSON cannot.
        ValueError: If `value` holds NaN or an infinity.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def digest(value: Any) -> str:
    """Return the sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
