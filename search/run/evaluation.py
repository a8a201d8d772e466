"""One architecture through the estimators: the same code here, in an actor, in a Tune trial."""

from __future__ import annotations

import io
import statistics
import time
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

from ...errors import EvaluationError, HardwareLimit, StopTrial
from ...estimators import Estimator, Metrics, Report, check_finite
from ...spaces import Architecture
from .members import Member, space_of
from .tensors import pack_tensors, unpack_tensors

if TYPE_CHECKING:
    from ...db.records import SpaceRef
    from .plan import Plan

Ending: TypeAlias = Literal["done", "pruned", "infeasible", "failed"]
_LINE = 500  # characters of an error's one line
_PRINTED = 20_000  # characters of what a failed trial printed
_LEAST = 1e-9  # what a device refuses is never feasible, however small the excess


@dataclass(slots=True)
class Evaluation:
    """What estimators said of one architecture.

    Args:
        status: `infeasible` when the network cannot run on a device at all.
        metrics: Finite values; of a failed evaluation those that came before the failure.
        violation: By how much device limits are exceeded.
        error: One line, for failed ones and for device limits.
        traceback: The whole traceback, for failed ones.
        duration_s: Seconds it took.
        weights: The trained network's state dict as `torch.save` writes it.
    """

    status: Ending = "done"
    metrics: Metrics = field(default_factory=dict)
    violation: float = 0.0
    error: str | None = None
    traceback: str | None = None
    duration_s: float = 0.0
    weights: bytes | None = None

    def fail(self, error: BaseException) -> None:
        """Turn into a failed evaluation."""
        self.status, self.error = "failed", one_line(error)
        self.traceback = "".join(traceback.format_exception(error))

    def log(self, printed: str) -> None:
        """Put what the trial printed below the traceback, where it failed."""
        if self.status == "failed" and printed:
            text = printed[-_PRINTED:]
            self.traceback = f"{self.traceback}\n--- what the trial printed ---\n{text}"

    def limit(self, error: HardwareLimit) -> None:
        """Turn into an infeasible evaluation: a device cannot run the network."""
        self.status = "infeasible"
        self.violation += max(error.violation, _LEAST)
        self.error = one_line(error)


