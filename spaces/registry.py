"""The spaces that a spec may name, and what may stand beside them in a product."""

from __future__ import annotations

from ..registry import Registry

SPACES = Registry(
    "space",
    "netloom.spaces",
    {
        "nb201": "netloom.spaces.zoo.nb201:NB201",
        "nats_sss": "netloom.spaces.zoo.nats_sss:NatsSSS",
        "ofa_mbv3": "netloom.spaces.zoo.ofa.mbv3:OfaMbv3",
        "ofa_proxyless": "netloom.spaces.zoo.ofa.proxyless:OfaProxyless",
        "ofa_resnet50": "netloom.spaces.zoo.ofa.resnet50:OfaResNet50",
        "mobilenet": "netloom.spaces.zoo.mobilenet:MobileNet",
        "darts": "netloom.spaces.zoo.darts:Darts",
        "nas_bench_macro": "netloom.spaces.zoo.nas_bench_macro:NasBenchMacro",
        "fbnet": "netloom.spaces.zoo.fbnet:FBNet",
        "fbnetv5": "netloom.spaces.zoo.fbnetv5:FBNetV5",
        "hytra": "netloom.spaces.zoo.hytra:Hytra",
        "hiera": "netloom.spaces.zoo.hiera:Hiera",
        "eas_plain": "netloom.spaces.zoo.eas:EasPlain",
        "eas_dense": "netloom.spaces.zoo.eas:EasDense",
        "vit_resnas": "netloom.spaces.zoo.vit_resnas:VitResNas",
        "mcuformer": "netloom.spaces.zoo.mcuformer:McuFormer",
    },
)
# spaces that build no network: factors of a product
FACTORS = Registry(
    "factor",
    "netloom.factors",
    {"accelerator": "netloom.spaces.accelerator:AcceleratorSpace"},
)
