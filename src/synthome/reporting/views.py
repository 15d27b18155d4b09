"""What the template shows, as plain rows: no HTML is written here and none is trusted."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from synthome.plotting.history import best_row
from synthome.plotting.scores import Score, axis_limits, format_number, position
from synthome.plotting.standing import GROUPS, KEY_SCORES
from synthome.reporting.answers import Evidence
from synthome.reporting.content import RUN_WORDS, FigureWords, Section
from synthome.reporting.facts import CohortFacts
from synthome.reporting.vocabulary import outside

Redact = Callable[[str], str]


def figure_view(name: str, uri: str, words: Mapping[str, FigureWords]) -> dict[str, str]:
    """Join a figure with its words; one without words is shown under its name."""
    plain = name.replace("_", " ").capitalize()
    known = words.get(name, FigureWords(plain, "", plain))
    return {
        "id": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"),
        "uri": uri,
        "title": known.title,
        "how": known.how_to_read,
        "alt": known.alt,
    }


def strip(score: Score) -> dict[str, Any]:
    """Place the marks of a score on a line from 0 to 1; None for what is unknown."""
    limits = axis_limits(score)
    marks = ("value", "low", "high", "floor", "ceiling", "cheat", "best")
    at = {mark: position(getattr(score, mark), limits) for mark in marks}
    return {"score": score, "at": {k: None if v != v else round(v, 4) for k, v in at.items()}}


def evidence(items: Iterable[Evidence], scores: Mapping[str, Score]) -> list[dict[str, Any]]:
    """List the scores behind an answer, with their marks and what each of them says."""
    return [
        strip(scores[item.key]) | {"finding": item.finding, "words": item.words}
        for item in items
        if item.key in scores
    ]


def groups(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """Group scores under their headings, in the order of the questions: the main ones, the rest."""
    everything = list(scores)
    found = []
    for name in dict.fromkeys([*GROUPS, *(score.group for score in everything)]):
        members = [score for score in everything if score.group == name]
        main = [score for score in members if score.key in KEY_SCORES] or members
        if members:
            title = GROUPS.get(name, name.replace("_", " ").capitalize())
            rest = [score for score in members if score not in main]
            found.append({"title": title, "main": main, "rest": rest})
    return found


def fact_rows(facts: CohortFacts) -> list[tuple[str, str]]:
    """Describe the cohort, row by row; what is unknown has no row."""

    def sizes(classes: Mapping[str, int]) -> str:
        return ", ".join(f"{name} {size:,}" for name, size in classes.items())

    genes = [
        f"{facts.n_genes:,} after validation" if facts.n_genes else "",
        f"{facts.n_genes_synthetic:,} in the synthetic cohort" if facts.n_genes_synthetic else "",
        f"{facts.n_genes_scored:,} scored" if facts.n_genes_scored else "",
    ]
    split = []
    if facts.n_train:
        split.append(f"{facts.n_train} training and {facts.n_test or 0} held-out samples")
    if facts.n_folds and facts.n_never_tested:
        parts = "one held-out part" if facts.n_folds == 1 else f"{facts.n_folds} held-out parts"
        split.append(f"scores from {parts}; {facts.n_never_tested:,} samples are never held out")
    elif facts.n_folds:
        repeats = f", repeated {facts.n_repeats} times" if (facts.n_repeats or 1) > 1 else ""
        split.append(f"scores from {facts.n_folds}-fold cross-validation{repeats}")
    if facts.group:
        split.append(f"all samples with the same {facts.group} kept on one side")
    label = f" (column {facts.label})" if facts.label else ""
    scale = {"counts": "raw counts", "linear": "linear scale", "log": "log scale"}
    external = ""
    if facts.n_external:
        shared = facts.external_shared_genes
        external = f"{facts.n_external:,} samples: {sizes(facts.external_class_sizes)}"
        external += f"; {shared:,} genes shared" if shared else ""
        external = f"{facts.external_name}, {external}" if facts.external_name else external
    left_out = "left out where synthetic samples are scored"
    unlabelled = f"{facts.n_unlabelled:,}, {left_out}" if facts.n_unlabelled else ""
    rows = [
        ("Cohort", facts.name + (" (simulated)" if facts.simulated else "")),
        ("Real samples", f"{facts.n_samples:,}"),
        (f"Classes{label}", sizes(facts.class_sizes)),
        ("Without a label", unlabelled),
        ("Genes", ", ".join(filter(None, genes))),
        ("Values", scale.get(facts.scale, facts.scale)),
        ("Splits", "; ".join(split)),
        ("Synthetic samples", f"{facts.n_synthetic:,}" if facts.n_synthetic else ""),
        ("External cohort", external),
        ("Source", facts.source),
    ]
    return [(name, text) for name, text in rows if text.strip()]


def run_rows(run: Mapping[str, Any], hide: Redact) -> list[tuple[str, str]]:
    """Describe the run, row by row; what is unknown has no row."""
    rows = []
    for key, name in RUN_WORDS.items():
        value = run.get(key)
        if value is None or value == "":
            continue
        text = _duration(float(value)) if key == "seconds" else str(value)
        rows.append((name, hide(text)))
    return rows


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def training_line(history: pd.DataFrame | None) -> str:
    """Say how long the model was trained and which weights were kept."""
    if history is None or history.empty or "epoch" not in history:
        return ""
    text = f"The model was trained for {len(history):,} epochs"
    kept = best_row(history)
    if kept is None:
        return f"{text}."
    row = history.iloc[kept]
    loss = row.get("validation_loss", row.get("train_loss"))
    which = "validation loss" if "validation_loss" in history else "training loss"
    return (
        f"{text}; the weights of epoch {row['epoch']:g} were kept ({which} {format_number(loss)})."
    )


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """List nested parameters by dotted name."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            rows += flatten(value, f"{name}.")
        else:
            rows.append((name, str(value)))
    return rows


