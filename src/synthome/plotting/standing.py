"""Where each score stands between a floor, a ceiling and a cheat: the key figure.

Each row has a line of its own, from the worst number on it (left) to the best (right), so that
metrics in different units can be read in one picture.
"""

from collections.abc import Collection, Mapping
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from synthome.errors import InputError
from synthome.plotting.scores import Registry, Score, axis_limits, position, read_scores
from synthome.plotting.style import (
    CEILING,
    CHEAT,
    CHEAT_TEXT,
    FAINT,
    FLOOR,
    INK,
    MUTED,
    SYNTHETIC,
    as_plain_text,
    new_figure,
    styled,
)

GROUPS = {
    "fidelity": "Faithful: do they look like patients?",
    "biology": "Faithful: is the biology kept?",
    "utility": "Useful: can a classifier learn from them?",
    "privacy": "Safe: can an attack find who took part?",
    "external": "On the external cohort",
    "lm": "Read: does the language model name the class?",
    "encoding": "Written: what the text keeps",
    "ldvae": "Seen: does the model see a change of the cells?",
    "spatial": "Mapped: do domains, image and counts fit?",
    "counterfactual": "Predicted: does a change carry over?",
    "cycle": "Contexts: are they found, and can they be changed?",
}
KEY_SCORES = (  # the others stand in the table of the report
    "fidelity/mean_r2",
    "fidelity/std_r2",
    "fidelity/std_slope",
    "fidelity/diversity",
    "fidelity/beyond_range",
    "fidelity/coexpression_r",
    "fidelity/c2st_auc",
    "fidelity/mmd2",
    "fidelity/coverage",
    "biology/de_recovery",
    "biology/lfc_slope",
    "biology/planted_auprc",
    "utility/tstr_auc",
    "utility/tstr_balanced_accuracy",
    "utility/tstr_auc_forest",
    "utility/tstr_balanced_accuracy_forest",
    "utility/augmentation_gain",
    "utility/augmentation_gain_logistic",
    "privacy/nearest_auc",
    "privacy/monte_carlo_auc",
    "privacy/subspace_auc",
    "privacy/mahalanobis_auc",
    "privacy/worst_auc",
    "privacy/worst_tpr_at_fpr10",
    "external/tstr_auc",
    "external/tstr_balanced_accuracy",
    "lm/balanced_accuracy",
    "lm/gap",
    "lm/ece",
    "lm/text_attack_auc",
    "encoding/decode_r2",
    "encoding/clipped_fraction",
    "ldvae/nll",
    "ldvae/three_class_accuracy",
    "ldvae/smallest_detectable_dose",
    "ldvae/planted_auprc_down",
    "ldvae/planted_auprc_up",
    "spatial/ari",
    "spatial/nmi",
    "spatial/balanced_accuracy",
    "spatial/image_gain",
    "spatial/discordance_auprc",
    "spatial/section_mixing",
    "spatial/elbo",
    "counterfactual/weighted_delta_r2",
    "counterfactual/pearson_delta_top50",
    "cycle/down_regulation_accuracy",
    "cycle/planted_sign_accuracy",
    "cycle/planted_correlation",
    "cycle/generated_accuracy",
    "cycle/integration",
)
ROW = 0.33  # inches
NAMES, STRIP_END, NUMBERS, MARK, RIGHT = -1.42, 1.0, 1.07, 1.7, 2.1  # columns, in strip widths


