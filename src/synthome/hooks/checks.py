"""Names are compared with what the configuration knows, before anything is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl

from synthome.console.parameters import (
    asked_names,
    declared_parameters,
    nearest,
    unknown_names,
    unknown_parameter,
)
from synthome.errors import InputError


class CheckHooks:
    """Refuses an environment or a parameter that does not exist, in notebooks too."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Check the names that the session was created with."""
        loader: Any = context.config_loader
        source = Path(str(loader.conf_source))
        if not source.is_dir():  # packaged or remote configuration
            return
        environment = str(loader.env or loader.default_run_env)
        folders = [source / str(loader.base_env), source / environment]
        if not folders[1].is_dir():
            known = sorted(path.name for path in source.iterdir() if path.is_dir())
            raise InputError(
                f"There is no environment {environment!r} in {source}.{nearest(environment, known)}"
                f" There are: {', '.join(known)}."
            )
        if loader.runtime_params:
            patterns = loader.config_patterns["parameters"]
            check_parameters(dict(loader.runtime_params), folders, patterns)


def check_parameters(
    given: dict[str, Any], folders: Sequence[Path], patterns: Sequence[str]
) -> None:
    """Refuse names that no configuration file and no config class of any pipeline knows."""
    asked, declared = asked_names(folders), declared_parameters(folders, patterns)
    if not unknown_names(given, asked, declared):
        return
    # An option that the files leave at its default is known to the config class alone; look at
    # all pipelines, for the parameter may belong to another one.
    unknown = unknown_names(given, asked, declared, parameter_classes(None))
    if unknown:
        raise unknown_parameter(unknown[0], asked, declared)


def parameter_classes(pipeline_names: Sequence[str] | None) -> dict[str, Any]:
    """Dotted paths of the parameters that nodes take as a config class, and that class."""
    from kedro.framework.project import pipelines
    from kedro.validation.type_extractor import TypeExtractor

    requested = pipelines._requested_pipelines
    pipelines.set_requested(list(pipeline_names) if pipeline_names else None)
    try:
        return TypeExtractor(dict(pipelines)).extract_types_from_pipelines()
    finally:
        pipelines.set_requested(requested)
