"""What the verdict and the report must know of a cohort, without a single sample in it."""

from anndata import AnnData
from pydantic import Field, NonNegativeInt

from synthome.anndata_schema import (
    SPLIT,
    fold_columns,
    folds_to_test,
    group_key,
    is_absent,
    label_key,
    labels,
    provenance,
)
from synthome.config import Config
from synthome.reporting.vocabulary import Unit, unit_of


class CohortFacts(Config):
    """Numbers and names that describe a cohort; everything is optional but the class sizes."""

    name: str = ""
    unit: Unit = "patient"  # what a row of the cohort is
    class_sizes: dict[str, NonNegativeInt]
    n_unlabelled: NonNegativeInt = 0  # samples of no class
    n_genes: NonNegativeInt | None = None  # genes of the cohort after validation
    n_genes_synthetic: NonNegativeInt | None = None  # genes of the synthetic cohort
    n_genes_scored: NonNegativeInt | None = None  # genes that scores are computed on
    n_train: NonNegativeInt | None = None
    n_test: NonNegativeInt | None = None
    n_folds: NonNegativeInt | None = None  # parts that are held out in one repeat
    n_never_tested: NonNegativeInt = 0  # samples that are in none of them
    n_repeats: NonNegativeInt | None = None
    label: str = ""  # name of the label column
    group: str = ""  # name of the column that keeps rows of one patient together
    scale: str = ""
    source: str = ""
    simulated: bool = False
    n_synthetic: NonNegativeInt | None = None
    external_name: str = ""
    external_class_sizes: dict[str, NonNegativeInt] = Field(default_factory=dict)
    external_shared_genes: NonNegativeInt | None = None

    @property
    def n_samples(self) -> int:
        """Samples of the cohort."""
        return sum(self.class_sizes.values()) + self.n_unlabelled

    @property
    def n_external(self) -> int:
        """Samples of the external cohort; 0 when there is none."""
        return sum(self.external_class_sizes.values())


def cohort_facts(
    cohort: AnnData,
    external: AnnData | None = None,
    synthetic: AnnData | None = None,
    name: str = "",
    external_name: str = "",
    simulated: bool = False,
    n_genes_scored: int | None = None,
) -> CohortFacts:
    """Read the facts off a cohort with splits; ``external`` may be absent or None."""
    other = None if external is None or is_absent(external) else external
    folds = fold_columns(cohort)
    known = provenance(cohort)
    split = cohort.obs[SPLIT].astype(str) if SPLIT in cohort.obs else None
    return CohortFacts(
        name=name,
        unit=unit_of(cohort),
        class_sizes=_sizes(cohort),
        n_unlabelled=int((labels(cohort) == "").sum()),
        n_genes=cohort.n_vars,
        n_genes_synthetic=None if synthetic is None else synthetic.n_vars,
        n_genes_scored=n_genes_scored,
        n_train=None if split is None else int((split == "train").sum()),
        n_test=None if split is None else int((split == "test").sum()),
        n_folds=len(folds_to_test(cohort, 0)) if folds else None,
        n_never_tested=int((cohort.obs[folds[0]] < 0).sum()) if folds else 0,
        n_repeats=len(folds) or None,
        label=label_key(cohort),
        group=group_key(cohort) or "",
        scale=str(known.get("scale", "")),
        source=str(known.get("source", "")),
        simulated=simulated,
        n_synthetic=None if synthetic is None else synthetic.n_obs,
        external_name=external_name,
        external_class_sizes={} if other is None else _sizes(other),
        external_shared_genes=(
            None if other is None else int(other.var_names.isin(cohort.var_names).sum())
        ),
    )


def _sizes(adata: AnnData) -> dict[str, int]:
    names = sorted(name for name in labels(adata).tolist() if name)
    return {name: names.count(name) for name in dict.fromkeys(names)}
