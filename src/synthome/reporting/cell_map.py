"""What the clusters of the latent space follow: cell types, or the change that was made."""

import pandas as pd

from synthome.plotting.scores import format_number

FOLLOWS, IGNORES = 0.5, 0.05  # adjusted Rand index


def cell_map_answer(cells: pd.DataFrame, dose: float) -> str:
    """Say by how much clusters agree with cell types and with conditions.

    Parameters
    ----------
    cells
        ``evaluation.reading.cell_map``, made at ``dose``.
    """
    from sklearn.metrics import adjusted_rand_score

    clusters = cells["leiden"].astype(str)
    by_type = float(adjusted_rand_score(cells["cell_type"].astype(str), clusters))
    by_condition = float(adjusted_rand_score(cells["condition"].astype(str), clusters))
    said = (
        f"{clusters.nunique()} clusters were found in the latents of held-out cells and their "
        f"twins at {dose:g} ×. They {_follow(by_type)} the {cells['cell_type'].nunique()} cell "
        f"types (adjusted Rand index {format_number(by_type)}; 1: the same groups, 0: as by "
        f"chance) and {_follow(by_condition)} the change ({format_number(by_condition)})"
    )
    if by_condition < IGNORES <= by_type:
        said += (
            ": what a cell is outweighs what was done to it, and clusters do not show the change"
        )
    return f"{said}."


def _follow(index: float) -> str:
    if index >= FOLLOWS:
        return "follow"
    return "follow in part" if index >= IGNORES else "do not follow"
