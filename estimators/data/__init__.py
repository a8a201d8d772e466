"""Data sets: what a network is trained and judged on."""
