"""Each notebook runs from top to bottom on a finished project, and a broken one is noticed."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from project_copy import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
FINISHED = {  # the project that a notebook reads
    "02_omics_language_model": "finished_omics_lm",
    "03_ldvae_perturbation": "finished_ldvae",
    "04_spatial_domains": "finished_spatial_gvae",
    "05_counterfactual_cells": "finished_cycle_ae",
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the kernel's own client
    pytest.mark.filterwarnings("ignore:Proactor event loop"),
]


def notebook_folder(finished: Path, tmp_path: Path) -> Path:
    """The notebook folder of a copy of the finished project."""
    shutil.copytree(finished, tmp_path / "project")
    (tmp_path / "project/notebooks").mkdir()
    return tmp_path / "project/notebooks"


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env={**os.environ, "SYNTHOME_TRACKING": "off", "DO_NOT_TRACK": "1"})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, request, tmp_path):
    finished = request.getfixturevalue(FINISHED.get(path.stem, "finished"))
    folder = notebook_folder(finished, tmp_path)
    shutil.copy(path, folder)
    notebook = nbformat.read(path, as_version=4)
    execute(notebook, folder)
    assert all(cell.get("execution_count") for cell in notebook.cells if cell.cell_type == "code")


def test_a_failing_notebook_is_noticed(finished, tmp_path):
    """Kedro's tracebacks hide errors from some runners: this one must see them."""
    folder = notebook_folder(finished, tmp_path)
    cells = [nbformat.v4.new_code_cell(s) for s in ("%load_ext kedro.ipython", "assert False")]
    with pytest.raises(CellExecutionError):
        execute(nbformat.v4.new_notebook(cells=cells), folder)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_without_outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    assert not any(cell.get("outputs") for cell in cells if cell.cell_type == "code")
