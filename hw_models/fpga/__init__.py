"""FPGAs: one tiled engine for all layers (`tiled.py`), or a stage per layer (`pipeline.py`).

Loads no torch.
"""
