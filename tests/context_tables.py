"""Tables of the experiments on contexts, as they might come out."""

import dataclasses

import numpy as np
import pandas as pd

from synthome.reporting.cycle_ae import CycleAEResults

R2 = {
    "no_change": 0.01, "additive": 0.91, "similarity": 0.92, "components": 0.9, "published": 0.1,
    "cycle_ae": 0.97, "ceiling": 0.99,
}  # fmt: skip


def combinations(cycle_ae=0.97, informative=True):
    """Two held-out combinations."""
    rows = [
        {
            "target": target, "field": "assay", "source": "v2", "category": "v3",
            "label": target[0],
            "method": method, "weighted_delta_r2": value,
            "pearson_delta_top50": min(value + 0.01, 1.0), "e_distance": 30.0 * (1.0 - value),
            "down_accuracy": 0.5 + value / 2.0, "weighted_delta_r2_sd": 0.01,
            "pearson_delta_top50_sd": 0.01, "e_distance_sd": 1.0, "down_accuracy_sd": 0.01,
            "n_changed": 40.0, "n_cells": 120, "informative": informative,
        }
        for target in ("B, v2 → v3", "T, v2 → v3")
        for method, value in (R2 | {"cycle_ae": cycle_ae}).items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def planted():
    """Effects of two fields by both methods."""
    return pd.DataFrame(
        [
            (field, "b", method, sign, down, r, r, 100)
            for field in ("assay", "condition")
            for method, sign, down, r in (
                ("cycle_ae", 1.0, 1.0, 0.99), ("published", 0.4, 0.2, 0.1),
            )
        ],
        columns=["field", "category", "method", "sign_accuracy", "down_accuracy", "correlation",
                 "slope", "n_genes"],
    )  # fmt: skip


def heads():
    """A base, two fields and their pair."""
    share = {"base": 0.1, "cell_type": 0.6, "assay": 0.28, "cell_type × assay": 0.02}
    return pd.DataFrame(
        [
            (head, group, 10.0 * value, value if group == "all" else np.nan)
            for head, value in share.items()
            for group in ("all", "B", "T")
        ],
        columns=["head", "group", "norm", "variance_share"],
    )


def head_genes():
    """Two genes up and two down in each of two categories."""
    return pd.DataFrame(
        [
            ("assay", category, f"G{i}", effect)
            for category in ("v2", "v3")
            for i, effect in enumerate((1.5, 0.7, -0.7, -1.2))
        ],
        columns=["head", "category", "gene", "effect"],
    )


def contexts(generated=0.95, state=0.52, error=0.01):
    """One field that is told well."""
    return pd.DataFrame(
        [
            {
                "field": "assay", "n_categories": 2, "chance": 0.5, "classifier_accuracy": 0.97,
                "calibration_error": error, "independent_accuracy": 0.96,
                "generated_accuracy": 0.99, "generated_independent": generated,
                "integration_state": state, "integration_pca": 0.9, "cycle_error": 0.02,
            }
        ]
    )  # fmt: skip


def claims(p=0.4):
    """One field of donors."""
    return pd.DataFrame(
        [("sex", 40, 0.04, 0.02, p, p, p <= 0.05)],
        columns=["field", "n_donors", "statistic", "null_mean", "p_value", "p_adjusted", "claimed"],
    )


FIELDS = {
    "fields": [{"name": "cell_type"}, {"name": "assay"}],
    "confounding": [{"a": "cell_type", "b": "assay", "cramers_v": 0.1, "determined": ""}],
}


def results(**changed):
    """All of them; ``changed`` ones in their place."""
    epochs = np.arange(1, 4)
    parts = {
        "held_out": {"nll": 900.0, "contexts_nll": 950.0, "null_nll": 1200.0, "n_cells": 300},
        "combinations": combinations(),
        "planted": planted(),
        "heads": heads(),
        "head_genes": head_genes(),
        "contexts": contexts(),
        "claims": claims(),
        "fields": FIELDS,
        "history": pd.DataFrame({"epoch": epochs, "train_norm_base": 1.0 + 0.1 * epochs,
                                 "train_norm_assay": 2.0}),
    }  # fmt: skip
    return CycleAEResults(**{**parts, **changed})


def unknown(of):
    """All of them with every number that can be unknown as nan."""
    found = {}
    for field in dataclasses.fields(of):
        value = getattr(of, field.name)
        if isinstance(value, pd.DataFrame):
            floats = list(value.select_dtypes("float"))
            found[field.name] = value.assign(**dict.fromkeys(floats, np.nan))
        elif field.name == "held_out":
            found[field.name] = dict.fromkeys(value, np.nan) | {"n_cells": value["n_cells"]}
        else:
            pairs = [pair | {"cramers_v": np.nan} for pair in value["confounding"]]
            found[field.name] = value | {"confounding": pairs}
    return CycleAEResults(**found)


def empty(table):
    """The columns without rows: not applicable to these data."""
    return table.iloc[:0]
