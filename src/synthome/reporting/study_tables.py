"""The tables of the study as people read them, and the sentences that go with two of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from synthome.evaluation.rates import resampled_interval
from synthome.plotting.dose import KIND_NAMES, METRIC_NAMES
from synthome.plotting.published import PANELS
from synthome.plotting.scores import format_number
from synthome.plotting.temperature import TITLES
from synthome.reporting.phrases import capital

METRICS = ("balanced_accuracy", "auc")


def dose_table(table: pd.DataFrame) -> pd.DataFrame:
    """Mean of each classifier by dose, one column per score."""
    means = _means(table, ["kind", "dose"])
    means.insert(0, "Classifier", [_kind(kind) for kind in means.pop("kind")])
    means.insert(1, "Dose", [f"{dose:g} ×" if dose else "0" for dose in means.pop("dose")])
    return means


def few_shot_table(table: pd.DataFrame) -> pd.DataFrame:
    """Means by classifier and number of real rows, without and with synthetic ones."""
    rows = []
    for (kind, _), of in _sized(table).groupby(["kind", "size"], sort=False):
        row: dict[str, Any] = {"Classifier": _kind(str(kind)), "Real rows": _range(of["n_real"])}
        for metric in METRICS:
            for arm, words in (("real", "alone"), ("augmented", "with synthetic")):
                part = of[(of["metric"] == metric) & (of["arm"] == arm)]
                row[f"{METRIC_NAMES[metric]}, {words}"] = float(part["value"].mean())
        rows.append(row)
    return pd.DataFrame(rows)


def few_shot_words(table: pd.DataFrame, metric: str = "balanced_accuracy") -> str:
    """What synthetic rows change for the smallest number of real ones, paired by fold."""
    sized = _sized(table)
    if sized.empty:
        return "The training parts are smaller than every size that was asked for."
    least = sized[(sized["size"] == sized["size"].min()) & (sized["metric"] == metric)]
    said = []
    for kind, of in least.groupby("kind", sort=False):
        wide = of.pivot_table(index=["repeat", "fold"], columns="arm", values="value")
        gains = (wide["augmented"] - wide["real"]).to_numpy(dtype=float)
        # The generator and the classifier see these rows, and not the whole training part.
        limits = resampled_interval(gains, float(of["n_real"].mean()), float(of["n_test"].mean()))
        limits = tuple(np.clip(limits, -1.0, 1.0))
        numbers = [
            format_number(v, signed=True, decimals=2) for v in (float(gains.mean()), *limits)
        ]
        around = f" [{numbers[1]}, {numbers[2]}]" if np.isfinite(limits).all() else ""
        said.append(f"{numbers[0]}{around} for a {KIND_NAMES.get(str(kind), str(kind))}")
    return (
        f"With {_range(least['n_real'])} real patients, synthetic ones that were made of these "
        f"alone change {METRIC_NAMES[metric].lower()} by {' and by '.join(said)}."
    )


def biomarker_words(summary: Mapping[str, Any]) -> str:
    """How far the genes of both arms agree, and how stable each choice is."""
    stable = {
        arm: format_number(found["stability"])
        + (
            f" [{format_number(found['interval'][0])}, {format_number(found['interval'][1])}]"
            if np.isfinite(np.array(found["interval"], dtype=float)).all()
            else ""
        )
        for arm, found in ((a, summary[a]) for a in ("real", "synthetic"))
    }
    return (
        f"Of the {summary['k']} genes that a forest relies on most after learning from real "
        f"patients, {format_number(100 * summary['agreement'], decimals=0)} % are also named after "
        "learning from synthetic ones in the same fold. From fold to fold the choice is stable to "
        f"{stable['real']} with real and to {stable['synthetic']} with synthetic patients (1: the "
        "same genes each time, 0: as by chance)."
    )


def biomarker_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Genes named by either arm, with the share of folds that named them."""
    real, synthetic = (summary[arm]["genes"] for arm in ("real", "synthetic"))
    genes = sorted(
        {*real, *synthetic}, key=lambda g: (-real.get(g, 0.0), -synthetic.get(g, 0.0), g)
    )
    return pd.DataFrame(
        {
            "Gene": genes,
            "Folds, real": [_percent(real, gene) for gene in genes],
            "Folds, synthetic": [_percent(synthetic, gene) for gene in genes],
        }
    )


def temperature_table(curve: pd.DataFrame) -> pd.DataFrame:
    """One row per generator and temperature, one column per score."""
    wide = curve.pivot_table(
        index=["generator", "temperature"], columns="metric", values="value", sort=False
    )
    wide = wide.rename(columns=TITLES).reset_index()
    wide["temperature"] = [f"{T:g}" for T in wide["temperature"]]
    return wide.rename(columns={"generator": "Generator", "temperature": "T"})


def privacy_table(curve: pd.DataFrame, reference: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Utility and attack with intervals, one row per setting; the reference attack last."""
    rows = [
        (
            capital(str(row["knob"]).replace("_", " ")),
            f"{row['setting']:g}",
            _interval(row["utility"], row["utility_low"], row["utility_high"]),
            _interval(row["attack"], row["attack_low"], row["attack_high"]),
        )
        for _, row in curve.iterrows()
    ]
    entry = reference.get("privacy/likelihood_ratio_auc", {})
    if entry.get("value") is not None:
        low, high = entry.get("interval") or (np.nan, np.nan)
        rows.append(("With a public cohort", "–", "–", _interval(entry["value"], low, high)))
    return pd.DataFrame(rows, columns=["Knob", "Setting", "Utility", "Attack"])


def published_table(summary: pd.DataFrame) -> pd.DataFrame:
    """Mean and sd of each score, one row per generator."""
    rows = []
    for name, of in summary.groupby("generator", sort=False):
        row: dict[str, str] = {"Generator": str(name)}
        for _, found in of.iterrows():
            sd = f" ± {format_number(found['sd'], decimals=3)}" if found["sd"] > 0 else ""
            title, _ = PANELS[str(found["metric"])]
            row[title.rstrip(" *†")] = f"{format_number(found['mean'], decimals=3)}{sd}"
        rows.append(row)
    return pd.DataFrame(rows)


def _means(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    kept = table[table["metric"].isin(METRICS)]
    wide = kept.pivot_table(index=by, columns="metric", values="value", sort=False)
    return wide[[m for m in METRICS if m in wide]].rename(columns=METRIC_NAMES).reset_index()


def _sized(table: pd.DataFrame) -> pd.DataFrame:
    """With the rank of the size within its fold: classes round to a row more or less."""
    ranks = table.groupby(["repeat", "fold"])["n_real"].rank(method="dense").astype(int)
    return table.assign(size=ranks)


def _range(n_real: "pd.Series[int]") -> str:
    low, high = int(n_real.min()), int(n_real.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _kind(kind: str) -> str:
    return capital(KIND_NAMES.get(kind, kind))


def _percent(shares: Mapping[str, float], gene: str) -> str:
    return f"{round(100 * shares[gene])} %" if gene in shares else "–"


def _interval(value: float, low: float, high: float) -> str:
    around = (
        f" [{format_number(low)}, {format_number(high)}]" if np.isfinite([low, high]).all() else ""
    )
    return f"{format_number(value)}{around}"
