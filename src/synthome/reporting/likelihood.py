"""How well a latent model fits cells it has not seen, beside the same counts without latents."""

from collections.abc import Mapping

import pandas as pd

from synthome.plotting.scores import format_number

Scores = Mapping[str, Mapping[str, float]]
Z = 1.959964  # of a 95 % interval


def likelihood_answer(scores: Scores) -> str:
    """Say whether latents explain held-out counts at all.

    Parameters
    ----------
    scores
        ``evaluation.reading.held_out_scores``: ``nll``, ``kl``, ``elbo``, ``null_nll``.
    """
    nll, null = scores["nll"]["value"], scores["null_nll"]["value"]
    n = int(scores["nll"]["n"])
    gained = null - nll
    numbers = (
        f"{format_number(nll)} nats for each of {n:,} held-out cells, against "
        f"{format_number(null)} under a negative binomial without latents"
    )
    if gained <= 0:
        return (
            f"The model explains held-out cells worse than no latents at all ({numbers}): nothing "
            "below should be built on its latents."
        )
    said = (
        f"The model explains held-out cells better than no latents at all: {numbers}, a gain of "
        f"{100 * gained / null:.1f} %."
    )
    bound = -scores["elbo"]["value"]
    if bound > null:
        said += (
            f" Counting what the latents themselves cost, it is no better ({format_number(bound)} "
            "nats): they are too many or too loose."
        )
    return said


def likelihood_table(scores: Scores) -> pd.DataFrame:
    """Mean over held-out cells with its interval, in nats; lower is better."""
    names = {
        "nll": "Counts, given the latents (NLL)",
        "kl": "The latents themselves (KL)",
        "elbo": "Both together (−ELBO)",
        "null_nll": "Counts, without latents (NLL)",
    }
    rows = []
    for key, name in names.items():
        if key in scores:
            sign = -1.0 if key == "elbo" else 1.0
            low, high = interval(scores[key])
            ends = sorted((sign * low, sign * high))
            value = sign * scores[key]["value"]
            rows.append((name, f"{format_number(value)} [{_two(ends)}]"))
    return pd.DataFrame(rows, columns=["What is coded", "Nats for each cell"])


def interval(score: Mapping[str, float]) -> tuple[float, float]:
    """Of a mean over cells: normal, 95 %."""
    reach = Z * score["standard_error"]
    return score["value"] - reach, score["value"] + reach


def _two(ends: list[float]) -> str:
    return ", ".join(map(format_number, ends))
