"""The notebook runs from its first cell to its last, in a kernel of its own."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from netloom import Experiment

from .conftest import EXAMPLES

PATH = EXAMPLES / "quickstart.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with its outputs, and the folder in which it ran."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(PATH, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NETLOOM_STORE", raising=False)
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": folder}})
        client.execute()
    return notebook, folder


def outputs(notebook, cell: str):
    [found] = [c for c in notebook.cells if c.id == cell]
    return found.outputs


def test_the_file_is_valid_and_stores_no_outputs():
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert len(code) > 5
    assert all(c.outputs == [] and c.execution_count is None for c in code)


def test_it_searches_and_shows_what_it_found(executed):
    notebook, folder = executed
    experiment = Experiment.load("notebook", store=f"sqlite:///{folder}/netloom.db")
    record = experiment.record
    assert record.counts["done"] == 100
    for cell in ("search", "load"):
        [shown] = outputs(notebook, cell)
        assert "<strong>notebook</strong> · done · 100 of 100 trials" in shown.data["text/html"]
    [table] = outputs(notebook, "front")
    assert table.data["text/html"].count("<tr") == 1 + len(experiment.front())
    [built] = outputs(notebook, "build")
    [best] = experiment.front()[:1].itertuples()
    assert int(built.data["text/plain"]) == best.params


@pytest.mark.parametrize("cell", ["plot-front", "plot-params", "plot-history"])
def test_its_figures_are_plotlys(executed, cell):
    figure = outputs(executed[0], cell)[-1].data["application/vnd.plotly.v1+json"]
    assert figure["data"]
    assert not any(o.output_type == "error" for o in outputs(executed[0], cell))
