"""What happens around the nodes of a run: checks, lines on the page, MLflow, Kedro-Viz.

Kedro calls these classes; what they do lives in ``console`` and ``tracking``. MLflow and Kedro-Viz
are imported when a pipeline runs, so that the other commands stay quick.
"""

from synthome.hooks.checks import CheckHooks
from synthome.hooks.lineage import RunStatusHooks, StatsHooks
from synthome.hooks.lines import LineHooks
from synthome.hooks.mlflow import MlflowHooks
from synthome.hooks.outcome import OutcomeHooks
from synthome.hooks.stages import StageHooks

# Kedro calls the last one first: what a run ends with is told when all others have finished.
HOOKS = (
    OutcomeHooks(), CheckHooks(), StageHooks(), LineHooks(), MlflowHooks(), RunStatusHooks(),
    StatsHooks(),
)  # fmt: skip
