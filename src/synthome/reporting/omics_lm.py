"""What a language model of transcriptomes was asked, answered in words: sections and scores.

Every sentence is computed from the tables of the experiments. Where a plain classifier does better
than the language model, the sentence says so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from synthome.encoding.distortion import UNCODED
from synthome.evaluation.matched import CLASSICAL, LM, SCORES, TEXT_ATTACK, summarised
from synthome.evaluation.metrics import METRICS
from synthome.evaluation.summary import Entry, entry
from synthome.plotting.distortion import distortion_figure
from synthome.plotting.matched import (
    ATTACKS,
    MODELS,
    RELEASED,
    ROWS,
    called_figure,
    matched_figure,
    released_figure,
)
from synthome.plotting.style import nothing_figure
from synthome.reporting.content import Answers, Section
from synthome.reporting.omics_lm_words import FIGURES, GLOSSARY, LIMITS
from synthome.reporting.phrases import joined, listed, percent

CLOSE = 0.03  # balanced accuracies nearer than this are called about the same
TAUGHT = 0.01  # by how much synthetic rows may teach less than real ones
FOUND = 0.6  # AUC from which on an attack succeeds
DECODE_BAR = 0.9998
UNKNOWN = (math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class LMResults:
    """Tables and documents of the experiments, each as the function named made it.

    Attributes
    ----------
    scores, answers, attacks
        ``evaluation.matched.compare``.
    distortion, code
        ``evaluation.text_code.text_code``.
    predictions
        ``evaluation.text_code.read_patients``.
    signatures
        The report of ``ingestion.signatures.with_signatures``; empty without signatures.
    """

    scores: pd.DataFrame
    answers: pd.DataFrame
    attacks: pd.DataFrame
    distortion: pd.DataFrame
    code: Mapping[str, Any]
    predictions: pd.DataFrame
    signatures: Mapping[str, Any]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Mean and interval of each score."""
        return summarised(self.scores)

    @property
    def n_classes(self) -> int:
        """Of the held-out patients."""
        return max(2, int(self.answers["true"].nunique()))

    def mean(self, arm: str, model: str, metric: str, protocol: str = "strict") -> float:
        """One mean over folds; NaN where it was not measured."""
        row = self.row(arm, model, metric, protocol)
        return math.nan if row is None else float(row["mean"])

    def row(
        self, arm: str, model: str, metric: str, protocol: str = "strict"
    ) -> "pd.Series[Any] | None":
        """The row of the summary; None where it was not measured."""
        s = self.summary
        chosen = s[
            (s["protocol"] == protocol)
            & (s["arm"] == arm)
            & (s["model"] == model)
            & (s["metric"] == metric)
        ]
        return None if chosen.empty else chosen.iloc[0]

    def best(self, arm: str, metric: str = "balanced_accuracy") -> tuple[str, float]:
        """The best plain classifier of one kind of rows, and its mean."""
        means = {model: self.mean(arm, model, metric) for model in CLASSICAL}
        name = max(means, key=lambda model: means[model])
        return name, means[name]

    def attack(self, arm: str, attack: str) -> "pd.Series[Any] | None":
        """One attack on one released set."""
        a = self.attacks
        chosen = a[(a["arm"] == arm) & (a["attack"] == attack)]
        return None if chosen.empty else chosen.iloc[0]


def lm_figures(results: LMResults) -> dict[str, Figure]:
    """The figures by name, in the order of ``omics_lm_words.FIGURES``."""
    nothing = nothing_figure("Nothing to show: the language model was not trained on any fold.")
    return {
        "matched": matched_figure(results.summary, results.n_classes),
        "called": called_figure(results.answers) if len(results.answers) else nothing,
        "distortion": distortion_figure(results.distortion, bar=DECODE_BAR),
        "released": released_figure(results.attacks) if len(results.attacks) else nothing,
    }


def lm_answers(results: LMResults) -> Answers:
    """Scores, sections and words that the shared report takes over."""
    return Answers(
        metrics=_scores(results),
        sections=_sections(results),
        figures=FIGURES,
        limits=LIMITS,
        glossary=GLOSSARY,
    )


