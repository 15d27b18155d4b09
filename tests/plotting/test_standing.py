import numpy as np
import pytest

from synthome.errors import InputError
from synthome.evaluation.metrics import METRICS
from synthome.plotting.standing import KEY_SCORES, standing_figure
from synthome.plotting.style import CEILING, CHEAT, FLOOR, SYNTHETIC


def drawn(figure, colour):
    """x of every single mark of a colour, from left (0) to right (1)."""
    ax = figure.axes[0]
    lines = [line for line in ax.lines if line.get_color() == colour and len(line.get_xdata()) == 1]
    return [float(line.get_xdata()[0]) for line in lines]


def test_every_score_has_its_name_and_numbers(metrics, texts_of):
    shown = "\n".join(texts_of(standing_figure(metrics, METRICS, keys=metrics)))
    for key in metrics:
        assert METRICS[key].name.split()[0] in shown
    assert "0.93 [0.88, 0.97]" in shown
    assert "+0.02 [−0.03, +0.07]" in shown


def test_scores_on_which_copies_win_are_marked(metrics, texts_of):
    marks = [text for text in texts_of(standing_figure(metrics, METRICS)) if "copies win" in text]
    assert len(marks) == 2


def test_better_is_right_where_less_is_better(metrics):
    only = {"fidelity/mmd2": metrics["fidelity/mmd2"]}
    figure = standing_figure(only, METRICS)
    (floor,), (ceiling,), (value,) = (drawn(figure, c) for c in (FLOOR, CEILING, SYNTHETIC))
    assert floor < value < ceiling


def test_by_default_the_key_scores_and_those_of_other_systems_are_drawn(metrics, texts_of):
    more = metrics | {
        "spatial/ari": metrics["utility/tstr_auc"],
        "fidelity/ks": metrics["fidelity/mmd2"],
    }
    shown = "\n".join(texts_of(standing_figure(more, METRICS)))
    assert "ARI" in shown
    assert METRICS["fidelity/ks"].name not in shown


def test_key_scores_are_registered():
    assert [key for key in KEY_SCORES if key not in METRICS] == []


def test_an_unknown_floor_or_cheat_is_left_out(metrics):
    metrics["utility/tstr_auc"] |= {"floor": None, "cheat": np.nan}
    figure = standing_figure(metrics, METRICS, keys=["utility/tstr_auc"])
    assert np.isnan(drawn(figure, FLOOR)).all()
    assert np.isnan(drawn(figure, CHEAT)).all()
    assert len(drawn(figure, SYNTHETIC)) == 1


def test_metrics_without_a_value_are_refused(metrics):
    for entry in metrics.values():
        entry["value"] = None
    with pytest.raises(InputError, match="None of the metrics has a value"):
        standing_figure(metrics)
