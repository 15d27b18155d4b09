"""A run whose outputs say that a part of it failed ends with an exit code that says so, too.

The catalog names what to look at: ``metadata: {outcome: {column: status, bad: failed, name: id}}``
on a table. The run itself goes through to its last node, so that the page shows the failure.
"""

from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from synthome.config import Config
from synthome.errors import PartlyFailed
from synthome.hooks.places import metadata


class Outcome(Config):
    """Rows of a table whose ``column`` is ``bad``; ``name`` is the column that names them."""

    column: str
    bad: str
    name: str


class OutcomeHooks:
    """Remembers what failed while the run goes on, and tells it when everything is written."""

    def __init__(self) -> None:
        self._wanted: dict[str, Outcome] = {}
        self._failed: list[str] = []

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Look up which tables tell an outcome."""
        self._failed = []
        asked = {
            name: metadata(catalog.get(name), "outcome") for name in sorted(pipeline.all_outputs())
        }
        self._wanted = {name: Outcome.model_validate(how) for name, how in asked.items() if how}

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Note the rows that failed."""
        if wanted := self._wanted.get(dataset_name):
            rows = data[data[wanted.column] == wanted.bad]
            self._failed += map(str, rows[wanted.name])

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """End with an error that names them."""
        failed, self._failed = self._failed, []
        if failed:
            count = (
                "One of those compared" if len(failed) == 1 else f"{len(failed)} of those compared"
            )
            raise PartlyFailed(
                f"{count} failed: {', '.join(failed)}. All outputs were written; the page has the "
                "reasons, and another run tries again what failed."
            )
