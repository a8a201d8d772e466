"""A stored network as files that run without netloom.

Importing this folder loads no torch; what writes the files is imported when something is exported.
"""

from __future__ import annotations

from .bundle import FORMATS, export_trial

__all__ = ["FORMATS", "export_trial"]
