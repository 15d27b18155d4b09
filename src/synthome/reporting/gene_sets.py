"""Which genes were changed: the lists as they were given, and what of them these cells have."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from synthome.reporting.phrases import joined

NAMED = 6  # genes that were not found
ROLES = {"down": "turned down", "up": "turned up"}
ORIGINS = {
    "planted": "The cells are simulated, and the lists are those that the simulator planted.",
    "random": "No list was given, so that two were drawn at random among the expressed genes: "
    "they stand for no disease.",
}
OTHER_CASE = "in another case"

Report = Mapping[str, Any]


def gene_sets_answer(report: Report) -> str:
    """Say where the lists come from, and how much of each was found.

    Parameters
    ----------
    report
        The report of ``ingestion.prepare_cells.select_with_sets``.
    """
    sentences = [ORIGINS.get(str(report["origin"]), "")]
    sets, genes = report["sets"], report["genes"]
    for role, words in ROLES.items():
        name = str(report[role])
        kept = len(genes[name])
        if name not in sets:
            sentences.append(f"{kept} genes were {words} ({name}).")
            continue
        of = sets[name]
        lost = of["n_found"] - kept
        are = "is" if lost == 1 else "are"
        rare = f"; {lost} of them {are} in too few training cells" if lost else ""
        sentences.append(
            f"Of {name}, {of['n_found']} of {of['n_given']} genes were found{rare}: {kept} were "
            f"{words}."
        )
    used = [sets[report[role]] for role in ROLES if report[role] in sets]
    if used and all(set(of["found_by"]) == {OTHER_CASE} for of in used):
        sentences.append(
            "All names match only when upper and lower case are ignored: lists and cells may be of "
            "different species."
        )
    return joined(sentences)


def gene_sets_table(report: Report) -> pd.DataFrame:
    """One row for each list: its role, how many genes were found and how, and which were not."""
    role_of = {str(report[role]): words for role, words in ROLES.items()}
    rows = []
    for name, kept in report["genes"].items():
        of = report["sets"].get(name, {})
        missing = list(map(str, of.get("not_found", [])))
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        rows.append(
            {
                "List": str(name),
                "What was done": role_of.get(str(name), "nothing"),
                "Given": of.get("n_given", len(kept)),
                "Found": of.get("n_found", len(kept)),
                "Kept": len(kept),
                "How": ", ".join(f"{how} {n}" for how, n in of.get("found_by", {}).items()),
                "Not found": ", ".join(missing[:NAMED]) + more,
            }
        )
    return pd.DataFrame(rows)
