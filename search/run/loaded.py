"""`StoredExperiment`: an experiment in the store, finished or running, to look at from Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...db import Store, store_url
from ...errors import NetloomError

if TYPE_CHECKING:
    import pandas as pd

    from ...db.records import ExperimentRecord
    from ...estimators import DataSet
    from ...spaces import DecisionSpace
    from ..export.bundle import Bundle
    from .events import Listener
    from .runner import RunSummary

# The dashboard (numpy, plotly) is imported by what draws: `import netloom` stays light.


class StoredExperiment:
    """What the store knows of an experiment, read anew by every call: a running one grows.

    Args:
        ref: Name, id or unique prefix.
        store: A `Store` or its URL; `NETLOOM_STORE`, then `sqlite:///netloom.db` when left out.

    Raises:
        StoreError: If there is no such store or experiment; the closest names are shown.
    """

    def __init__(self, ref: str, *, store: Store | str | None = None) -> None:
        self._store = store if isinstance(store, Store) else store_url(store)
        with self._opened() as opened:
            self.id = opened.experiment(ref).id

    @property
    def record(self) -> ExperimentRecord:
        """Spec, versions, counts, summary; the metrics are its own and those of `rescore`."""
        from ...dashboard.rows import open_record

        with self._opened() as opened:
            return open_record(opened, self.id)

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.name

    @property
    def status(self) -> str:
        """`running`, `done`, `failed`, `interrupted` or `infeasible`."""
        return self.record.status

    def trials(self) -> pd.DataFrame:
        """Return a row per trial, as `Store.trials`, with the costs that `rescore` added."""
        from ...db.rescored import rescored_metrics

        with self._opened() as opened:
            record = opened.experiment(self.id)
            frame, costs = opened.trials(self.id), opened.rescored(record)
        for metric in rescored_metrics(record):
            frame[metric.name] = [costs.get(key, {}).get(metric.name) for key in frame["key"]]
        return frame

    def front(self) -> pd.DataFrame:
        """Return the rows of `trials` on the feasible front, in the order of `netloom pareto`.

        There are none before the first feasible trial.
        """
        from ...dashboard.views import ParetoView

        with self._opened() as opened:
            numbers = list(ParetoView.of(opened, self.id).front_numbers)
        frame = self.trials().set_index("number", drop=False)
        return frame.loc[numbers].reset_index(drop=True)

    def retrain(
        self,
        *,
        trials: Sequence[int] | None = None,
        epochs: int | None = None,
        inherit: bool = False,
        name: str | None = None,
        overrides: Sequence[str] = (),
        listeners: Sequence[Listener] = (),
        note: Callable[[str], None] | None = None,
    ) -> RunSummary:
        """Train chosen networks again, as a new experiment: see `retrain_plan`.

        Args:
            trials: Numbers of its trials; None: its front.
            epochs: Epochs of the training.
            inherit: Start from the weights that the trials ended with, not from scratch.
            name: Name of the new experiment.
            overrides: `a.b=c` texts, applied to the new spec.
            listeners: Called with every event.
            note: Called with what the user is to know; else that is warned of.

        Raises:
            SpecError: If the trials, the weights or the recipe are not there; says what to do.
        """
        from .recipe import PYTHON
        from .retrain import retrain_plan
        from .runner import Runner

        said: list[str] = []
        with self._opened(write=True) as opened:
            plan, origin = retrain_plan(
                opened,
                self.id,
                trials=trials,
                epochs=epochs,
                inherit=inherit,
                name=name,
                overrides=overrides,
                store_url=opened.url,
                note=note or said.append,
                wording=PYTHON,
            )
            for text in said:
                warnings.warn(text, stacklevel=2)
            return Runner(plan, opened, listeners=listeners).run(origin=origin)

    def export(
        self,
        trial: int,
        folder: str | Path,
        *,
        formats: Sequence[str] | None = None,
        force: bool = False,
        space: DecisionSpace | None = None,
        data: DataSet | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Bundle:
        """Write the network of a trial as files that run without netloom: see `export_trial`.

        Args:
            trial: Its number.
            folder: Where to; must not exist, or be empty.
            formats: Any of `torch`, `pt2`, `onnx`, `onnx-int8` and `json`; `torch` and `json` when
                left out.
            force: Whether what an earlier export wrote there is replaced.
            space: The space of an experiment that was run with Python objects.
            data: The data set of such an experiment.
            note: Called with what the user is to know.

        Raises:
            SpecError: If the trial, a format or the folder cannot be used.
            EvaluationError: If a format cannot hold the network, or a file gives other outputs.
            MissingDependency: If a package or the data set is not there.
            OutputError: If the folder cannot be written.
        """
        from ..export.bundle import DEFAULT, export_trial

        with self._opened() as opened:
            return export_trial(
                opened,
                opened.experiment(self.id),
                trial,
                folder,
                DEFAULT if formats is None else formats,
                force=force,
                space=space,
                data=data,
                note=note,
            )

    @property
    def plot(self) -> Plots:
        """Its figures."""
        return Plots(self)

    def __repr__(self) -> str:
        try:
            record = self.record
        except NetloomError as error:  # what shows itself raises nothing
            return f"<experiment {self.id}: {error}>"
        counts = ", ".join(f"{n} {status}" for status, n in record.counts.items() if n)
        return f"<experiment {record.name} ({record.id}): {record.status}, {counts or 'no trials'}>"

    def _repr_html_(self) -> str:
        from ...dashboard.notebook import experiment_html, lost_html
        from ...dashboard.rows import open_record
        from ...dashboard.views import front

        try:
            with self._opened() as opened:
                return experiment_html(open_record(opened, self.id), front(opened, self.id))
        except NetloomError as error:
            return lost_html(self.id, error)

    @contextmanager
    def _opened(self, *, write: bool = False) -> Iterator[Store]:
        if isinstance(self._store, Store):
            yield self._store
            return
        with Store(self._store, read_only=not write, create=False) as opened:
            yield opened


class Plots:
    """The figures of an experiment, as Plotly draws them.

    Args:
        experiment: Whose.
    """

    def __init__(self, experiment: StoredExperiment) -> None:
        self._experiment = experiment

    def front(self, x: str | None = None, y: str | None = None) -> Any:
        """Return the trials in the plane of two metrics, with front and constraints.

        Args:
            x: Horizontal metric; an objective (or the trial number) when left out.
            y: Vertical metric; an objective when left out.

        Raises:
            UnknownName: If one is no metric of the experiment; the closest are shown.
        """
        from ...dashboard.figures import empty_figure
        from ...dashboard.notebook import on_paper
        from ...dashboard.plane import front_figure
        from ...dashboard.views import ParetoView

        with self._experiment._opened() as opened:
            view = ParetoView.of(opened, self._experiment.id, x, y)
        if not view.shown.any():
            names = f"{view.x.metric} and {view.y.metric}"
            return on_paper(empty_figure(f"{view.experiment.name} has no trial with {names} yet"))
        return on_paper(front_figure(view))

    def history(self) -> Any:
        """Return the hypervolume over the trials; of one objective its best value."""
        from ...dashboard.figures import best_figure, empty_figure, hypervolume_figure
        from ...dashboard.notebook import on_paper
        from ...dashboard.views import HistoryView

        with self._experiment._opened() as opened:
            history = HistoryView.of(opened, self._experiment.id)
        if not history.reference:
            return on_paper(empty_figure(f"{self._experiment.name} has no feasible trial yet"))
        draw = hypervolume_figure if len(history.objectives) > 1 else best_figure
        return on_paper(draw(history))
