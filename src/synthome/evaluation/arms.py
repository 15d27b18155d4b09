"""One fold, one arm: every score of synthetic rows against real training and held-out rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float, Int
from scipy import sparse

from synthome.anndata_schema import labels as labels_of
from synthome.errors import InputError
from synthome.evaluation import biology, fidelity, modules, privacy, utility
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.two_sample import c2st_auc

HIGHLY_VARIABLE = "highly_variable"
ATTACK_COLUMNS = ["attack", "sample", "label", "member", "score"]


@dataclass(frozen=True, eq=False)
class Arm:
    """Log expression and classes; float64 of single-precision values, so that copies are equal."""

    x: Float[np.ndarray, "n_obs n_vars"]
    y: np.ndarray
    names: np.ndarray

    @classmethod
    def of(cls, adata: AnnData, genes: pd.Index) -> Self:
        """The chosen genes of ``adata``."""
        x = adata.X if adata.var_names.equals(genes) else adata[:, genes].X
        x = x.toarray() if sparse.issparse(x) else np.asarray(x)
        names = adata.obs_names.to_numpy(dtype=str)
        return cls(x.astype(np.float32).astype(np.float64), labels_of(adata), names)

    def take(self, rows: Int[np.ndarray, " n"]) -> "Arm":
        """Some rows."""
        return Arm(self.x[rows], self.y[rows], self.names[rows])

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and labels, as classifiers take them."""
        return self.x, self.y


def scored_genes(train: AnnData) -> pd.Index:
    """The genes on which scores are computed: the variable ones of the training rows."""
    if HIGHLY_VARIABLE not in train.var:
        return train.var_names
    return train.var_names[train.var[HIGHLY_VARIABLE].to_numpy(dtype=bool)]


def synthetic_arm(synthetic: AnnData, genes: pd.Index) -> Arm:
    """The scored genes of what a generator drew.

    Raises
    ------
    InputError
        If genes are missing, or if a value is not finite.
    """
    missing = genes.difference(synthetic.var_names)
    if len(missing):
        raise InputError(
            f"The synthetic rows lack {len(missing):,} of the {len(genes):,} genes to score, such "
            f"as {missing[0]!r}. A generator must return every gene it was fitted to."
        )
    arm = Arm.of(synthetic, genes)
    wrong = ~np.isfinite(arm.x)
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        raise InputError(
            f"The generator drew {int(wrong.sum()):,} values that are not finite, the first being "
            f"{arm.x[i, j]} in row {arm.names[i]!r}, gene {genes[j]!r}. It has probably diverged: "
            "lower its learning rate, or look at its loss curve."
        )
    return arm


@dataclass(frozen=True, eq=False)
class RealFold:
    """What the training rows of a fold decide for every arm: genes, modules, bandwidth, TRTR."""

    train: Arm
    test: Arm
    genes: Int[np.ndarray, " n_coexpression"]  # columns of the co-expression scores
    module: Int[np.ndarray, " n_coexpression"]
    squared_bandwidth: float
    learned: dict[str, float]  # scores of training on real rows
    seed: int

    @classmethod
    def of(cls, train: Arm, test: Arm, rng: np.random.Generator, config: EvaluationConfig) -> Self:
        """Measure it on the training rows alone; ``learned`` is scored on the test rows."""
        genes = fidelity.most_variable(train.x, config.n_coexpression_genes)
        seed = int(rng.integers(2**31 - 1))
        return cls(
            train=train,
            test=test,
            genes=genes,
            module=modules.coexpression_modules(train.x[:, genes]),
            squared_bandwidth=fidelity.median_squared_distance(train.x),
            learned=utility.train_and_test(
                train.rows(), test.rows(), len(train.y), seed, prefix="trtr"
            ),
            seed=seed,
        )


