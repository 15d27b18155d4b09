import pytest

from synthome.errors import InputError
from synthome.evaluation.metrics import METRICS
from synthome.plotting.attacks import attack_scores, attacks_figure
from synthome.plotting.style import SYNTHETIC


def test_only_the_auc_of_attacks_is_drawn(metrics):
    keys = [score.key for score in attack_scores(metrics)]
    assert keys == ["privacy/nearest_auc", "privacy/subspace_auc"]


def test_each_attack_stands_with_its_interval_and_guessing_is_marked(metrics):
    ax = attacks_figure(metrics, METRICS).axes[0]
    own = [line for line in ax.lines if line.get_color() == SYNTHETIC]
    intervals = [tuple(line.get_xdata()) for line in own if line.get_marker() == "None"]
    assert intervals == [(0.47, 0.63), (0.97, 1.0)]
    (values,) = [list(line.get_xdata()) for line in own if line.get_marker() == "o"]
    assert values == [0.55, 0.99]
    assert any(list(line.get_xdata()) == [0.5, 0.5] for line in ax.lines)


def test_the_alarm_area_begins_where_the_verdict_says_no(metrics):
    from synthome.reporting.rules import VerdictConfig

    ax = attacks_figure(metrics).axes[0]
    assert ax.patches[0].get_x() == VerdictConfig().attack_auc


def test_without_attacks_there_is_no_figure(metrics):
    with pytest.raises(InputError, match="no attack to draw"):
        attacks_figure({"utility/tstr_auc": metrics["utility/tstr_auc"]})
