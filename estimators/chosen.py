"""What a product of spaces decides: several networks, and the accelerators that run them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import SpecError
from ..hw_models import HardwareModel, Workload, device_names, model_for
from ..hw_models.asic import from_choice
from ..spaces import AcceleratorSpace, Architecture, DecisionSpace, ProductSpace, Space
from .complexity import Workloads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_KEPT = 256  # models of chips, with what they know of layers


class Networks:
    """The workloads of an architecture's networks: one, or one per network of a product.

    Args:
        space: A space that builds networks, or a product with such factors.

    Raises:
        SpecError: If nothing in it builds networks.
    """

    def __init__(self, space: DecisionSpace) -> None:
        self._product = space if isinstance(space, ProductSpace) else None
        if self._product is None:
            self._each = {"": Workloads(space)}
            return
        factors = self._product.factors.items()
        self._each = {name: Workloads(f) for name, f in factors if isinstance(f, Space)}
        if not self._each:
            raise SpecError(
                f"a product needs a factor that builds networks, got {', '.join(dict(factors))}; "
                "add one, for example net: nb201"
            )

    def of(self, architecture: Architecture) -> list[Workload]:
        """Return the workloads at batch 1, in the order of the product's factors.

        Raises:
            EvaluationError: If a network cannot be built or traced; the cause is chained.
        """
        if self._product is None:
            return [self._each[""].of(architecture)]
        return [w.of(self._product.project(architecture, n)) for n, w in self._each.items()]


class Chips:
    """The hardware models of the accelerators that one factor of a product decides.

    Args:
        space: The product.
        factor: Name of a factor that is an `AcceleratorSpace`.
    """

    def __init__(self, space: ProductSpace, factor: str) -> None:
        chips = space.factors[factor]
        assert isinstance(chips, AcceleratorSpace)
        self.space, self.factor, self.chips = space, factor, chips
        self.example = self._model(chips.at(0))  # what all of them give
        self._known: dict[Architecture, HardwareModel] = {}

    def choice(self, architecture: Architecture) -> Mapping[str, Any]:
        """Return what was decided, as plain data."""
        return self.chips.choice(self.space.project(architecture, self.factor))

    def model(self, architecture: Architecture) -> HardwareModel:
        """Return the model of the accelerator that an architecture of the product holds."""
        chip = self.space.project(architecture, self.factor)
        model = self._known.pop(chip, None) or self._model(chip)
        self._known[chip] = model  # the last of the list is the last used
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]
        return model

    def _model(self, chip: Architecture) -> HardwareModel:
        return model_for(from_choice(self.chips.choice(chip)))

    def __reduce__(self) -> tuple[type[Chips], tuple[ProductSpace, str]]:
        return (type(self), (self.space, self.factor))  # a copy makes its own models


def factors_of(space: DecisionSpace) -> tuple[list[str], list[str]]:
    """Return the factors of a product that build networks, and those that decide accelerators."""
    factors = space.factors.items() if isinstance(space, ProductSpace) else ()
    return (
        [name for name, factor in factors if isinstance(factor, Space)],
        [name for name, factor in factors if isinstance(factor, AcceleratorSpace)],
    )


def chips_of(space: DecisionSpace, name: str) -> Chips | None:
    """Return the accelerators of factor `name`; None where `name` is no such factor.

    Raises:
        SpecError: If a factor that decides accelerators has the name of a device.
    """
    if not isinstance(space, ProductSpace):
        return None
    if not isinstance(space.factors.get(name), AcceleratorSpace):
        return None
    if name in device_names():
        raise SpecError(
            f"{name!r} is a factor of the space and a device; call the factor something else"
        )
    return Chips(space, name)
