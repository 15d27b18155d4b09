"""What contexts add, who can tell them, and which of it can be claimed: answers and tables."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from synthome.plotting.scores import format_number
from synthome.reporting.cycle_ae_combinations import known_percent
from synthome.reporting.cycle_ae_scores import OURS, PUBLISHED
from synthome.reporting.phrases import joined

BADLY = 0.05  # calibration error from which on confidence is not to be trusted
FALLS_SHORT = 0.1  # of balanced accuracy, of generated cells against real ones
TOLD = 0.15  # beyond guessing, from which on the state still tells a field
TOGETHER = 0.9  # Cramér's V from which on two fields are hardly told apart
CLAIMED = 0.05  # p of one field alone from which down it is not put down to chance
NOT_SIMULATED = "Planted effects are known in simulated cells alone; these are not."
NO_HEADS = (
    "What each context adds was not read: the published model has no signed heads that add up."
)
NOT_TOLD = (
    "It is not known whether generated cells are what they were asked to be: that is asked of "
    "signed heads alone, and there are none."
)


def effects_answer(heads: pd.DataFrame, planted: pd.DataFrame) -> str:
    """How much each field explains, and whether planted effects were found."""
    return joined((_shares(heads), _planted(planted)))


def contexts_answer(table: pd.DataFrame) -> str:
    """Whether generated cells are what they were asked to be, and who says so."""
    if table.empty:
        return NOT_TOLD
    said = ["Held-out cells were moved to each category of a field, and its category was told."]
    for row in table.to_dict("records"):
        said += [_generated(row), _calibration(row), _state(row)]
    return joined((*said, _cycle(table)))


def claims_answer(table: pd.DataFrame) -> str:
    """Which fields do more than donors differ."""
    if table.empty:
        return (
            "No field could be tested against donors: none was named (donor=COLUMN), or each donor "
            "has cells of several categories."
        )
    said = []
    for row in table.to_dict("records"):
        numbers = f"(p = {row['p_adjusted']:.3f} after correction, {row['n_donors']} donors)"
        if not math.isfinite(row["p_adjusted"]):
            said.append(f"The effects of {row['field']} could not be tested against donors.")
        elif row["claimed"]:
            said.append(f"The effects of {row['field']} are larger than donors differ {numbers}.")
        elif row["p_value"] <= CLAIMED:
            said.append(
                f"The effects of {row['field']} are larger than donors differ when it is looked at "
                f"alone (p = {row['p_value']:.3f}), but not among all fields that were tested "
                f"{numbers}: that is no proof."
            )
        else:
            said.append(
                f"The effects of {row['field']} are no larger than donors differ by chance "
                f"{numbers}: nothing should be built on counterfactual cells of it."
            )
    return joined(said)


def fields_answer(fields: Mapping[str, Any]) -> str:
    """Which fields there are, and which cannot be told apart."""
    told = list(fields.get("fields") or ())
    if not told:
        return "Fields were not described, so that it is not known which of them go together."
    said = [
        f"{field['name']} was left out: {field.get('why') or 'it has one category'}."
        for field in told
        if not field.get("used", True)
    ]
    own = {str(field["name"]) for field in told if field.get("used", True)}
    apart = [_together(pair, own) for pair in fields.get("confounding") or ()]
    if not any(apart):
        said.append(
            "No two fields go together so much that they could not be told apart."
            if len(own) > 1
            else "There is one field only, so that there is nothing to tell it apart from."
        )
    return joined((*said, *apart))


def likelihood_words(scores: Mapping[str, float]) -> str:
    """What contexts, and the state beyond them, tell of held-out cells."""
    if not scores:
        return "Counts have no law under the published model: held-out cells have no likelihood."
    null, alone, full = (scores.get(key, math.nan) for key in ("null_nll", "contexts_nll", "nll"))
    if not all(map(math.isfinite, (null, alone, full))):
        return "What held-out cells cost under the model could not be computed."
    return joined(
        (
            f"Held-out cells cost {format_number(null)} nats each without knowing anything of "
            f"them, {format_number(alone)} given their contexts, and {format_number(full)} given "
            "their state too, which is read from the cell itself.",
            "Contexts alone explain nothing that holds for other cells." if alone >= null else "",
            "The state explains nothing beyond contexts." if full >= alone else "",
        )
    )


def heads_table(heads: pd.DataFrame) -> pd.DataFrame | None:
    """Length and share of variance of each head, over all cells."""
    own = heads[heads["group"] == "all"] if len(heads) else heads
    if own.empty:
        return None
    return pd.DataFrame(
        {
            "Head": own["head"].to_numpy(),
            "Length": [format_number(v) for v in own["norm"]],
            "Share of variance": [known_percent(v) for v in own["variance_share"]],
        }
    )


def contexts_table(table: pd.DataFrame) -> pd.DataFrame | None:
    """Balanced accuracies of each field, and what is lost on the way."""
    columns = {
        "field": "Field",
        "chance": "Guessing",
        "independent_accuracy": "Real, independent judge",
        "generated_independent": "Generated, independent judge",
        "generated_accuracy": "Generated, classifier of training",
        "integration_state": "From the state",
        "integration_pca": "From components",
    }
    if table.empty:
        return None
    found = table[list(columns)].copy()
    for column in list(columns)[1:]:
        found[column] = [known_percent(v) for v in found[column]]
    found["Calibration error"] = [format_number(v) for v in table["calibration_error"]]
    found["Lost there and back"] = [known_percent(v) for v in table["cycle_error"]]
    return found.rename(columns=columns)


def claims_table(table: pd.DataFrame) -> pd.DataFrame | None:
    """The permutation test of each field."""
    if table.empty:
        return None
    return pd.DataFrame(
        {
            "Field": table["field"],
            "Donors": table["n_donors"],
            "Effects": [format_number(v) for v in table["statistic"]],
            "When donors swap": [format_number(v) for v in table["null_mean"]],
            "p": [format_number(v, decimals=3) for v in table["p_value"]],
            "p, corrected": [format_number(v, decimals=3) for v in table["p_adjusted"]],
        }
    )


def _shares(heads: pd.DataFrame) -> str:
    if heads.empty:
        return NO_HEADS
    shares = heads[heads["group"] == "all"].set_index("head")["variance_share"].dropna()
    parts = ", ".join(f"{n} {known_percent(s)}" for n, s in shares.items() if abs(s) >= 0.005)
    if not parts:
        return "The log rate of each gene is a sum of heads; what they share could not be computed."
    return (
        "The log rate of each gene is a sum of heads, and what differs between cells is made up "
        f"of: {parts}."
    )


def _planted(planted: pd.DataFrame) -> str:
    if planted.empty:
        return NOT_SIMULATED
    said = []
    for method, name in ((OURS, "signed heads find"), (PUBLISHED, "the published model finds")):
        own = planted[planted["method"] == method]
        if len(own):
            r = format_number(float(own["correlation"].mean()))
            said.append(
                f"Of the effects that were planted, {name} the sign of "
                f"{known_percent(own['sign_accuracy'].mean())} of genes "
                f"({known_percent(own['down_accuracy'].mean())} of lowered ones), and sizes with "
                f"r = {r}."
            )
    return joined(said)


def _generated(row: Mapping[str, Any]) -> str:
    field, real, made = row["field"], row["independent_accuracy"], row["generated_independent"]
    if not (math.isfinite(real) and math.isfinite(made)):
        return f"{field}: it could not be judged."
    if real - row["chance"] < TOLD:
        return (
            f"{field}: it is hardly told even in real cells ({known_percent(real)}, guessing "
            f"{known_percent(row['chance'])}), so that generated ones cannot be judged by it."
        )
    numbers = f"{known_percent(made)} against {known_percent(real)}"
    if made >= real - FALLS_SHORT:
        return (
            f"{field}: generated cells are told as surely as real ones ({numbers}, by a judge "
            "that training never saw)."
        )
    leaned = row["generated_accuracy"]
    but = (
        f", though the classifier of training is satisfied ({known_percent(leaned)})"
        if leaned > made + FALLS_SHORT
        else ""
    )
    return (
        f"{field}: generated cells are told less surely than real ones ({numbers}, by a judge that "
        f"training never saw){but}."
    )


def _calibration(row: Mapping[str, Any]) -> str:
    if not row["calibration_error"] > BADLY:
        return ""
    return (
        f"The classifier that training leans on is badly calibrated for {row['field']} (error "
        f"{format_number(row['calibration_error'])})."
    )


def _state(row: Mapping[str, Any]) -> str:
    beyond = (row["integration_state"] - row["chance"]) / (1.0 - row["chance"])
    if not beyond > TOLD:
        return ""
    plain = row["integration_pca"]
    beside = f", principal components {known_percent(plain)}" if math.isfinite(plain) else ""
    return (
        f"The state still tells {row['field']} ({known_percent(row['integration_state'])}, "
        f"guessing {known_percent(row['chance'])}{beside}): what it holds is not free of it."
    )


def _cycle(table: pd.DataFrame) -> str:
    worst = table["cycle_error"].max()
    if not math.isfinite(worst):
        return ""
    return (
        f"On the way to another category and back, a cell loses at most {known_percent(worst)} of "
        "what its state adds; that checks the model, and says nothing of counterfactual cells."
    )


def _together(pair: Mapping[str, Any], own: set[str]) -> str:
    a, b, told = pair["a"], pair["b"], pair.get("determined") or ""
    both = {a, b} <= own  # that each donor has one sex is as it must be
    if told and (both or " and " in told):
        return (
            f"{a} and {b} cannot be told apart ({told}): an effect of one may be that of the other."
        )
    if both and (pair.get("cramers_v") or 0.0) >= TOGETHER:
        return f"{a} and {b} nearly always go together (Cramér's V {pair['cramers_v']:.2f})."
    return ""
