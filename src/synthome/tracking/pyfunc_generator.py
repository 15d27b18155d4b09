"""The MLflow face of a generator ("models from code": MLflow runs this file to build the model).

::

    model = mlflow.pyfunc.load_model("runs:/<run id>/generator")
    model.predict(pd.DataFrame({"label": ["FSHD", "FSHD", "control"]}))
    model.predict(pd.DataFrame(), params={"n_obs": 500, "temperature": 1.5, "seed": 1})

Each row of the input asks for one synthetic sample; its columns ``label`` and ``temperature`` may
both be left out. Without rows, ``n_obs`` samples are drawn in the class proportions of the training
data. The answer has the label in its first column and one column of log expression for each gene.
"""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel

if TYPE_CHECKING:
    from anndata import AnnData
    from mlflow.pyfunc import PythonModelContext

    from synthome.generator import Generator

DEFAULT_N_OBS = 100


class GeneratorModel(PythonModel):
    """Draws synthetic samples from the weights that lie beside it."""

    def load_context(self, context: "PythonModelContext") -> None:
        """Rebuild the generator from its weights."""
        from synthome.models.registry import load_generator

        self.generator: Generator = load_generator(context.artifacts["weights"])

    def predict(
        self,
        context: Any,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Draw one sample for each row of ``model_input``, or ``n_obs`` without rows.

        Parameters
        ----------
        context
            Not used; MLflow passes it.
        model_input
            Columns ``label`` and ``temperature``, both optional.
        params
            ``n_obs``, ``temperature`` (for rows without their own) and ``seed``.
        """
        given = {key: value for key, value in (params or {}).items() if value is not None}
        rng = np.random.default_rng(int(given.get("seed", 0)))
        temperature = given.get("temperature")
        if not len(model_input):
            n_obs = int(given.get("n_obs", DEFAULT_N_OBS))
            return _as_table(self._sample(n_obs, None, temperature, rng))
        labels = _column(model_input, "label")
        temperatures = _column(model_input, "temperature")
        if temperatures is None:
            wanted = None if labels is None else labels.astype(str).tolist()
            return _as_table(self._sample(len(model_input), wanted, temperature, rng))
        return self._one_temperature_after_another(labels, temperatures, rng)

    def _one_temperature_after_another(
        self, labels: pd.Series | None, temperatures: pd.Series, rng: np.random.Generator
    ) -> pd.DataFrame:
        parts = []
        for value, rows in temperatures.groupby(temperatures).groups.items():
            wanted = None if labels is None else labels.loc[rows].astype(str).tolist()
            table = _as_table(self._sample(len(rows), wanted, float(value), rng))
            parts.append(table.set_index(rows))
        return pd.concat(parts).sort_index().reset_index(drop=True)

    def _sample(
        self,
        n_obs: int,
        labels: Sequence[str] | None,
        temperature: float | None,
        rng: np.random.Generator,
    ) -> "AnnData":
        if temperature is None:
            return self.generator.sample(n_obs, labels, rng)
        if "temperature" not in inspect.signature(self.generator.sample).parameters:
            raise ValueError(
                f"{type(self.generator).__name__} has no temperature; leave it out of the call."
            )
        sample: Any = self.generator.sample  # the protocol knows no temperature
        return sample(n_obs, labels, rng, temperature=float(temperature))


def _column(table: pd.DataFrame, name: str) -> pd.Series | None:
    """Return a column with row numbers as index; None when it is not there or all empty."""
    if name not in table or table[name].isna().all():
        return None
    return table[name].reset_index(drop=True)


def _as_table(synthetic: "AnnData") -> pd.DataFrame:
    """Label column first, then one column for each gene."""
    from synthome.anndata_schema import label_key

    key = label_key(synthetic)
    table = synthetic.to_df().reset_index(drop=True)
    table.insert(0, key, synthetic.obs[key].astype(str).to_numpy(), allow_duplicates=True)
    return table


mlflow.models.set_model(GeneratorModel())
