import numpy as np
import pytest
from matplotlib.colors import to_hex
from perturbation_tables import planted_rows

from synthome.errors import InputError
from synthome.plotting.planted import METHODS, planted_figure
from synthome.plotting.style import FLOOR, SYNTHETIC, png_bytes


def bars(ax):
    return [patch for patch in ax.patches if patch.get_width() > 0]


def test_down_and_up_are_apart_and_the_t_test_is_the_bar_to_reach():
    table = planted_rows().sample(frac=1.0, random_state=0)
    figure = planted_figure(table)
    for ax, direction, first in zip(figure.axes, ("down", "up"), (0.90, 0.94), strict=True):
        of = table[table["direction"] == direction].set_index("method")["auprc"]
        np.testing.assert_allclose([bar.get_width() for bar in bars(ax)], of[list(METHODS)])
        assert [to_hex(bar.get_facecolor()).upper() for bar in bars(ax)] == [
            FLOOR,
            *[SYNTHETIC] * 3,
        ]
        lines = [line.get_xdata()[0] for line in ax.lines]
        assert lines == pytest.approx([first, of["chance"]])
    assert figure.axes[0].get_title(loc="left") == "Genes turned down (33; by chance 0.016)"
    assert figure.axes[1].get_title(loc="left") == "Genes turned up (50; by chance 0.024)"
    assert png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_the_spread_over_draws_ends_at_one(texts_of):
    figure = planted_figure(planted_rows(up=(1.0, 0.99, 0.5, 0.2)))
    ends = figure.axes[1].collections[0].get_segments()[0][:, 0]
    np.testing.assert_allclose(ends, [0.98, 1.0])
    assert "1.00" in texts_of(figure)


def test_one_direction_and_an_unknown_method_are_drawn(texts_of):
    table = planted_rows()
    table = table[table["direction"] == "up"].replace({"method": {"mean_shift": "new_way"}})
    figure = planted_figure(table)
    assert len(figure.axes) == 1
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()][-1] == "new way"


def test_a_table_without_values_is_an_error():
    with pytest.raises(InputError, match="no row"):
        planted_figure(planted_rows().assign(auprc=np.nan))
