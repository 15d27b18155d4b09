import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from synthome.errors import InputError
from synthome.plotting.published import NARROWEST, PANELS, published_figure
from synthome.plotting.style import CHEAT, FLOOR, SYNTHETIC, png_bytes

SEEDS = (42, 10, 2024, 777, 99)
COLOURS = {"my_vae": SYNTHETIC, "copies": CHEAT, "independent_noise": FLOOR}


def make_table() -> pd.DataFrame:
    """Seed 777 of my_vae is the closest to the mean accuracy, and so is seed 42 of copies."""
    rng = np.random.default_rng(0)
    rows = [
        (generator, seed, metric, rng.uniform(0.4, 0.9))
        for generator in COLOURS
        for seed in SEEDS
        for metric in PANELS
    ]
    table = pd.DataFrame(rows, columns=["generator", "seed", "metric", "value"])
    accuracy = table["metric"] == "tstr_accuracy"
    table.loc[accuracy & (table["generator"] == "my_vae"), "value"] = [1.0, 0.5, 1.0, 0.7, 0.3]
    table.loc[accuracy & (table["generator"] == "copies"), "value"] = 1.0
    return table


@pytest.fixture
def table() -> pd.DataFrame:
    return make_table()


@pytest.fixture(scope="module")
def figure():
    """Drawn once: tests look at it and leave it as it is."""
    return published_figure(make_table())


def panel(figure, metric):
    (ax,) = (ax for ax in figure.axes if ax.get_title(loc="left") == PANELS[metric][0])
    return ax


def marks(ax, generator):
    """(value, lane) of the marks in the colour of a generator."""
    colour = COLOURS[generator].lower()
    filled = [c for c in ax.collections if len(c.get_facecolor())]
    (found,) = (c for c in filled if to_hex(c.get_facecolor()[0]) == colour)
    return np.asarray(found.get_offsets())


def rings(ax):
    return [tuple(c.get_offsets()[0]) for c in ax.collections if not len(c.get_facecolor())]


@pytest.mark.parametrize("generator", COLOURS)
def test_every_seed_of_every_generator_has_a_mark_and_a_lane(figure, table, generator):
    row = list(COLOURS).index(generator)
    for metric in PANELS:
        found = marks(panel(figure, metric), generator)
        own = table[(table["generator"] == generator) & (table["metric"] == metric)]
        np.testing.assert_allclose(found[:, 0], own["value"])
        assert len(set(found[:, 1])) == 5
        assert (np.abs(found[:, 1] - row) < 0.4).all()


def test_the_run_whose_accuracy_is_closest_to_the_mean_is_ringed_in_every_panel(figure):
    for metric in PANELS:
        ax = panel(figure, metric)
        ringed = rings(ax)
        assert len(ringed) == 3
        for generator, position in (("my_vae", SEEDS.index(777)), ("copies", 0)):
            row = list(COLOURS).index(generator)
            np.testing.assert_allclose(ringed[row], marks(ax, generator)[position])


def test_the_mean_over_seeds_and_the_best_value_are_drawn(figure, table):
    for metric, (_, best) in PANELS.items():
        lines = panel(figure, metric).lines
        dotted = [line for line in lines if line.get_linestyle() == ":"]
        assert [line.get_xdata()[0] for line in dotted] == [best]
        means = {line.get_color(): line.get_xdata()[0] for line in lines if line not in dotted}
        for generator, colour in COLOURS.items():
            own = table[(table["generator"] == generator) & (table["metric"] == metric)]
            assert means[colour] == pytest.approx(own["value"].mean())


def test_generators_are_named_as_they_are_on_the_left_of_each_row(table, texts_of):
    table["generator"] = table["generator"].replace("my_vae", "a $x$ vae")
    figure = published_figure(table)
    for i, ax in enumerate(figure.axes):
        names = [label.get_text() for label in ax.get_yticklabels()]
        assert names == (["a $x$ vae", "copied patients", "noise"] if i % 3 == 0 else [""] * 3)
    assert "One of 5 seeds" in texts_of(figure)
    assert not any(label.get_parse_math() for label in figure.axes[0].get_yticklabels())


def test_all_values_are_inside_and_equal_ones_are_not_blown_up(table):
    table.loc[table["metric"] == "mean_r2", "value"] = 0.9999
    table.loc[table["metric"] == "ks", "value"] = 0.001
    table.loc[table["metric"] == "std_slope", "value"] = 3.0
    figure = published_figure(table)
    for metric in PANELS:
        low, high = panel(figure, metric).get_xlim()
        values = table.loc[table["metric"] == metric, "value"]
        assert low < min(values.min(), PANELS[metric][1])
        assert high > max(values.max(), PANELS[metric][1])
        assert high - low >= NARROWEST
    assert panel(figure, "mean_r2").get_xlim()[1] < 1.02
    assert panel(figure, "ks").get_xlim()[0] > -0.02


def test_one_seed_one_generator_and_values_that_are_not_there_can_be_drawn(table, texts_of):
    chosen = table["metric"].isin(["tstr_accuracy", "tstr_auc"])
    one = table[chosen & (table["seed"] == 42) & (table["generator"] == "my_vae")].copy()
    one.loc[one["metric"] == "tstr_auc", "value"] = np.nan
    figure = published_figure(one)
    assert "One seed" in texts_of(figure)
    assert png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_a_score_that_is_not_in_the_table_gets_no_panel(table, texts_of):
    figure = published_figure(table[table["metric"].isin(["tstr_accuracy", "ks"])])
    shown = [ax.get_title(loc="left") for ax in figure.axes if ax.axison]
    assert shown == [PANELS["tstr_accuracy"][0], PANELS["ks"][0]]


def test_a_generator_without_a_score_leaves_its_row_empty(table):
    few = table[table["metric"].isin(["tstr_accuracy", "ks"])]
    lacking = few[(few["generator"] != "copies") | (few["metric"] != "ks")]
    ax = panel(published_figure(lacking), "ks")
    assert len(rings(ax)) == 2


def test_the_same_table_gives_the_same_picture_and_stays_as_it_is(table):
    table = table[table["metric"].isin(["tstr_accuracy", "ks"])]
    before = table.copy()
    first, second = (png_bytes(published_figure(table), dpi=30) for _ in range(2))
    assert first == second
    pd.testing.assert_frame_equal(table, before)


def test_an_empty_table_is_refused(table):
    with pytest.raises(InputError, match="must have rows"):
        published_figure(table.iloc[:0])
