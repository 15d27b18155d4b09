import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthome.errors import InputError
from synthome.evaluation.metrics import METRICS
from synthome.plotting.pareto import (
    YARDSTICKS,
    badness,
    frontier,
    pareto_figure,
    privacy_curve_figure,
)
from synthome.plotting.scores import read_score
from synthome.plotting.style import SYNTHETIC, png_bytes

FSHD = {  # AUC of learning and of the strongest attack, from the reference measurements
    "real": (0.95, 0.52),
    "independent_noise": (0.93, 0.60),
    "copies": (0.91, 1.00),
    "class_normal": (0.90, 1.00),
    "class_normal_noise": (0.92, 1.00),
    "ledoit_wolf": (0.93, 1.00),
    "pooled_ledoit_wolf": (0.92, 1.00),
    "smote": (0.94, 1.00),
    "local_gamma_poisson": (0.90, 0.91),
    "published_vae_t1": (0.74, 0.79),
    "published_vae_t2": (0.72, 0.83),
    "published_vae_t3": (0.57, 0.81),
    "rare_vae": (0.94, 0.63),
    "public_correlation": (0.93, 0.52),
}


def entry(value, half=0.05):
    return {"value": value, "interval": [value - half, min(value + half, 1.0)]}


@pytest.fixture
def board():
    return {
        name: {"utility/tstr_auc": entry(useful), "privacy/worst_auc": entry(leak)}
        for name, (useful, leak) in FSHD.items()
    }


pairs = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(*[st.sampled_from(range(5))] * 2),
    min_size=1,
)


@given(bad=pairs)
def test_the_frontier_is_who_is_beaten_by_nobody(bad):
    on_it = frontier(bad)
    for name, (x, y) in bad.items():
        beaten = any(a <= x and b <= y and (a < x or b < y) for a, b in bad.values())
        assert (name in on_it) == (not beaten)
    xs, ys = zip(*(bad[name] for name in on_it), strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys, reverse=True)


def test_who_was_not_measured_is_not_on_the_frontier():
    assert frontier({"a": (0.5, float("nan")), "b": (1.0, 1.0)}) == ["b"]


@pytest.mark.parametrize(
    ("key", "value", "bad"),
    [
        ("utility/tstr_auc", 0.9, -0.9),
        ("privacy/worst_auc", 0.6, 0.1),
        ("privacy/worst_auc", 0.4, 0.0),  # below guessing is no better than guessing
        ("fidelity/std_slope", 0.7, 0.3),
        ("fidelity/std_slope", 1.3, 0.3),
        ("utility/augmentation_gain", 0.1, -0.1),
    ],
)
def test_badness_is_the_distance_on_the_worse_side(key, value, bad):
    assert badness(read_score(key, {"value": value}, METRICS)) == pytest.approx(bad)


def test_each_generator_is_a_labelled_point_and_the_frontier_leaves_out_yardsticks(board, texts_of):
    figure = pareto_figure(board, registry=METRICS, limit=0.65)
    ax = figure.axes[0]
    assert set(FSHD) <= set(texts_of(figure))
    points = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    steps = points["Frontier: nothing is better in both"]
    assert steps.get_drawstyle() == "steps-post"
    np.testing.assert_allclose(steps.get_xydata(), [(0.52, 0.93), (0.63, 0.94)])
    for name, yardstick in YARDSTICKS.items():
        (line,) = [line for text, line in points.items() if text.lower() == yardstick.words]
        assert line.get_color() == yardstick.colour
        assert line.get_xydata().tolist() == [[FSHD[name][1], FSHD[name][0]]]
    filled = {line.get_label()[1:] for line in ax.lines
              if line.get_marker() == "o" and line.get_color() == SYNTHETIC}  # fmt: skip
    assert filled == {"public_correlation", "rare_vae"}


def test_both_intervals_and_chance_are_drawn_within_the_axes(board):
    ax = pareto_figure(board, registry=METRICS).axes[0]
    ends = [line.get_xydata().tolist() for line in ax.lines if line.get_label() == "_interval"]
    assert len(ends) == 2 * len(FSHD)
    assert [[0.58, 0.94], [0.68, 0.94]] in [np.round(e, 9).tolist() for e in ends]
    assert [[0.63, 0.89], [0.63, 0.99]] in [np.round(e, 9).tolist() for e in ends]
    chance = [line.get_xydata() for line in ax.lines if line.get_label() == "_chance"]
    assert [set(chance[0][:, 0]), set(chance[1][:, 1])] == [{0.5}, {0.5}]
    assert ax.get_xlim()[0] < 0.47
    assert ax.get_ylim()[0] < 0.5


def test_chance_is_marked_only_where_it_is_one_half(board):
    for entries in board.values():
        entries["utility/tstr_balanced_accuracy"] = entry(0.8)
    figure = pareto_figure(board, y="utility/tstr_balanced_accuracy", registry=METRICS)
    assert len([line for line in figure.axes[0].lines if line.get_label() == "_chance"]) == 1


def test_a_generator_without_a_score_is_left_out_and_none_at_all_is_an_error(board, texts_of):
    board["smote"]["privacy/worst_auc"]["value"] = None
    assert "smote" not in texts_of(pareto_figure(board))
    with pytest.raises(InputError, match="No generator has both"):
        pareto_figure({"gan": {}})


@pytest.fixture
def knobs():
    rows = [
        ("epsilon", 8.0, 0.85, 0.56),
        ("epsilon", 1.0, 0.62, 0.51),
        ("noise", 0.5, 0.92, 0.62),
        ("noise", 0.0, 0.93, 0.72),
        ("$other$", 2.0, 0.90, 0.60),
    ]
    table = pd.DataFrame(rows, columns=["knob", "setting", "utility", "attack"])
    for name in ("utility", "attack"):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 0.06, table[name] + 0.06
    return table


def test_each_knob_is_a_line_in_the_order_of_its_settings(knobs, texts_of):
    figure = privacy_curve_figure(knobs)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["Added noise (share of the spread)"].get_xydata().tolist() == [
        [0.72, 0.93],
        [0.62, 0.92],
    ]
    assert "$other$" in lines
    assert {"ε = 1", "ε = 8", "0", "0.5", "2"} <= set(texts_of(figure))
    assert figure.axes[0].get_xlim()[1] > 0.78
    assert png_bytes(figure, dpi=50).startswith(b"\x89PNG")


def test_settings_without_an_interval_are_drawn_and_without_a_value_are_not(knobs, texts_of):
    knobs.loc[knobs["setting"] == 8.0, ["utility_low", "attack_high"]] = np.nan
    knobs.loc[knobs["setting"] == 1.0, "attack"] = np.nan
    shown = texts_of(privacy_curve_figure(knobs))
    assert "ε = 8" in shown
    assert "ε = 1" not in shown
    with pytest.raises(InputError, match="no row"):
        privacy_curve_figure(knobs.assign(utility=np.nan))
