"""The front as a picture, for a README or a paper: drawn by a headless Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import plotly.io as pio

from ..errors import MissingDependency, NetloomError, SpecError
from ..files import write_bytes
from .figures import CONFIG
from .markup import Html, el
from .plane import front_figure
from .views import Objectives, ParetoView

if TYPE_CHECKING:
    from ..db import Store

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=5000",
)
TIMEOUT_S = 120


def write_front_image(
    store: Store,
    ref: str,
    path: str | os.PathLike[str],
    *,
    x: str | None = None,
    y: str | None = None,
    size: tuple[int, int] = (1100, 560),
    objectives: Objectives = (),
) -> Path:
    """Write the front of experiment `ref` as a PNG of `size` pixels and return the path.

    Raises:
        MissingDependency: If there is no Chromium on the path.
        SpecError: If there is nothing to draw yet.
        NetloomError: If it gives no picture.
        OutputError: If the path cannot be written.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise MissingDependency(
            "a picture needs the program chromium on the path, which is not there; install it "
            "(apt-get install chromium), or save one from the report with its camera button"
        )
    view, target = ParetoView.of(store, ref, x, y, objectives=objectives), Path(path)
    if not view.shown.any():
        raise SpecError(
            f"a picture shows trials with {view.x.metric} and {view.y.metric}, and "
            f"{view.experiment.name} has none yet; a report says why: -o report.html"
        )
    figure = front_figure(view)
    figure.update_layout(width=size[0], height=size[1], font={"color": "#1b2330", "size": 15})
    figure.update_layout(margin={"l": 84})
    text = pio.to_html(
        figure, include_plotlyjs=True, full_html=False, config={**CONFIG, "displayModeBar": False}
    )
    body = el("body", Html(text), style="margin:0;background:#fff")
    page = "<!doctype html>" + el("html", el("head", el("meta", charset="utf-8")), body)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "front.html")
        source.write_text(page, encoding="utf-8")
        command = [browser, *FLAGS, f"--user-data-dir={folder}/profile"]
        picture = Path(folder, "front.png")
        command += [f"--screenshot={picture}", f"--window-size={size[0]},{size[1]}"]
        try:
            done = subprocess.run(
                [*command, source.as_uri()], capture_output=True, text=True, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired as error:
            raise NetloomError(f"chromium gave no picture in {TIMEOUT_S} s; try again") from error
        if done.returncode or not picture.is_file():
            raise NetloomError(f"chromium gave no picture: {done.stderr.strip()[-400:]}")
        return write_bytes(target, picture.read_bytes())