def score_synthetic(
    fold: RealFold,
    synthetic: Arm,
    rng: np.random.Generator,
    config: EvaluationConfig,
    augmentation: Arm | None = None,
) -> dict[str, float]:
    """All scores of synthetic rows but the attacks, by key.

    ``augmentation`` holds the rows that join the real training rows; by default ``synthetic``.
    """
    scores = against_train(fold, synthetic, rng, config) | against_test(
        fold, synthetic, rng, config
    )
    n_train = len(fold.train.y)
    test = fold.test.rows()
    alone = utility.train_and_test(synthetic.rows(), test, n_train, fold.seed, prefix="tstr")
    added = synthetic if augmentation is None else augmentation
    both = utility.pooled(fold.train.rows(), added.rows())
    joined = utility.train_and_test(both, test, n_train, fold.seed, prefix="trtr")
    return scores | _keyed("utility", alone | utility.gains(joined, fold.learned, "trtr"))


def score_ceiling(
    fold: RealFold, rng: np.random.Generator, config: EvaluationConfig
) -> dict[str, float]:
    """The same scores of real rows in the place of synthetic ones.

    Held-out rows stand where training rows are the reference, and the other way round. The gain
    of augmentation is what the second half of the real training rows adds to the first.
    """
    scores = against_train(fold, fold.test, rng, config) | against_test(
        fold, fold.train, rng, config
    )
    real = {f"tstr_{k.removeprefix('trtr_')}": v for k, v in fold.learned.items()}
    order = rng.permutation(len(fold.train.y))
    half = fold.train.take(order[utility.first_per_class(fold.train.y[order], 0.5)])
    before = utility.train_and_test(
        half.rows(), fold.test.rows(), len(fold.train.y), fold.seed, prefix="trtr"
    )
    return scores | _keyed("utility", real | utility.gains(fold.learned, before, "trtr"))


def against_train(
    fold: RealFold, other: Arm, rng: np.random.Generator, config: EvaluationConfig
) -> dict[str, float]:
    """Scores whose reference is the training part."""
    real, x = fold.train.x, other.x
    genes = real[:, fold.genes], x[:, fold.genes]
    few = _row_draws(len(x), len(fold.test.x), config.n_draws, rng)
    near = [fidelity.density_and_coverage(real, x[rows], config.n_neighbours) for rows in few]
    some = _some(x, config.max_pairs, rng)
    return {
        "fidelity/mean_r2": fidelity.mean_r2(real, x),
        "fidelity/mean_slope": fidelity.mean_slope(real, x),
        "fidelity/std_r2": fidelity.std_r2(real, x),
        "fidelity/std_slope": fidelity.std_slope(real, x),
        "fidelity/diversity": fidelity.diversity(real, some),
        "fidelity/coexpression_train_r": fidelity.coexpression_r(*genes),
        "fidelity/coexpression_published_r": fidelity.coexpression_published_r(real, x),
        "fidelity/module_density": modules.module_density(*genes, fold.module),
        "fidelity/c2st_train_auc": c2st_auc(real, x, rng, n_draws=1),
        "fidelity/density_train": float(np.mean([density for density, _ in near])),
        "fidelity/coverage_train": float(np.mean([coverage for _, coverage in near])),
        "fidelity/beyond_range": fidelity.beyond_range(real, x),
        "biology/de_recovery": biology.de_recovery(
            real, fold.train.y, x, other.y, config.n_de_genes
        ),
        "biology/lfc_slope": biology.lfc_slope(real, fold.train.y, x, other.y),
    }


