"""Which domains of a tissue were found, and what they have to do with the anatomy, in words."""

import math

import numpy as np
import pandas as pd
from jaxtyping import Float

from synthome.evaluation.image_gain import BASELINE
from synthome.plotting.image_test import OURS
from synthome.plotting.scores import format_number
from synthome.plotting.tissue_map import in_order
from synthome.reporting.phrases import joined, listed, percent

NO_IMAGE = "none"
SCORES = {  # of the table of domains -> in words
    "ari": "ARI, domains",
    "ari_refined": "ARI, refined domains",
    "ari_estimated": "ARI, number estimated",
    "nmi": "NMI, domains",
    "nmi_refined": "NMI, refined domains",
    "balanced_accuracy": "Labels read from the latents (balanced accuracy)",
    "prior_balanced_accuracy": "Labels read from the image alone (balanced accuracy)",
    "coherence": "Coherence (internal)",
    "silhouette": "Silhouette (internal)",
    "davies_bouldin": "Davies-Bouldin (internal)",
}
FOLLOWS, IGNORES = 0.5, 0.05  # adjusted Rand index
MARGIN = 0.02  # of it, by which trainings from other seeds may differ


def column(table: pd.DataFrame, name: str) -> Float[np.ndarray, " n"]:
    """The finite values of a column; none where there is no such column."""
    if name not in table:
        return np.empty(0)
    values = pd.to_numeric(table[name]).to_numpy(dtype=np.float64)
    return values[np.isfinite(values)]


def mean_interval(values: Float[np.ndarray, " n"]) -> tuple[float, tuple[float, float]]:
    """Mean, and its interval by the t distribution; nan for what too few values leave unknown."""
    from scipy.special import stdtrit

    if len(values) == 0:
        return math.nan, (math.nan, math.nan)
    mean = float(values.mean())
    if len(values) == 1:
        return mean, (math.nan, math.nan)
    reach = float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, (mean - reach, mean + reach)


