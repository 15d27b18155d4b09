"""Entries of ``metrics.json`` from the tables of a tissue.

Nothing copies here, so that no entry has a cheat; what the floor is stands with each metric in
``evaluation.metrics``. What was not measured has no entry.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from synthome.evaluation.metrics import METRICS
from synthome.evaluation.summary import Entry, entry
from synthome.reporting.tissue_domains import column, map_ari, mean_interval, ours, untrained
from synthome.reporting.tissue_image import number

Document = Mapping[str, Any]
UNKNOWN = (math.nan, math.nan)
DOMAINS = (
    *("ari", "ari_refined", "ari_estimated", "nmi", "balanced_accuracy"),
    *("prior_balanced_accuracy", "coherence", "silhouette", "davies_bouldin"),
)
GAINS = {  # score of the test of the image -> ending of its key
    "balanced_accuracy": "",
    "ari": "_ari",
    "prior_balanced_accuracy": "_prior",
    "elbo": "_elbo",
}


def domain_entries(scores: pd.DataFrame) -> dict[str, Entry]:
    """Means over seeds and sections; the floor is what no training gives."""
    rows, bare = ours(scores), untrained(scores)
    found = {}
    for name in DOMAINS:
        values = column(rows, name)
        if len(values) == 0:
            continue
        mean, interval = mean_interval(values)
        floor, _ = mean_interval(column(bare, name))
        n_sections, n_seeds = (rows[key].nunique() for key in ("section", "seed"))
        key = f"spatial/{name}"
        found[key] = entry(
            METRICS[key],
            {"model": mean, "floor": floor},
            interval,
            len(values),
            1,
            f"mean over {n_seeds} seeds x {n_sections} sections; labels are never used for "
            "selection; floor: principal components averaged over neighbours, by the same vote; "
            "interval: t over seeds and sections",
        )
    return found


def map_entries(spots: pd.DataFrame, scores: pd.DataFrame) -> dict[str, Entry]:
    """Agreement of the domains of the map, by the vote of all trainings, with the labels."""
    value = math.nan if spots.empty else map_ari(spots)
    if not math.isfinite(value):
        return {}
    key = "spatial/vote_ari"
    floor, _ = mean_interval(column(untrained(scores), "ari"))
    n_sections = spots["section"].nunique()
    return {
        key: entry(
            METRICS[key],
            {"model": value, "floor": floor},
            UNKNOWN,
            n_sections,
            1,
            "domains by the vote of all trainings with the image, mean over sections; floor: "
            "principal components averaged over neighbours, by the same vote; no interval, since "
            "there is one map",
        )
    }


def gain_entries(gain: Document) -> dict[str, Entry]:
    """The true image minus the best control."""
    found = {}
    for name, score in (gain.get("scores") or {}).items():
        value = number(score.get("gain"))
        if name not in GAINS or not math.isfinite(value):
            continue
        key = f"spatial/image_gain{GAINS[name]}"
        n = number(score.get("n_pairs"))
        found[key] = entry(
            METRICS[key],
            {"model": value, "floor": 0.0},
            (number(score.get("low")), number(score.get("high"))),
            int(n) if math.isfinite(n) else 0,
            1,
            f"true image minus the best control ({score.get('best_control')}), paired by seed and "
            "section; floor: no gain",
        )
    return found


def discordance_entries(summary: Document) -> dict[str, Entry]:
    """AUPRC of the planted disagreements, where there are any."""
    value = number(summary.get("auprc"))
    if not summary.get("tested") or not math.isfinite(value):
        return {}
    key = "spatial/discordance_auprc"
    bare = number(summary.get("auprc_untrained"))
    known = math.isfinite(bare)
    n = number(summary.get("n_spots"))
    return {
        key: entry(
            METRICS[key],
            {"model": value, "floor": bare if known else number(summary.get("base_rate"))},
            UNKNOWN,
            int(n) if math.isfinite(n) else 0,
            1,
            "planted disagreements, ranked; floor: "
            + ("principal components averaged over neighbours, judged alike" if known else "chance")
            + "; no interval, since spots of a patch are alike",
        )
    }


def held_out_entries(scores: Document) -> dict[str, Entry]:
    """NLL and ELBO of held-out spots; the floor knows no latents."""
    null = number(scores.get("null_nll"))
    n = number(scores.get("n_spots"))
    found = {}
    for name, floor in (
        ("elbo", -null), ("nll", null), ("count_nll", number(scores.get("count_null_nll"))),
    ):  # fmt: skip
        value = number(scores.get(name))
        if math.isfinite(value):
            key = f"spatial/{name}"
            found[key] = entry(
                METRICS[key],
                {"model": value, "floor": floor},
                UNKNOWN,
                int(n) if math.isfinite(n) else 0,
                1,
                "mean over spots of held-out blocks, model fitted to the other blocks; floor: no "
                "latents; no interval, since neighbours are alike",
            )
    return found


def mixing_entries(table: pd.DataFrame) -> dict[str, Entry]:
    """Mixing of the sections in the latents; the floor is principal components."""
    if table.empty:
        return {}
    by_name = table.set_index(table["representation"].astype(str))["mixing"].astype(float)
    value = float(by_name.get("latent", math.nan))
    if not math.isfinite(value):
        return {}
    key = "spatial/section_mixing"
    return {
        key: entry(
            METRICS[key],
            {"model": value, "floor": float(by_name.get("principal components", math.nan))},
            UNKNOWN,
            int(np.max(table["n_sections"])),
            1,
            "nearest neighbours of another section over the share that chance demands; floor: "
            "principal components",
        )
    }