def in_short(results: LMResults) -> tuple[str, ...]:
    """The answers that a reader in a hurry needs."""
    return tuple(
        filter(
            None,
            (
                _reading_words(results),
                _teaching_words(results),
                _protocol_words(results),
                _code_words(results),
                _privacy_words(results),
            ),
        )
    )


def _reading_words(results: LMResults) -> str:
    ours = results.row("drawn", LM, "balanced_accuracy")
    if ours is None:
        return "The language model was not trained on any fold, so that nothing is known of it."
    name, best = results.best("drawn")
    same = _gap(results)
    plain = MODELS[name][0].lower() + MODELS[name][1:]
    start = (
        f"The language model named {percent(ours['mean'])} of held-out patients rightly, averaged "
        f"over classes{_limits(ours)}; guessing names {percent(1 / results.n_classes)}. Of four "
        f"plain classifiers that learned from the same rows, the best on the same folds "
    )
    if same > CLOSE:
        end = f"({plain}) is {_points(same)} points worse: here the language model reads better."
    elif same >= -CLOSE:
        end = (
            f"({plain}) is {_points(same)} points {'better' if same < 0 else 'worse'}, which is "
            "about the same: the language model reads as well as a method that trains in seconds."
        )
    else:
        end = f"({plain}) is {_points(same)} points better: use the plain classifier."
    del best
    return start + end


def _gap(results: LMResults) -> float:
    """Of the language model to the best plain classifier, on the folds that both were asked on."""
    s = results.scores
    s = s[(s["protocol"] == "strict") & (s["arm"] == "drawn")]
    s = s[s["metric"] == "balanced_accuracy"]
    asked = s.loc[s["model"] == LM, ["repeat", "fold"]]
    if asked.empty:
        return math.nan
    both = s.merge(asked, on=["repeat", "fold"])
    means = both.groupby("model")["value"].mean()
    return float(means[LM] - means.drop(LM).max())


def _teaching_words(results: LMResults) -> str:
    name, drawn = results.best("drawn")
    real_name, real = results.best("real")
    ours = results.mean("drawn", LM, "balanced_accuracy")
    winner, value = (name, drawn) if not ours > drawn else (LM, ours)
    difference = value - real
    start = (
        f"What synthetic patients taught at best ({_small(winner)}, {percent(value, 1)}) is "
        f"compared with what the real ones taught ({_small(real_name)}, {percent(real, 1)}): "
    )
    if difference >= 0:
        return start + "nothing was lost by learning from synthetic patients alone."
    if difference >= -TAUGHT:
        return start + "hardly anything was lost by learning from synthetic patients alone."
    return start + f"{_points(difference)} points were lost on the way."


def _protocol_words(results: LMResults) -> str:
    published = results.mean("drawn", LM, "balanced_accuracy", "published")
    if math.isnan(published):
        return ""
    nearest = results.mean("drawn", "neighbours", "balanced_accuracy", "published")
    strict = results.mean("drawn", "neighbours", "balanced_accuracy")
    return (
        "As published, rows are drawn from all patients and the same patients are then asked "
        f"about: nearest neighbours reach {percent(nearest)} so, and {percent(strict)} on new "
        f"patients. The published system with a small network reaches {percent(published)} under "
        "its own protocol."
    )


def _code_words(results: LMResults) -> str:
    code = results.code
    published = _published_code(results)
    cut = "" if published is None else (
        f" With the published range, {percent(published['clipped_test'])} of values are cut off "
        f"and the R² is {published['decode_r2']:.3f}."
    )  # fmt: skip
    return (
        f"A patient is a text of {code['text_length']:,} characters for {code['n_genes']:,} genes, "
        f"in an alphabet of {code['table_symbols']:,}. Read back, held-out patients keep an R² of "
        f"{code['decode_r2']:.5f}; {percent(code['clipped_train'], 2)} of training values and "
        f"{percent(code['clipped_test'], 2)} of held-out ones are beyond the range.{cut}"
    )


def _published_code(results: LMResults) -> "pd.Series[Any] | None":
    """The published range at the precision in use."""
    d = results.distortion
    of = d[(d["setting"] == "published") & (d["n_symbols"] > 0)]
    return None if of.empty else of.sort_values("float_precision").iloc[-1]


