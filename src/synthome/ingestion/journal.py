"""The record of what happened to a cohort: one entry per step, logged and kept for the report.

Entries hold numbers, column names and gene names. They never hold sample or patient ids.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger("synthome.ingestion")

Entry = dict[str, Any]


class Journal:
    """Collects entries; each is logged when it is made.

    Parameters
    ----------
    name
        Which cohort, as the log lines shall call it.
    n_obs, n_vars
        Samples and genes before the first step.
    row
        What one row is: a sample, a cell, a spot.
    """

    def __init__(self, name: str, n_obs: int = 0, n_vars: int = 0, row: str = "sample") -> None:
        self.name = name
        self.row = row
        self.n_obs = n_obs
        self.n_vars = n_vars
        self.entries: list[Entry] = []

    def step(
        self,
        step: str,
        why: str,
        *,
        n_obs: int | None = None,
        n_vars: int | None = None,
        warning: bool = False,
    ) -> None:
        """Record that ``step`` left ``n_obs`` samples and ``n_vars`` genes, and say why."""
        kept_samples = self.n_obs if n_obs is None else n_obs
        kept_genes = self.n_vars if n_vars is None else n_vars
        entry: Entry = {
            "step": step,
            "kept_samples": kept_samples,
            "dropped_samples": max(self.n_obs - kept_samples, 0),
            "kept_genes": kept_genes,
            "dropped_genes": max(self.n_vars - kept_genes, 0),
            "why": why,
            "warning": warning,
        }
        self.n_obs, self.n_vars = kept_samples, kept_genes
        self.entries.append(entry)
        logger.log(logging.WARNING if warning else logging.INFO, "%s: %s", self.name, why)

    def start(self, step: str, why: str, n_obs: int, n_vars: int) -> None:
        """Record the first sizes; nothing counts as dropped."""
        self.n_obs, self.n_vars = n_obs, n_vars
        self.step(step, why)

    def losses(self) -> str:
        """The steps that dropped samples, in words: empty when none did."""
        lost = [e for e in self.entries if e["dropped_samples"]]
        return "; ".join(f"{e['step']}: {e['dropped_samples']} dropped" for e in lost)

    def to_json(self) -> str:
        """The entries as text, which an AnnData file can hold in ``uns``."""
        return json.dumps(self.entries)

    def resume(self, provenance: Mapping[str, Any]) -> None:
        """Take over the entries that reading left in the provenance of a raw cohort."""
        self.entries = [*json.loads(provenance.get("reading", "[]")), *self.entries]


def some(names: Any, limit: int = 3) -> str:
    """The first few of ``names``, in words: ``a, b, c and 4 more``."""
    names = [str(name) for name in names]
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def count(number: int, noun: str) -> str:
    """``1 sample``, ``1,204 genes``: a number with its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
