"""Raw values to log expression and back: fitted on training rows, inverted exactly.

For sample i with library size l_i (sum over all genes of its source) and gene j:

    counts    x_ij = log(1 + t c_ij / l_i)               t = 10^6 (CPM), cells 10^4   (1)
    linear    x_ij = log(1 + max(v_ij, f))                TPM, microarray intensity   (2)
    log       x_ij = v_ij                                 taken as it is              (3)

Genes are kept as edgeR::filterByExpr keeps them (Chen, Lun, Smyth 2016): a gene must reach
``min_expression`` in as many training samples as a class could have that alone expresses it, and
which class these belong to is not looked at, so that the choice does not favour differences. Here
that number is ``min_fraction`` of the training samples, at most the size of the smallest class, at
least two; edgeR takes the smallest class up to 10, and 70 % of what exceeds it. On every scale, a
gene without variance in the training rows is dropped. Variable genes are those with the largest
plain variance of x, as in the reference protocol (top 2,000 by variance of log1p CPM).

Counts of cells are sparse, and stay so: eq. 1 maps 0 to 0. A CSR matrix of counts gives a CSR
matrix of log expression (float32, computed in double precision); dense counts give dense float64.

The floor f of eq. 2 is 0 unless the training rows hold negative values, as background-subtracted
microarrays do: these are noise around zero, and f is their median size (110 on the leukaemia arrays
of Golub et al. 1999, for which 100 is the customary threshold). Values below f come back as f.

Chen, Lun, Smyth (2016), F1000Research 5, 1438. doi:10.12688/f1000research.8987.2
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy import sparse

from synthome import anndata_schema as schema
from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, UNS, Scale
from synthome.config import Config
from synthome.errors import InputError
from synthome.preprocessing.library_size import LibrarySizes
from synthome.preprocessing.splits import is_known

LINEAR = "linear"
NAME = {"linear": "log1p", "log": "log, as given"}
STRETCH = 2**23  # stored values of a sparse matrix that are measured at a time
PER = {1e6: "CPM", 1e4: "CP10k"}
GENE_COLUMNS = ["highly_variable", "mean", "std", "min", "max"]
FORMAT = "synthome.ExpressionTransform/1"

logger = logging.getLogger(__name__)


Values: TypeAlias = np.ndarray | sparse.csr_matrix


class TransformConfig(Config):
    """Choices of gene selection.

    ``min_expression`` is in counts per ``target_sum``, or in the unit of linear values.
    """

    target_sum: PositiveFloat = 1e6
    min_expression: NonNegativeFloat = 1.0
    min_fraction: float = Field(default=0.1, ge=0, le=1)
    n_top_genes: PositiveInt = 2000


@dataclass(frozen=True, eq=False)
class ExpressionTransform:
    """Eqs. 1-3 with the genes, moments and library sizes of the training rows."""

    config: TransformConfig
    scale: Scale
    genes: pd.DataFrame  # kept genes x (highly_variable, mean, std, min, max) of x; std with ddof 0
    floor: float  # f of eq. 2
    min_samples: int  # in which a gene had to be expressed; 0 on the log scale
    n_vars_seen: int  # genes to choose from
    library_sizes: LibrarySizes | None  # of counts

    @classmethod
    def fit(cls, train: AnnData, config: TransformConfig) -> Self:
        """Choose genes and measure them on every row of ``train``: pass training rows alone.

        Raises
        ------
        InputError
            If no gene is left.
        """
        scale = schema.scale(train)
        values = _values(train, scale)
        library_size = _library_size(train, values) if scale == "counts" else None
        floor = (
            _noise_floor(values) if isinstance(values, np.ndarray) and scale == "linear" else 0.0
        )
        x = _log_expression(values, scale, config.target_sum, library_size, floor)
        min_samples = 0 if scale == "log" else _min_samples(train, config.min_fraction)
        if isinstance(x, np.ndarray):
            kept = _expressed(x, config.min_expression, floor, min_samples)
        else:
            measured, n_expressed = _sparse_moments(x, math.log1p(config.min_expression))
            varies = (measured["max"] > measured["min"]).to_numpy()
            kept = varies & (n_expressed >= min_samples)
        if not kept.any():
            raise InputError(
                f"None of the {train.n_vars:,} genes varies and reaches {config.min_expression:g} "
                f"in {min_samples} of the {train.n_obs} training samples. Lower min_expression or "
                f"min_fraction, and see that the values really are on the {scale} scale."
            )
        logger.info("Kept %s of %s genes.", f"{kept.sum():,}", f"{train.n_vars:,}")
        return cls(
            config=config,
            scale=scale,
            genes=_ranked(
                _moments(x[:, kept]) if isinstance(x, np.ndarray) else measured[kept],
                train.var_names[kept],
                config.n_top_genes,
            ),
            floor=floor,
            min_samples=min_samples,
            n_vars_seen=train.n_vars,
            library_sizes=None
            if library_size is None
            else LibrarySizes.fit(library_size, schema.labels(train)),
        )

    @property
    def var_names(self) -> pd.Index:
        """The genes kept, in the order of the training data."""
        return self.genes.index

    def apply(self, adata: AnnData, missing: Literal["error", "restrict"] = "error") -> AnnData:
        """Log expression of any rows: a new AnnData with the kept genes, in the fitted order.

        ``X`` is x of eqs. 1-3, float64, or CSR of float32 where the counts are CSR;
        ``layers["counts"]`` or ``layers["linear"]`` keeps the values as given,
        ``obs["library_size"]`` their sum over all genes of the input (counts), and ``var`` the
        training moments. Applied to its own result it changes nothing.

        Parameters
        ----------
        adata
            Training rows, test rows or another cohort, on the scale of training.
        missing
            Whether genes that ``adata`` lacks are an error, or left out (external cohorts).

        Raises
        ------
        InputError
            If the scale is another than in training, or genes are missing.
        """
        scale = schema.scale(adata)
        if scale != self.scale:
            raise InputError(
                f"The transform was fitted on values on the {self.scale} scale, but these are on "
                f"the {scale} scale. Give both cohorts on the same scale."
            )
        there = self.var_names.isin(adata.var_names)
        if not there.any() or (missing == "error" and not there.all()):
            absent = self.var_names[~there]
            raise InputError(
                f"{len(absent):,} of the {len(there):,} genes of the transform are missing in the "
                f"data: {', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}. Give the "
                "cohort with the gene names used in training."
            )
        shared = self.var_names[there]
        everything = _values(adata, scale)
        library_size = _library_size(adata, everything) if scale == "counts" else None
        if isinstance(everything, np.ndarray):
            result = adata[:, shared].copy()
            values: Values = _values(result, scale)
        else:
            result, values = _of_counts(adata, shared, everything)
        if library_size is not None:
            result.obs[LIBRARY_SIZE] = library_size
        if scale != "log":
            result.layers[COUNTS if scale == "counts" else LINEAR] = values
        x = _log_expression(values, scale, self.config.target_sum, library_size, self.floor)
        result.X = x if isinstance(x, np.ndarray) else x.astype(np.float32)
        for column in self.genes:
            result.var[column] = self.genes.loc[shared, column]
        result.uns[UNS] = schema.provenance(result) | {"expression": self._name()}
        return result

    def invert(
        self,
        log_expression: Float[np.ndarray, "n_obs n_vars"],
        library_size: Float[np.ndarray, " n_obs"] | None = None,
    ) -> Float[np.ndarray, "n_obs n_vars"]:
        """Values on the original scale, float64: expected counts, linear values, or log as it is.

        Eqs. 1 and 2 solved for c and v. Values that no sample can have are clipped: counts to
        between 0 and the library size, linear values to at least the floor.

        Parameters
        ----------
        log_expression
            x of eqs. 1-3, for any of the genes.
        library_size
            Sum of the raw counts of each row over all genes; needed for counts alone.
        """
        x = np.asarray(log_expression, dtype=np.float64)
        if self.scale == "log":
            return x.copy()
        values = np.expm1(x.clip(*self._bounds()))
        if self.scale == "linear":
            return values
        if library_size is None:
            raise ValueError("invert needs library_size to give counts; draw_library_size has one.")
        depth = np.asarray(library_size, dtype=np.float64) / self.config.target_sum
        return values * depth[:, None]

    def draw_library_size(
        self, labels: Sequence[str] | np.ndarray, rng: np.random.Generator
    ) -> Float[np.ndarray, " n_obs"]:
        """Draw a library size for each label, log-normal as in training; NaN without counts."""
        if self.library_sizes is None:
            return np.full(len(labels), np.nan)
        return self.library_sizes.draw(labels, rng)

    def to_original(self, synthetic: AnnData, rng: np.random.Generator) -> AnnData:
        """Return ``synthetic`` (log expression in ``X``) with the original scale beside it.

        Counts: ``layers["counts"]`` are the expected counts, rounded to whole numbers (the noise of
        counting is in the log expression already), at the depth ``obs["library_size"]``, drawn
        unless it is there. Linear values: ``layers["linear"]``. The provenance tells which fraction
        of the values had to be clipped, as ``clipped_fraction``.

        Raises
        ------
        InputError
            If genes are unknown to the transform, or values are not finite.
        """
        unknown = synthetic.var_names[~synthetic.var_names.isin(self.var_names)]
        if len(unknown):
            raise InputError(
                f"{len(unknown):,} genes of the synthetic data are unknown to the transform, the "
                f"first being {unknown[0]}. Use the transform that its generator was trained with."
            )
        x = np.asarray(synthetic.X, dtype=np.float64)
        if not np.isfinite(x).all():
            raise InputError(
                f"{(~np.isfinite(x)).sum():,} of the {x.size:,} synthetic values are not finite "
                "numbers: the generator has failed. Train it again, with a lower learning rate."
            )
        low, high = self._bounds()
        clipped = float(((x < low) | (x > high)).mean()) if x.size else 0.0
        result = schema.with_provenance(synthetic, clipped_fraction=clipped)
        if self.scale == "linear":
            result.layers[LINEAR] = self.invert(x)
        if self.scale == "counts":
            if LIBRARY_SIZE not in result.obs:
                result.obs[LIBRARY_SIZE] = self.draw_library_size(schema.labels(synthetic), rng)
            expected = self.invert(x, result.obs[LIBRARY_SIZE].to_numpy())
            result.layers[COUNTS] = expected.round().astype(np.int64)
        return result

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """All that was fitted: named arrays, and metadata that JSON can hold."""
        arrays = {str(name): column.to_numpy() for name, column in self.genes.items()}
        metadata: dict[str, Any] = {
            "format": FORMAT,
            "config": self.config.model_dump(),
            "scale": self.scale,
            "var_names": self.var_names.tolist(),
            "floor": self.floor,
            "min_samples": self.min_samples,
            "n_vars_seen": self.n_vars_seen,
            "classes": [],
        }
        if self.library_sizes is not None:
            arrays["library_loc"] = self.library_sizes.loc
            arrays["library_scale"] = self.library_sizes.scale
            metadata["classes"] = list(self.library_sizes.classes)
        return arrays, metadata

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> Self:
        """Rebuild the transform that gave ``state``, value for value."""
        if metadata.get("format") != FORMAT:
            raise InputError(
                f"This is not the state of an expression transform: its format is "
                f"{metadata.get('format')!r} and should be {FORMAT!r}. Run preprocessing again."
            )
        arrays = {name: np.asarray(values) for name, values in arrays.items()}
        loc, scale = arrays.pop("library_loc", None), arrays.pop("library_scale", None)
        library_sizes = (
            None
            if loc is None or scale is None
            else LibrarySizes(tuple(metadata["classes"]), loc, scale)
        )
        return cls(
            config=TransformConfig(**metadata["config"]),
            scale=metadata["scale"],
            genes=pd.DataFrame(
                {name: arrays[name] for name in GENE_COLUMNS},
                index=pd.Index(metadata["var_names"]),
            ),
            floor=metadata["floor"],
            min_samples=metadata["min_samples"],
            n_vars_seen=metadata["n_vars_seen"],
            library_sizes=library_sizes,
        )

    def _name(self) -> str:
        """What the log expression is called."""
        if self.scale != "counts":
            return NAME[self.scale]
        target = self.config.target_sum
        return f"log1p {PER.get(target, f'counts per {target:,.0f}')}"

    def _bounds(self) -> tuple[float, float]:
        """Smallest and largest x that some sample can have."""
        if self.scale == "counts":
            return 0.0, math.log1p(self.config.target_sum)
        return (math.log1p(self.floor) if self.scale == "linear" else -math.inf), math.inf


def _values(adata: AnnData, scale: Scale) -> Values:
    """Values as given, float64, before or after ``apply``; sparse counts as they are."""
    layers = {"counts": COUNTS, "linear": LINEAR}
    values = adata.layers.get(layers.get(scale, ""), adata.X)
    if not sparse.issparse(values):
        return np.asarray(values, dtype=np.float64)
    return sparse.csr_matrix(values) if scale == "counts" else values.toarray().astype(np.float64)


def _of_counts(
    adata: AnnData, genes: pd.Index, counts: sparse.csr_matrix
) -> tuple[AnnData, sparse.csr_matrix]:
    """Some genes of ``adata`` without any values yet, and their counts; nothing is copied twice."""
    if not genes.equals(adata.var_names):
        counts = counts[:, adata.var_names.get_indexer(genes)]
    var, uns = adata.var.loc[genes].copy(), dict(adata.uns)
    parts = {"obsm": dict(adata.obsm), "obsp": dict(adata.obsp)}
    return AnnData(obs=adata.obs.copy(), var=var, uns=uns, **parts), counts


def _library_size(adata: AnnData, counts: Values) -> Float[np.ndarray, " n_obs"]:
    """Total counts of each row over all genes of its source, also when genes were taken away."""
    if LIBRARY_SIZE in adata.obs:
        total = adata.obs[LIBRARY_SIZE].to_numpy(np.float64)
    else:
        total = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    if not (total > 0).all():
        raise InputError(
            f"Sample {adata.obs_names[~(total > 0)][0]!r} has no counts at all. Leave it out with "
            "--params=where=COLUMN."
        )
    return total


def _noise_floor(values: Float[np.ndarray, "n_obs n_vars"]) -> float:
    """Median size of the negative values, 0 without any: f of eq. 2."""
    negative = values[values < 0]
    if not negative.size:
        return 0.0
    floor = float(np.median(-negative))
    logger.warning(
        "%.1f %% of the training values are negative, as on background-subtracted arrays: values "
        "below %.4g, the median size of these, count as noise and are raised to it.",
        100 * negative.size / values.size, floor,
    )  # fmt: skip
    return floor


def _log_expression(
    values: Values,
    scale: Scale,
    target_sum: float,
    library_size: Float[np.ndarray, " n_obs"] | None,
    floor: float,
) -> Values:
    """Eqs. 1-3, float64."""
    if isinstance(values, sparse.csr_matrix):
        assert library_size is not None  # only counts are left sparse
        x = np.repeat(target_sum / library_size, np.diff(values.indptr))  # (nnz,)
        x *= values.data
        np.log1p(x, out=x)
        return sparse.csr_matrix((x, values.indices, values.indptr), shape=values.shape)
    if scale == "log":
        return values.copy()
    if library_size is None:
        return np.log1p(np.maximum(values, floor))
    return np.log1p(values * (target_sum / library_size)[:, None])


def _min_samples(train: AnnData, min_fraction: float) -> int:
    """In how many training rows a gene must be expressed: a class could have so many alone."""
    labelled = is_known(train.obs[schema.label_key(train)])
    _, sizes = np.unique(schema.labels(train)[labelled], return_counts=True)
    wanted = math.ceil(min_fraction * train.n_obs - 1e-9)  # 0.07 * 100 is a little over 7
    return min(max(2, min(wanted, int(sizes.min()))), train.n_obs)


def _expressed(
    x: Float[np.ndarray, "n_obs n_vars"], min_expression: float, floor: float, min_samples: int
) -> Bool[np.ndarray, " n_vars"]:
    """Genes that vary and are expressed in enough rows."""
    varies = x.max(axis=0) > x.min(axis=0)
    if not min_samples:
        return varies
    expressed = (x >= math.log1p(min_expression)) & (x > math.log1p(floor))
    return varies & (expressed.sum(axis=0) >= min_samples)


def _moments(x: Float[np.ndarray, "n_obs n_vars"]) -> pd.DataFrame:
    """Moments of each gene; the standard deviation with ddof 0."""
    return pd.DataFrame(
        {"mean": x.mean(axis=0), "std": x.std(axis=0), "min": x.min(axis=0), "max": x.max(axis=0)}
    )


def _sparse_moments(
    x: sparse.csr_matrix, least: float
) -> tuple[pd.DataFrame, Int[np.ndarray, " n_vars"]]:
    """The same of a sparse matrix without negative values, and how many rows express a gene.

    Expressed is what is above 0 and at least ``least``. Stored values are visited a stretch at a
    time, so that no copy of the matrix is made.
    """
    n_obs, n_vars = x.shape
    stretches = [slice(start, start + STRETCH) for start in range(0, x.nnz, STRETCH)]
    total, n_stored, n_expressed = (np.zeros(n_vars) for _ in range(3))
    low, high, squares = np.full(n_vars, np.inf), np.zeros(n_vars), np.zeros(n_vars)
    for some in stretches:
        gene, value = x.indices[some], x.data[some]
        total += np.bincount(gene, value, minlength=n_vars)
        n_stored += np.bincount(gene, minlength=n_vars)
        expressed = gene[(value > 0) & (value >= least)]
        n_expressed += np.bincount(expressed, minlength=n_vars)
        np.minimum.at(low, gene, value)
        np.maximum.at(high, gene, value)
    mean, n_zeros = total / n_obs, n_obs - n_stored
    for some in stretches:
        gene, value = x.indices[some], x.data[some]
        squares += np.bincount(gene, (value - mean[gene]) ** 2, minlength=n_vars)
    std = np.sqrt((squares + n_zeros * mean**2) / n_obs)
    low[n_zeros > 0] = 0.0
    return pd.DataFrame({"mean": mean, "std": std, "min": low, "max": high}), n_expressed.astype(
        int
    )


def _ranked(moments: pd.DataFrame, var_names: pd.Index, n_top_genes: int) -> pd.DataFrame:
    """Moments of the kept genes, and which of these are among the most variable."""
    std = moments["std"].to_numpy()
    highly_variable = np.zeros(len(std), dtype=bool)
    highly_variable[np.argsort(-std, kind="stable")[:n_top_genes]] = True
    genes = moments.set_axis(var_names, axis=0)
    genes.insert(0, "highly_variable", highly_variable)
    return genes