def against_test(
    fold: RealFold, other: Arm, rng: np.random.Generator, config: EvaluationConfig
) -> dict[str, float]:
    """Scores whose reference is the held-out part."""
    real, x = fold.test.x, other.x
    genes = real[:, fold.genes], x[:, fold.genes]
    few = list(_row_draws(len(x), len(fold.train.x), config.n_draws, rng))
    near = [fidelity.density_and_coverage(real, x[rows], config.n_neighbours) for rows in few]
    some = _some(x, config.max_pairs, rng)
    return {
        "fidelity/coexpression_r": fidelity.coexpression_r(*genes),
        "fidelity/module_connectivity_r": modules.module_connectivity_r(*genes, fold.module),
        "fidelity/c2st_auc": c2st_auc(real, x, rng, n_draws=config.n_draws),
        "fidelity/mmd2": fidelity.mmd2(real, some, fold.squared_bandwidth),
        "fidelity/density": float(np.mean([density for density, _ in near])),
        "fidelity/coverage": float(np.mean([coverage for _, coverage in near])),
        "fidelity/ks": float(np.mean([fidelity.ks_mean(real, x[rows]) for rows in few])),
        "fidelity/interval_coverage": fidelity.interval_coverage(real, x),
        "biology/de_recovery_test": biology.de_recovery(
            real, fold.test.y, x, other.y, config.n_de_genes
        ),
    }


def attack(fold: RealFold, synthetic: Arm) -> pd.DataFrame:
    """Centred scores of every attack: training rows are members, held-out rows are not."""
    classes, sizes = np.unique(fold.train.y, return_counts=True)
    published = {str(c): int(n) for c, n in zip(classes, sizes, strict=True)}
    return _attack(fold.train, fold.test, synthetic, published)


def attack_ceiling(fold: RealFold, rng: np.random.Generator) -> pd.DataFrame:
    """Attacks on a released set that nobody of the candidates has shaped: real held-out rows.

    Half of the held-out rows are released and the other half are non-members, then the halves
    change places. Members had no part in what is released, so that 0.5 is the truth.
    """
    order = rng.permutation(len(fold.test.y))
    first = order[utility.first_per_class(fold.test.y[order], 0.5)]
    halves = np.sort(first), np.setdiff1d(order, first)
    found = []
    for released, others in (halves, halves[::-1]):
        if len(released) == 0 or len(others) == 0:
            continue
        synthetic, nonmembers = fold.test.take(released), fold.test.take(others)
        classes, sizes = np.unique(synthetic.y, return_counts=True)
        published = {str(c): int(n) for c, n in zip(classes, sizes, strict=True)}
        members = fold.train.take(np.flatnonzero(np.isin(fold.train.y, classes)))
        nonmembers = nonmembers.take(np.flatnonzero(np.isin(nonmembers.y, classes)))
        if len(nonmembers.y) and len(members.y):
            found.append(_attack(members, nonmembers, synthetic, published))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=ATTACK_COLUMNS)


def _attack(members: Arm, others: Arm, synthetic: Arm, published: dict[str, int]) -> pd.DataFrame:
    x, y = utility.pooled(members.rows(), others.rows())
    scores = privacy.attack_scores(x, y, synthetic.x, synthetic.y, published)
    names = np.concatenate([members.names, others.names])
    is_member = np.repeat([True, False], [len(members.y), len(others.y)])
    tables = [
        pd.DataFrame(
            {
                "attack": name,
                "sample": names,
                "label": y,
                "member": is_member,
                "score": privacy.centred(score, y),
            }
        )
        for name, score in scores.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _row_draws(
    n_rows: int, n_wanted: int, n_draws: int, rng: np.random.Generator
) -> Iterator[Int[np.ndarray, " n"]]:
    """Random sets of ``n_wanted`` rows, so that all arms are compared with equal numbers."""
    if n_rows <= n_wanted:
        yield np.arange(n_rows)
        return
    for _ in range(n_draws):
        yield rng.choice(n_rows, size=n_wanted, replace=False)


def _some(
    x: Float[np.ndarray, "n p"], n_most: int, rng: np.random.Generator
) -> Float[np.ndarray, "m p"]:
    """At most ``n_most`` rows."""
    return x if len(x) <= n_most else x[rng.choice(len(x), size=n_most, replace=False)]


def _keyed(group: str, scores: dict[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in scores.items()}
