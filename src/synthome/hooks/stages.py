"""A stage that all systems share serves those that have been run."""

import logging
from collections.abc import Sequence

from kedro.framework.context import KedroContext
from kedro.framework.context.context import _convert_paths_to_absolute_posix
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

STAGES = ("augmentation", "evaluation", "export")
LOGGER = logging.getLogger("synthome.run")


class StageHooks:
    """Leaves out of a stage each system whose own data are not there yet.

    Sampling again after ``rare_vae`` must not ask for the weights of ``ldvae``. When no system is
    ready nothing is left out, so that the error says what to run first.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Narrow the pipelines that the session is going to look up."""
        requested = list(pipelines._requested_pipelines or [])
        if not set(requested) & set(STAGES):
            return
        pipelines.set_requested(None)  # what an earlier session narrowed is made again
        pipelines.set_requested(requested)
        found = {name: pipelines[name] for name in requested if name in pipelines}
        catalog = DataCatalog.from_config(
            _convert_paths_to_absolute_posix(context.project_path, context.config_loader["catalog"])
        )
        for name in set(found) & set(STAGES):
            pipelines[name] = ready(name, found[name], list(found.values()), catalog)


def ready(
    name: str, stage: Pipeline, together: Sequence[Pipeline], catalog: DataCatalog
) -> Pipeline:
    """The nodes of ``stage`` whose system has what it needs, on disk or made by ``together``."""
    made = {output for pipeline in together for output in pipeline.all_outputs()}
    missing: dict[str, list[str]] = {}  # namespace -> datasets
    for node in stage.nodes:
        own = [i for i in node.inputs if i.startswith(f"{node.namespace}.") and i not in made]
        missing.setdefault(str(node.namespace), []).extend(i for i in own if not catalog.exists(i))
    absent = {namespace: datasets[0] for namespace, datasets in missing.items() if datasets}
    if len(absent) == len(missing):
        return stage
    for namespace, dataset in absent.items():
        LOGGER.info("%s: %s is left out, for %s is not there yet.", name, namespace, dataset)
    return Pipeline([node for node in stage.nodes if node.namespace not in absent])
