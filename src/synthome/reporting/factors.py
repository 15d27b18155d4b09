"""What the latent factors are: which come back with other seeds, which answer, what they carry."""

from collections.abc import Mapping

import pandas as pd

from synthome.plotting.detection import SETS
from synthome.plotting.loadings import telling_factors
from synthome.plotting.scores import format_number
from synthome.reporting.phrases import joined, listed

STABLE = 0.8  # |r| with its partners in other fits, above which a factor is said to come back
FALSE_DISCOVERIES = 0.05
LEADING = 5  # genes that are named of a factor
N_FACTORS = 12  # that are listed in the table


def factors_answer(
    loadings: pd.DataFrame,
    responses: pd.DataFrame,
    enrichment: pd.DataFrame,
    set_names: Mapping[str, str],
    n_seeds: int,
) -> str:
    """Say which factors can be trusted, and which answer to the change.

    Parameters
    ----------
    loadings, responses, enrichment
        What ``evaluation.loadings.loading_table``, ``factor_response`` and ``set_enrichment``
        returned.
    set_names
        Name of the gene set that was changed in each condition.
    n_seeds
        Fits that were compared; with a single one nothing is known of stability.
    """
    stable = loadings.groupby("factor")["factor_stability"].first()
    sentences = [_stability(stable, n_seeds)]
    for condition, of in responses.groupby("condition", sort=True):
        name = set_names.get(str(condition), str(condition))
        planted = enrichment[enrichment["gene_set"] == name]
        sentences.append(_response(str(condition), name, of, loadings, planted, stable, n_seeds))
    return joined(sentences)


def factors_table(
    loadings: pd.DataFrame, responses: pd.DataFrame, n_factors: int = N_FACTORS
) -> pd.DataFrame:
    """Factors that answer most: effect of each condition, stability, leading genes."""
    effects = responses.pivot(index="factor", columns="condition", values="effect")
    sure = responses.pivot(index="factor", columns="condition", values="q")
    rows = []
    for factor in telling_factors(loadings, responses, n_factors):
        of = loadings[loadings["factor"] == factor].sort_values("rank")
        row = {"Factor": str(factor)}
        for condition in effects.columns:
            star = " *" if sure.at[factor, condition] < FALSE_DISCOVERIES else ""
            effect = format_number(effects.at[factor, condition], signed=True, decimals=2)
            row[f"Effect, {SETS.get(condition, condition)}"] = effect + star
        row["Stability"] = format_number(float(of["factor_stability"].iloc[0]))
        row["Leading genes"] = ", ".join(_signed_genes(of))
        rows.append(row)
    return pd.DataFrame(rows)


def _stability(stable: "pd.Series[float]", n_seeds: int) -> str:
    if n_seeds < 2:
        return (
            "The model was trained once, so that it is not known which factors would come back "
            "with another seed: read their genes as an example."
        )
    kept = [int(factor) for factor in stable.index[stable >= STABLE]]
    again = "comes" if len(kept) == 1 else "come"
    start = f"Of {len(stable)} factors, {len(kept)} {again} back with another seed"
    measure = f"(mean r ≥ {STABLE:g} between the loadings of {n_seeds} trainings)"
    if not kept:
        return (
            f"None of {len(stable)} factors comes back with another seed {measure}: "
            "single factors must not be interpreted, only the space that they span."
        )
    if len(kept) == len(stable):
        return f"All {len(stable)} factors come back with another seed {measure}."
    which = f": {listed([str(factor) for factor in kept])}" if len(kept) <= 8 else ""
    return f"{start} {measure}{which}. The others change with the seed: do not interpret them."


def _response(
    condition: str,
    name: str,
    of: pd.DataFrame,
    loadings: pd.DataFrame,
    enrichment: pd.DataFrame,
    stable: "pd.Series[float]",
    n_seeds: int,
) -> str:
    start = SETS.get(condition, condition)
    answering = of[of["q"] < FALSE_DISCOVERIES]
    if answering.empty:
        return f"To {start}, none of {len(of)} factors answers."
    first = answering.loc[answering["effect"].abs().idxmax()]
    factor = int(first["factor"])
    answer = "answers" if len(answering) == 1 else "answer"
    own = loadings[loadings["factor"] == factor].sort_values("rank")
    genes = ", ".join(_signed_genes(own))
    changed = sum(name in sets.split("; ") for sets in own["gene_sets"][:LEADING])
    said = (
        f"To {start}, {len(answering)} of {len(of)} factors {answer} (false discovery rate "
        f"{FALSE_DISCOVERIES:g}), most of all factor {factor}, which moves by "
        f"{format_number(abs(float(first['effect'])), decimals=2)} of its spread; its leading "
        f"genes are {genes}, {_how_many(changed)} changed"
    )
    found = enrichment[(enrichment["factor"] == factor) & (enrichment["q"] < FALSE_DISCOVERIES)]
    if len(found):
        auc = float(found["auc"].iloc[0])
        said += (
            f"; {start.replace('genes turned', 'the genes that were turned')} stand at one end "
            f"of its loadings (AUC {format_number(max(auc, 1.0 - auc))})"
        )
    if n_seeds > 1 and stable[factor] < STABLE:
        said += f". It is not stable over seeds ({format_number(float(stable[factor]))})"
    return f"{said}."


def _how_many(n: int) -> str:
    words = {0: "none of which were", 1: "one of which was", LEADING: "all of which were"}
    return words.get(n, f"{n} of which were")


def _signed_genes(of: pd.DataFrame) -> list[str]:
    """Leading genes, those of negative loading with a minus."""
    return [
        f"{'−' if loading < 0 else ''}{gene}"
        for gene, loading in zip(of["gene"][:LEADING], of["loading"], strict=False)
    ]
