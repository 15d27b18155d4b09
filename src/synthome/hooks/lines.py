"""One line for each node with its time; in a terminal, the running node below them."""

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from synthome.console.page import show_status
from synthome.hooks.places import metadata, mlflow_metadata, plain_path, shown
from synthome.progress import duration

LOGGER = logging.getLogger("synthome.run")
# Notes that a failing run carries, for the error page and for notebooks.
PLACE = "This happened "
RESUME = "To go on from there, add --from-nodes="


class LineHooks:
    """Tells what runs, how long it took, and where a failing run was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begin(total=0, runner="")

    def _begin(self, total: int, runner: str) -> None:
        self._total = 0 if "ParallelRunner" in runner else total  # workers cannot count
        self._one_at_a_time = not any(name in runner for name in ("ThreadRunner", "ParallelRunner"))
        self._start = time.perf_counter()
        self._started: dict[str, float] = {}  # node -> when
        self._unsaved: dict[str, set[str]] = {}  # node -> outputs that are still to come
        self._places: dict[int, str] = {}  # thread -> what it does
        self._done: list[Node] = []

    @property
    def place(self) -> str:
        """Where the run is, such as ``while loading bulk.cohort (node bulk.split)``."""
        return next(reversed(self._places.values()), "")

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline) -> None:
        """Start counting, unless the runner is going to leave out nodes that it alone knows."""
        total = 0 if run_params.get("only_missing_outputs") else len(pipeline.nodes)
        self._begin(total, str(run_params.get("runner") or ""))

    @hook_impl
    def before_dataset_loaded(self, dataset_name: str, node: Node) -> None:
        """Remember the place."""
        self._enter(node, f"while loading {dataset_name} (node {node.name})")

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Remember the place."""
        self._enter(node, f"in node {node.name}")

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Remember the place."""
        self._enter(node, f"while saving {dataset_name} (node {node.name})")

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Close the node with its last output."""
        unsaved = self._unsaved.get(node.name, set())
        unsaved.discard(dataset_name)
        if not unsaved:
            self._leave(node)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Close a node that has no outputs."""
        if not node.outputs:
            self._leave(node)

    @hook_impl
    def on_pipeline_error(self, error: Exception, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Write the place, and a way to go on, onto the error."""
        show_status("")
        self._note_place(error)
        if start := nodes_to_resume_from(pipeline, self._done, catalog):
            error.add_note(f"{RESUME}{','.join(start)}")

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Say what there is to open, and how long it took."""
        show_status("")
        for path in results(pipeline, catalog):
            LOGGER.info("Written: %s", shown(path))
        LOGGER.info("Done in %s.", duration(time.perf_counter() - self._start))

    def _note_place(self, error: Exception) -> None:
        known = any(note.startswith(PLACE) for note in getattr(error, "__notes__", []))
        if self.place and not known:
            error.add_note(f"{PLACE}{self.place}.")

    def _enter(self, node: Node, place: str) -> None:
        self._places[threading.get_ident()] = place
        if node.name in self._started:
            return
        self._started[node.name] = time.perf_counter()
        self._unsaved[node.name] = set(node.outputs)
        if self._one_at_a_time:
            show_status(f"{self._number(len(self._done) + 1)}{node.name} ...")

    def _leave(self, node: Node) -> None:
        with self._lock:  # a number and its line belong together
            if self._unsaved.pop(node.name, None) is None:
                return  # a generator node saves its last output more than once
            self._places.pop(threading.get_ident(), None)
            self._done.append(node)
            took = duration(time.perf_counter() - self._started[node.name])
            show_status("")
            LOGGER.info("%s%s ... %s", self._number(len(self._done)), node.name, took)

    def _number(self, done: int) -> str:
        return f"[{done}/{self._total}] " if self._total else ""


def results(pipeline: Pipeline, catalog: DataCatalog) -> list[Path]:
    """Files that a person opens: pages, metrics, and what the models put out."""
    found = []
    for name in sorted(pipeline.all_outputs()):
        dataset = catalog.get(name)
        path = plain_path(dataset)
        if path is None:
            continue
        layer = (metadata(dataset, "kedro-viz") or {}).get("layer")
        page = layer == "reporting" and path.suffix == ".html"
        scores = any(wanted.get("kind") == "metrics" for wanted in mlflow_metadata(dataset))
        if page or scores or layer == "model_output":
            found.append(path)
    return found


def nodes_to_resume_from(
    pipeline: Pipeline, done: Sequence[Node], catalog: DataCatalog
) -> list[str]:
    """Nodes from which a repeated run can start; none when it has to start at the beginning."""
    if not done:
        return []
    try:
        from kedro.runner.runner import _find_nodes_to_resume_from

        left = set(pipeline.nodes) - set(done)
        return sorted(_find_nodes_to_resume_from(pipeline, left, catalog))
    except Exception:  # private to Kedro, and only a hint
        return []
