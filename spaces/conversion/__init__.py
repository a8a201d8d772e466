"""Any module made elastic: its channel dependencies are traced, its layers replaced."""

from __future__ import annotations

from .convert import ElasticizedSpace, elasticize

__all__ = ["ElasticizedSpace", "elasticize"]