def ours(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of the model itself: with the image of the tissue, or where there is none, without."""
    if "arm" not in scores:
        return scores.iloc[:0]
    arms = scores["arm"].astype(str)
    return scores[arms == (OURS if (arms == OURS).any() else NO_IMAGE)]


def untrained(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of what no training gives: principal components averaged over neighbours."""
    return scores[scores["arm"].astype(str) == BASELINE] if "arm" in scores else scores.iloc[:0]


def with_interval(values: Float[np.ndarray, " n"]) -> str:
    """Mean and interval as ``0.56 [0.52, 0.60]``; an en dash for none."""
    mean, (low, high) = mean_interval(values)
    if not math.isfinite(mean):
        return "–"
    text = format_number(mean)
    return f"{text} [{format_number(low)}, {format_number(high)}]" if math.isfinite(low) else text


def domains_answer(spots: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Say how many domains there are, how large, and how many the data themselves suggest."""
    if spots.empty:
        return "No spot was left to be put in a domain."
    domain = spots["domain"].astype(str)
    names = in_order(domain)
    sections = spots["section"].astype(str).nunique()
    shares = domain.value_counts(normalize=True)
    sizes = listed([f"domain {name} holds {percent(shares[name])}" for name in names])
    said = [
        f"{_count(len(names), 'domain')} were found on {_count(sections, 'section')} with "
        f"{len(spots):,} spots: {sizes} of them."
        if len(names) > 1
        else f"All {len(spots):,} spots fell into one domain: no structure was found."
    ]
    said.append(_estimated(spots, scores, len(names)))
    moved = float((spots["refined"].astype(str) != domain).mean())
    said.append(
        f"Giving each spot the domain of most of its neighbours (“refined”) moves {percent(moved)} "
        "of them."
    )
    return joined(said)


def labels_answer(spots: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Say how far domains agree with the labels, over seeds and sections; or that none are known.

    Parameters
    ----------
    spots
        The table ``tissue_map``.
    scores
        The table ``domain_scores``.
    """
    n_labelled = 0 if spots.empty else int((spots["label"].astype(str) != "").sum())
    if n_labelled == 0:
        return (
            "No spot has an anatomical label, so it is not known whether the domains are anatomy: "
            "ARI and NMI cannot be computed, and internal scores do not stand in for them."
        )
    rows = ours(scores)
    ari = column(rows, "ari")
    if len(ari) == 0:
        return (
            f"{n_labelled:,} of {len(spots):,} spots have a label, but no score against the labels "
            "was measured, so it is not known whether the domains are anatomy."
        )
    mean = float(ari.mean())
    follow = (
        "follow" if mean >= FOLLOWS else "follow in part" if mean >= IGNORES else "do not follow"
    )
    refined, nmi, free = (column(rows, n) for n in ("ari_refined", "nmi", "ari_estimated"))
    more = [
        f"{words} {with_interval(values)}"
        for words, values in (
            ("NMI", nmi), ("ARI refined", refined), ("ARI with the number estimated", free),
        )
        if len(values)
    ]  # fmt: skip
    numbers = f"ARI {with_interval(ari)}" + "".join(f"; {text}" for text in more)
    n_seeds, n_sections = (
        len(set(rows.loc[np.isfinite(rows["ari"].to_numpy(dtype=float)), name]))
        for name in ("seed", "section")
    )
    said = [
        f"The domains {follow} the labels, which {n_labelled:,} of {len(spots):,} spots have "
        f"({numbers}; mean over {_count(n_seeds, 'seed')} × {_count(n_sections, 'section')}, with "
        "95 % intervals; 1: the same map, 0: as by chance).",
        "The labels were used for these scores and never to choose: no seed, epoch or setting was "
        "picked by them. Where nobody set the number of domains, it is the number of labels; the "
        "score with the number estimated does without that too.",
    ]
    said.append(_map(spots, n_seeds))
    said.append(_beside_components(mean, column(untrained(scores), "ari")))
    if len(ari) == 1:
        said.append("There is one seed and one section, so there is no interval.")
    elif n_sections == 1:
        said.append(
            "There is one section, so the interval says how far seeds differ, and nothing about "
            "other tissue."
        )
    else:
        said.append("Seeds of one section share its spots, so the interval is rather too narrow.")
    return joined(said)


def map_ari(spots: pd.DataFrame) -> float:
    """Agreement of the domains of the map with the labels, mean over sections."""
    from synthome.evaluation.spatial_domains import ari

    found = [
        ari(of["label"].to_numpy(str), of["domain"].to_numpy(str))
        for _, of in spots.groupby("section", sort=True)
    ]
    return float(np.nanmean(found)) if np.isfinite(found).any() else math.nan


def _map(spots: pd.DataFrame, n_seeds: int) -> str:
    score = map_ari(spots)
    if n_seeds < 2 or not math.isfinite(score):
        return ""
    return (
        f"The domains that are shown are by the vote of all {n_seeds} trainings: their ARI is "
        f"{format_number(score)}."
    )


def internal_answer(scores: pd.DataFrame) -> str:
    """Say what the scores that need no label are, and that they prove nothing."""
    rows = ours(scores)
    names = {"coherence": "coherence", "silhouette": "silhouette",
             "davies_bouldin": "Davies-Bouldin index"}  # fmt: skip
    found = [
        f"{words} {with_interval(column(rows, name))}"
        for name, words in names.items()
        if len(column(rows, name))
    ]
    if not found:
        return "Internal scores of the domains were not measured."
    return (
        f"Internal scores, which ask no label: {listed(found)}. They judge domains by the latents "
        "and the neighbourhoods that made them, so they do not show that the domains are real."
    )


def scores_table(scores: pd.DataFrame) -> pd.DataFrame | None:
    """One row for each score of the model itself that is known, each section beside their mean."""
    rows = ours(scores)
    found = []
    sections = list(dict.fromkeys(rows["section"].astype(str))) if len(rows) else []
    for name, words in SCORES.items():
        if len(column(rows, name)) == 0:
            continue
        line = {"Score": words, "Mean [95 % interval]": with_interval(column(rows, name))}
        if len(sections) > 1:
            for section in sections:
                of = column(rows[rows["section"].astype(str) == section], name)
                line[section] = format_number(float(of.mean())) if len(of) else "–"
        found.append(line)
    return pd.DataFrame(found) if found else None


def _estimated(spots: pd.DataFrame, scores: pd.DataFrame, k: int) -> str:
    estimated = column(ours(scores), "k_estimated")
    if len(estimated) == 0:
        estimated = np.array([float(spots["estimated"].astype(str).nunique())])
    low, middle, high = (round(float(f(estimated))) for f in (np.min, np.median, np.max))
    spread = f" (from {low} to {high} over trainings)" if low != high else ""
    agree = "as well" if middle == k else "instead"
    return f"Estimated from the latents alone, the number would be {middle}{spread} {agree}."


def _beside_components(ari: float, floor: Float[np.ndarray, " n"]) -> str:
    if len(floor) == 0:
        return ""
    value = float(floor.mean())
    more = "more than" if ari > value + MARGIN else "less than" if ari < value - MARGIN else "like"
    return (
        "Principal components averaged over neighbours, by the same vote and without any training, "
        f"reach ARI {format_number(value)}: the model gives {more} they do."
    )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' if n != 1 else ''}"
