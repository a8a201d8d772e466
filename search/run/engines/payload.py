"""What travels to a worker: the estimators, and where their modules are."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import SpecError
from ..evaluation import label

if TYPE_CHECKING:
    from ..plan import Plan


@dataclass(frozen=True)
class Payload:
    """An object as bytes, with the import path and the folder that it needs.

    On a cluster of several machines the folder of the spec must be at the same place on each.

    Args:
        blob: The pickled object.
        path: Folders to import from.
        folder: Working folder of the run: relative paths in options mean the same there.
    """

    blob: bytes
    path: tuple[str, ...]
    folder: str

    def load(self) -> Any:
        """Return the object, in a worker."""
        from ray import cloudpickle

        for entry in reversed(self.path):
            if entry not in sys.path:
                sys.path.insert(0, entry)
        self.enter()
        return cloudpickle.loads(self.blob)

    def enter(self) -> None:
        """Go to the working folder of the run, where there is one."""
        if os.path.isdir(self.folder):
            os.chdir(self.folder)


def pack(value: Any, plan: Plan) -> Payload:
    """Return what a worker needs to have `value`.

    Raises:
        SpecError: If it cannot be sent; names the estimator that is in the way.
    """
    from ray import cloudpickle

    path = () if plan.source_dir is None else (str(Path(plan.source_dir).resolve()),)
    try:
        return Payload(cloudpickle.dumps(value), path, os.getcwd())
    except Exception as error:
        culprit = _culprit(plan)
        raise SpecError(
            f"estimators are sent to workers, but {culprit} cannot be pickled "
            f"({type(error).__name__}: {error}); make it from plain values, or use engine: inline"
        ) from error


def _culprit(plan: Plan) -> str:
    from ray import cloudpickle

    parts = [("the space", plan.space), ("the data set", plan.data)]
    parts += [(f"the space {ref.name}", there.space) for ref, there in plan.foreign.items()]
    parts += [(f"the estimator {label(e)}", e) for e in plan.estimators]
    for name, part in parts:
        try:
            cloudpickle.dumps(part)
        except Exception:
            return name
    return "what is to be evaluated"
