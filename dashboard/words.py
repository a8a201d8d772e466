"""Numbers, durations and metric names as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_BYTES = ((1024**3, "GB"), (1024**2, "MB"), (1024, "KB"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_COUNTED = ("", "MACs", "FLOPs", "parameters")  # units before which a k or M can be read
MISSING = "–"  # noqa: RUF001 (an en dash on the page)


def value_text(value: float | None, unit: str = "") -> str:
    """Return a value with at most four significant digits and its unit.

    Large counts are in thousands and millions; of what is measured the digits are grouped.

    >>> value_text(327680, "bytes"), value_text(1_073_466, "MACs"), value_text(94.3749, "%")
    ('320 KB', '1.073 M MACs', '94.37 %')
    >>> value_text(21_690.4, "ms"), value_text(9_999.7, "ms"), value_text(1e20, "ms")
    ('21,690 ms', '10,000 ms', '1e+20 ms')
    """
    if value is None or math.isnan(value):
        return MISSING
    if unit in ("bytes", "B"):
        for size, name in _BYTES:
            if abs(value) >= size:
                return f"{value / size:.4g} {name}"
        return f"{value:.4g} B"
    text = f"{value:.4g}"
    if abs(rounded := float(text)) >= 1e4 and unit in _COUNTED and math.isfinite(value):
        scale, name = next(pair for pair in _COUNTS if abs(value) >= pair[0])
        text = f"{value / scale:.4g} {name}"
    elif 1e4 <= abs(rounded) < 1e12:
        text = f"{rounded:,.0f}"
    return f"{text} {unit}".rstrip()


def seconds_text(seconds: float | None) -> str:
    """Return a duration in the two largest units that matter.

    >>> seconds_text(0.042), seconds_text(75), seconds_text(7384)
    ('42 ms', '1 min 15 s', '2 h 3 min')
    """
    if seconds is None or math.isnan(seconds):
        return MISSING
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def constraint_text(constraint: Mapping[str, Any], unit: str = "") -> str:
    """Return a stored constraint as it reads in a spec, with the bound in the metric's unit."""
    sign, bound = ("≤", constraint.get("max")) if "max" in constraint else ("", None)
    if bound is None:
        sign, bound = "≥", constraint.get("min")
    return f"{constraint['metric']} {sign} {value_text(bound, unit)}"


def split_text(metric: str, split: str) -> str:
    """Return the split of a metric that data decide, as its name says; of others nothing.

    >>> split_text("valid_accuracy", "valid"), split_text("test_loss@net", "test")
    ('valid', 'test, held out')
    >>> split_text("params", "valid"), split_text("latency_ms@pixel3", "valid")
    ('', '')
    """
    if split == "test":
        return "test, held out"
    return split if metric.startswith(f"{split}_") else ""


def pieces(text: str) -> list[str]:
    """Cut a long notation where a line may be broken: behind commas, bars and pluses.

    >>> pieces('|skip~0|+|none~0|'), pieces('{"depth":2,"width":8}')
    (['|', 'skip~0|', '+', '|', 'none~0|'], ['{"depth":2,', '"width":8}'])
    """
    return re.findall(r"[^,|+]*[,|+]|[^,|+]+", text)


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return `3 trials`, `1 trial`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def origin_text(provenance: Mapping[str, Any]) -> str:
    """Return source and error bar of a model's number.

    >>> origin_text({"source": "fitted", "validation": {"mape_percent": 4.12, "n": 60}})
    '(fitted, 4.12 % off on average in 60 measurements)'
    """
    words = [str(provenance["source"])]
    if base := provenance.get("derived_from"):
        words.append(f"a multiple of {base}")
    found = provenance.get("validation")
    if found is None:
        words.append("never compared with measurements")
    else:
        words.append(f"{found['mape_percent']:.3g} % off on average in {found['n']} measurements")
    return f"({', '.join(words)})"
