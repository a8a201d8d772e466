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
    figure: go.Figure, history: HistoryView, table: TrialTable, selected: Bools
) -> None:
    """Add the own values of selected trials to the panels of `best_figure`.

    Args:
        figure: A panel per objective, changed in place.
        history: What it was drawn from.
        table: The trials of the experiment, published networks among them.
        selected: Which of them are selected, (n,).
    """
    own = table.searched
    for row, axis in enumerate(history.objectives, start=1):
        values = own.metric(axis.metric)
        known = np.flatnonzero(selected[~table.fixed] & np.isfinite(values))
        places = evenly(known, MOST)
        figure.add_scatter(
            x=history.evaluations[places],
            y=values[places],
            mode="markers",
            name="selected",
            legendgroup="selected",
            showlegend=row == 1,
            customdata=own.number[places].tolist(),
            marker={"color": GREEN, "size": 5, "symbol": "circle-open"},
            hovertemplate="trial %{customdata}: %{y:.5g}<extra>selected</extra>",
            row=row,
            col=1,
        )
    figure.update_layout(showlegend=True)
