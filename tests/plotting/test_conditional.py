import numpy as np
import pytest
from perturbation_tables import PREDICTED, TYPES, conditional_rows

from synthome.errors import InputError
from synthome.plotting.conditional import LEAST, METHODS, SCORE, conditional_figure
from synthome.plotting.style import png_bytes


def test_each_method_has_a_mark_in_the_row_of_each_type():
    table = conditional_rows(TYPES[:3]).sample(frac=1.0, random_state=0)
    figure = conditional_figure(table)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "Genes turned down", "Genes turned up",
    ]  # fmt: skip
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == sorted(TYPES[:3])
    for ax, condition in zip(figure.axes, ("down", "up"), strict=True):
        lines = {line.get_label(): line for line in ax.lines}
        of = table[table["condition"] == condition].set_index(["method", "cell_type"])[SCORE]
        for method in ("latents", "additive", "ceiling"):
            line = lines[METHODS[method].name]
            drawn = {names[round(y)]: x for x, y in line.get_xydata()}
            assert drawn == pytest.approx(of[method].to_dict())
    assert png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_what_is_far_worse_than_no_change_is_an_arrow_at_the_edge():
    ax = conditional_figure(conditional_rows(TYPES[:3])).axes[0]
    below = [line for line in ax.lines if line.get_label() == "_below" and len(line.get_xdata())]
    assert len(below) == 1
    assert set(below[0].get_xdata()) == {LEAST}
    assert below[0].get_marker() == "<"
    assert ax.get_xlim()[0] == pytest.approx(LEAST - 0.08)


def test_nothing_is_cut_where_nothing_is_far_below():
    values = {k: v for k, v in PREDICTED.items() if k != "mean_of_perturbed"}
    ax = conditional_figure(conditional_rows(TYPES[:2], values)).axes[0]
    assert not [line for line in ax.lines if line.get_label() == "_below" and len(line.get_xdata())]
    assert ax.get_xlim()[0] == pytest.approx(-0.02 - 0.08)


def test_a_single_deal_has_no_spread():
    table = conditional_rows(TYPES[:2]).assign(weighted_delta_r2_sd=np.nan)
    ends = conditional_figure(table).axes[0].collections[-1].get_segments()[0][:, 0]
    assert ends[0] == ends[1]


def test_a_table_without_values_is_an_error():
    with pytest.raises(InputError, match="no row"):
        conditional_figure(conditional_rows().assign(weighted_delta_r2=np.nan))
