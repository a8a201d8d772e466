"""One file per search method; `search/registry.py` holds their names."""
