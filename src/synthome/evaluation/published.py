"""The five-seed robustness check of the published system, as published, beside copies and noise.

It is here to show what such a check can tell; ``protocol`` is the one to judge by. For each seed:

1. genes of *all* real rows are standardised, and reduced to 50 principal components (at most one
   less than there are rows);
2. K-means with 2 clusters on these components gives every real row a pseudo-label;
3. a generator is fitted to all real rows and draws 1,000; these go through the same standardiser,
   components and K-means, which labels them;
4. a forest of 100 trees learns the pseudo-labels of the synthetic rows, and is tested on 30 % of
   the real ones, stratified: accuracy, weighted F1, AUC;
5. gene means and spreads of the synthetic rows are compared with those of all real rows.

What is wrong with it, point by point:

- **Nothing is held out.** Scaling, components, clusters and the generator have seen the test rows.
- **The labels are no diagnosis.** They are clusters of the real rows, and diagnoses never enter:
  the forest has to find again the border between two K-means centres.
- **The rows are labelled by what they are tested with.** Whatever is drawn, near a patient or not,
  gets the label of the nearer centre, so that any rows on both sides of the border teach it. What
  does fail is a set that lies on one side: its accuracy is the share of that cluster, as for noise
  on cohorts whose clusters are made by genes that vary together.
- **The test is small.** 30 % of 96 rows are 29: the published 0.993 ± 0.015 is one row, in one run.
- **R² is blind to size.** The squared correlation of gene means, or of gene spreads, is 1 for any
  constant factor: halving every spread changes neither. The slope does change.
- **Copying is the optimum.** Exact copies of the patients are best or near it on every score, and
  no score asks whether somebody can be recognised.
- **Seeds are no samples.** The same rows are used five times: the sd over seeds says how stable
  training is, not how far the result holds for other patients.
- **The representative run** is the seed whose accuracy is closest to the mean; it is chosen after
  the results are known, on the score that is saturated.

The std slope and the Kolmogorov-Smirnov distance are ours: the publication reports neither. Its
co-expression score (``coexpression_r``, the 50 most variable genes with the ones of the diagonal)
stands outside its five seeds; it is here since it is the one that does tell noise from patients.

Departures, none in favour of anybody: the published diversity is that of 500 synthetic rows drawn
at random, here it is that of all; standardising the values is the same as standardising min-max
scaled ones; genes are the variable ones where ``var`` marks them; a cluster of a single row, at
which the published code stops, makes the split a plain one; and an AUC of a test part with one
cluster is NaN instead of 0.5.

RareDisease-Transcriptome-VAE, public code of the publication, commit 2ddc8fb:
src/robustness_check.py (steps 1-4), src/analyze_quality.py and src/compare_vae_gan.py (step 5).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float, Int
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from synthome.anndata_schema import label_key
from synthome.config import Config
from synthome.errors import InputError
from synthome.evaluation import fidelity
from synthome.evaluation.arms import Arm, scored_genes, synthetic_arm
from synthome.evaluation.utility import macro_auc
from synthome.generator import Generator
from synthome.preprocessing.scaling import Standardiser
from synthome.rng import generator as random_numbers
from synthome.samplers.controls import Copies, IndependentNoise

ACCURACY = "tstr_accuracy"
COLUMNS = ["generator", "seed", "metric", "value"]
SUMMARY_COLUMNS = ["generator", "metric", "mean", "sd", "representative_seed"]
CONTROLS: dict[str, Callable[[int], Generator]] = {
    "copies": lambda _seed: Copies(),
    "independent_noise": lambda _seed: IndependentNoise(),
}
Rows = Float[np.ndarray, "n_obs n_vars"]


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("each seed may be given once")
    return seeds


Seeds = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(_different)]


class PublishedConfig(Config):
    """The published choices."""

    seeds: Seeds = (42, 10, 2024, 777, 99)
    n_synthetic: int = Field(default=1000, ge=3)
    n_components: PositiveInt = 50
    n_clusters: int = Field(default=2, ge=2)
    test_size: float = Field(default=0.3, gt=0, lt=1)
    n_trees: PositiveInt = 100


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Steps 1 and 2, fitted to every real row, and the real rows of the test."""

    standardiser: Standardiser
    pca: Any
    kmeans: Any
    test: Int[np.ndarray, " n_test"]  # rows of ``components``
    components: Float[np.ndarray, "n_obs n_components"]
    cluster: Int[np.ndarray, " n_obs"]

    @classmethod
    def fit(cls, real: Rows, config: PublishedConfig, seed: int) -> Self:
        """Fit to all rows, the test rows among them."""
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA
        from sklearn.model_selection import train_test_split

        n_obs, n_vars = real.shape
        standardiser = Standardiser.fit(real)
        n_components = min(config.n_components, n_vars, n_obs - 1)
        pca = PCA(n_components=n_components, random_state=seed)
        components = pca.fit_transform(standardiser.transform(real))
        kmeans = KMeans(n_clusters=config.n_clusters, random_state=seed, n_init=10)
        cluster = kmeans.fit_predict(components)
        _, test = train_test_split(
            np.arange(n_obs),
            test_size=config.test_size,
            random_state=seed,
            stratify=cluster if np.bincount(cluster).min() > 1 else None,
        )
        return cls(standardiser, pca, kmeans, test, components, cluster)

    def utility(self, synthetic: Rows, n_trees: int, seed: int) -> dict[str, float]:
        """Steps 3 and 4: a forest trained on synthetic rows with the same pseudo-labels."""
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.metrics import accuracy_score, f1_score

        drawn = self.pca.transform(self.standardiser.transform(synthetic))
        forest = RandomForestClassifier(n_estimators=n_trees, random_state=seed, n_jobs=1)
        forest.fit(drawn, self.kmeans.predict(drawn))
        x, true = self.components[self.test], self.cluster[self.test]
        predicted = forest.predict(x)
        return {
            ACCURACY: float(accuracy_score(true, predicted)),
            "tstr_f1": float(f1_score(true, predicted, average="weighted")),
            "tstr_auc": macro_auc(true, forest.predict_proba(x), forest.classes_),
        }


