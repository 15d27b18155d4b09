"""Figures of contexts: what is drawn is what the tables say, many groups and heads included."""

import context_tables as tables
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from synthome.plotting import contexts
from synthome.plotting.contexts import (
    JUDGES,
    METHODS,
    MOST_BESIDE,
    MOST_PANELS,
    MOST_WRITTEN,
    context_scores_figure,
    contributions_figure,
    head_genes_figure,
    planted_contexts_figure,
)
from synthome.plotting.style import REAL, SYNTHETIC, png_bytes


def bars_of(ax, method):
    """Width of the bars of a method, in the order of the fields."""
    container = next(c for c in ax.containers if c.get_label() == METHODS[method][0])
    return [bar.get_width() for bar in container]


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]


def history(*names):
    epochs = {"epoch": [1, 2, 3]}
    return pd.DataFrame(epochs | {f"train_norm_{n}": [1.0, 2.0, 3.0 + i]
                                  for i, n in enumerate(names)})  # fmt: skip


def heads_of(n_groups, names=("base", "assay")):
    groups = ["all", *(f"T{i}" for i in range(n_groups))]
    rows = [(head, g, 1.0 + i + j, 0.1) for i, head in enumerate(names)
            for j, g in enumerate(groups)]  # fmt: skip
    return pd.DataFrame(rows, columns=["head", "group", "norm", "variance_share"])


def test_planted_effects_have_a_bar_for_each_field_and_method():
    table = tables.planted()
    table.loc[table["field"] == "assay", "sign_accuracy"] = 0.75
    figure = planted_contexts_figure(table)
    assert titles(figure) == [
        "Right sign, all genes", "Right sign, lowered genes", "Correlation of effects",
    ]  # fmt: skip
    for ax, score in zip(
        figure.axes, ("sign_accuracy", "down_accuracy", "correlation"), strict=True
    ):
        for method in METHODS:
            own = table[table["method"] == method].set_index("field")[score]
            np.testing.assert_allclose(bars_of(ax, method), own[["assay", "condition"]])
    assert png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_signs_stand_beside_a_coin_and_correlations_do_not():
    signs, lowered, correlation = planted_contexts_figure(tables.planted()).axes
    assert [line.get_xdata()[0] for ax in (signs, lowered) for line in ax.lines] == [0.5, 0.5]
    assert not correlation.lines


def test_effects_that_are_the_wrong_way_round_are_drawn_below_zero(texts_of):
    """A negative correlation must not look like none at all."""
    table = tables.planted()
    table.loc[table["method"] == "published", "correlation"] = [-0.31, np.nan]
    figure = planted_contexts_figure(table)
    ax = figure.axes[2]
    np.testing.assert_allclose(bars_of(ax, "published"), [-0.31, 0.0])
    assert ax.get_xlim()[0] < -0.31
    assert {"−0.31", "–"} <= set(texts_of(figure))


def test_a_method_that_was_not_fitted_is_not_in_the_legend():
    figure = planted_contexts_figure(tables.planted().query("method == 'published'"))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["Published model"]


def test_each_head_has_its_row_and_all_cells_come_first(texts_of):
    """Heads stand in the order of the table, which is that of the model."""
    table = tables.heads().sample(frac=1.0, random_state=1)
    figure = contributions_figure(table, history("base"))
    heat, curves = figure.axes
    groups = [label.get_text() for label in heat.get_xticklabels()]
    names = [label.get_text() for label in heat.get_yticklabels()]
    assert groups == ["all cells", "B", "T"]
    assert names == list(dict.fromkeys(table["head"])) != sorted(names)
    expected = table.pivot(index="head", columns="group", values="norm")
    np.testing.assert_allclose(heat.images[0].get_array(), expected.loc[names, ["all", "B", "T"]])
    assert "6.0" in texts_of(figure)
    np.testing.assert_allclose(curves.lines[0].get_ydata(), [1.0, 2.0, 3.0])
    assert all(tick == int(tick) for tick in curves.get_xticks())


