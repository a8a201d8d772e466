"""From a name and options to objects: data sets, spaces, estimators, strategies.

A name is a registered one or an import path `package.module:Name`. Every error carries the path of
the value in the spec that caused it.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, cast

from pydantic_core import to_jsonable_python

from ...errors import MissingDependency, NetloomError, SpecError, did_you_mean
from ...estimators import DATASETS, ESTIMATORS, Estimator, resolve_estimator
from ...options import Path, Problem, SpecProblems, build, options_of, resolve
from ...spaces import FACTORS, SPACES, DecisionSpace, ProductSpace
from ..registry import STRATEGIES
from ..strategy import Strategy
from .nni_spaces import is_model_space, make_nni_space, renamed
from .spec import Named

_LOG = logging.getLogger(__name__)
PRODUCT = "product"  # the one space whose options are spaces
FACTOR = "factor"  # the option of an estimator that names one of them


def make_importable(folder: FilePath | None) -> None:
    """Put the folder of a spec first on the import path, as Python does with a script's."""
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def make_data(named: Named, where: Path = ("data",)) -> tuple[Any, dict[str, Any]]:
    """Return the data set, and what the stored spec says of it."""
    target = _target(DATASETS.get, named.name, (*where, "name"))
    if not callable(target):
        return _ready(target, named, where)
    value = build(target, named.options, where=where)
    for attribute in ("in_channels", "resolution", "classes"):
        try:
            declared = hasattr(value, attribute)
        except SpecError as error:  # it reads its file to tell
            raise SpecProblems([Problem(where, str(error))]) from error
        if not declared:
            text = f"a data set must declare {attribute}; {named.name} does not"
            raise SpecProblems([Problem((*where, "name"), text)])
    return value, _stored(named, target)


def make_space(
    named: Named,
    data: Any = None,
    where: Path = ("space",),
    *,
    wanted: Mapping[str, Any] | None = None,
) -> tuple[DecisionSpace, dict[str, Any]]:
    """Return the space, its free options filled from the data, and what the stored spec says.

    Args:
        named: What the spec says.
        data: The data set, or None.
        where: Path in the spec.
        wanted: What the estimators want options to be that neither spec nor data set decides.

    Raises:
        SpecProblems: Also when an option contradicts the data set.
    """
    if named.name == PRODUCT and PRODUCT not in SPACES:
        return _make_product(named, data, where, wanted or {})
    if named.name not in SPACES:
        named = renamed(named, where)
    beside = named.name in FACTORS and named.name not in SPACES
    target = _target((FACTORS if beside else SPACES).get, named.name, (*where, "name"))
    if isinstance(target, DecisionSpace):
        return _ready(target, named, where)
    if is_model_space(target):
        return make_nni_space(target, named, declared_by(data) if data is not None else {}, where)
    if is_network(target):
        return _make_module_space(target, named, data, where)
    if not callable(target):
        raise SpecProblems([Problem((*where, "name"), f"{named.name} is not a space: {target!r}")])
    options = _filled(target, named, data, where, wanted or {})
    space = build(target, options, where=where)
    if not isinstance(space, DecisionSpace):
        text = f"{named.name} must give a Space, got {type(space).__name__}"
        raise SpecProblems([Problem((*where, "name"), text)])
    stored = _stored(named, target, options)
    # what was left to a preset is stored as it was resolved
    own = {k: space.options.get(k) for k, v in stored.items() if v is None}
    return space, {**stored, **own}


def wanted_options(estimators: Iterable[Named], space: Named) -> dict[str, Any]:
    """Return what the estimators of a spec want the options of its space to be.

    For a product: what those of each factor want of it, by the name of the factor. What cannot be
    found is passed over here; making it says what is wrong.
    """
    if space.name == PRODUCT and PRODUCT not in SPACES:
        return _wanted_of_factors(list(estimators), space)
    wanted: dict[str, Any] = {}
    for named in estimators:
        try:
            cls, options = resolve_estimator(named.name, named.options)
        except Exception as error:
            _LOG.debug("estimator %s cannot be found: %s", named.name, error)
            continue
        wanted = {**cls.space_options(space.name, options), **wanted}
    return wanted


