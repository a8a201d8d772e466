"""ViT-ResNAS: vision transformers in stages whose sizes differ from block to block."""

from __future__ import annotations

from .space import VitResNas

__all__ = ["VitResNas"]
