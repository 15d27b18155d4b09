import numpy as np
import pytest

from synthome.plotting.coexpression import (
    agreement,
    cluster_order,
    coexpression_figure,
    correlation,
)


def images(figure):
    return [ax.images[0] for ax in figure.axes if ax.images and ax.get_title(loc="left")]


def test_correlation_agrees_with_numpy(cohort):
    np.testing.assert_allclose(
        correlation(cohort.X), np.corrcoef(cohort.X, rowvar=False), atol=1e-12
    )


def test_a_gene_that_does_not_vary_correlates_with_nothing():
    x = np.column_stack([np.arange(5.0), np.full(5, 0.1), -np.arange(5.0)])
    expected = [[1, 0, -1], [0, 1, 0], [-1, 0, 1]]
    np.testing.assert_allclose(correlation(x), expected, atol=1e-12)


def test_planted_modules_stand_together_in_the_order(cohort):
    order = cluster_order(correlation(cohort.X))
    assert sorted(order) == list(range(40))
    for module in (range(10), range(10, 20)):
        places = sorted(np.flatnonzero(np.isin(order, module)))
        assert places[-1] - places[0] == 9  # ten genes side by side


def test_agreement_leaves_the_diagonal_out():
    """Counting the ones of the diagonal flatters: unrelated matrices would agree."""
    rng = np.random.default_rng(0)
    a, b = (correlation(rng.normal(size=(30, 40))) for _ in range(2))
    assert agreement(a, a) == pytest.approx(1.0)
    assert abs(agreement(a, b)) < 0.15
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.3
    assert np.isnan(agreement(np.eye(4), np.eye(4)))


def test_panels_share_genes_order_and_colours(make_cohort, synthetic):
    figure = coexpression_figure(make_cohort(60, 24), synthetic, n_genes=15)
    panels = images(figure)
    assert {image.get_clim() for image in panels} == {(-1, 1)}
    assert {image.get_array().shape for image in panels} == {(15, 15)}
    titles = [ax.get_title(loc="left") for ax in figure.axes][:3]
    assert titles == ["Real, training (36)", "Real, held out (24)", "Synthetic (60)"]
    np.testing.assert_allclose(
        panels[2].get_array(), panels[2].get_array().T, atol=1e-12
    )  # rows and columns in one order


def test_with_few_held_out_rows_the_training_rows_are_halved(cohort, synthetic):
    """Nine rows correlate by chance: halves of the training rows say more."""
    titles = [ax.get_title(loc="left") for ax in coexpression_figure(cohort, synthetic).axes][:3]
    assert titles[:2] == ["Real, one half (14)", "Real, other half (13)"]