def make_estimator(
    named: Named, space: DecisionSpace, data: Any, where: Path
) -> tuple[Estimator, dict[str, Any]]:
    """Return the estimator and what the stored spec says of it.

    On a product, the option `factor` asks any estimator about that factor alone.
    """
    if isinstance(space, ProductSpace) and FACTOR in named.options:
        return _make_for_factor(named, space, data, where)
    try:
        cls, options = resolve_estimator(named.name, named.options)
    except SpecProblems:
        raise
    except SpecError as error:
        raise SpecProblems([Problem((*where, "name"), str(error))]) from error
    if cls.needs_data and data is None:
        text = f"{named.name} needs a data set; add one, for example data: {{name: digits}}"
        raise SpecProblems([Problem(where, text)])
    estimator: Estimator = build(cls, options, space, data, where=where)
    plain = cls is ESTIMATORS.get(named.name) if named.name in ESTIMATORS else ":" in named.name
    stored = _stored(named, cls, options) if plain and options == named.options else None
    return estimator, stored or {"name": named.name, **named.options}


def make_strategy(named: Named, where: Path = ("strategy",)) -> tuple[Strategy, dict[str, Any]]:
    """Return the strategy and what the stored spec says of it."""
    target = strategy_named(named.name, (*where, "name"))
    return build(target, named.options, where=where), _stored(named, target)


def strategy_named(name: str, where: Path) -> type[Strategy]:
    """Return the class of a registered name or an import path."""
    target = _target(STRATEGIES.get, name, where)
    if not (inspect.isclass(target) and issubclass(target, Strategy)):
        raise SpecProblems([Problem(where, f"{name} must be a Strategy subclass, got {target!r}")])
    return target


def _target(get: Callable[[str], Any], name: str, where: Path) -> Any:
    try:
        return get(name)
    except MissingDependency:
        raise
    except SpecError as error:
        raise SpecProblems([Problem(where, str(error))]) from error
    except NetloomError:
        raise
    except Exception as error:
        text = f"importing {name} raised {type(error).__name__}: {error}; mend its module"
        raise SpecProblems([Problem(where, text)]) from error


def _ready(target: Any, named: Named, where: Path) -> tuple[Any, dict[str, Any]]:
    """Return an object that the import path leads to: it is built, so it takes no options."""
    if named.options:
        text = f"{named.name} is a finished object and takes no options; name its class"
        raise SpecProblems([Problem((*where, key), text) for key in named.options])
    return target, {"name": named.name}


