"""Kedro-Viz: the status of any slice of a pipeline, and the shape of every AnnData and table.

Kedro-Viz records the status of a run only when the whole pipeline runs; our users run one system.
The class below is its own hook, told that nothing was filtered. It is private API of Kedro-Viz, so
that whatever goes wrong here is dropped: a picture is not worth a run.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from synthome.hooks.places import plain_path

LOGGER = logging.getLogger(__name__)
VIZ_FOLDER = ".viz"


class RunStatusHooks:
    """Hands the events of a run to Kedro-Viz's own hook."""

    def __init__(self) -> None:
        self._project = Path.cwd()
        self._viz: Any = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remember the project, for the current folder may be another one."""
        self._project = Path(context.project_path)

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Begin a new list of events, without the filters of this run."""
        self._viz = _status_hook(self._project)
        self._tell("after_catalog_created", catalog=catalog)
        self._tell("before_pipeline_run", run_params={}, pipeline=pipeline)

    @hook_impl
    def before_dataset_loaded(self, dataset_name: str, node: Node) -> None:
        """Pass on."""
        self._tell("before_dataset_loaded", dataset_name=dataset_name, node=node)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Pass on."""
        self._tell("after_dataset_loaded", dataset_name=dataset_name, data=data)

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Pass on."""
        self._tell("before_dataset_saved", dataset_name=dataset_name, node=node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Pass on."""
        self._tell("after_dataset_saved", dataset_name=dataset_name, data=data)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Pass on."""
        self._tell("before_node_run", node=node)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Pass on."""
        self._tell("after_node_run", node=node)

    @hook_impl
    def on_node_error(self, error: Exception, node: Node) -> None:
        """Pass on."""
        self._tell("on_node_error", error=error, node=node)

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Pass on; this writes the file."""
        self._tell("on_pipeline_error", error=error)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Pass on; this writes the file."""
        self._tell("after_pipeline_run")

    def _tell(self, event: str, **details: Any) -> None:
        if self._viz is None:
            return
        try:
            getattr(self._viz, event)(**details)
        except Exception:
            LOGGER.debug("Kedro-Viz could not record %s", event, exc_info=True)
            self._viz = None


def _status_hook(project: Path) -> Any:
    """A fresh status hook of Kedro-Viz that writes below ``project``; None when it has moved."""
    try:
        from kedro_viz.integrations.kedro.hooks_utils import EVENTS_FILE
        from kedro_viz.integrations.kedro.run_hooks import PipelineRunStatusHook

        class StatusHook(PipelineRunStatusHook):
            def _add_event(self, event: dict[str, Any], flush: bool = False) -> None:
                self._events.append(event)
                if flush:
                    write_json(project / VIZ_FOLDER / EVENTS_FILE, self._events)

        return StatusHook()
    except Exception:
        LOGGER.debug("Kedro-Viz has no status hook that we know", exc_info=True)
        return None


class StatsHooks:
    """Writes rows, columns and file size of what was read and saved to ``.viz/stats.json``.

    Kedro-Viz does so for tables alone, and forgets the data sets of other runs.
    """

    def __init__(self) -> None:
        self._project = Path.cwd()
        self._stats: dict[str, dict[str, int]] = {}
        self._catalog: DataCatalog | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remember the project."""
        self._project = Path(context.project_path)

    @hook_impl
    def before_pipeline_run(self, catalog: DataCatalog) -> None:
        """Begin anew."""
        self._catalog, self._stats = catalog, {}

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Measure."""
        self._measure(dataset_name, data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Measure."""
        self._measure(dataset_name, data)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Write the measures beside those of earlier runs."""
        path = self._project / VIZ_FOLDER / "stats.json"
        try:
            earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            write_json(path, {**earlier, **self._stats})
        except (OSError, ValueError):
            LOGGER.debug("The statistics for Kedro-Viz could not be written", exc_info=True)

    def _measure(self, name: str, data: Any) -> None:
        shape = getattr(data, "shape", None)
        is_table = hasattr(data, "n_obs") or hasattr(data, "columns")
        if self._catalog is None or not is_table or shape is None or len(shape) != 2:
            return
        stats = {"rows": int(shape[0]), "columns": int(shape[1])}
        path = plain_path(self._catalog.get(name))
        if path is not None and path.is_file():
            stats["file_size"] = path.stat().st_size
        self._stats[name.partition("@")[0]] = stats


def write_json(path: Path, content: Any) -> None:
    """Write beside, then put in place: Kedro-Viz may be reading."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(aside, path)