def _distance_words(results: LMResults) -> str:
    code = results.code
    sure = code["mantel_p"] < 0.05
    return (
        f"Patients who are close in expression {'do' if sure else 'do not clearly'} have texts "
        f"that need fewer edits: the correlation of distances is {code['mantel_r']:.2f} "
        f"(Mantel's test, p = {code['mantel_p']:.3g}, {code['n_texts']} patients). The published "
        f"score of the same texts is {code['published_r']:.2f}, and "
        f"{code['published_r_independent']:.2f} when patients are shuffled, so that it says "
        "nothing."
    )


def _privacy_words(results: LMResults) -> str:
    row = results.attack("written", TEXT_ATTACK)
    if row is None:
        return ""
    drawn = _worst(results, "drawn")
    written = _worst(results, "written")
    found = "tells" if row["low"] > 0.5 and row["auc"] > FOUND else "does not clearly tell"
    sentence = (
        f"From the texts that the model wrote, the nearest text {found} who was a training patient "
        f"(AUC {row['auc']:.2f}{_limits(row)}, 0.5 is guessing). The strongest attack on the rows "
        f"that it learned from ({ATTACKS[drawn['attack']].lower()}) reaches {drawn['auc']:.2f}, "
        f"and on the rows that it wrote ({ATTACKS[written['attack']].lower()}) "
        f"{written['auc']:.2f}."
    )
    if max(drawn["auc"], written["auc"], row["auc"]) > FOUND:
        sentence += (
            " Treat rows and texts like patient data: a text is expression in other letters."
        )
    return sentence


def _worst(results: LMResults, arm: str) -> "pd.Series[Any]":
    a = results.attacks[results.attacks["arm"] == arm]
    return a.loc[a["auc"].idxmax()]


def _signature_words(results: LMResults) -> str:
    genes = results.code["genes"]
    shown = ", ".join(genes[:12]) + (" and others" if len(genes) > 12 else "")
    if results.signatures:
        given = sum(of["n_given"] for of in results.signatures["sets"].values())
        return (
            f"The {len(genes)} genes are those of the given signatures ({given} genes) that the "
            f"training patients express: {shown}."
        )
    return (
        f"No signature was given, so that {len(genes)} genes were chosen on the training patients, "
        f"as many for each class, and anew in each fold: {shown}. Give yours with "
        "signatures=FILE."
    )


def _controls_words(results: LMResults) -> str:
    """Whether synthetic rows taught more than noise or copies did."""
    best = {arm: results.best(arm) for arm in ("drawn", "noise", "copies")}
    drawn = best["drawn"][1]
    said = [
        f"{words} taught {percent(value, 1)} ({_small(name)})"
        for words, (name, value) in zip(
            (
                "synthetic patients",
                "noise of each class and gene",
                "copies of the training patients",
            ),
            best.values(),
            strict=True,
        )
    ]
    sentence = f"Of the plain classifiers, the best on each kind of rows: {listed(said)}."
    if best["noise"][1] >= drawn - TAUGHT:
        sentence += (
            " Noise taught as much: for these genes the mean and spread of each class say it all, "
            "and how genes go together adds nothing."
        )
    return sentence


def _external_words(results: LMResults) -> str:
    from synthome.evaluation.utility import balanced_accuracy

    of = results.predictions[results.predictions["part"] == "external"]
    of = of[of["true"].isin(results.predictions["called"]) | of["true"].ne("")]
    if of.empty:
        return ""
    known = of["true"].isin(results.answers["true"]) if len(results.answers) else of["true"].ne("")
    if not known.any():
        return ""
    right = balanced_accuracy(of.loc[known, "true"].to_numpy(), of.loc[known, "called"].to_numpy())
    return (
        f"Of {int(known.sum())} samples of the external cohort, {percent(right)} were named "
        "rightly, averaged over classes."
    )


