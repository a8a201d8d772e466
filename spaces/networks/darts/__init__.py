"""The networks of the DARTS family.

Source: arXiv 1806.09055 and 1907.05737; quark0/darts: cnn/operations.py, model.py,
model_search.py; yuhuixu1993/PC-DARTS: model_search.py, model_search_imagenet.py;
automl/RobustDARTS: src/operations.py (re-written).
"""

from __future__ import annotations
