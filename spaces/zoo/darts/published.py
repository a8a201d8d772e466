"""Genotypes that papers and their repositories publish, by the names they have there.

Source: quark0/darts: cnn/genotypes.py; yuhuixu1993/PC-DARTS, chenxin061/pdarts and
xiangning-chen/DrNAS: genotypes.py.
"""

from __future__ import annotations

from functools import cache

from ...networks.darts.plan import KINDS
from .genotype import Cell, read_cell

_SHORT = {
    "max": "max_pool_3x3",
    "avg": "avg_pool_3x3",
    "skip": "skip_connect",
    "sep3": "sep_conv_3x3",
    "sep5": "sep_conv_5x5",
    "sep7": "sep_conv_7x7",
    "dil3": "dil_conv_3x3",
    "dil5": "dil_conv_5x5",
    "7x1": "conv_7x1_1x7",
}
# name -> normal and reduction cell: `operation:input` twice for each node, > the nodes put out
_TEXTS = {
    "NASNet": (
        "sep5:1 sep3:0 | sep5:0 sep3:0 | avg:1 skip:0 | avg:0 avg:0 | sep3:1 skip:1 > 2 3 4 5 6",
        "sep5:1 sep7:0 | max:1 sep7:0 | avg:1 sep5:0 | skip:3 avg:2 | sep3:2 max:1 > 4 5 6",
    ),
    "AmoebaNet": (
        "avg:0 max:1 | sep3:0 sep5:2 | sep3:0 avg:3 | sep3:1 skip:1 | skip:0 avg:1 > 4 5 6",
        "avg:0 sep3:1 | max:0 sep7:2 | sep7:0 avg:1 | max:0 max:1 | 7x1:0 sep3:5 > 3 4 6",
    ),
    "DARTS_V1": (
        "sep3:1 sep3:0 | skip:0 sep3:1 | skip:0 sep3:1 | sep3:0 skip:2 > 2 3 4 5",
        "max:0 max:1 | skip:2 max:0 | max:0 skip:2 | skip:2 avg:0 > 2 3 4 5",
    ),
    "DARTS_V2": (
        "sep3:0 sep3:1 | sep3:0 sep3:1 | sep3:1 skip:0 | skip:0 dil3:2 > 2 3 4 5",
        "max:0 max:1 | skip:2 max:1 | max:0 skip:2 | skip:2 max:1 > 2 3 4 5",
    ),
    "PC_DARTS_cifar": (
        "sep3:1 skip:0 | sep3:0 dil3:1 | sep5:0 sep3:1 | avg:0 dil3:1 > 2 3 4 5",
        "sep5:1 max:0 | sep5:1 sep5:2 | sep3:0 sep3:3 | sep3:1 sep3:2 > 2 3 4 5",
    ),
    "PC_DARTS_image": (
        "skip:1 sep3:0 | sep3:0 skip:1 | sep3:1 sep3:3 | sep3:1 dil5:4 > 2 3 4 5",
        "sep3:0 skip:1 | dil5:2 max:1 | sep3:2 sep3:1 | sep5:0 sep3:3 > 2 3 4 5",
    ),
    "PDARTS": (
        "skip:0 dil3:1 | skip:0 sep3:1 | sep3:1 sep3:3 | sep3:0 dil5:4 > 2 3 4 5",
        "avg:0 sep5:1 | sep3:0 dil5:2 | max:0 dil3:1 | dil3:1 dil5:3 > 2 3 4 5",
    ),
    "DrNAS_cifar10": (
        "sep3:0 sep5:1 | sep3:1 sep3:2 | skip:0 sep3:1 | sep3:2 dil5:3 > 2 3 4 5",
        "max:0 sep5:1 | dil5:2 sep5:1 | sep5:1 dil5:3 | skip:4 sep5:1 > 2 3 4 5",
    ),
    "DrNAS_imagenet": (
        "sep3:1 sep3:0 | sep3:0 sep3:1 | sep3:0 dil3:3 | skip:0 sep3:1 > 2 3 4 5",
        "max:0 sep3:1 | sep3:0 skip:2 | sep3:0 sep3:2 | sep3:3 sep3:1 > 2 3 4 5",
    ),
}


@cache
def published_cells() -> dict[str, dict[str, Cell]]:
    """Return the published genotypes: name -> kind -> cell."""
    return {
        name: {kind: _read(text) for kind, text in zip(KINDS, texts, strict=True)}
        for name, texts in _TEXTS.items()
    }


def _read(text: str) -> Cell:
    nodes, _, outputs = text.partition(" > ")
    words = [word.split(":") for word in nodes.split() if word != "|"]
    pairs = [(_SHORT[name], int(source)) for name, source in words]
    return read_cell("published", pairs, [int(n) for n in outputs.split()])
