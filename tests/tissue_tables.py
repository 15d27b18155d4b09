"""Tables of a tissue as the pipeline of spatial_gvae writes them, with values made by hand."""

import numpy as np
import pandas as pd

ARMS = ("real", "shuffled", "rotated", "mirrored", "noise", "coordinates", "none")
LIFT = {"real": 0.06, "components": -0.05, "coordinates": 0.01, "none": 0.0}
GENES = ("MBP", "PCP4", "SNAP25")
LAYERS = ("L1", "L2/3", "L4", "L5", "L6", "WM")


def spots(sections=("151673", "151507"), side=24, labelled=True, image=True, planted=True, seed=0):
    rng = np.random.default_rng(seed)
    tables = []
    for section in sections:
        row, column = (a.ravel() for a in np.mgrid[0:side, 0:side])
        n = len(row)
        layer = np.minimum((row + 2 * np.sin(column / 6)).clip(0) * 6 // side, 5).astype(int)
        noisy = np.where(rng.random(n) < 0.1, rng.integers(0, 6, n), layer)
        kl = rng.gamma(4.0, 1.0, n)
        odd = (row - side / 2) ** 2 + (column - side / 3) ** 2 < (side / 9) ** 2
        kl += 12.0 * odd
        label = np.array(LAYERS)[layer] if labelled else np.full(n, "")
        if labelled:
            label = np.where(rng.random(n) < 0.04, "", label)
        q = np.where(odd, 0.01, rng.uniform(0.2, 1.0, n)) if image else np.full(n, np.nan)
        table = {
            "section": section,
            "x": 137.0 * (column + 0.5 * (row % 2)) + 2000,
            "y": 119.0 * row + 3000,
            "label": label,
            "domain": [str(d + 1) for d in noisy],
            "refined": [str(d + 1) for d in layer],
            "estimated": [str(min(d, 4) + 1) for d in noisy],
            "pseudotime": layer / 5 + rng.normal(0, 0.03, n),
            "kl": kl,
            "posterior": 1.0 - q,
            "q_value": q,
            "disagrees": (q < 0.05) if image else np.zeros(n, dtype=bool),
            "planted": odd.astype(float) if planted else np.full(n, np.nan),
        }
        for i, gene in enumerate(GENES):
            smooth = 2.5 * np.exp(-(((row / side) - i / 2) ** 2) / 0.1)
            table |= {f"denoised:{gene}": smooth,
                      f"observed:{gene}": np.log1p(rng.poisson(np.expm1(smooth)))}  # fmt: skip
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def histology(table, scale=0.1):
    height, width = (int(table[axis].max() * scale) + 40 for axis in ("y", "x"))
    pixels = np.full((height, width, 3), 225, dtype=np.uint8)
    pixels[:, :, 1] = 190
    return pixels, scale


def domain_scores(
    arms=(*ARMS, "components"),
    seeds=(0, 1, 2),
    sections=("151673", "151507"),
    labelled=True,
    seed=0,
):
    rng = np.random.default_rng(seed)
    rows = []
    for arm in arms:
        for s in seeds:
            for section in sections:
                lift = LIFT.get(arm, -0.01) + rng.normal(0, 0.01)
                known = np.nan if not labelled else 1.0
                row = {"arm": arm, "seed": s, "section": section, "n_spots": 576}
                row |= {name: known * (base + lift) for name, base in
                        (("ari", 0.5), ("ari_refined", 0.54), ("nmi", 0.6), ("nmi_refined", 0.63),
                         ("ari_estimated", 0.45), ("accuracy", 0.8), ("balanced_accuracy", 0.76),
                         ("prior_accuracy", 0.5), ("prior_balanced_accuracy", 0.45))}  # fmt: skip
                row |= {"k_estimated": 5 + (s == 2), "coherence": 0.7 + lift, "silhouette": 0.2,
                        "davies_bouldin": 1.4, "nll": 800.0 - 20 * lift, "kl": 9.0}  # fmt: skip
                rows.append(row)
    return pd.DataFrame(rows)


def gain(value=0.05, low=0.03, high=0.07, p_value=0.031, best="coordinates", n=6):
    arms = dict.fromkeys(ARMS, 0.5) | {"real": 0.56, best: 0.56 - value}
    return {"gain": value, "low": low, "high": high, "p_value": p_value, "best_control": best,
            "n_pairs": n, "arms": arms}  # fmt: skip


def image_gain(verdict="helps", **scores):
    known = {"ari": gain(), "balanced_accuracy": gain(0.04, 0.02, 0.06),
             "prior_balanced_accuracy": gain(0.2, 0.15, 0.25, best="shuffled"),
             "elbo": gain(1.2, 0.4, 2.0)} | scores  # fmt: skip
    return {"tested": True, "reason": "", "scores": known, "verdict": verdict}


NO_GAIN = {"tested": False, "reason": "the slide has no image", "scores": {},
           "verdict": "not tested"}  # fmt: skip
DISCORDANCE = {"tested": True, "reason": "", "n_spots": 1152, "n_flagged": 44, "fdr": 0.1,
               "auprc": 0.81, "auprc_untrained": 0.72, "base_rate": 0.04,
               "false_discovery_share": 0.07}  # fmt: skip
NO_DISCORDANCE = {"tested": False, "reason": "the slide has no image", "n_spots": 1152,
                  "n_flagged": 0, "fdr": 0.1, "auprc": None,
                  "base_rate": None, "false_discovery_share": None}  # fmt: skip
TRAJECTORY = {"root": "1", "domains": ["1", "2", "3"],
              "connectivities": [[0.0, 0.8, 0.1], [0.8, 0.0, 0.6], [0.1, 0.6, 0.0]]}  # fmt: skip
HELD_OUT = {"n_spots": 230, "nll": 801.5, "kl": 9.3, "elbo": -810.8, "null_nll": 860.2,
            "count_nll": 160.4, "count_null_nll": 170.9, "count_share": 0.2}  # fmt: skip
IMAGE = {"kind": "statistics", "n_features": 48, "resolution": 2.0, "digest": "abc"}


def domain_genes():
    up = (("1", "MBP", 2.1), ("1", "PLP1", 1.8), ("2", "PCP4", 1.5))
    rows = [(domain, gene, change, 1e-9, 1e-7, 0.9, 0.4) for domain, gene, change in up]
    rows.append(("3", "ACTB", 0.1, 0.4, 0.6, 0.9, 0.9))
    columns = ["domain", "gene", "log2_fold_change", "p_value", "q_value", "share_in", "share_out"]
    return pd.DataFrame(rows, columns=columns)


def spatial_genes():
    rows = [("", "MBP", 0.81, 1e-5, 1e-4), ("", "SNAP25", 0.62, 1e-5, 1e-4),
            ("", "ACTB", 0.01, 0.4, 0.5), ("2", "PCP4", 0.3, 1e-4, 1e-3)]  # fmt: skip
    return pd.DataFrame(rows, columns=["domain", "gene", "morans_i", "p_value", "q_value"])


def integration():
    rows = [("principal components", 0.31, 2), ("latent", 0.74, 2)]
    return pd.DataFrame(rows, columns=["representation", "mixing", "n_sections"])
