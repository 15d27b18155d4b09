import numpy as np
import pandas as pd
import pytest

from synthome.errors import InputError
from synthome.evaluation.metrics import METRICS
from synthome.plotting.style import CEILING, SYNTHETIC, png_bytes
from synthome.plotting.temperature import SPREAD, TITLES, temperature_figure

GRID = (0.5, 1.0, 2.0, 3.0, 4.0)


def make_curve(metrics=tuple(TITLES)):
    rows = [
        (T, metric, generator, value, value - 0.02, value + 0.02)
        for metric in metrics
        for generator, scale in (("rare_vae", 1.0), ("published_vae", 0.04))
        for T in GRID
        for value in [scale * T**2 if metric == SPREAD else 0.5 + scale * 0.1 * T]
    ]
    return pd.DataFrame(
        rows, columns=["temperature", "metric", "generator", "value", "low", "high"]
    )


@pytest.fixture
def figure():
    return temperature_figure(make_curve(), {"FSHD": 1.12, "$c": 0.94}, METRICS)


def panels(figure):
    return {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}


def test_each_score_has_a_panel_with_both_generators(figure):
    found = panels(figure)
    assert list(found) == list(TITLES.values())
    ours = [line for line in found[TITLES["utility/tstr_auc"]].lines
            if line.get_color() == SYNTHETIC and line.get_marker() == "o" and len(line.get_xdata()) > 1]  # fmt: skip  # noqa: E501
    assert [line.get_xydata().tolist() for line in ours] == [[[T, 0.5 + 0.1 * T] for T in GRID]]


def test_published_range_best_value_and_chosen_temperatures_are_in_every_panel(figure, texts_of):
    best = {SPREAD: 1.0, "fidelity/c2st_auc": 0.5, "privacy/worst_auc": 0.5}
    for key, title in TITLES.items():
        ax = panels(figure)[title]
        assert (ax.patches[0].get_x(), ax.patches[0].get_width()) == (2.0, 1.0)
        lines = [line for line in ax.lines if line.get_label() == "_best"]
        assert [set(line.get_ydata()) for line in lines] == [{best.get(key, 1.0)}]
        assert lines[0].get_color() == CEILING
        chosen = {line.get_xdata()[0] for line in ax.lines if line.get_label() == "_chosen"}
        assert chosen == {1.12, 0.94}
        assert np.mean(ax.get_xlim()) == pytest.approx(
            np.mean(panels(figure)[TITLES[SPREAD]].get_xlim())
        )
    shown = texts_of(figure)
    assert "chosen for FSHD: T = 1.12" in shown
    assert "chosen for $c: T = 0.94" in shown
    assert "published range, T 2 to 3" in shown
    assert png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_a_spread_over_decades_is_read_in_multiples(figure):
    assert panels(figure)[TITLES[SPREAD]].get_yscale() == "log"
    assert panels(figure)[TITLES["utility/tstr_auc"]].get_yscale() == "linear"
    narrow = make_curve((SPREAD,)).assign(value=0.9, low=0.8, high=1.0)
    assert temperature_figure(narrow, {}).axes[0].get_yscale() == "linear"


def test_another_score_or_generator_has_a_place_and_nothing_is_an_error():
    curve = make_curve(("fidelity/ks",)).replace({"published_vae": "gan"})
    figure = temperature_figure(curve, {"a": 5.0}, METRICS)
    assert list(panels(figure)) == ["Shape of single genes (KS distance)"]
    assert figure.axes[0].get_xlim()[1] > 5.0
    with pytest.raises(InputError, match="nothing can be drawn"):
        temperature_figure(make_curve().assign(value=np.nan), {})
