"""The likelihood-ratio attack, by somebody who also holds a public cohort of the same disease.

The reference is one half of the external cohort, of the classes that both have. Members are the
training rows of a fold, non-members its held-out rows; scores are centred per class and pooled over
folds, as those of the other attacks. It is not one of the attacks of which the strongest is
reported, because it needs another cohort: beside cohorts without one, the numbers would not
compare.

Patients of another clinic differ by their clinic as well, for members and non-members alike. The
floor says what independent noise gives away by its class means, the cheat what copies do.
"""

from functools import partial

import numpy as np
import pandas as pd
from anndata import AnnData

from synthome.anndata_schema import labels as labels_of
from synthome.errors import InputError
from synthome.evaluation import privacy
from synthome.evaluation.arms import Arm, synthetic_arm
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.external import MIN_GENES
from synthome.evaluation.fold import PreparedFold
from synthome.evaluation.parallel import Make, fitted, on_each_fold
from synthome.evaluation.summary import Entry, attack_entries
from synthome.evaluation.utility import first_per_class, pooled
from synthome.preprocessing.transform import ExpressionTransform, TransformConfig
from synthome.rng import generator
from synthome.samplers.controls import Copies, IndependentNoise

NAME = "likelihood_ratio"


def reference_attack(
    adata: AnnData,
    external: AnnData,
    make: Make,
    transform: TransformConfig,
    config: EvaluationConfig,
    all_genes: bool = True,
) -> dict[str, Entry]:
    """Entries ``privacy/likelihood_ratio_auc`` and rates, in the form of ``metrics.json``.

    Parameters
    ----------
    adata, external
        Both cohorts on their own scale, the first with folds.

    Raises
    ------
    InputError
        If the cohorts share no class, or too few of the scored genes.
    """
    reference = public_half(external, np.unique(labels_of(adata)), config.seed)
    run = partial(_one_fold, make, reference, transform, config, all_genes, adata)
    found = on_each_fold(run, adata, transform, config, "public reference")
    n_genes = round(float(np.mean([n for _, n in found])))
    note = (
        f"; reference: {reference.n_obs} patients, half of the external cohort, on {n_genes} shared"
        " genes; not among the attacks of which the strongest is reported"
    )
    scores = pd.concat([table for table, _ in found], ignore_index=True)
    return attack_entries(scores, [NAME], note)


def public_half(external: AnnData, classes: np.ndarray, seed: int) -> AnnData:
    """Half of the rows of each class of ``external`` that is among ``classes``, at random."""
    y = labels_of(external)
    rows = np.flatnonzero(np.isin(y, classes))
    if len(rows) == 0:
        raise InputError(
            f"The external cohort has no sample of the classes {', '.join(classes)}, so it cannot "
            f"be the public reference of an attack; it has {', '.join(np.unique(y))}."
        )
    rows = rows[generator(seed, "reference").permutation(len(rows))]
    return external[rows[first_per_class(y[rows], 0.5)]].copy()


def _one_fold(
    make: Make,
    reference: AnnData,
    transform: TransformConfig,
    config: EvaluationConfig,
    all_genes: bool,
    adata: AnnData,
    fold: PreparedFold,
) -> tuple[pd.DataFrame, int]:
    real, variable = fold.real, fold.variable.var_names
    own = ExpressionTransform.fit(adata[real.train.names].copy(), transform)
    public = own.apply(reference, missing="restrict")
    genes = variable[variable.isin(public.var_names)]
    if len(genes) < MIN_GENES:
        raise InputError(
            f"The external cohort has {len(genes)} of the {len(variable):,} genes that scores are"
            f" computed on, and at least {MIN_GENES} are needed for an attack."
        )
    outside, column = Arm.of(public, genes), variable.get_indexer(genes)
    train, test = (Arm(arm.x[:, column], arm.y, arm.names) for arm in (real.train, real.test))
    n_rows = config.rows(len(train.y))
    drawn = {"model": fitted(fold, make, all_genes)}
    drawn |= {"floor": fitted(fold, _floor, False), "cheat": fitted(fold, _cheat, False)}
    tables = []
    for name, source in drawn.items():
        rows = source.sample(n_rows, None, fold.stream("sample", name))
        tables.append(_scores(train, test, synthetic_arm(rows, genes), outside).assign(arm=name))
    order = fold.stream("halves").permutation(len(test.y))
    first = order[first_per_class(test.y[order], 0.5)]
    if len(first) < len(order):  # members had no part in these rows
        others = test.take(np.setdiff1d(order, first))
        ceiling = _scores(train, others, test.take(first), outside)
        tables.append(ceiling.assign(arm="ceiling"))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(attack=NAME, repeat=fold.repeat, fold=fold.fold), len(genes)


def _floor(seed: int) -> IndependentNoise:  # noqa: ARG001
    return IndependentNoise()


def _cheat(seed: int) -> Copies:  # noqa: ARG001
    return Copies()


def _scores(members: Arm, others: Arm, synthetic: Arm, outside: Arm) -> pd.DataFrame:
    x, y = pooled(members.rows(), others.rows())
    score = privacy.likelihood_ratio(x, y, *synthetic.rows(), *outside.rows())
    return pd.DataFrame(
        {
            "sample": np.concatenate([members.names, others.names]),
            "label": y,
            "member": np.repeat([True, False], [len(members.y), len(others.y)]),
            "score": privacy.centred(score, y),
        }
    )