def resemblance(real: Rows, synthetic: Float[np.ndarray, "m_obs n_vars"]) -> dict[str, float]:
    """Step 5: synthetic rows against all real ones."""
    return {
        "mean_r2": fidelity.mean_r2(real, synthetic),
        "std_r2": fidelity.std_r2(real, synthetic),
        "std_slope": fidelity.std_slope(real, synthetic),
        "ks": fidelity.ks_mean(real, synthetic),
        "diversity": fidelity.diversity(real, synthetic),
        "coexpression_r": fidelity.coexpression_published_r(real, synthetic),
    }


def published_check(
    adata: AnnData,
    makers: Mapping[str, Callable[[int], Generator]],
    config: PublishedConfig | None = None,
) -> pd.DataFrame:
    """Run the published check for each generator, and for copies and noise beside them.

    Parameters
    ----------
    adata
        Log expression of all samples with their labels. Generators are fitted to all genes, scores
        are computed on those of ``var["highly_variable"]`` where given.
    makers
        Makes an unfitted generator from a seed, by name. ``copies`` and ``independent_noise`` are
        always there: both names are those of the controls.

    Returns
    -------
    Columns ``generator``, ``seed``, ``metric``, ``value``.

    Raises
    ------
    InputError
        If samples have no label, are too few for the split or too alike for the clusters, or if a
        generator draws what is not finite.
    """
    config = config or PublishedConfig()
    genes = scored_genes(adata)
    real = _checked(adata, genes, config)
    rows: list[tuple[str, int, str, float]] = []
    for seed in config.seeds:
        labels = PseudoLabels.fit(real, config, seed)
        for name, make in {**makers, **CONTROLS}.items():
            fitted = make(seed).fit(adata)
            drawn = fitted.sample(config.n_synthetic, None, random_numbers(seed, "published"))
            synthetic = synthetic_arm(drawn, genes).x
            scores = labels.utility(synthetic, config.n_trees, seed) | resemblance(real, synthetic)
            rows += [(name, seed, metric, value) for metric, value in scores.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def published_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and sd (ddof 1) over seeds, and the run that the publication would show.

    That is the seed whose accuracy is closest to the mean, the first of equally close ones. Seeds
    whose value is NaN are left out of mean and sd.

    Parameters
    ----------
    table
        What ``published_check`` returned.

    Returns
    -------
    Columns ``generator``, ``metric``, ``mean``, ``sd``, ``representative_seed``, in the order of
    ``table``.
    """
    missing = [column for column in COLUMNS if column not in table]
    if missing or table.empty:
        raise InputError(
            f"The table of the published check must have rows and the columns {', '.join(COLUMNS)},"
            f" but it has {len(table)} rows and lacks {', '.join(missing) or 'no column'}."
        )
    found = table.groupby(["generator", "metric"], sort=False)["value"].agg(["mean", "std"])
    summary = found.reset_index().rename(columns={"std": "sd"})
    representative = {
        name: representative_seed(part)
        for name, part in table[table["metric"] == ACCURACY].groupby("generator", sort=False)
    }
    lacking = [name for name in summary["generator"].unique() if name not in representative]
    if lacking:
        raise InputError(
            f"The table of the published check has no {ACCURACY} for {', '.join(lacking)}, by which"
            " the representative run is chosen. Give the whole table."
        )
    return summary.assign(representative_seed=summary["generator"].map(representative))[
        SUMMARY_COLUMNS
    ]


def representative_seed(accuracy: pd.DataFrame) -> int:
    """Seed of the value closest to the mean; equal up to rounding error, the first."""
    distance = (accuracy["value"] - accuracy["value"].mean()).abs().round(12)
    return int(accuracy["seed"].iloc[int(np.argmin(distance.to_numpy()))])


def _checked(adata: AnnData, genes: pd.Index, config: PublishedConfig) -> Rows:
    """The scored genes of the real rows, once they are known to allow the check."""
    unlabelled = int(adata.obs[label_key(adata)].isna().sum())
    if unlabelled:
        raise InputError(
            f"{unlabelled} of {adata.n_obs} samples have no {label_key(adata)}; leave them out "
            "before the published check, since generators learn the labels."
        )
    n_test = math.ceil(config.test_size * adata.n_obs)
    if min(n_test, adata.n_obs - n_test) < config.n_clusters:
        raise InputError(
            f"The published check needs at least {config.n_clusters} samples (one per cluster) on "
            f"each side of its split, but test_size {config.test_size:g} of {adata.n_obs} samples "
            f"gives {n_test} and {adata.n_obs - n_test}. Give more samples, or fewer clusters."
        )
    real = Arm.of(adata, genes).x
    if len(np.unique(real, axis=0)) < config.n_clusters:
        raise InputError(
            f"The published check needs {config.n_clusters} different samples to form as many "
            "clusters, but the samples are all alike. Give another cohort, or fewer clusters."
        )
    return real
