"""Tables of a perturbation experiment as the evaluation writes them, with values chosen by hand."""

import numpy as np
import pandas as pd

DOSES = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
VIEWS = {  # representation, classifier -> accuracy at these doses, as measured on cortex
    ("latents", "logistic"): (0.34, 0.36, 0.43, 0.55, 0.72, 0.86),
    ("latents", "network"): (0.33, 0.35, 0.42, 0.54, 0.70, 0.85),
    ("latents+sets", "logistic"): (0.42, 0.51, 0.64, 0.79, 0.90, 0.96),
    ("latents+contrast", "logistic"): (0.41, 0.50, 0.62, 0.77, 0.87, 0.95),
    ("signature", "logistic"): (0.40, 0.48, 0.58, 0.70, 0.83, 0.92),
    ("pca", "logistic"): (0.34, 0.38, 0.43, 0.54, 0.71, 0.84),
    ("all_genes", "ridge"): (0.42, 0.52, 0.63, 0.78, 0.87, 0.95),
}
TYPES = (
    "L2/3 intratelencephalic neurons", "L5 extratelencephalic neurons",
    "L6 corticothalamic neurons",
    "PVALB interneurons", "SST interneurons", "VIP interneurons", "Astrocytes",
    "Oligodendrocytes", "Oligodendrocyte precursors", "Microglia and macrophages", "Endothelium",
    "Pericytes",
)  # fmt: skip


