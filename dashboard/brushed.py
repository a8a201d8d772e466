"""What is selected in the plane, marked in the history of best values."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from .figures import GREEN
from .table import Bools, TrialTable
from .thinning import evenly
from .views import HistoryView

MOST = 500  # points per panel; of more, as many evenly over the trials


def mark_selected(
    figure: go.Figure,
    history: HistoryView,
    table: TrialTable,
    selected: Bools,
    scale_s: float = 1.0,
) -> None:
    """Add the own values of selected trials to the panels of `best_figure`.

    Args:
        figure: A panel per objective, changed in place.
        history: What it was drawn from.
        table: The trials of the experiment, published networks among them.
        selected: Which of them are selected, (n,).
        scale_s: Seconds of the unit of a time axis.
    """
    own = table.searched
    rows = np.searchsorted(own.number, history.number)  # along time they stand otherwise
    marked, along = selected[~table.fixed][rows], history.places(scale_s)
    for row, axis in enumerate(history.objectives, start=1):
        values = own.metric(axis.metric)[rows]
        places = evenly(np.flatnonzero(marked & np.isfinite(values)), MOST)
        figure.add_scatter(
            x=along[places],
            y=values[places],
            mode="markers",
            name="selected",
            legendgroup="selected",
            showlegend=row == 1,
            customdata=history.number[places].tolist(),
            marker={"color": GREEN, "size": 5, "symbol": "circle-open"},
            hovertemplate="trial %{customdata}: %{y:.5g}<extra>selected</extra>",
            row=row,
            col=1,
        )
    figure.update_layout(showlegend=True)