def _stored(
    named: Named, cls: Callable[..., Any], options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return name and all options, defaults included, as JSON values."""
    full = resolve(cls, named.options if options is None else options)
    return {"name": named.name, **to_jsonable_python(full, fallback=repr)}


def _filled(
    factory: Callable[..., Any],
    named: Named,
    data: Any,
    where: Path,
    wanted: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the options with those that the data set decides, then those that are `wanted`.

    What the data set has as `space_defaults` is wanted too.

    Raises:
        SpecProblems: If the spec says something else than the data set.
    """
    options = named.options
    if data is None and not wanted:
        return options
    takes = options_of(factory).model_fields
    problems = []
    for option, value in (declared_by(data) if data is not None else {}).items():
        if option in options and options[option] != value:
            label = getattr(data, "label", "") or getattr(data, "name", "") or type(data).__name__
            text = f"the data set {label} needs {value}, got {options[option]!r}; leave it out"
            problems.append(Problem((*where, option), text))
        elif option in takes:
            options[option] = value
    if problems:
        raise SpecProblems(problems)
    decided = {*options, *_of_preset(factory, options)}
    wanted = {**getattr(data, "space_defaults", {}), **(wanted or {})}
    free = {k: v for k, v in wanted.items() if k in takes and k not in decided}
    return {**options, **free}


def _of_preset(factory: Callable[..., Any], options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options that a preset named in the spec decides."""
    presets: Mapping[str, Mapping[str, Any]] = getattr(factory, "presets", {})
    return presets.get(str(options.get("preset")), {})


def declared_by(data: Any) -> dict[str, int]:
    """Return what a data set decides about its networks."""
    declared = getattr(data, "space_options", None)
    if declared is not None:
        return dict(declared)
    outputs = data.classes if data.classes is not None else getattr(data, "targets", None)
    values = {
        "in_channels": data.in_channels,
        "resolution": data.resolution,
        "classes": outputs,
    }
    return {name: value for name, value in values.items() if value is not None}


def is_network(target: Any) -> bool:
    """Whether it is a torch module, or a class of them; does not load torch to tell."""
    if "torch" not in sys.modules:
        return False
    from torch import nn

    return isinstance(target, nn.Module) or (
        inspect.isclass(target) and issubclass(target, nn.Module)
    )


def _make_module_space(
    target: Any, named: Named, data: Any, where: Path
) -> tuple[DecisionSpace, dict[str, Any]]:
    """Wrap a module with mutable layers, or the class of one, whose arguments are the options."""
    import torch

    from ...spaces import ModuleSpace

    if not inspect.isclass(target):
        stored = _ready(target, named, where)[1]
        return ModuleSpace(target, torch.zeros(_input_shape(target, {}, data, where))), stored
    options = _filled(target, named, data, where)
    full = resolve(target, options, where=where)
    example = torch.zeros(_input_shape(target, full, data, where))
    try:
        space = ModuleSpace(
            cast("Callable[..., Any]", target), example, **{name: full[name] for name in options}
        )
    except NetloomError as error:
        raise SpecProblems([Problem(where, str(error))]) from error
    except Exception as error:
        text = f"{named.name} raised {type(error).__name__}: {error}; check its options or its code"
        raise SpecProblems([Problem(where, text)]) from error
    return space, _stored(named, target, options)


def _input_shape(
    target: Any, options: Mapping[str, Any], data: Any, where: Path
) -> tuple[int, ...]:
    """Return the shape of an example: the class says it, or its options or the data set do."""
    declared = getattr(target, "example_shape", None)
    if declared is not None:
        return (1, *declared)
    known = {**(declared_by(data) if data is not None else {}), **options}
    if {"in_channels", "resolution"} <= known.keys():
        return (1, known["in_channels"], known["resolution"], known["resolution"])
    raise SpecProblems(
        [
            Problem(
                (*where, "name"),
                "the input of a plain module is not known; name a data set, or give the class "
                "the attribute example_shape = (channels, height, width)",
            )
        ]
    )


def _make_product(
    named: Named, data: Any, where: Path, wanted: Mapping[str, Any]
) -> tuple[DecisionSpace, dict[str, Any]]:
    spaces: dict[str, DecisionSpace] = {}
    stored: dict[str, Any] = {}
    for name, factor in _factors(named, where).items():
        here = (*where, "factors", name)
        spaces[name], stored[name] = make_space(factor, data, here, wanted=wanted.get(name))
    return ProductSpace(**spaces), {"name": PRODUCT, "factors": stored}


def _factors(named: Named, where: Path) -> dict[str, Named]:
    """Return the spaces that a product names.

    Raises:
        SpecProblems: If it names none, or has other options.
    """
    factors = named.options.get("factors")
    unknown = [key for key in named.options if key != "factors"]
    problems = [
        Problem((*where, key), f"unknown key{did_you_mean(key, ['factors'])}") for key in unknown
    ]
    if not isinstance(factors, dict) or not factors:
        text = f"a product needs factors: {{name: space, ...}}, got {factors!r}"
        problems.append(Problem((*where, "factors"), text))
    if problems or not isinstance(factors, dict):
        raise SpecProblems(problems)
    entries = {n: {"name": v} if isinstance(v, str) else v for n, v in factors.items()}
    for name, entry in entries.items():
        if not isinstance(entry, dict) or "name" not in entry:
            text = f"must be a space with a name, got {factors[name]!r}"
            raise SpecProblems([Problem((*where, "factors", name), text)])
    return {name: Named(**entry) for name, entry in entries.items()}


def _wanted_of_factors(estimators: list[Named], product: Named) -> dict[str, Any]:
    try:
        factors = _factors(product, ("space",))
    except SpecProblems as error:
        _LOG.debug("the factors cannot be read: %s", error)
        return {}
    return {
        name: wanted_options([own for e in estimators if (own := _of_factor(e, name))], factor)
        for name, factor in factors.items()
    }


def _of_factor(named: Named, factor: str) -> Named | None:
    """Return an estimator without its factor; None if it is another factor's."""
    options = named.options
    return Named(name=named.name, **options) if options.pop(FACTOR, None) == factor else None


def _make_for_factor(
    named: Named, space: ProductSpace, data: Any, where: Path
) -> tuple[Estimator, dict[str, Any]]:
    from ...estimators.factor import FactorEstimator

    factor = named.options[FACTOR]
    own = _of_factor(named, factor)
    if own is None or factor not in list(space.factors):
        text = f"there is no factor {factor!r}{did_you_mean(str(factor), space.factors)}"
        raise SpecProblems([Problem((*where, FACTOR), text)])
    inner, stored = make_estimator(own, space.factors[factor], data, where)
    return FactorEstimator(space, inner, factor), {**stored, FACTOR: factor}
