"""The spaces of Once-for-All (arXiv 1908.09791)."""
