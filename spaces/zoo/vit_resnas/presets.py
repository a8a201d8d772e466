"""The lists of ViT-ResNAS's spaces.

Source: arXiv 2109.00642; yilunliao/vit-search: supernet_config/{sr_tiny_mh,sr_small_mh}.py.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "sr_tiny_mh": {
        "layers": [6, 6, 6],
        "removable": [[2, 4, 6], [2, 4, 6], [2, 4, 6]],
        "embed_dims": [
            [160, 176, 192, 224, 256],
            [320, 352, 384, 448, 512],
            [640, 704, 768, 896, 1024],
        ],
        "heads": [[3, 4, 5, 6], [6, 8, 10, 12], [6, 8, 10, 12]],
        "head_dims": [32, 48, 64],
        "mlps": [
            [384, 448, 512, 576, 640, 704, 768],
            [768, 896, 1024, 1152, 1280, 1408, 1536],
            [1536, 1792, 2048, 2304, 2560, 2816, 3072],
        ],
        "stem": "conv_stem_mid24",
        "patch": 14,
        "classes": 1000,
        "resolution": 224,
    },
    "sr_small_mh": {
        "layers": [7, 7, 7],
        "removable": [[2, 4, 6], [2, 4, 6], [2, 4, 6]],
        "embed_dims": [
            [200, 220, 240, 280, 320],
            [400, 440, 480, 560, 640],
            [800, 880, 960, 1120, 1280],
        ],
        "heads": [[5, 6, 7, 8], [10, 12, 14, 16], [10, 12, 14, 16]],
        "head_dims": [32, 48, 64],
        "mlps": [
            [480, 560, 640, 720, 800, 880, 960],
            [960, 1120, 1280, 1440, 1600, 1760, 1920],
            [1920, 2240, 2560, 2880, 3200, 3520, 3840],
        ],
        "stem": "conv_stem_mid24",
        "patch": 14,
        "classes": 1000,
        "resolution": 224,
    },
    "tiny": {
        "layers": [2, 2, 2],
        "removable": [[2], [2], [2]],
        "embed_dims": [[16, 24, 32], [32, 48, 64], [64, 96, 128]],
        "heads": [[1, 2, 3], [2, 3, 4], [2, 3, 4]],
        "head_dims": [8, 12, 16],
        "mlps": [[32, 48, 64], [64, 96, 128], [128, 192, 256]],
        "stem": "conv_stem_mid8",
        "patch": 2,
        "classes": 10,
        "resolution": 16,
    },
}
