import numpy as np
import pandas as pd
import pytest
from perturbation_tables import HALF_SEEN, POWER_DOSES, TYPES, power_rows, smallest_rows

from synthome.errors import InputError
from synthome.plotting.detection import SEVERAL, TARGET, power_figure, smallest_dose_figure
from synthome.plotting.representations import look
from synthome.plotting.style import png_bytes


def drawn(figure):
    return [ax for ax in figure.axes if ax.axison]


def test_each_type_and_gene_set_has_a_panel_with_a_curve_per_representation():
    rows = power_rows(TYPES[:3])
    panels = drawn(power_figure(rows.sample(frac=1.0, random_state=0)))
    assert len(panels) == 6
    for ax, gene_set in zip(panels, ["down"] * 3 + ["up"] * 3, strict=False):
        cell_type, words = ax.get_title(loc="left").split("\n")
        assert words == f"genes turned {gene_set}"
        lines = {line.get_label(): line for line in ax.lines}
        for view in HALF_SEEN:
            of = rows[(rows["cell_type"] == cell_type) & (rows["gene_set"] == gene_set)]
            of = of[of["representation"] == view]
            line = lines[look(view).name]
            np.testing.assert_allclose(line.get_ydata(), of["power"])
            assert list(line.get_xdata()) == list(range(len(POWER_DOSES)))
        marked = [line.get_ydata()[0] for line in ax.lines if line.get_label().startswith("_")]
        assert marked == [0.8, 0.05]


def test_up_to_eight_types_have_panels_without_empty_columns():
    panels = drawn(power_figure(power_rows(TYPES[:5])))
    assert len(panels) == 10
    below = [ax for ax in panels if ax.get_xlabel()]
    assert len(below) == 3
    assert all(ax.get_xticklabels()[0].get_text() == "1" for ax in below)


def test_more_types_are_rows_of_shades_with_a_mark_where_the_target_is_reached():
    rows = power_rows(TYPES)
    assert len(TYPES) > SEVERAL
    figure = power_figure(rows)
    tables = [ax for ax in figure.axes if ax.images]
    assert len(tables) == 2 * len(HALF_SEEN)
    first = rows[(rows["representation"] == "latents") & (rows["gene_set"] == "down")]
    wide = first.pivot_table(index="cell_type", columns="dose", values="power")
    np.testing.assert_allclose(tables[0].images[0].get_array(), wide)
    assert [text.get_text() for text in tables[0].get_yticklabels()] == sorted(TYPES)
    (dots,) = [line for line in tables[0].lines if line.get_label() == "_reached"]
    assert len(dots.get_xdata()) == int((wide >= TARGET).to_numpy().sum())
    assert png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_what_was_not_reached_stands_hollow_beyond_every_dose():
    table = smallest_rows()
    figure = smallest_dose_figure(table.sample(frac=1.0, random_state=1))
    ax = figure.axes[0]
    down = table[table["gene_set"] == "down"]
    hollow = [line for line in ax.lines if line.get_label() == "_beyond"]
    full = [line for line in ax.lines if line.get_label() == "_reached"]
    assert len(hollow) == down["dose"].isna().sum()
    np.testing.assert_allclose(
        np.sort([line.get_xdata()[0] for line in full]), np.sort(down["dose"].dropna())
    )
    known = table[["dose", "low", "high"]].max().max()
    assert all(line.get_xdata()[0] > known for line in hollow)
    assert all(line.get_markerfacecolor() == "white" for line in hollow)
    assert "not\nreached" in [text.get_text() for text in ax.get_xticklabels()]


def test_an_interval_without_an_upper_end_runs_to_not_reached_and_types_keep_their_rows():
    table = pd.DataFrame(
        [("a", "up", "latents", 2.0, 1.5, np.nan), ("b", "up", "latents", 3.0, 2.5, 4.0)],
        columns=["cell_type", "gene_set", "representation", "dose", "low", "high"],
    )
    (ax,) = smallest_dose_figure(table).axes
    ends = {line.get_ydata()[0]: line.get_xdata() for line in ax.lines
            if line.get_label() == "_interval"}  # fmt: skip
    assert ends[0.0][0] == 1.5
    assert ends[0.0][1] == pytest.approx(1.45 * 4.0)
    assert list(ends[1.0]) == [2.5, 4.0]


def test_a_table_in_which_nothing_was_reached_is_drawn():
    table = smallest_rows(TYPES[:2], not_reached=[(view, 2) for view in HALF_SEEN])
    figure = smallest_dose_figure(table.assign(low=np.nan))
    assert not [line for line in figure.axes[0].lines if line.get_label() == "_reached"]


def test_names_from_outside_are_no_formulas_and_long_ones_are_cut():
    long = "a $x_1$ cell type of many more words than fit beside a row"
    figure = smallest_dose_figure(smallest_rows([long]))
    (label,) = figure.axes[0].get_yticklabels()
    assert label.get_text() == "a $x_1$ cell type of many more …"
    assert not label.get_parse_math()


def test_empty_tables_are_errors():
    with pytest.raises(InputError, match="no row"):
        power_figure(power_rows().assign(power=np.nan))
    with pytest.raises(InputError, match="empty"):
        smallest_dose_figure(smallest_rows().iloc[:0])
