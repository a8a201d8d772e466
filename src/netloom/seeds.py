"""Every random draw comes from a generator derived from (experiment seed, role, trial number).

Generators are made when they are needed and never stored: a resumed run derives the same ones,
and the number of workers cannot change what a trial draws.
"""

from __future__ import annotations

import hashlib
from random import Random


def derive_seed(seed: int, *role: str | int) -> int:
    """Return a 63-bit seed for `role` (words and numbers); equal arguments, equal seed, anywhere.

    >>> derive_seed(0, "trial", 7) == derive_seed(0, "trial", 7) != derive_seed(0, "trial", 8)
    True
    """
    text = "/".join(str(part) for part in (seed, *role))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def derive_rng(seed: int, *role: str | int) -> Random:
    """Return a `random.Random` of its own for `role`."""
    return Random(derive_seed(seed, *role))
