"""What a search would derive after each epoch, as a note for those who read the store."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ...spaces import Architecture, DecisionSpace

GENOTYPES = "genotypes"  # the kind of the note


def genotypes_note(
    space: DecisionSpace, derived: Sequence[str], last: int, taken: int | None = None
) -> dict[str, Any]:
    """Return a note: one entry for every run of epochs with the same architecture.

    Args:
        space: Whose notation is used.
        derived: What each epoch would give, as JSON, up to epoch `last`.
        last: The epoch that has just ended, counted from 1.
        taken: The epoch whose architecture a search that stops early goes back to.
    """
    first = last + 1 - len(derived)
    runs = []
    for text, group in groupby(enumerate(derived, start=first), key=lambda pair: pair[1]):
        epochs = [epoch for epoch, _ in group]
        architecture = Architecture.from_json(text)
        runs.append(
            {
                "epochs": [epochs[0], epochs[-1]],
                "notation": space.format(architecture),
                "architecture": dict(architecture),
            }
        )
    return {"genotypes": runs, "taken": taken}