def accuracy_rows(protocol="strict", lift=0.0, half=0.03):
    rows = []
    for (representation, classifier), values in VIEWS.items():
        for dose, value in zip(DOSES, values, strict=True):
            at = min(value + lift, 0.99)
            numbers = (at, at - half, min(at + half, 1.0), 36, 3150, 1350, 450)
            rows.append((protocol, dose, representation, classifier, *numbers))
    columns = ["protocol", "dose", "representation", "classifier", "accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "n_features", "n_train", "n_test", "n_groups"])


def confusion_rows(protocol="strict", right=0.6, doses=(2.0, 5.0)):
    names = ("base", "down", "up")
    rows = [
        (protocol, dose, "latents", classifier, t, p, 450 * right if t == p else 225 * (1 - right))
        for dose in doses
        for classifier in ("logistic", "network")
        for t in names
        for p in names
    ]
    columns = ["protocol", "dose", "representation", "classifier", "true", "predicted", "n"]
    return pd.DataFrame(rows, columns=columns).astype({"n": int})


def planted_rows(down=(0.90, 0.88, 0.13, 0.04), up=(0.94, 0.91, 0.56, 0.23)):
    methods = ("t_test", "mean_shift", "latent_shift", "single_factor")
    rows = [
        (direction, method, value, 0.02, n, 670)
        for direction, values, n in (("down", down, 33), ("up", up, 50))
        for method, value in zip((*methods, "chance"), (*values, n / 2068), strict=True)
    ]
    columns = ["direction", "method", "auprc", "sd", "n_planted", "n_cells"]
    return pd.DataFrame(rows, columns=columns)


def map_points(n_cells=400, types=TYPES, seed=0):
    """Twins lie close to one another, around the island of their type."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(scale=6.0, size=(len(types), 2))
    kind = rng.integers(len(types), size=n_cells)
    at = centres[kind] + rng.normal(scale=0.9, size=(n_cells, 2))
    parts = []
    for i, condition in enumerate(("base", "down", "up")):
        shifted = at + 0.25 * i + rng.normal(scale=0.1, size=at.shape)
        parts.append(
            pd.DataFrame({"umap_1": shifted[:, 0], "umap_2": shifted[:, 1],
                          "cell_type": np.array(types)[kind], "condition": condition,
                          "leiden": (kind + (rng.random(n_cells) < 0.1)).astype(str)})
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


POWER_DOSES = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
HALF_SEEN = {"latents": 2.6, "latents+sets": 1.5, "signature": 1.6, "pca": 2.9}  # dose of power 0.5


def power_rows(types=TYPES[:8], half_seen=None, n_repeats=40):
    """Power that rises with the dose, faster in the first types; 5 % where nothing is changed."""
    rows = []
    for t, cell_type in enumerate(types):
        for gene_set in ("down", "up"):
            for view, half in (half_seen or HALF_SEEN).items():
                for dose in POWER_DOSES:
                    at = half * (1.0 + 0.06 * t + 0.15 * (gene_set == "down"))
                    rise = 1.0 / (1.0 + (np.log(max(dose, 1.001)) / np.log(at)) ** -5.0)
                    power = round((0.05 + 0.95 * rise) * n_repeats) / n_repeats
                    numbers = (50, n_repeats, power, max(power - 0.12, 0), min(power + 0.12, 1))
                    rows.append((cell_type, gene_set, gene_set, dose, view, *numbers))
    columns = ["cell_type", "gene_set", "direction", "dose", "representation", "n_cells"]
    return pd.DataFrame(rows, columns=[*columns, "n_repeats", "power", "low", "high"])


def smallest_rows(types=TYPES, not_reached=(("latents", 3), ("pca", 5))):
    """Smallest doses; the last types of some views are not reached."""
    factors = {"latents": 3.2, "latents+sets": 1.7, "signature": 1.8, "pca": 3.6}
    rows = []
    for t, cell_type in enumerate(types):
        for gene_set in ("down", "up"):
            for view, dose in factors.items():
                dose = dose * (1 + 0.05 * t) * (1.15 if gene_set == "down" else 1.0)
                low, high = dose / 1.2, dose * 1.3 if dose < 5 else np.nan
                if any(view == v and t >= len(types) - k for v, k in not_reached):
                    dose, low, high = np.nan, dose, np.nan
                rows.append((cell_type, gene_set, view, dose, low, high))
    columns = ["cell_type", "gene_set", "representation", "dose", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


PLANTED = {"down": [f"DOWN{i}" for i in range(8)], "up": [f"UP{i}" for i in range(8)]}


def loading_rows(n_factors=12, n_genes=80, seed=0):
    """Each factor has genes of its own; the first two carry the planted ones, the last is noise."""
    rng = np.random.default_rng(seed)
    genes = np.array([*PLANTED["down"], *PLANTED["up"], *(f"GENE{i}" for i in range(n_genes - 16))])
    parts = []
    for k in range(n_factors):
        loading = rng.normal(scale=0.15, size=n_genes)
        loading[8 * k % n_genes : 8 * k % n_genes + 8] += -1.2 if k % 2 == 0 else 1.4
        order = np.argsort(-np.abs(loading), kind="stable")
        sets = [next((d for d, of in PLANTED.items() if gene in of), "") for gene in genes[order]]
        parts.append(
            pd.DataFrame({"factor": k, "gene": genes[order], "loading": loading[order],
                          "rank": np.arange(1, n_genes + 1),
                          "stability": np.clip(np.abs(loading[order]), 0.1, 0.99),
                          "factor_stability": 0.97 - 0.07 * k,
                          "gene_stability": 0.8, "gene_sets": sets})
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def response_rows(n_factors=12):
    """The first two factors answer, each to one perturbation."""
    rows = [
        (condition, k, effect if k == own else 0.01 * k, 0.0001 if k == own else 0.4)
        for condition, own, effect in (("down", 0, -0.6), ("up", 1, 0.8))
        for k in range(n_factors)
    ]
    table = pd.DataFrame(rows, columns=["condition", "factor", "effect", "p"])
    return table.assign(q=np.minimum(table["p"] * 10, 0.9))


def enrichment_rows():
    rows = [(0, "down", 8, 0.02, 1e-6, 1e-4), (1, "up", 8, 0.98, 1e-6, 1e-4),
            (2, "up", 8, 0.55, 0.5, 0.7)]  # fmt: skip
    return pd.DataFrame(rows, columns=["factor", "gene_set", "n_genes", "auc", "p", "q"])


PREDICTED = {
    "no_change": -0.01, "additive": 0.80, "mean_of_perturbed": -3.0, "latents": 0.35,
    "latents+residuals": 0.74, "ceiling": 0.92,
}  # fmt: skip


def conditional_rows(types=TYPES, values=None):
    """Scores that fall a little from type to type."""
    rows = [
        (cell_type, condition, method, value - 0.01 * t, min(value + 0.05, 1.0) - 0.01 * t,
         10 * (1 - value), 0.04, 0.03, 1.0, 30, 25.0)
        for t, cell_type in enumerate(types)
        for condition in ("down", "up")
        for method, value in (values or PREDICTED).items()
    ]  # fmt: skip
    scores = ["weighted_delta_r2", "pearson_delta_top50", "e_distance"]
    columns = ["cell_type", "condition", "method", *scores, *(f"{s}_sd" for s in scores)]
    return pd.DataFrame(rows, columns=[*columns, "n_cells", "n_changed"])


def held_out(nll=345.0, kl=20.0, null=398.0, n=1500):
    """As ``evaluation.reading.held_out_scores`` writes it."""
    values = {"nll": nll, "kl": kl, "elbo": -(nll + kl), "null_nll": null}
    return {name: {"value": v, "standard_error": 2.0, "n": n} for name, v in values.items()}


def alarm_rows(share=0.05, low=0.04, high=0.06):
    rows = [(view, share, low, high, 4000) for view in HALF_SEEN]
    return pd.DataFrame(rows, columns=["representation", "share", "low", "high", "n_repeats"])


def gene_set_report(**changes):
    """Of a list of four genes that are turned down, one of three, and one that is not used."""
    found = {"n_given": 4, "n_found": 3, "found_by": {"as written": 2, "in another case": 1}}
    report = {
        "origin": "given",
        "down": "down",
        "up": "up",
        "sets": {
            "down": found | {"not_found": ["LOST"]},
            "up": {"n_given": 3, "n_found": 3, "found_by": {"as written": 3}, "not_found": []},
            "other": {
                "n_given": 30,
                "n_found": 1,
                "found_by": {"by alias": 1},
                "not_found": [f"N{i}" for i in range(29)],
            },
        },
        "genes": {"down": ["A", "B"], "up": ["C", "D", "E"], "other": ["F"]},
    }
    return report | changes


def results_of(**changes):
    """All tables of an experiment, those of ``changes`` instead."""
    from synthome.reporting.ldvae import LDVAEResults

    published = accuracy_rows("published", 0.12)
    tables = {
        "held_out": held_out(),
        "accuracy": pd.concat([accuracy_rows(), published[published["dose"] == 5.0]]),
        "confusion": pd.concat([confusion_rows(), confusion_rows("published", 0.8, (5.0,))]),
        "cells": map_points(60),
        "power": power_rows(TYPES[:3]),
        "smallest": smallest_rows(TYPES[:3], (("latents", 1),)),
        "alarms": alarm_rows(),
        "planted": planted_rows(),
        "loadings": loading_rows(),
        "responses": response_rows(),
        "enrichment": enrichment_rows(),
        "conditional": conditional_rows(TYPES[:3]),
        "genes": PLANTED,
        "set_names": {"down": "down", "up": "up"},
        "gene_sets": gene_set_report(),
        "dose": 2.0,
        "n_seeds": 3,
    }
    return LDVAEResults(**tables | changes)
