"""What a model of contexts was asked, answered in words: sections and scores of the report.

Every sentence is computed from the tables of the experiments. Where a plain average does as well as
the model, the sentence says so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from synthome.plotting.conditional import METHODS, conditional_figure
from synthome.plotting.contexts import (
    context_scores_figure,
    contributions_figure,
    head_genes_figure,
    planted_contexts_figure,
)
from synthome.plotting.scores import format_number
from synthome.plotting.style import nothing_figure
from synthome.reporting.conditional import SCORES
from synthome.reporting.content import Answers, Section
from synthome.reporting.cycle_ae_scores import (
    BASELINE,
    OURS,
    PUBLISHED,
    combination_scores,
    context_scores,
    model_of,
    planted_scores,
)
from synthome.reporting.cycle_ae_words import FIGURES, GLOSSARY, LIMITS
from synthome.reporting.phrases import joined

R2 = "weighted_delta_r2"
HARDLY = 0.01  # of R2: methods that differ by less are called equal
BADLY = 0.05  # calibration error from which on confidence is not to be trusted
FALLS_SHORT = 0.1  # of balanced accuracy, of generated cells against real ones
TOLD = 0.15  # beyond guessing, from which on the state still tells a field
TOGETHER = 0.9  # Cramér's V from which on two fields are hardly told apart
NOT_SIMULATED = "Planted effects are known in simulated cells alone; these are not."
NO_TARGET = (
    "No combination could be held out: that takes two labels with enough cells under two "
    "categories of a field. What counterfactual cells are worth is not known here."
)


@dataclass(frozen=True, eq=False)
class CycleAEResults:
    """Tables and documents of the experiments.

    Attributes
    ----------
    held_out, heads, head_genes, planted, contexts, claims
        ``evaluation.context_reading``, the function of each.
    combinations
        ``evaluation.held_out_combinations``.
    fields
        The artefact of ingestion: fields with their categories, and what is confounded.
    history
        Of training.
    """

    held_out: Mapping[str, float]
    combinations: pd.DataFrame
    planted: pd.DataFrame
    heads: pd.DataFrame
    head_genes: pd.DataFrame
    contexts: pd.DataFrame
    claims: pd.DataFrame
    fields: Mapping[str, Any]
    history: pd.DataFrame


def cycle_ae_figures(results: CycleAEResults) -> dict[str, Figure]:
    """The figures by name, in the order of ``cycle_ae_words.FIGURES``."""
    combinations = results.combinations
    shown = combinations.assign(cell_type=combinations["target"], condition="held-out combinations")
    return {
        "counterfactuals": nothing_figure("No combination could be held out.")
        if combinations.empty
        else conditional_figure(shown),
        "planted_effects": nothing_figure(NOT_SIMULATED)
        if results.planted.empty
        else planted_contexts_figure(results.planted),
        "contributions": contributions_figure(results.heads, results.history)
        if len(results.heads)
        else nothing_figure("The published model has no signed heads to show."),
        "head_genes": head_genes_figure(results.head_genes)
        if len(results.head_genes)
        else nothing_figure("There is one field only: its categories are the labels."),
        "contexts": context_scores_figure(results.contexts)
        if len(results.contexts)
        else nothing_figure("Nothing was told from generated cells."),
    }


def cycle_ae_answers(results: CycleAEResults) -> Answers:
    """Scores, sections and words that the shared report takes over."""
    n = int(results.held_out.get("n_cells", 0))
    return Answers(
        metrics=combination_scores(results.combinations)
        | planted_scores(results.planted)
        | context_scores(results.contexts, n),
        sections=_sections(results),
        figures=FIGURES,
        limits=LIMITS,
        glossary=GLOSSARY,
    )


def counterfactual_answer(table: pd.DataFrame) -> str:
    """Whether the model beats the plain baselines on combinations that it never saw."""
    if table.empty:
        return NO_TARGET
    wide = table.pivot(index="target", columns="method", values=R2)
    told = table.groupby("target")["informative"].any()
    model, said = model_of(table), []
    numbers = "; ".join(
        f"{METHODS[m].name.lower()} {format_number(float(wide[m].mean()))}"
        for m in METHODS
        if m in wide and math.isfinite(float(wide[m].mean()))
    )
    said.append(
        f"{_count(len(wide), 'combination')} of contexts was left out of everything and predicted. "
        f"Weighted R² of the change, on average: {numbers}."
        if len(wide) == 1
        else f"{_count(len(wide), 'combination')} of contexts were left out of everything and "
        f"predicted, each in turn. Weighted R² of the change, on average: {numbers}."
    )
    plain = [m for m in (BASELINE, "similarity") if m in wide]
    if plain and model in wide:
        gain = wide[model] - wide[plain].max(axis=1)
        won, lost = int((gain > HARDLY).sum()), int((gain < -HARDLY).sum())
        if won > lost:
            said.append(
                f"Counterfactual cells beat the best additive baseline in {won} of {len(gain)}."
            )
        elif lost > won:
            said.append(
                f"A plain average of the other types does better in {lost} of {len(gain)}: for "
                "such predictions, no model is needed."
            )
        else:
            said.append("Neither is ahead of the additive baseline: an average does as well.")
    if not told.all():
        some = "None" if not told.any() else f"Only {int(told.sum())}"
        said.append(
            f"{some} of them can tell much: elsewhere few genes change surely, or true cells "
            "themselves predict true cells badly."
        )
    return joined(said)


def effects_answer(heads: pd.DataFrame, planted: pd.DataFrame) -> str:
    """How much each field explains, and whether planted effects were found."""
    said = []
    if len(heads):
        all_cells = heads[heads["group"] == "all"].set_index("head")["variance_share"]
        parts = ", ".join(
            f"{name} {100 * share:.0f} %" for name, share in all_cells.items() if share >= 0.005
        )
        said.append(
            "The log rate of each gene is a sum of heads, and what differs between cells is made "
            f"up of: {parts}."
        )
    for method, name in ((OURS, "signed heads find"), (PUBLISHED, "the published model finds")):
        own = planted[planted["method"] == method]
        if len(own):
            said.append(
                f"Of the effects that were planted, {name} the sign of "
                f"{100 * own['sign_accuracy'].mean():.0f} % of genes "
                f"({100 * own['down_accuracy'].mean():.0f} % of lowered ones), and sizes with "
                f"r = {format_number(float(own['correlation'].mean()))}."
            )
    return joined(said or [NOT_SIMULATED])


def contexts_answer(table: pd.DataFrame) -> str:
    """Whether generated cells are what they were asked to be, and who says so."""
    if table.empty:
        return ""
    said = []
    for row in table.to_dict("records"):
        real, made = row["independent_accuracy"], row["generated_independent"]
        field = row["field"]
        if real - row["chance"] < TOLD:
            said.append(
                f"{field}: it is hardly told even in real cells ({_percent(real)}, guessing "
                f"{_percent(row['chance'])}), so that generated ones cannot be judged by it."
            )
        elif made < real - FALLS_SHORT:
            leaned = row["generated_accuracy"]
            but = (
                f", though the classifier of training is satisfied ({_percent(leaned)})"
                if leaned > made + FALLS_SHORT
                else ""
            )
            said.append(
                f"{field}: generated cells are told less surely than real ones "
                f"({_percent(made)} against {_percent(real)}, by a judge that training never "
                f"saw){but}."
            )
        else:
            said.append(
                f"{field}: generated cells are told as surely as real ones ({_percent(made)} "
                f"against {_percent(real)}, by a judge that training never saw)."
            )
        if row["calibration_error"] > BADLY:
            said.append(
                f"The classifier that training leans on is badly calibrated for {field} (error "
                f"{format_number(row['calibration_error'])})."
            )
        if (row["integration_state"] - row["chance"]) / (1.0 - row["chance"]) > TOLD:
            said.append(
                f"The state still tells {field} ({_percent(row['integration_state'])}, guessing "
                f"{_percent(row['chance'])}): what it holds is not free of it."
            )
    return joined(said)


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
        if row["claimed"]:
            said.append(f"The effects of {row['field']} are larger than donors differ {numbers}.")
        else:
            said.append(
                f"The effects of {row['field']} are no larger than donors differ by chance "
                f"{numbers}: nothing should be built on counterfactual cells of it."
            )
    return joined(said)


def fields_answer(fields: Mapping[str, Any]) -> str:
    """Which fields there are, and which cannot be told apart."""
    said = []
    own = {str(field["name"]) for field in fields.get("fields", [])}
    for pair in fields.get("confounding", []):
        both = {pair["a"], pair["b"]} <= own  # that each donor has one sex is as it must be
        if pair.get("determined") and (both or " and " in pair["determined"]):
            said.append(
                f"{pair['a']} and {pair['b']} cannot be told apart ({pair['determined']}): an "
                "effect of one may be that of the other."
            )
        elif both and (pair.get("cramers_v") or 0.0) >= TOGETHER:
            said.append(
                f"{pair['a']} and {pair['b']} nearly always go together (Cramér's V "
                f"{pair['cramers_v']:.2f})."
            )
    return joined(said or ["No two fields go together so much that they could not be told apart."])


def likelihood_words(scores: Mapping[str, float]) -> str:
    """What contexts, and the state beyond them, tell of held-out cells."""
    if not scores:
        return "Counts have no law under the published model: held-out cells have no likelihood."
    null, alone, full = (scores[key] for key in ("null_nll", "contexts_nll", "nll"))
    return (
        f"Held-out cells cost {format_number(null)} nats each without knowing anything of them, "
        f"{format_number(alone)} given their contexts, and {format_number(full)} given their state "
        "too, which is read from the cell itself."
    )


def _sections(results: CycleAEResults) -> tuple[Section, ...]:
    return (
        Section(
            "Contexts, in short",
            (
                counterfactual_answer(results.combinations),
                claims_answer(results.claims),
                fields_answer(results.fields),
                likelihood_words(results.held_out),
            ),
        ),
        Section(
            "What does each context add?",
            (effects_answer(results.heads, results.planted),),
            _heads_table(results.heads),
            "Length over genes of what a head adds, less its mean, and its share of what differs "
            "between cells.",
            ("contributions", "head_genes", "planted_effects"),
        ),
        Section(
            "Are unseen combinations predicted?",
            (counterfactual_answer(results.combinations),),
            _combinations_table(results.combinations),
            "Each held-out combination and method: weighted R² and correlation of the predicted "
            "change (1 is perfect), distance of predicted from true cells (0 is best), and lowered "
            "genes that are predicted to fall. A reconstruction is no counterfactual and is not "
            "among them.",
            ("counterfactuals",),
        ),
        Section(
            "Are generated cells what they were asked to be?",
            (contexts_answer(results.contexts),),
            _contexts_table(results.contexts),
            "Balanced accuracies on held-out cells, and the calibration error of the classifier "
            "that training leans on.",
            ("contexts",),
        ),
        Section(
            "Is an effect larger than donors differ?",
            (claims_answer(results.claims),),
            _claims_table(results.claims),
            "Root mean square of the effects of a field, and what it is when donors swap "
            "categories.",
        ),
    )


def _heads_table(heads: pd.DataFrame) -> pd.DataFrame | None:
    own = heads[heads["group"] == "all"] if len(heads) else heads
    if own.empty:
        return None
    return pd.DataFrame(
        {
            "Head": own["head"].to_numpy(),
            "Length": [format_number(v) for v in own["norm"]],
            "Share of variance": [_percent(v) for v in own["variance_share"]],
        }
    )


def _combinations_table(table: pd.DataFrame) -> pd.DataFrame | None:
    rows = []
    for target, of in table.groupby("target", sort=False):
        for method, look in METHODS.items():
            for found in of[of["method"] == method].to_dict("records"):
                row = {"Held out": target, "Prediction": look.name}
                row |= {words: format_number(float(found[s])) for s, words in SCORES.items()}
                row["Lowered genes fall"] = _percent(found["down_accuracy"])
                row["Cells"] = f"{found['n_cells']:,}"
                row["Changed genes"] = f"{found['n_changed']:.0f}"
                rows.append(row)
    return pd.DataFrame(rows) if rows else None


def _contexts_table(table: pd.DataFrame) -> pd.DataFrame | None:
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
        found[column] = [_percent(v) for v in found[column]]
    found["Calibration error"] = [format_number(v) for v in table["calibration_error"]]
    return found.rename(columns=columns)


def _claims_table(table: pd.DataFrame) -> pd.DataFrame | None:
    if table.empty:
        return None
    return pd.DataFrame(
        {
            "Field": table["field"],
            "Donors": table["n_donors"],
            "Effects": [format_number(v) for v in table["statistic"]],
            "When donors swap": [format_number(v) for v in table["null_mean"]],
            "p": [f"{v:.3f}" for v in table["p_value"]],
            "p, corrected": [f"{v:.3f}" for v in table["p_adjusted"]],
        }
    )


def _percent(share: float) -> str:
    return "not known" if not math.isfinite(share) else f"{100 * share:.0f} %"


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"
