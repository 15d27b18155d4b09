"""Small cohorts in folders, in all the forms that people keep them in."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

SHARED = Path(os.environ.get("SYNTHOME_DATA", Path(__file__).parents[3] / "shared" / "data"))


def real_cohort(name: str) -> Path:
    """Folder of a real cohort; the test is skipped where it is not."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the real cohort {name} is not here (set SYNTHOME_DATA to its parent folder)")
    return folder


def counts_table(n_obs: int = 8, n_vars: int = 30, seed: int = 0) -> pd.DataFrame:
    """Counts, samples x genes, without empty samples or constant genes."""
    rng = np.random.default_rng(seed)
    counts = rng.negative_binomial(3, 0.05, size=(n_obs, n_vars)) + 1
    return pd.DataFrame(
        counts,
        index=pd.Index([f"S{i:02d}" for i in range(n_obs)], name="sample_id"),
        columns=[f"GENE{j}" for j in range(n_vars)],
    )


def sheet_table(n_obs: int = 8) -> pd.DataFrame:
    """A sheet of two classes, with numbers, text with gaps and a column of yes and no."""
    index = pd.Index([f"S{i:02d}" for i in range(n_obs)], name="sample_id")
    sheet = pd.DataFrame(
        {
            "condition": ["ill", "well"] * (n_obs // 2),
            "age": [40.5 + i for i in range(n_obs)],
            "patient": [f"P{i // 2}" for i in range(n_obs)],
            "sex": ["f", None] * (n_obs // 2),
            "use": ["yes"] * (n_obs - 1) + ["no"],
        },
        index=index,
    )
    return sheet


def nothing() -> AnnData:
    """The cohort that was not given."""
    empty = pd.DataFrame(index=pd.Index([], dtype=str))
    return AnnData(np.zeros((0, 0)), obs=empty, var=empty.copy())


def write(frame: pd.DataFrame, path: Path, **options: object) -> Path:
    """Write a table in the format that the name says; gzip by a name that ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".parquet" in path.name:
        frame.to_parquet(path, **options)
    else:
        separator = options.pop("sep", "\t" if ".tsv" in path.name else ",")
        frame.to_csv(path, sep=separator, **options)
    return path


def write_cohort(
    folder: Path,
    expression: pd.DataFrame | None = None,
    sheet: pd.DataFrame | None = None,
    names: tuple[str, str] = ("expression.csv", "samples.csv"),
) -> Path:
    """A folder with both tables; genes x samples when the table is given so."""
    write(counts_table() if expression is None else expression, folder / names[0])
    write(sheet_table() if sheet is None else sheet, folder / names[1])
    return folder
