"""The trained generator as an MLflow model: the weights, the source of synthome, no pickle.

``mlflow.pyfunc.load_model(uri)`` works in any process that has the requirements, with or without
synthome installed, because the package travels with the model.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mlflow import MlflowClient
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import AnyType, ColSpec, ParamSchema, ParamSpec, Schema

from synthome import __file__ as synthome_file
from synthome import __version__
from synthome.tracking.store import current_store, quiet

REQUIREMENTS = (  # what a generator imports to sample; a test holds it complete
    "anndata",
    "jaxtyping",
    "numpy",
    "pandas",
    "pydantic",
    "safetensors",
    "scipy",
    "torch",
    "tqdm",
)


def signature() -> ModelSignature:
    """Describe the inputs and parameters of ``pyfunc_generator.GeneratorModel.predict``."""
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(AnyType(), "label", required=False),
                ColSpec(AnyType(), "temperature", required=False),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("n_obs", "long", None),
                ParamSpec("temperature", "double", None),
                ParamSpec("seed", "long", 0),
            ]
        ),
    )


def requirements() -> list[str]:
    """List the packages that sampling needs, at the versions that are installed here."""
    found = []
    for name in REQUIREMENTS:
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return found


def log_generator(
    client: MlflowClient, run_id: str, experiment_id: str, weights: Path, name: str
) -> str:
    """Log the generator in ``weights`` as a model of the run; return the id of the model."""
    logged = client.create_logged_model(
        experiment_id,
        name=name,
        source_run_id=run_id,
        model_type="generator",
        tags={"synthome.version": __version__},
    )
    with quiet(), current_store(client.tracking_uri):
        import mlflow.pyfunc

        Model.log(
            artifact_path=None,
            name=name,
            model_id=logged.model_id,
            run_id=run_id,
            flavor=mlflow.pyfunc,
            python_model=str(Path(__file__).with_name("pyfunc_generator.py")),
            artifacts={"weights": str(weights)},
            code_paths=[str(Path(synthome_file).parent)],
            pip_requirements=requirements(),
            signature=signature(),
        )
    return logged.model_id