def _sections(results: LMResults) -> tuple[Section, ...]:
    signatures = signature_table(results.signatures)
    return (
        Section("The language model, in short", in_short(results)),
        Section(
            "Who reads patients best?",
            (joined((_controls_words(results), _external_words(results))),),
            matched_table(results),
            "Means over folds of held-out patients, with 95 % intervals of the share named "
            "rightly. Calibration error: 0 is best. As published: asked about the patients that "
            "the rows were made of.",
            ("matched", "called"),
        ),
        Section(
            "The signature",
            (_signature_words(results),),
            signatures,
            "Signatures: how many genes were given, and how many of them the cohort has."
            if signatures is not None
            else "",
        ),
        Section(
            "The text, and what it keeps",
            (_code_words(results), _distance_words(results)),
            distortion_table(results.distortion),
            "Precision in bits, letters in use, bits per gene (entropy), what decoding keeps of "
            "held-out patients, what is cut off, and what a classifier of decoded real patients "
            "reaches.",
            ("distortion",),
        ),
        Section(
            "What is handed on, attacked",
            (_privacy_words(results),),
            attack_table(results.attacks),
            "AUC of each attack, 0.5 is guessing, with the 95 % interval of patients counted once.",
            ("released",),
        ),
    )


def matched_table(results: LMResults) -> pd.DataFrame:
    """One row for each model, kind of rows and protocol."""
    rows = []
    protocols = {"strict": "strict", "published": "as published"}
    for protocol, words in protocols.items():
        for arm, (_, _, kind) in ROWS.items():
            for model, name in MODELS.items():
                found = {m: results.row(arm, model, m, protocol) for m in SCORES}
                ba = found["balanced_accuracy"]
                if ba is None:
                    continue
                means = [
                    "–" if row is None else f"{row['mean']:.3f}"
                    for row in (found[m] for m in SCORES[1:])
                ]
                rows.append(
                    (words, kind.removeprefix("Learned from "), name,
                     f"{ba['mean']:.3f}{_limits(ba, 3)}", *means, str(int(ba["n_folds"])))
                )  # fmt: skip
    columns = ["Protocol", "Learned from", "Model", "Balanced accuracy", "Macro F1", "AUC",
               "Brier", "Calibration error", "Folds"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def signature_table(report: Mapping[str, Any]) -> pd.DataFrame | None:
    """What was found of each signature that a user gave."""
    if not report:
        return None
    rows = [
        (name, str(of["n_given"]), str(of["n_found"]), ", ".join(of["not_found"][:8]) or "–")
        for name, of in report["sets"].items()
    ]
    return pd.DataFrame(rows, columns=["Signature", "Genes given", "Found", "Not found"])


def distortion_table(table: pd.DataFrame) -> pd.DataFrame:
    """The curve in words."""
    words = {"default": "used here", "published": "published range", UNCODED: "values themselves"}
    rows = []
    for row in table.to_dict("records"):
        coded = row["setting"] != UNCODED
        rows.append(
            (
                words[str(row["setting"])],
                f"{row['float_precision']:g}" if coded else "–",
                f"{row['n_symbols']:g}" if coded else "–",
                f"{row['bits_per_gene']:.2f}" if coded else "–",
                f"{row['decode_r2']:.5f}",
                percent(row["clipped_train"], 2),
                percent(row["clipped_test"], 2),
                f"{row['accuracy']:.3f}",
            )
        )
    columns = ["Alphabet", "Precision", "Letters", "Bits per gene", "Decode R²",
               "Cut off, training", "Cut off, held out", "Balanced accuracy"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def attack_table(attacks: pd.DataFrame) -> pd.DataFrame | None:
    """Attacks by released sets."""
    if attacks.empty:
        return None
    arms = [arm for arm in RELEASED if (attacks["arm"] == arm).any()]
    rows = []
    for attack, words in ATTACKS.items():
        of = attacks[attacks["attack"] == attack].set_index("arm")
        if not of.empty:
            rows.append((words, *(f"{of.at[a, 'auc']:.2f}{_limits(of.loc[a])}" for a in arms)))
    return pd.DataFrame(rows, columns=["Attack", *(RELEASED[arm][2] for arm in arms)])


def _scores(results: LMResults) -> dict[str, Entry]:
    return _reading_scores(results) | _attack_scores(results) | _code_scores(results)


def _reading_scores(results: LMResults) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    guess = {"balanced_accuracy": 1.0 / results.n_classes, "auc": 0.5}
    protocol = (
        "strict: mean of {n} folds of held-out patients, language model and rivals of the same "
        "synthetic rows; ceiling: best plain classifier of real patients; cheat: of copies; "
        "interval: corrected resampled t"
    )
    for metric in ("balanced_accuracy", "auc", "macro_f1", "ece"):
        row = results.row("drawn", LM, metric)
        if row is None:
            continue
        values = {"model": float(row["mean"]), "floor": guess.get(metric, math.nan)}
        if metric == "ece":
            values["ceiling"] = results.mean("real", "logistic", metric)
            values["cheat"] = results.mean("copies", "logistic", metric)
        else:
            values["ceiling"] = results.best("real", metric)[1]
            values["cheat"] = results.best("copies", metric)[1]
        n = int(row["n_folds"])
        found[f"lm/{metric}"] = entry(
            METRICS[f"lm/{metric}"],
            values,
            (float(row["low"]), float(row["high"])),
            int(row["n_patients"]),
            n,
            protocol.format(n=n),
        )
    gap = _gap(results)
    if not math.isnan(gap):
        row = results.row("drawn", LM, "balanced_accuracy")
        assert row is not None
        found["lm/gap"] = entry(
            METRICS["lm/gap"], {"model": gap}, UNKNOWN, int(row["n_patients"]),
            int(row["n_folds"]), "strict; the best of four plain classifiers on the same folds",
        )  # fmt: skip
    return found


def _attack_scores(results: LMResults) -> dict[str, Entry]:
    if results.attacks.empty:
        return {}
    protocol = "scores centred per class, folds pooled; interval: Newcombe, patients counted once"

    def of(key: str, row: "pd.Series[Any]", floor: float, cheat: float, words: str) -> Entry:
        values = {"model": float(row["auc"]), "floor": floor, "cheat": cheat}
        limits = (float(row["low"]), float(row["high"]))
        return entry(METRICS[key], values, limits, int(row["n_patients"]), 1, words + protocol)

    text = {arm: results.attack(arm, TEXT_ATTACK) for arm in ("written", "noise", "copies")}
    assert all(row is not None for row in text.values())
    floor, cheat = (float(text[a]["auc"]) for a in ("noise", "copies"))  # type: ignore[index]
    return {
        "lm/text_attack_auc": of(
            "lm/text_attack_auc", text["written"], floor, cheat,
            "nearest of the written texts, in edits; ",
        ),
        "lm/drawn_attack_auc": of(
            "lm/drawn_attack_auc",
            _worst(results, "drawn"),
            float(_worst(results, "noise")["auc"]),
            float(_worst(results, "copies")["auc"]),
            "strongest of all attacks; ",
        ),
    }  # fmt: skip


def _code_scores(results: LMResults) -> dict[str, Entry]:
    code, published = results.code, _published_code(results)
    floors = {"decode_r2": math.nan, "clipped_fraction": math.nan}
    if published is not None:
        floors = {"decode_r2": float(published["decode_r2"]),
                  "clipped_fraction": float(published["clipped_test"])}  # fmt: skip
    n, n_texts = int(code["n_test"]), int(code["n_texts"])
    protocol = "held-out patients, table of the training patients; floor: the published range"
    texts = "all labelled patients, at most a few hundred; Euclidean and Levenshtein distances"
    values = {
        "decode_r2": ({"model": code["decode_r2"], "floor": floors["decode_r2"]}, n, protocol),
        "clipped_fraction": (
            {"model": code["clipped_test"], "floor": floors["clipped_fraction"]}, n, protocol,
        ),
        "mantel_r": ({"model": code["mantel_r"], "floor": 0.0}, n_texts, texts),
        "published_r": (
            {"model": code["published_r"], "floor": code["published_r_independent"]}, n_texts,
            texts + "; with the empty halves, as published; floor: samples shuffled",
        ),
    }  # fmt: skip
    return {
        f"encoding/{name}": entry(METRICS[f"encoding/{name}"], of, UNKNOWN, n_of, 1, words)
        for name, (of, n_of, words) in values.items()
    }


def _limits(row: Any, decimals: int = 2) -> str:
    """Interval of a row of a table; nothing without one."""
    if not (math.isfinite(row["low"]) and math.isfinite(row["high"])):
        return ""
    low, high = max(0.0, row["low"]), min(1.0, row["high"])
    return f" [{low:.{decimals}f}, {high:.{decimals}f}]"


def _points(difference: float) -> str:
    return f"{100 * abs(difference):.1f}".removesuffix(".0")


def _small(model: str) -> str:
    return MODELS[model][0].lower() + MODELS[model][1:]