def section_view(
    section: Section, shown: Mapping[str, dict[str, str]], mark: Callable[[str], str] = str
) -> dict[str, Any]:
    """Prepare a further section: its table as text, its figures by name, all words marked."""
    table = None
    if section.table is not None:
        cells = [
            [mark(format_number(v) if isinstance(v, float) else str(v)) for v in row]
            for row in section.table.itertuples(index=False)
        ]
        table = {"head": [mark(str(name)) for name in section.table.columns], "rows": cells}
    return {
        "id": re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-"),
        "title": mark(section.title),
        "paragraphs": [mark(text) for text in section.paragraphs],
        "table": table,
        "table_caption": mark(section.table_caption),
        "figures": [shown[name] for name in section.figures],
        "plot": None if section.plot is None else embedded_json(section.plot),
    }


def embedded_json(document: Mapping[str, Any]) -> Markup:
    """JSON that may stand inside a ``script`` of type application/json: no tag can begin in it."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(outside(text))


def validation_view(
    title: str, validation: Mapping[str, Any] | None, hide: Redact
) -> dict[str, Any] | None:
    """Prepare the steps of the ingestion; None when there were none."""
    if not validation or not validation.get("steps"):
        return None
    fields = ("kept_samples", "dropped_samples", "kept_genes", "dropped_genes")
    steps = [
        {"step": hide(str(step.get("step", ""))), "why": hide(str(step.get("why") or ""))}
        | {field: step.get(field) for field in fields}
        | {"warning": bool(step.get("warning", False))}
        for step in validation["steps"]
    ]
    return {"title": title, "steps": steps, "source": hide(str(validation.get("source") or ""))}


def count(value: Any) -> str:
    """Write a whole number with thousands separators; an en dash for nothing."""
    return "–" if value is None or value != value else f"{int(value):,}"


def redactor(identifiers: Iterable[str]) -> Redact:
    """Make a function that blacks out whole words that are ids; plain numbers are left."""
    names = sorted({str(i) for i in identifiers if str(i) and not str(i).isdigit()}, key=len)
    if not names:
        return lambda text: text
    either = "|".join(re.escape(name) for name in reversed(names))
    pattern = re.compile(rf"(?<![\w-])(?:{either})(?![\w-])")
    return lambda text: pattern.sub("█████", text)
