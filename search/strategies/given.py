"""No search: the architectures of a list, in its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ...errors import InvalidArchitecture, SpecError
from ...spaces import Architecture, DecisionSpace
from ..strategy import Candidate, Context, Result, Strategy

PATH = f"{__name__}:Given"  # how a spec names it: it is no method, so it is not in the registry


class Given(Strategy):
    """Propose the architectures of a list, in its order, each once.

    Args:
        architectures: Each as a mapping decision -> option, or as text in the space's notation.
        tags: Short notes for each, stored with its trial; none when left out.
        batch: Candidates asked for at once.
    """

    name: ClassVar[str] = "given"

    def __init__(
        self,
        *,
        architectures: Annotated[list[str | dict[str, Any]], Field(min_length=1)],
        tags: list[dict[str, Any]] | None = None,
        batch: Annotated[int, Field(ge=1)] = 32,
    ) -> None:
        self._written, self.batch = architectures, batch
        self._tags = [{} for _ in architectures] if tags is None else tags
        if len(self._tags) != len(architectures):
            raise SpecError(
                f"tags must have one entry for each architecture, got {len(self._tags)} for "
                f"{len(architectures)}; write {{}} for those without"
            )
        self._next = 0

    def check_space(self, space: DecisionSpace) -> None:
        """Refuse what is no architecture of the space, and what is in the list twice.

        Raises:
            SpecError: With the position in the list.
        """
        first: dict[str, int] = {}
        for i, value in enumerate(self._written):
            try:
                key = space.parse(value).key
            except InvalidArchitecture as error:
                raise SpecError(f"architectures[{i}]: {error}") from error
            if first.setdefault(key, i) != i:
                raise SpecError(
                    f"architectures[{i}] must differ from the others, got that of position "
                    f"{first[key]} again; leave it out"
                )

    def prepare(self, context: Context) -> None:
        """Take the context; nothing is trained."""
        super().prepare(context)
        self._given: list[Architecture] = [context.space.parse(v) for v in self._written]

    def ask(self, n: int) -> list[Candidate]:
        """Return the next `n` of the list that this experiment has no trial of."""
        candidates: list[Candidate] = []
        while len(candidates) < n and self._next < len(self._given):
            architecture, tags = self._given[self._next], self._tags[self._next]
            self._next += 1
            if not self.context.known(architecture):
                candidates.append(Candidate(architecture, tags=tags))
        return candidates

    def tell(self, results: Sequence[Result]) -> None:
        """Learn nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the list."""
        return {"next": self._next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._next = int(state["next"])
