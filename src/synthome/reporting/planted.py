"""Which genes carry the change, and are they those that were changed: beside a plain t-test."""

import pandas as pd

from synthome.plotting.planted import BAR, CHANCE, DIRECTIONS, METHODS
from synthome.plotting.scores import format_number
from synthome.reporting.phrases import joined

ENOUGH = 0.9  # of the t-test: a method that reaches this share of it is said to keep up
FAILS = 0.5  # of the t-test: below this share a method is said to fail
OURS, LOADINGS = "mean_shift", "latent_shift"


def planted_answer(table: pd.DataFrame, dose: float) -> str:
    """Say how well model, loadings and t-test find the genes that were turned down and up.

    Parameters
    ----------
    table
        ``evaluation.planted.planted_auprc``, of one dose.
    """
    sentences = [
        f"At {dose:g} × the genes that were changed are known, so that a ranking of all genes can "
        "be marked (AUPRC: 1 is perfect)."
    ]
    for direction, words in DIRECTIONS.items():
        found = table[table["direction"] == direction].set_index("method")["auprc"]
        if len(found):
            sentences.append(_of_direction(words, found))
    return joined(sentences)


def planted_table(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each method, down and up apart."""
    methods = [m for m in (*METHODS, CHANCE) if (table["method"] == m).any()]
    rows = []
    for method in methods:
        name = " ".join(METHODS.get(method, "Chance").split())
        row = {"Method": name}
        for direction, words in DIRECTIONS.items():
            of = table[(table["method"] == method) & (table["direction"] == direction)]
            row[words] = "–" if of.empty else _with_sd(of.iloc[0], method)
        rows.append(row)
    return pd.DataFrame(rows)


def share_of_bar(table: pd.DataFrame, method: str) -> dict[str, float]:
    """AUPRC of a method over that of the t-test, by direction."""
    wide = table.pivot(index="direction", columns="method", values="auprc")
    return (wide[method] / wide[BAR]).dropna().to_dict() if method in wide else {}


def _of_direction(words: str, found: "pd.Series[float]") -> str:
    bar = float(found.get(BAR, float("nan")))
    chance = f", chance {format_number(found[CHANCE])}" if CHANCE in found else ""
    said = f"{words}: a t-test without any model reaches {format_number(bar)}{chance}"
    if OURS in found:
        share = float(found[OURS]) / bar
        verdict = (
            "as well as the t-test" if share >= 1.0
            else "which keeps up" if share >= ENOUGH
            else "which is less"
        )  # fmt: skip
        said += f"; the model read with its residuals {format_number(found[OURS])}, {verdict}"
    if LOADINGS in found:
        share = float(found[LOADINGS]) / bar
        failing = ": loadings alone fail here" if share < FAILS else ""
        said += f"; loadings and latents alone {format_number(found[LOADINGS])}{failing}"
    return f"{said}."


def _with_sd(row: "pd.Series[float]", method: str) -> str:
    value = format_number(float(row["auprc"]))
    sd = float(row["sd"])
    return f"{value} ± {format_number(sd)}" if sd > 0 and method != CHANCE else value
