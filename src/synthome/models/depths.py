"""How deep synthetic cells and spots are sequenced, and how their counts are wrapped.

A model may know some genes of the transcriptome only. For a row of class y,

    l ~ LogNormal(y)            counts over the whole transcriptome                        (1)
    s ~ LogNormal(y), s <= 1    share of them in the genes of the model                    (2)
    x_g ~ NegativeBinomial(l s rho_g, theta_g), or 0 with probability pi_g                 (3)

and the log expression of the row is log(1 + t x_g / l), t as in the training rows.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from anndata import AnnData
from jaxtyping import Float, Int
from scipy import sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE
from synthome.generator import as_synthetic
from synthome.preprocessing.library_size import LibrarySizes

PARTS_PER = 1e6  # shares of a library are kept in whole millionths


@dataclass(frozen=True, eq=False)
class Depths:
    """Eqs. 1 and 2, fitted."""

    totals: LibrarySizes
    shares: LibrarySizes
    target_sum: float

    @classmethod
    def fit(cls, train: AnnData, of_model: Float[np.ndarray, " n_obs"], labels: np.ndarray) -> Self:
        """Measure ``train``, where ``of_model`` are the counts of each row in the model's genes."""
        total = of_model
        if LIBRARY_SIZE in train.obs:
            total = train.obs[LIBRARY_SIZE].to_numpy(np.float64)
        shares = np.maximum(PARTS_PER * of_model / np.maximum(total, 1.0), 1.0)
        return cls(
            LibrarySizes.fit(np.maximum(total, 1.0), labels),
            LibrarySizes.fit(shares, labels),
            _target_sum(train, total),
        )

    def draw(
        self, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, " n_obs"], Float[np.ndarray, " n_obs"]]:
        """l, and the counts that the genes of the model are expected to have."""
        total = np.maximum(self.totals.draw(labels, rng), 1.0)
        share = np.minimum(self.shares.draw(labels, rng) / PARTS_PER, 1.0)
        return total, np.maximum(total * share, 1.0)

    def wrap(
        self,
        counts: sparse.csr_matrix,
        total: Float[np.ndarray, " n_obs"],
        labels: np.ndarray,
        like: AnnData,
    ) -> AnnData:
        """Drawn counts in ``layers``, their log expression in ``X``, l in ``obs``."""
        total = np.maximum(total, np.asarray(counts.sum(axis=1)).ravel())
        rates = sparse.csr_matrix(sparse.diags_array(self.target_sum / total) @ counts)
        result = as_synthetic(rates.log1p().toarray(), labels, like)
        result.layers[COUNTS] = counts
        result.obs[LIBRARY_SIZE] = total
        return result

    def state(self) -> dict[str, np.ndarray]:
        """All but the names of the classes and ``target_sum``, as arrays."""
        return {
            "loc": self.totals.loc,
            "scale": self.totals.scale,
            "share_loc": self.shares.loc,
            "share_scale": self.shares.scale,
        }

    @classmethod
    def from_state(
        cls, classes: tuple[str, ...], state: dict[str, np.ndarray], target_sum: float
    ) -> Self:
        """Rebuild what gave ``state``."""
        return cls(
            LibrarySizes(classes, state["loc"], state["scale"]),
            LibrarySizes(classes, state["share_loc"], state["share_scale"]),
            target_sum,
        )


def shares_of_batches(
    classes: tuple[str, ...], labels: np.ndarray, batch: Int[np.ndarray, " n_obs"], n_batches: int
) -> Float[np.ndarray, "n_classes n_batches"]:
    """Share of each batch, or section, among the rows of each class; one batch where none is."""
    table = np.zeros((len(classes), max(1, n_batches)))
    np.add.at(table, (np.searchsorted(classes, labels), batch), 1.0)
    return table / table.sum(axis=1, keepdims=True)


def draw_batches(
    share: Float[np.ndarray, "n_classes n_batches"],
    classes: tuple[str, ...],
    labels: np.ndarray,
    rng: np.random.Generator,
) -> Int[np.ndarray, " n_obs"]:
    """A batch for each label, as often as in its class."""
    edges = share.cumsum(axis=1)[np.searchsorted(classes, labels)]
    return (rng.random((len(labels), 1)) > edges[:, :-1]).sum(axis=1)


def draw_counts(
    mu: Float[np.ndarray, "n_obs n_vars"],
    theta: Float[np.ndarray, "..."] | None,
    pi: Float[np.ndarray, "n_obs n_vars"] | None,
    rng: np.random.Generator,
) -> sparse.csr_matrix:
    """Eq. 3; a Poisson law without ``theta``, no added zeros without ``pi``."""
    if theta is not None:
        mu = mu * rng.gamma(np.broadcast_to(theta, mu.shape)) / theta
    drawn = rng.poisson(mu).astype(np.float32)
    if pi is not None:
        drawn[rng.random(drawn.shape) < pi] = 0.0
    return sparse.csr_matrix(drawn)


def _target_sum(train: AnnData, total: Float[np.ndarray, " n_obs"]) -> float:
    """Sum t of the log expression log(1 + t c / l) in ``X``, read off its stored values."""
    counts = sparse.coo_matrix(train.layers[COUNTS][:100])
    some = slice(0, 1000)
    x = sparse.csr_matrix(train.X[:100])
    rows, columns = counts.row[some], counts.col[some]
    values = np.asarray(x[rows, columns], dtype=np.float64).ravel()
    return float(np.median(np.expm1(values) * total[rows] / counts.data[some]))
