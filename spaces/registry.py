"""The spaces that a spec may name."""

from __future__ import annotations

from ..registry import Registry

SPACES = Registry(
    "space",
    "netloom.spaces",
    {
        "nb201": "netloom.spaces.zoo.nb201:NB201",
        "nats_sss": "netloom.spaces.zoo.nats_sss:NatsSSS",
        "nas_bench_macro": "netloom.spaces.zoo.nas_bench_macro:NasBenchMacro",
        "fbnet": "netloom.spaces.zoo.fbnet:FBNet",
    },
)