def test_many_groups_stand_above_the_curves_and_lose_their_numbers(texts_of):
    """31 numbers side by side could not be read; a scale stands in their place."""
    few, more, most = (
        contributions_figure(heads_of(n), history("base", "assay"))
        for n in (MOST_BESIDE - 1, MOST_BESIDE, MOST_WRITTEN)
    )
    places = [[ax.get_subplotspec().get_geometry()[:2] for ax in f.axes[:2]]
              for f in (few, more, most)]  # fmt: skip
    assert places == [[(1, 2)] * 2, [(2, 1)] * 2, [(2, 1)] * 2]
    assert "2.0" in texts_of(more)
    assert not [text for text in most.axes[0].texts if text.get_text()]
    assert most.axes[2].get_ylabel() == "Length"
    assert png_bytes(most, dpi=30).startswith(b"\x89PNG")


def test_without_curves_the_heads_stand_alone():
    for nothing in (pd.DataFrame(), pd.DataFrame({"epoch": [1, 2]})):
        figure = contributions_figure(heads_of(2), nothing)
        assert len(figure.axes) == 1
        assert titles(figure) == ["Length of what a head adds"]


def test_no_two_of_many_heads_share_colour_and_line():
    """Five fields and their pairs are sixteen heads, and there are seven colours."""
    names = [f"head {i}" for i in range(16)]
    curves = contributions_figure(heads_of(2, names), history(*names)).axes[1]
    looks = {(line.get_color(), line.get_linestyle()) for line in curves.lines}
    assert len(looks) == len(curves.lines) == 16


def test_an_unknown_length_is_a_dash(texts_of):
    heads = heads_of(2)
    heads.loc[1, "norm"] = np.nan
    assert "–" in texts_of(contributions_figure(heads, history("base")))


def test_genes_are_red_up_and_blue_down(texts_of):
    figure = head_genes_figure(tables.head_genes())
    assert titles(figure) == ["assay: v2", "assay: v3"]
    ax = figure.axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [1.5, 0.7, -0.7, -1.2])
    colours = [to_hex(bar.get_facecolor()).upper() for bar in ax.patches]
    assert colours == [SYNTHETIC, SYNTHETIC, REAL, REAL]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["G0", "G1", "G2", "G3"]


def test_of_many_categories_those_with_the_largest_effects_are_drawn():
    """The first ones of the table may be the smallest."""
    rows = [("site", f"s{i}", gene, sign * (i + 1.0)) for i in range(MOST_PANELS + 2)
            for gene, sign in (("UP", 1), ("DOWN", -1))]  # fmt: skip
    figure = head_genes_figure(pd.DataFrame(rows, columns=["head", "category", "gene", "effect"]))
    assert titles(figure) == [f"site: s{i}" for i in range(2, MOST_PANELS + 2)]


def test_a_name_with_dollars_is_no_formula():
    genes = tables.head_genes().query("category == 'v2'").assign(category="$x$")
    shown = [t for t in head_genes_figure(genes).findobj(Text) if "$x$" in t.get_text()]
    assert [text.get_parse_math() for text in shown] == [False]


def test_each_judge_has_a_mark_in_the_row_of_each_field():
    table = pd.concat(
        [tables.contexts(), tables.contexts(0.6).assign(field="sex")], ignore_index=True
    )
    ax = context_scores_figure(table).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["assay", "sex"]
    lines = {line.get_label(): line for line in ax.lines}
    assert set(lines) == {name for name, _, _ in JUDGES.values()}
    for column, (name, _, marker) in JUDGES.items():
        np.testing.assert_allclose(lines[name].get_xdata(), table[column])
        assert [round(y) for y in lines[name].get_ydata()] == [0, 1]
        assert lines[name].get_marker() == marker


@pytest.mark.parametrize("looks", [contexts.JUDGES, contexts.METHODS])
def test_no_two_roles_look_alike(looks):
    assert len({tuple(look[1:]) for look in looks.values()}) == len(looks)
