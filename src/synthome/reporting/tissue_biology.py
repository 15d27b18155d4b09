"""Genes of domains and of space, the order of domains, sections together, held-out places."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from synthome.plotting.scores import format_number
from synthome.plotting.tissue_map import in_order
from synthome.reporting.phrases import joined, listed, percent
from synthome.reporting.tissue_image import number

Document = Mapping[str, Any]
LEVEL = 0.05  # of the false discovery rate
SHOWN = 5  # genes of a domain that are named
LINKED = 0.5  # of the strongest connection: above it, two domains count as neighbours on the path
MIXES, APART = 0.8, 0.4  # of what chance demands
RUNS_WITH = 0.5  # rank correlation from which a pseudotime is said to follow the labels


def domain_genes_answer(genes: pd.DataFrame) -> str:
    """Say how many domains have genes of their own."""
    if genes.empty:
        return "Genes of the domains were not compared: too few spots, or one domain only."
    names = in_order(genes["domain"])
    n_found = {name: len(_up(genes, name)) for name in names}
    without = [name for name, n in n_found.items() if n == 0]
    said = [
        f"{sum(n > 0 for n in n_found.values())} of {len(names)} domains have genes that are "
        f"higher inside than outside, at a false discovery rate of {percent(LEVEL)}"
    ]
    if len(without) == 1:
        said.append(f"; domain {without[0]} has none and may be no domain at all")
    elif without:
        said.append(f"; domains {listed(without)} have none and may be no domains at all")
    return (
        f"{''.join(said)}. The domains were found in the same counts, so these p values are too "
        "small: read the genes as a description of the domains, and not as their proof."
    )


def domain_genes_table(genes: pd.DataFrame) -> pd.DataFrame | None:
    """The leading genes of each domain."""
    rows = []
    for name in in_order(genes["domain"]) if len(genes) else []:
        up = _up(genes, name).sort_values("log2_fold_change", ascending=False)
        named = [
            f"{row['gene']} ({format_number(float(row['log2_fold_change']), signed=True)})"
            for _, row in up.head(SHOWN).iterrows()
        ]
        rows.append(
            {"Domain": name, "Genes": f"{len(up):,}", "Leading genes": ", ".join(named) or "–"}
        )
    return pd.DataFrame(rows) if rows else None


def spatial_genes_answer(genes: pd.DataFrame) -> str:
    """Say which genes vary in space, over the whole tissue and within domains."""
    tested = genes[np.isfinite(genes["morans_i"])] if len(genes) else genes
    if tested.empty:
        return "Whether genes vary in space was not tested."
    found = tested[tested["q_value"] <= LEVEL]
    whole, all_whole = (t[t["domain"].astype(str) == ""] for t in (found, tested))
    said = []
    if len(all_whole):
        top = whole.sort_values("morans_i", ascending=False).head(SHOWN)
        named = [f"{r['gene']} ({format_number(float(r['morans_i']))})" for _, r in top.iterrows()]
        strongest = f", the strongest being {listed(named)}" if named else ""
        said.append(
            f"{len(whole):,} of {len(all_whole):,} genes vary in space (Moran's I, false discovery "
            f"rate {percent(LEVEL)}){strongest}."
        )
    within, all_within = (t[t["domain"].astype(str) != ""] for t in (found, tested))
    if len(all_within):
        n = within["gene"].nunique()
        said.append(
            f"Within single domains, {n:,} still {'do' if n > 1 else 'does'}: there the domains do "
            "not tell the whole story."
            if n
            else "Within single domains, none does: the domains tell what there is to tell."
        )
    return joined(said)


def trajectory_answer(path: Document, spots: pd.DataFrame) -> str:
    """Say in which order domains follow, from the root, and whether labels follow the same."""
    domains = [str(name) for name in path.get("domains") or ()]
    known = spots[np.isfinite(spots["pseudotime"].to_numpy(dtype=float))] if len(spots) else spots
    if len(domains) < 2 or known.empty:
        return "There is no order of domains: it needs two or more that are connected."
    depth = known.groupby(known["domain"].astype(str))["pseudotime"].mean().sort_values()
    said = [
        f"From domain {path.get('root')}, the root, the domains follow one another along the "
        f"latents in the order {', '.join(map(str, depth.index))}."
    ]
    links = _links(domains, path.get("connectivities"))
    if links:
        said.append(f"Most strongly connected are {listed(links)}.")
    if len(known) < len(spots):
        said.append(f"{len(spots) - len(known):,} spots are not connected to the root.")
    said.append("Nobody gave the right order, so whether this is it is not known.")
    said.append("It is an order of likeness, and no time that was measured.")
    return joined(said)


def integration_answer(table: pd.DataFrame, n_sections: int) -> str:
    """Say whether sections mix in the latents, beside principal components."""
    known = table[np.isfinite(table["mixing"].to_numpy(dtype=float))] if len(table) else table
    if known.empty:
        return (
            "There is one section, so that nothing had to be brought together."
            if n_sections <= 1
            else "Whether the sections mix in the latents was not measured."
        )
    by_name = known.set_index(known["representation"].astype(str))["mixing"].astype(float)
    numbers = listed([f"{name} {format_number(value)}" for name, value in by_name.items()])
    said = [f"How far sections mix, as a share of what chance demands: {numbers}."]
    latent, plain = (by_name.get(name, math.nan) for name in ("latent", "principal components"))
    if math.isfinite(latent):
        mix = "mix well" if latent >= MIXES else "mix in part" if latent >= APART else "stay apart"
        more = ""
        if math.isfinite(plain):
            more = ", more than in principal components" if latent > plain else (
                ", no more than in principal components")  # fmt: skip
        said.append(f"In the latents the sections {mix}{more}.")
    said.append("Sections that hold different anatomy should not mix in full.")
    return joined(said)


def held_out_answer(scores: Document) -> str:
    """Say whether the model explains places that took no part in learning."""
    nll, null = number(scores.get("nll")), number(scores.get("null_nll"))
    n = number(scores.get("n_spots"))
    if not (math.isfinite(nll) and math.isfinite(null)):
        return "How well the model explains held-out places was not measured."
    spots = f"{int(n):,} spots" if math.isfinite(n) else "the spots"
    beside = number(scores.get("n_beside_training"))
    better = "better" if nll < null else "no better"
    said = [
        f"The model explains the counts of {spots} in held-out blocks of the tissue {better} than "
        f"no latents at all: {_nats(nll)} nats for each spot, against {_nats(null)}."
    ]
    if math.isfinite(beside) and beside > 0:
        said.append(f"Not scored are {int(beside):,} spots that touch a spot of the training.")
    elbo = number(scores.get("elbo"))
    if math.isfinite(elbo) and -elbo >= null > nll:
        said.append(f"Counting what the latents themselves cost, it does not ({_nats(-elbo)}).")
    hidden, hidden_null, share = (
        number(scores.get(key)) for key in ("count_nll", "count_null_nll", "count_share")
    )
    if math.isfinite(hidden) and math.isfinite(hidden_null):
        part = f"{percent(share)} of the counts" if math.isfinite(share) else "a part of the counts"
        better = "better" if hidden < hidden_null else "no better"
        said.append(
            f"When {part} are hidden from the encoder, it foretells them {better} than no latents "
            f"({_nats(hidden)} nats against {_nats(hidden_null)}): there it cannot copy."
        )
    if nll >= null:
        said.append("Nothing below should be built on its latents.")
    return joined(said)


def held_out_table(scores: Document) -> pd.DataFrame | None:
    """Mean over held-out spots, in nats; lower is better."""
    names = {
        "nll": "Counts, given the latents (NLL)",
        "kl": "The latents themselves (KL)",
        "null_nll": "Counts, without latents (NLL)",
        "count_nll": "Hidden counts, given the latents (NLL)",
        "count_null_nll": "Hidden counts, without latents (NLL)",
    }
    rows = [(text, _nats(number(scores.get(key)))) for key, text in names.items()
            if math.isfinite(number(scores.get(key)))]  # fmt: skip
    return pd.DataFrame(rows, columns=["What is coded", "Nats for each spot"]) if rows else None


def _up(genes: pd.DataFrame, domain: str) -> pd.DataFrame:
    of = genes[genes["domain"].astype(str) == domain]
    return of[(of["q_value"] <= LEVEL) & (of["log2_fold_change"] > 0)]


def _links(domains: list[str], connectivities: Any) -> list[str]:
    weights = np.asarray(connectivities if connectivities is not None else [], dtype=float)
    if weights.shape != (len(domains), len(domains)) or not (np.nan_to_num(weights) > 0).any():
        return []
    weights = np.triu(np.nan_to_num(np.maximum(weights, weights.T)), 1)
    strong = np.argwhere(weights >= LINKED * weights.max()).tolist()
    strong.sort(key=lambda at: -weights[at[0], at[1]])
    return [f"{domains[i]}–{domains[j]} ({format_number(weights[i, j])})" for i, j in strong[:4]]


def _nats(value: float) -> str:
    return f"{value:,.1f}".replace("-", "−")
