import numpy as np
import pytest
from matplotlib.colors import to_hex
from perturbation_tables import PLANTED, loading_rows, response_rows

from synthome.errors import InputError
from synthome.plotting.loadings import STABLE, loadings_figure, telling_factors
from synthome.plotting.style import REAL, SYNTHETIC, png_bytes


@pytest.fixture(scope="module")
def table():
    return loading_rows()


def heatmap(figure):
    (ax,) = [ax for ax in figure.axes if ax.images]
    return ax, np.asarray(ax.images[0].get_array())


def test_factors_that_answer_come_first_and_stable_ones_without_answers(table):
    assert telling_factors(table, response_rows(), 3) == [1, 0, 11]
    assert telling_factors(table, None, 3) == [0, 1, 2]
    assert telling_factors(table, response_rows().iloc[:0], 2) == [0, 1]


def test_leading_genes_of_each_factor_stand_once_with_their_loadings(table):
    figure = loadings_figure(table.sample(frac=1.0, random_state=0), [3, 0], n_genes=4)
    ax, values = heatmap(figure)
    genes = [label.get_text() for label in ax.get_yticklabels()]
    lead = [table[(table["factor"] == k) & (table["rank"] <= 4)]["gene"].tolist() for k in (3, 0)]
    assert genes == lead[0] + lead[1]
    wide = table.pivot_table(index="gene", columns="factor", values="loading")
    np.testing.assert_allclose(values, wide.loc[genes, [3, 0]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["3", "0"]
    low, high = ax.images[0].get_clim()
    assert low == -high == -np.abs(values).max()
    assert png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_a_gene_that_leads_two_factors_has_one_row(table):
    two = table[table["factor"] < 2]
    same = two.assign(gene=lambda of: "g" + of["rank"].astype(str))
    genes = [t.get_text() for t in heatmap(loadings_figure(same, n_genes=3))[0].get_yticklabels()]
    assert genes == ["g1", "g2", "g3"]


def test_dots_are_loadings_on_which_seeds_agree(table):
    ax, _ = heatmap(loadings_figure(table, [0, 1], n_genes=3))
    dots = {(int(x), int(y)) for line in ax.lines for x, y in line.get_xydata()}
    genes = [label.get_text() for label in ax.get_yticklabels()]
    wide = table.pivot_table(index="gene", columns="factor", values="stability")
    expected = wide.loc[genes, [0, 1]].to_numpy() >= STABLE
    assert dots == {(int(x), int(y)) for y, x in np.argwhere(expected)}


def test_the_stability_of_each_factor_stands_above_its_column(table):
    figure = loadings_figure(table, [5, 1])
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    assert bars == pytest.approx([0.97 - 0.35, 0.97 - 0.07])


def test_planted_genes_are_marked_by_sign_and_colour(table):
    ax, _ = heatmap(loadings_figure(table, [0, 1, 4], PLANTED, n_genes=2))
    found = {label.get_text(): to_hex(label.get_color()).upper() for label in ax.get_yticklabels()}
    marked = {"▼": REAL, "▲": SYNTHETIC}
    assert sum("▼" in name for name in found) == 2
    assert sum("▲" in name for name in found) == 2
    for name, colour in found.items():
        assert colour == marked.get(name[-1], colour)
        assert name.startswith(("DOWN", "UP")) == (name[-1] in marked)


def test_a_loading_that_the_table_leaves_out_is_blank(table):
    _, values = heatmap(loadings_figure(table[table["rank"] <= 3], [0, 4], n_genes=3))
    assert np.isnan(values).any()


def test_an_empty_table_is_an_error(table):
    with pytest.raises(InputError, match="empty"):
        loadings_figure(table.iloc[:0])
