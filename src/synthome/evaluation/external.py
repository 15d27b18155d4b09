"""Whether what was learned from synthetic rows holds for patients of another cohort.

Classifiers are trained on synthetic rows (tstr) or on the real training rows (trtr) and tested on
the whole external cohort, once. Their scale is fixed by the rows they learned from: nothing is
fitted to the external cohort, so that differences between clinics count against the classifier.
Intervals resample external patients within their class (percentile bootstrap), and hold for these
two training sets: they do not include what other training patients would have given.
"""

import logging

import numpy as np
from anndata import AnnData
from jaxtyping import Float

from synthome.anndata_schema import labels as labels_of
from synthome.errors import InputError
from synthome.evaluation.arms import Arm, scored_genes, synthetic_arm
from synthome.evaluation.classifiers import Classifier, train_classifier
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.metrics import METRICS
from synthome.evaluation.summary import Entry, entry
from synthome.evaluation.utility import KINDS, SCORES, classification_scores
from synthome.rng import generator
from synthome.samplers.controls import Copies, IndependentNoise

MIN_GENES = 20
logger = logging.getLogger(__name__)


def score_external(
    train: AnnData, external: AnnData, synthetic: AnnData, config: EvaluationConfig
) -> dict[str, Entry]:
    """Entries ``external/tstr_auc``, ``external/trtr_auc``, ... in the form of ``metrics.json``.

    Parameters
    ----------
    train, synthetic
        Log expression of the training rows and of what the generator made of them.
    external
        Log expression of the external cohort by the same transform, on the genes that it has.

    Raises
    ------
    InputError
        If fewer than 20 scored genes are shared, or if fewer than two shared classes are left.
    """
    genes = scored_genes(train)
    shared = genes[genes.isin(external.var_names)]
    if len(shared) < MIN_GENES:
        raise InputError(
            f"The external cohort has {len(shared)} of the {len(genes):,} genes that scores are "
            f"computed on, and at least {MIN_GENES} are needed. Do both use the same gene names?"
        )
    known = np.isin(labels_of(external), np.unique(labels_of(train)))
    classes = np.unique(labels_of(external)[known])
    if len(classes) < 2:
        raise InputError(
            "The external cohort must have two classes of the training cohort "
            f"({', '.join(np.unique(labels_of(train)))}), but it has "
            f"{', '.join(np.unique(labels_of(external)))}. Rename its labels to match."
        )
    logger.info(
        "External cohort: %d of %d samples have a known class, %s of %s genes are shared.",
        known.sum(), external.n_obs, f"{len(shared):,}", f"{len(genes):,}",
    )  # fmt: skip
    test = Arm.of(external[known], shared)
    arms = {"model": synthetic_arm(synthetic, shared), "ceiling": Arm.of(train, shared)}
    n_rows = synthetic.n_obs
    fitted = train[:, shared].copy()
    for name, control in (("floor", IndependentNoise()), ("cheat", Copies())):
        drawn = control.fit(fitted).sample(n_rows, None, generator(config.seed, "external", name))
        arms[name] = synthetic_arm(drawn, shared)

    entries: dict[str, Entry] = {}
    seed = int(generator(config.seed, "external").integers(2**31 - 1))
    for kind, end in KINDS.items():
        models = {
            name: train_classifier(kind, *arm.rows(), n_train=train.n_obs, seed=seed)
            for name, arm in arms.items()
        }
        values = {
            name: classification_scores(model, *test.rows()) for name, model in models.items()
        }
        limits = {name: _bootstrap(models[name], test, config) for name in ("model", "ceiling")}
        for score in SCORES:
            of_arms = {name: found[score] for name, found in values.items()}
            for prefix, own in (("tstr", "model"), ("trtr", "ceiling")):
                key = f"external/{prefix}_{score}{end}"
                shown = of_arms | {"model": of_arms[own]}
                entries[key] = entry(
                    METRICS[key], shown, limits[own][score], len(test.y), 1,
                    f"trained on {'synthetic' if prefix == 'tstr' else 'real training'} rows, "
                    f"tested once on {len(test.y)} external rows, {len(shared)} shared genes; "
                    "interval: bootstrap of external rows within classes",
                )  # fmt: skip
    return {key: entries[key] for key in METRICS if key in entries}


def _bootstrap(
    model: Classifier, test: Arm, config: EvaluationConfig
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over external rows, resampled within their class."""
    probability = model.probabilities(test.x)
    fixed = _Fixed(model.classes, probability)
    rng = generator(config.seed, "external", "bootstrap")
    of_class = [np.flatnonzero(test.y == c) for c in np.unique(test.y)]
    draws: dict[str, list[float]] = {score: [] for score in SCORES}
    for _ in range(config.n_bootstrap):
        rows = np.concatenate([rng.choice(own, size=len(own)) for own in of_class])
        for score, value in classification_scores(
            fixed, rows[:, None].astype(np.float64), test.y[rows]
        ).items():
            draws[score].append(value)
    found = {score: np.percentile(values, [2.5, 97.5]) for score, values in draws.items()}
    return {score: (float(low), float(high)) for score, (low, high) in found.items()}


class _Fixed:
    """A classifier whose probabilities are known; its "rows" are row numbers."""

    def __init__(self, classes: np.ndarray, probability: Float[np.ndarray, "n k"]) -> None:
        self.classes = classes
        self._probability = probability

    def probabilities(self, x: Float[np.ndarray, "n 1"]) -> Float[np.ndarray, "n k"]:
        """Look up the rows."""
        return self._probability[x[:, 0].astype(np.int64)]
