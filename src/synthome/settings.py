"""How Kedro sees this project."""

from synthome.hooks import HOOKS as HOOKS

# A file of an environment changes single parameters, it does not replace whole blocks.
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
}

# Replaced by our own hook in HOOKS, which records the status of any slice of a pipeline.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-viz",)
