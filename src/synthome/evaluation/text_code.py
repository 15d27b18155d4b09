"""How good is the text that a language model reads? On the patients of a cohort.

Asked of the lookup table that was fitted to the training patients: what decoding keeps, what is
clipped, and what a precision costs (``encoding.distortion``); and whether samples that are close in
expression have texts that are close, by Mantel's test (``distances``).
"""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from pydantic import NonNegativeInt, PositiveInt

from synthome.anndata_schema import SPLIT, is_absent
from synthome.anndata_schema import labels as labels_of
from synthome.config import Config
from synthome.encoding.distortion import PRECISIONS, distortion, measure
from synthome.evaluation.classifiers import standardised_logistic
from synthome.evaluation.distances import text_agreement
from synthome.evaluation.fold import labelled_rows
from synthome.evaluation.utility import balanced_accuracy
from synthome.preprocessing.scaling import Standardiser
from synthome.rng import generator

Document = dict[str, Any]


class TextCodeConfig(Config):
    """``precisions`` are those of the distortion curve, in bits; ``max_texts`` are compared."""

    precisions: tuple[PositiveInt, ...] = PRECISIONS
    n_permutations: PositiveInt = 499
    max_texts: PositiveInt = 400
    seed: NonNegativeInt = 0


def text_code(
    model: Any, prepared: AnnData, config: TextCodeConfig
) -> tuple[pd.DataFrame, Document]:
    """The distortion curve, and facts about the code that ``model`` uses.

    ``model`` was fitted to the training part of ``prepared``, log expression with ``obs["split"]``.
    """
    prepared, _ = labelled_rows(prepared)
    is_train = (prepared.obs[SPLIT] == "train").to_numpy()
    x, y = model.values(prepared), labels_of(prepared)
    curve = distortion(
        x[is_train],
        x[~is_train],
        config.precisions,
        config=model.config.table,
        downstream=_still_told_apart,
        train_labels=y[is_train],
        test_labels=y[~is_train],
    )
    facts: Document = measure(model.table, x[is_train], x[~is_train])
    rng = generator(config.seed, "texts")
    some = np.sort(rng.permutation(len(x))[: config.max_texts])
    z = Standardiser.fit(x[is_train]).transform(x[some])
    facts |= text_agreement(z, model.table.encode(x[some]), config.n_permutations, rng)
    return curve, facts | {
        "n_texts": len(some),
        "n_train": int(is_train.sum()),
        "n_test": int((~is_train).sum()),
        "n_genes": len(model.genes),
        "genes": list(model.genes),
        "text_length": model.table.text_length,
        "table_symbols": len(model.table.alphabet),
        "clipped_drawn": model.clipped,
    }


def _still_told_apart(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> float:
    """Balanced accuracy of logistic regression."""
    model = standardised_logistic(train, train_labels)
    return balanced_accuracy(test_labels, model.classes[model.probabilities(test).argmax(axis=1)])


def read_patients(model: Any, prepared: AnnData, external: AnnData) -> pd.DataFrame:
    """What the model calls held-out patients, unlabelled ones and those of an external cohort.

    Returns
    -------
    Columns ``part`` (test, unlabelled, external), ``row`` (number in its cohort; patients are not
    named), ``true`` ("" where unknown), ``called``, ``confidence``, and the probability of each
    class.
    """
    labelled = labelled_rows(prepared)[1]
    known = np.isin(np.arange(prepared.n_obs), labelled)
    is_test = (prepared.obs[SPLIT] == "test").to_numpy() & known
    parts = [("test", prepared, np.flatnonzero(is_test))]
    parts.append(("unlabelled", prepared, np.flatnonzero(~known)))
    if not is_absent(external):
        parts.append(("external", external, np.arange(external.n_obs)))
    tables = []
    for part, adata, rows in parts:
        if not len(rows):
            continue
        p = model.read(adata[rows])
        true = labels_of(adata[rows]) if part != "unlabelled" else np.full(len(rows), "")
        columns = {str(c): p[:, k] for k, c in enumerate(model.classes)}
        called = np.array(model.classes)[p.argmax(axis=1)]
        facts = {"part": part, "row": rows, "true": true, "called": called}
        tables.append(pd.DataFrame(facts | {"confidence": p.max(axis=1)} | columns))
    return pd.concat(tables, ignore_index=True)