@styled
def standing_figure(
    metrics: Mapping[str, Mapping[str, Any]],
    registry: Registry | None = None,
    keys: Collection[str] | None = None,
) -> Figure:
    """One row per score: value with interval, floor, ceiling, cheat, best possible.

    A score on which copies of the patients win is marked at its right end.

    Parameters
    ----------
    metrics
        The content of ``metrics.json``.
    registry
        Words by key, such as ``synthome.evaluation.metrics.METRICS``.
    keys
        Scores to draw; by default ``KEY_SCORES`` and whatever belongs to no group of ``GROUPS``.
    """
    scores = [score for score in read_scores(metrics, registry).values() if score.measured]
    if keys is None:
        order = {key: i for i, key in enumerate(KEY_SCORES)}
        chosen = [s for s in scores if s.key in order or s.group not in GROUPS]
        scores = sorted(chosen or scores, key=lambda score: order.get(score.key, len(order)))
    else:
        scores = [score for score in scores if score.key in keys]
    if not scores:
        raise InputError("None of the metrics has a value, so there is no score to draw.")
    groups = list(dict.fromkeys([*GROUPS, *(score.group for score in scores)]))
    rows: list[str | Score] = []
    for group in groups:
        members = [score for score in scores if score.group == group]
        if members:
            rows += [GROUPS.get(group, group.replace("_", " ").capitalize()), *members]
    figure = new_figure(height=ROW * len(rows) + 0.9)
    ax = figure.add_subplot()
    for y, row in enumerate(rows):
        if isinstance(row, str):
            ax.text(NAMES, y + 0.15, row, fontweight="bold", va="center")
        else:
            _row(ax, y, row)
    for x, text, side in ((0.0, "← worse", "left"), (STRIP_END, "better →", "right")):
        ax.text(x, len(rows) - 0.1, text, ha=side, va="center", color=MUTED, fontsize=8.5)
    ax.set_ylim(len(rows) + 0.1, -0.6)
    ax.set_xlim(NAMES, RIGHT)
    ax.set_axis_off()
    _legend(figure)
    return figure


def _row(ax: Axes, y: int, score: Score) -> None:
    limits = axis_limits(score)

    def at(value: float) -> float:
        return position(value, limits)

    name = ax.text(NAMES, y, "\n".join(wrap(score.name, 52)), va="center", fontsize=8.3)
    as_plain_text([name])
    ax.plot([0, 1], [y, y], color=FAINT, linewidth=5, solid_capstyle="round", zorder=1)
    if 0.0 <= at(score.best) <= 1.0:
        ax.plot([at(score.best)] * 2, [y - 0.36, y + 0.36], color=INK, linewidth=1.0, zorder=2)
    if score.has_interval:
        ends = [at(score.low), at(score.high)]
        ax.plot(ends, [y, y], color=SYNTHETIC, linewidth=4, alpha=0.5, zorder=3)
    # Floor above the line, ceiling below it, value and cheat on it: none hides another.
    ax.plot(at(score.floor), y - 0.22, "v", color=FLOOR, markersize=7, mec="white", zorder=4)
    ax.plot(at(score.ceiling), y + 0.2, "D", color=CEILING, markersize=5.5, mec="white", zorder=4)
    ax.plot(at(score.value), y, "o", color=SYNTHETIC, markersize=8, mec="white", zorder=5)
    ax.plot(at(score.cheat), y, "x", color="white", markersize=7.5, mew=3.2, zorder=6)
    ax.plot(at(score.cheat), y, "x", color=CHEAT, markersize=6.5, mew=2.2, zorder=7)
    ax.text(NUMBERS, y, score.text, va="center", fontsize=8.5)
    if score.cheat_wins:
        ax.text(MARK, y, "× copies win", va="center", color=CHEAT_TEXT, fontsize=8.5, weight="bold")


def _legend(figure: Figure) -> None:
    def handle(marker: str, colour: str, text: str, **how: Any) -> Line2D:
        return Line2D([], [], linestyle="none", marker=marker, color=colour, label=text, **how)

    figure.legend(
        handles=[
            Line2D([], [], marker="o", color=SYNTHETIC, markersize=7, linewidth=3,
                   label="This generator, 95 % interval"),
            handle("v", FLOOR, "Floor: noise without structure"),
            handle("D", CEILING, "Ceiling: real against real", markersize=5),
            handle("x", CHEAT, "Cheat: copied patients", mew=1.9),
            handle("|", INK, "Best possible", markersize=9),
        ],
        loc="outside upper left",
        ncols=3,
        labelcolor=MUTED,
    )  # fmt: skip
