"""What `kedro run` costs over calling the library: the demo cohort up to its synthetic rows.

Both are fresh processes. Kedro adds reading the configuration, the catalog with its files on disk
and, when tracking is on, MLflow; the reference keeps everything in memory and writes one file.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Comparison, in_pairs
from tests.project_copy import copy_project

PROJECT = Path(__file__).parents[1]


def library() -> None:
    """The same steps as the pipelines, without Kedro."""
    from synthome.datasets import AnnDataDataset
    from synthome.ingestion.config import IngestionConfig
    from synthome.ingestion.validate import validate_cohort
    from synthome.models.registry import Architecture, GeneratorSettings
    from synthome.preprocessing.splits import SplitConfig, assign_folds
    from synthome.preprocessing.transform import ExpressionTransform, TransformConfig
    from synthome.rng import generator
    from synthome.simulate.bulk_cohort import BulkCohortConfig, simulate_bulk_cohort

    cohort, _ = validate_cohort(
        simulate_bulk_cohort(BulkCohortConfig()), IngestionConfig(label="condition")
    )
    split = assign_folds(cohort, SplitConfig())
    train = split[split.obs["split"] == "train"].copy()
    transform = ExpressionTransform.fit(train, TransformConfig())
    settings = GeneratorSettings(
        architecture="calibrated", architectures={"calibrated": Architecture(generator="rare_vae")}
    )
    fitted = settings.build().fit(transform.apply(train))
    rng = generator(0, "sample")
    synthetic = transform.to_original(fitted.sample(1000, None, rng), rng)
    with tempfile.TemporaryDirectory() as folder:
        AnnDataDataset(f"{folder}/synthetic.h5ad").save(synthetic)


def _kedro(project: Path, tracking: str) -> None:
    command = [
        Path(sys.executable).with_name("kedro"), "run", "--pipeline=rare_vae",
        "--to-nodes=rare_vae.sample",
    ]  # fmt: skip
    environment = {**os.environ, "SYNTHOME_TRACKING": tracking}
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)


def _library() -> None:
    command = [sys.executable, "-m", "benchmarks.kedro_overhead"]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)


def run(device: str) -> Comparison:  # noqa: ARG001
    with tempfile.TemporaryDirectory() as folder:  # nobody's data and runs are written over
        project = copy_project(Path(folder))
        ours, reference = in_pairs(lambda: _kedro(project, "off"), _library, pairs=5)
        tracked, _ = in_pairs(lambda: _kedro(project, "on"), _library, pairs=5)
    extra = sorted(a - b for a, b in zip(ours, reference, strict=True))
    return Comparison(
        name="kedro_overhead",
        claim="`kedro run` of the demo up to synthetic.h5ad, against calling the library",
        protocol="fresh processes; tracking off; the reference keeps intermediate data in memory",
        ours=ours,
        reference=reference,
        extra={
            "overhead, s (median)": round(extra[len(extra) // 2], 2),
            "with MLflow tracking, s (median)": round(sorted(tracked)[len(tracked) // 2], 2),
        },
    )


if __name__ == "__main__":
    library()