class Tee(io.StringIO):
    """Keeps what is written to it, and passes it on.

    Args:
        stream: Where to; None: nowhere.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> int:
        """Write to both."""
        if self._stream is not None:
            self._stream.write(text)
        return super().write(text)

    def flush(self) -> None:
        """Hand over what was passed on."""
        if self._stream is not None:
            self._stream.flush()


class Panel:
    """The estimators of a search; the cheap ones are asked first.

    Args:
        estimators: All of them.
        repeats: Seeds per architecture where a value depends on the seed.
        keep_weights: Whether trained weights are wanted.
        only: Metrics that are wanted; None: all that estimators owe.
        beside: Who is asked about networks of other spaces.
    """

    def __init__(
        self,
        estimators: Sequence[Estimator],
        *,
        repeats: int = 1,
        keep_weights: bool = False,
        only: Collection[str] | None = None,
        beside: Mapping[SpaceRef, Panel] | None = None,
    ) -> None:
        self.estimators = tuple(estimators)
        self.cheap = tuple(e for e in estimators if e.cheap)
        self.costly = tuple(e for e in estimators if not e.cheap)
        self._repeats, self._keep_weights = repeats, keep_weights
        self._only, self._beside = only, dict(beside or {})
        self._expected = {id(e): _wanted(valid_metrics(e), only) for e in estimators}

    @classmethod
    def of(cls, plan: Plan, *, keep_weights: bool = False) -> Panel:
        """Return the panel of a plan, with one for each other space of its fixed points."""
        made = partial(cls, repeats=plan.repeats, keep_weights=keep_weights)
        foreign = plan.foreign.items()
        beside = {ref: made(there.estimators, only=there.metrics) for ref, there in foreign}
        return made(plan.estimators, beside=beside)

    def __getstate__(self) -> tuple[Sequence[Estimator], dict[str, Any]]:
        names = ("repeats", "keep_weights", "only", "beside")
        return self.estimators, {name: getattr(self, f"_{name}") for name in names}

    def __setstate__(self, state: tuple[Sequence[Estimator], dict[str, Any]]) -> None:
        estimators, options = state
        Panel.__init__(self, estimators, **options)

    def screen(
        self, architectures: Sequence[Architecture], seeds: Sequence[Sequence[int]]
    ) -> list[Evaluation]:
        """Return what the cheap estimators say, in order; `seeds` holds the repeats of each."""
        places: dict[SpaceRef | None, list[int]] = {}
        for i, architecture in enumerate(architectures):
            places.setdefault(space_of(architecture), []).append(i)
        if places.keys() <= {None}:
            return self._screen_own(architectures, seeds)
        answers: dict[int, Evaluation] = {}
        for space, chosen in places.items():
            panel = self if space is None else self._beside[space]
            found = panel._screen_own(
                [architectures[i] for i in chosen], [seeds[i] for i in chosen]
            )
            answers |= dict(zip(chosen, found, strict=True))
        return [answers[i] for i in range(len(architectures))]

    def _screen_own(
        self, architectures: Sequence[Architecture], seeds: Sequence[Sequence[int]]
    ) -> list[Evaluation]:
        found = [Evaluation() for _ in architectures]
        started = time.perf_counter()
        for estimator in self.cheap:
            alive = [i for i, evaluation in enumerate(found) if evaluation.status != "failed"]
            if alive:
                self._screen(
                    estimator,
                    [architectures[i] for i in alive],
                    [seeds[i] for i in alive],
                    [found[i] for i in alive],
                )
        share = (time.perf_counter() - started) / max(1, len(found))
        for evaluation in found:
            evaluation.duration_s = share
        return found

    def _screen(
        self,
        estimator: Estimator,
        architectures: Sequence[Architecture],
        seeds: Sequence[Sequence[int]],
        found: Sequence[Evaluation],
    ) -> None:
        expected, name = self._expected[id(estimator)], label(estimator)
        runs = []
        for repeat in range(self.runs_of(estimator)):
            answers = estimator.evaluate_many(architectures, seeds=[s[repeat] for s in seeds])
            if len(answers) != len(architectures):
                raise EvaluationError(
                    f"{name}.evaluate_many must give one answer per architecture, got "
                    f"{len(answers)} for {len(architectures)}; correct the estimator"
                )
            runs.append(answers)
        for i, evaluation in enumerate(found):
            try:
                values = []
                for answers in runs:
                    answer = answers[i]
                    if isinstance(answer, Exception):
                        raise answer
                    values.append(check_finite(name, answer, expected))
                evaluation.metrics |= mean_and_std(values, self._repeats_matter(estimator))
            except HardwareLimit as limit:
                evaluation.limit(limit)
            except Exception as error:
                evaluation.fail(error)

    def evaluate(
        self,
        architecture: Architecture,
        seeds: Sequence[int],
        *,
        budget: float | None = None,
        report: Report | None = None,
        answered: Collection[int] = (),
    ) -> Evaluation:
        """Return what the costly estimators say.

        Args:
            architecture: A member of the space.
            seeds: One per repeat.
            budget: Fidelity.
            report: Called per step of the first repeat; with no metrics in the others.
            answered: Positions among the costly estimators of those whose values are known.
        """
        if isinstance(architecture, Member) and self._beside:
            panel = self._beside[architecture.space]
            return panel.evaluate(architecture, seeds, budget=budget, report=report)
        found, reported = Evaluation(), dict[str, float]()

        def remember(step: int, metrics: Mapping[str, float]) -> None:
            reported.update(metrics)
            if report is not None:
                report(step, metrics)

        started = time.perf_counter()
        try:
            for i, estimator in enumerate(self.costly):
                if i not in answered:
                    self._run(estimator, architecture, seeds, budget, remember, found)
        except StopTrial:
            found = self.cut_short(reported, beside=found.metrics)
        except HardwareLimit as limit:
            found.limit(limit)
        except (Exception, SystemExit) as error:  # code that calls sys.exit ends its trial only
            found.fail(error)
        found.duration_s = time.perf_counter() - started
        return found

    def cut_short(
        self, reported: Mapping[str, float], *, beside: Mapping[str, float] | None = None
    ) -> Evaluation:
        """Return the evaluation of a trial that was stopped early: `pruned`, or failed by a NaN.

        Args:
            reported: The last value of everything that was reported; what no estimator declares
                is a curve and no metric.
            beside: Metrics of the estimators that came to their end.
        """
        found = Evaluation("pruned", dict(beside or {}))
        try:
            for estimator in self.costly:
                names = [n for n in self._expected[id(estimator)] if n in reported]
                found.metrics |= check_finite(label(estimator), reported, names)
        except EvaluationError as error:
            found.fail(error)
        return found

    def _run(
        self,
        estimator: Estimator,
        architecture: Architecture,
        seeds: Sequence[int],
        budget: float | None,
        report: Report,
        found: Evaluation,
    ) -> None:
        expected, values = self._expected[id(estimator)], []
        for repeat in range(self.runs_of(estimator)):
            given = estimator.evaluate(
                architecture,
                seed=seeds[repeat],
                budget=budget,
                report=report if repeat == 0 else lambda step, _: report(step, {}),
            )
            values.append(check_finite(label(estimator), given, expected))
            if repeat == 0 and self._keep_weights:
                found.weights = _packed(estimator, found.weights)
        found.metrics |= mean_and_std(values, self._repeats_matter(estimator))

    def runs_of(self, estimator: Estimator) -> int:
        """Return how often an estimator is asked about one architecture."""
        return self._repeats if self._repeats_matter(estimator) else 1

    def _repeats_matter(self, estimator: Estimator) -> bool:
        return self._repeats > 1 and not estimator.deterministic


def label(estimator: Estimator) -> str:
    """Return the name of an estimator, or of its class."""
    return estimator.name or type(estimator).__name__


def _wanted(metrics: Iterable[str], only: Collection[str] | None) -> tuple[str, ...]:
    return tuple(name for name in metrics if only is None or name in only)


def valid_metrics(estimator: Estimator) -> tuple[str, ...]:
    """Return the names of the metrics that `evaluate` owes."""
    return tuple(m.name for m in estimator.metrics if m.split == "valid")


def lost_text(times: int, how: str = "") -> str:
    """Return the one line of a trial whose workers died."""
    text = f"WorkerLost: the worker that evaluated it died {times} times"
    return f"{text}, {how}" if how else text


def std_name(metric: str) -> str:
    """Return the name of a metric's standard deviation over repeats."""
    return f"{metric}_std"


def mean_and_std(runs: Sequence[Metrics], spread: bool) -> Metrics:
    """Return the means over the runs, with the sample standard deviations when `spread`."""
    if not spread:
        return runs[0]
    means: Metrics = {}
    for name in runs[0]:
        values = [run[name] for run in runs]
        means[name] = statistics.fmean(values)
        means[std_name(name)] = statistics.stdev(values)
    return means


def one_line(error: BaseException) -> str:
    """Return `Kind: message` on one line."""
    text = " ".join(str(error).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= _LINE else f"{line[: _LINE - 3]}..."


def _packed(estimator: Estimator, others: bytes | None) -> bytes | None:
    """Return the weights of the last network trained, beside those of other estimators."""
    weights = estimator.trained_weights()
    if weights is None:
        return others
    known = {} if others is None else unpack_tensors(others)
    return pack_tensors({**known, **weights})
