"""What colours the points of the front: a decision, a metric, a note of the strategy, its source.

Values become classes with a colour each (words, and numbers of few kinds), or a scale (numbers of
many). The palette of Okabe and Ito is told apart with every common colour vision; `cividis` is
read alike by all of them and keeps its order in grey.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..db.records import FIXED, ExperimentRecord
from ..errors import UnknownName
from .axes import TRIAL_AXIS, available_axes, column, pick_axis
from .table import Floats, TrialTable

if TYPE_CHECKING:
    from ..db import Store

WARM = "warm_start"  # the tag of trials that came from another experiment
SOURCE = "strategy"
CLASSES = 7  # words with a colour each; the rest is one class
STEPS = 8  # kinds of numbers that are classes instead of a scale
SAMPLE = 50  # first and last trials whose notes say what a strategy notes
REST = "others"


@dataclass(frozen=True)
class Colours:
    """A value of each trial that its point is coloured by.

    Args:
        name: As it stands in a URL.
        label: As it is read.
        classes: Names of the classes, empty on a scale.
        codes: Class of each trial, (n,), -1 without one.
        values: Place on the scale, (n,), NaN without one.
        ordered: Whether the classes are numbers, ascending.
    """

    name: str
    label: str
    classes: tuple[str, ...]
    codes: NDArray[np.int64] = field(repr=False)
    values: Floats = field(repr=False)
    ordered: bool = False

    @classmethod
    def of(cls, name: str, label: str, values: Sequence[Any]) -> Colours:
        """Make classes or a scale of one value per trial; None is no value."""
        known = [value for value in values if value is not None]
        if known and all(_is_number(value) for value in known):
            return _of_numbers(name, label, values, sorted({float(value) for value in known}))
        counts = Counter(_text(value) for value in known)
        kept = sorted(text for text, _ in counts.most_common(CLASSES))
        rest = [REST] if len(counts) > len(kept) else []
        places = {text: place for place, text in enumerate(kept)}
        codes = [-1 if v is None else places.get(_text(v), len(kept)) for v in values]
        return cls(name, label, (*kept, *rest), _codes(codes), np.full(len(values), np.nan))


def colour_names(store: Store, record: ExperimentRecord) -> list[tuple[str, str]]:
    """Return what can colour the points of an experiment, with the words to show."""
    tags = [(f"tag:{name}", name) for name in _tag_names(store, record)]
    decisions = [str(each["name"]) for each in record.info.get("decisions", ())]
    metrics = [axis.metric for axis in available_axes(record)]
    return [
        (SOURCE, "who proposed it"),
        *tags,
        *((f"decision:{name}", name) for name in decisions),
        *((f"metric:{name}", name) for name in metrics),
    ]


def colours_of(store: Store, record: ExperimentRecord, table: TrialTable, name: str) -> Colours:
    """Return the colours called `name`.

    Raises:
        UnknownName: If the experiment has nothing of that name.
    """
    kind, _, rest = name.partition(":")
    if kind == "metric":
        axis = pick_axis(available_axes(record), rest)
        found = column(table, axis)
        if axis.metric == TRIAL_AXIS:
            return _scale(name, "trial", found)
        values = [None if np.isnan(value) else float(value) for value in found]
        return Colours.of(name, axis.label, values)
    labels = dict(colour_names(store, record))
    if name not in labels:
        raise UnknownName("colour", name, list(labels))
    if kind == "decision":
        noted: Mapping[int, Any] = store.decision_values(record.id, rest)
    else:
        noted = store.tag_values(record.id)
        pick = _source(record) if name == SOURCE else lambda tags: tags.get(rest)
        noted = {number: pick(tags) for number, tags in noted.items()}
    default = record.strategy if name == SOURCE else None
    numbers = table.number.tolist()
    return Colours.of(name, labels[name], [noted.get(number, default) for number in numbers])


def _source(record: ExperimentRecord) -> Any:
    """Return what says who proposed a trial with given tags."""

    def source(tags: Mapping[str, Any]) -> str:
        if FIXED in tags:
            return "published"
        return f"warm start from {tags[WARM]}" if WARM in tags else record.strategy

    return source


def _tag_names(store: Store, record: ExperimentRecord) -> list[str]:
    total = sum(record.counts.values()) + sum(record.fixed.values())
    numbers = {*range(min(total, SAMPLE)), *range(max(total - SAMPLE, 0), total)}
    found = store.trial_records(record.id, numbers=sorted(numbers))
    names = {
        name
        for trial in found
        for name, value in trial.tags.items()
        if value is None or isinstance(value, str | int | float)
    }
    return sorted(names - {FIXED, WARM})


def _of_numbers(name: str, label: str, values: Sequence[Any], kinds: Sequence[float]) -> Colours:
    if len(kinds) > STEPS:
        return _scale(name, label, [np.nan if v is None else float(v) for v in values])
    places = {value: place for place, value in enumerate(kinds)}
    codes = [-1 if value is None else places[float(value)] for value in values]
    texts = tuple(f"{value:.6g}" for value in kinds)
    return Colours(name, label, texts, _codes(codes), np.full(len(values), np.nan), ordered=True)


def _scale(name: str, label: str, values: Sequence[float] | Floats) -> Colours:
    found = np.asarray(values, dtype=np.float64)
    return Colours(name, label, (), _codes([-1] * len(found)), found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _codes(codes: Sequence[int]) -> NDArray[np.int64]:
    return np.array(codes, dtype=np.int64)
