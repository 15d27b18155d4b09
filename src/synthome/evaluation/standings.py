"""From the tables of a leaderboard to one row, and one set of scores, for each generator."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from synthome.evaluation.board import FAILED, NOT_APPLICABLE, OK, REAL, REFERENCES, TIMES
from synthome.evaluation.metrics import METRICS
from synthome.evaluation.summary import summarise
from synthome.models.registry import Architecture

Standing = dict[str, Any]  # status, reason, costs, architecture, options, metrics


def standings(
    fold_scores: pd.DataFrame,
    attack_scores: pd.DataFrame,
    runs: pd.DataFrame,
    generators: Mapping[str, Architecture],
) -> dict[str, Standing]:
    """What there is to say of each generator, the references among them.

    Returns
    -------
    By name: ``status``, ``reason`` (of the first fold that failed), ``n_folds`` (scored),
    ``seconds`` (of the process; fit and sample, all folds), ``seconds_wall``, ``peak_megabytes``,
    ``architecture``, ``options`` (with the defaults), ``epsilon`` (where training is differentially
    private) and ``metrics``, as a report of it would have them: the references are floor, ceiling
    and cheat of every generator.
    """
    found = {}
    for name, own in runs.groupby("generator", sort=False):
        status = _status(own["status"])
        told = own.loc[own["status"] == status, "reason"] if status != OK else []
        scored = bool((own["status"] == OK).any())
        tables = [_arms(table, str(name)) for table in (fold_scores, attack_scores)]
        architecture = generators.get(str(name), Architecture(generator=str(name)))
        options = {} if name == REAL else architecture.checked().model_dump(mode="json")
        found[str(name)] = {
            "status": status,
            "reason": next(iter(told), ""),
            "n_folds": int((own["status"] == OK).sum()),
            "seconds": _seconds(own, "cpu"),
            "seconds_wall": _seconds(own, "wall"),
            "peak_megabytes": _plain(own["peak_megabytes"].max()),
            "architecture": architecture.generator,
            "options": options,
            "epsilon": options.get("epsilon"),
            "metrics": summarise(*tables) if scored else {},
        }
    return found


def wide_table(found: Mapping[str, Standing]) -> pd.DataFrame:
    """One row per generator: its run, then value, ``.low`` and ``.high`` of every score."""
    rows = []
    for name, standing in found.items():
        row: dict[str, Any] = {"generator": name}
        row |= {k: v for k, v in standing.items() if k not in ("metrics", "options")}
        for key, entry in standing["metrics"].items():
            low, high = entry["interval"] or (np.nan, np.nan)
            row |= {key: entry["value"], f"{key}.low": low, f"{key}.high": high}
        rows.append(row)
    table = pd.DataFrame(rows)
    scores = [
        f"{key}{end}" for key in METRICS for end in ("", ".low", ".high") if key in table.columns
    ]
    scores_and_epsilon = [*scores, "epsilon"]
    table[scores_and_epsilon] = table[scores_and_epsilon].astype(float)
    return table[[*(c for c in table.columns if c not in scores), *scores]]


def _status(of_folds: pd.Series) -> str:
    """Failed if a fold failed; what does not apply to one fold does not apply."""
    return next((s for s in (FAILED, NOT_APPLICABLE) if (of_folds == s).any()), OK)


def _arms(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of a generator as the model, and those of the references as its other arms."""
    parts = [table[table["generator"] == name].assign(arm="model")]
    parts += [
        table[table["generator"] == reference].assign(arm=arm)
        for reference, arm in REFERENCES.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _seconds(runs: pd.DataFrame, clock: str) -> float | None:
    """Of fitting and sampling in all folds; None where nothing was measured."""
    measured = runs[[name for name in TIMES if name.endswith(clock)]].stack().dropna()
    return float(measured.sum()) if len(measured) else None


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
