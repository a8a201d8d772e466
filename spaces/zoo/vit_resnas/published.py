"""The networks that arXiv 2109.00642 names: the reference, and what its searches found.

Source: yilunliao/vit-search: scripts/vit-sr-nas/{reference_net,searched_net}.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Released(NamedTuple):
    """A network.

    Args:
        preset: The space that it belongs to.
        dims: Width of each stage.
        head_dims: Width of a head in each stage.
        blocks: For each stage, heads and hidden width of its blocks.
    """

    preset: str
    dims: tuple[int, int, int]
    head_dims: tuple[int, int, int]
    blocks: tuple[str, str, str]

    def written(self) -> dict[str, Any]:
        """Return the object of the notation."""
        blocks = []
        pairs = zip(self.head_dims, self.blocks, strict=True)
        for stage, (head_dim, texts) in enumerate(pairs, start=1):
            for text in texts.split():
                heads, mlp = (int(number) for number in text.split("x"))
                sizes = {"heads": heads, "head_dim": head_dim, "mlp": mlp}
                blocks.append({"stage": stage, **sizes, "keep": 1})
        return {"stem": "conv_stem_mid24", "embed_dims": list(self.dims), "blocks": blocks}


PUBLISHED = {
    "ViT-Res-Tiny": Released(
        "sr_tiny_mh",
        (192, 384, 768),
        (64, 64, 64),
        (
            "3x768 3x768 3x768 3x768",
            "6x1536 6x1536 6x1536 6x1536",
            "12x3072 12x3072 12x3072 12x3072",
        ),
    ),
    "ViT-ResNAS-Tiny": Released(
        "sr_tiny_mh",
        (176, 352, 704),
        (32, 48, 64),
        (
            "3x704 3x576 3x640 4x576 4x704",
            "10x1408 8x1408 8x1280 8x1408 10x1280 10x1024",
            "10x2560 10x1792 10x2816 8x2816 8x2560",
        ),
    ),
    "ViT-ResNAS-Small": Released(
        "sr_small_mh",
        (220, 440, 880),
        (32, 48, 64),
        (
            "5x880 5x880 7x800 5x720 5x720 5x720",
            "10x1760 10x1440 10x1920 10x1600 12x1600 12x1440",
            "16x3200 12x3200 16x2880 12x2240 14x2560",
        ),
    ),
    "ViT-ResNAS-Medium": Released(
        "sr_small_mh",
        (240, 640, 880),
        (32, 48, 64),
        (
            "7x960 6x960 7x800 8x960 7x880 8x880 6x800",
            "10x1120 14x1760 14x1920 16x1760 14x1440 16x1760 16x1920",
            "16x3200 10x3840 16x3840 12x3200 16x3520 14x3520",
        ),
    ),
}
