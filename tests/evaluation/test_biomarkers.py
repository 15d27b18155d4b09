"""Biomarkers: planted genes come first, and stability is Kuncheva's for choices of equal size."""

from itertools import combinations

import numpy as np
import pytest

from synthome.evaluation.biomarkers import permutation_biomarkers, selection_stability


def test_planted_genes_are_the_dearest_to_lose(small_forests):
    """Two genes carry the class, each half of it; the rest is noise."""
    rng = np.random.default_rng(0)
    genes = np.array([f"gene_{j}" for j in range(30)])

    def draw(n):
        y = np.where(np.arange(n) % 2 == 0, "a", "b")
        x = rng.standard_normal((n, 30))
        x[y == "b", :2] += 2.5
        return x, y

    table = permutation_biomarkers(draw(100), draw(80), genes, rng, n_shortlist=15)
    assert set(table["gene"][:2]) == {"gene_0", "gene_1"}
    assert table["importance"][0] > 0.05
    assert table["importance"][5:].abs().max() < 0.05
    assert len(table) == 15
    assert (table["importance"].diff()[1:] <= 0).all()


def kuncheva(selected):
    """Mean over pairs of (overlap d - k^2) / (k (d - k)), Kuncheva (2007)."""
    n_vars, k = selected.shape[1], int(selected[0].sum())
    overlaps = [(a & b).sum() for a, b in combinations(selected, 2)]
    return np.mean([(r * n_vars - k * k) / (k * (n_vars - k)) for r in overlaps])


@pytest.mark.parametrize("seed", range(4))
def test_stability_of_choices_of_equal_size_is_kunchevas_index(seed):
    """Nogueira et al., theorem 4: an independent formula for the same number."""
    rng = np.random.default_rng(seed)
    weight = rng.gamma(0.3, size=40)
    selected = np.zeros((6, 40), dtype=bool)
    for row in selected:
        row[rng.choice(40, size=10, replace=False, p=weight / weight.sum())] = True
    found, (low, high) = selection_stability(selected)
    assert found == pytest.approx(kuncheva(selected))
    assert low <= found <= high


def test_the_same_choice_is_stable_and_random_choices_are_not():
    """1 with no width, and 0 on average."""
    same = np.tile(np.arange(50) < 10, (5, 1))
    found, (low, high) = selection_stability(same)
    assert found == pytest.approx(1.0)
    assert (low, high) == pytest.approx((1.0, 1.0))
    rng = np.random.default_rng(0)
    chance = [selection_stability(rng.random((5, 200)) < 0.1)[0] for _ in range(100)]
    assert np.mean(chance) == pytest.approx(0.0, abs=0.02)


def test_nothing_can_be_said_of_one_run_or_of_no_choice():
    """NaN instead of a division by zero."""
    assert np.isnan(selection_stability(np.ones((1, 5), dtype=bool))[0])
    assert np.isnan(selection_stability(np.zeros((4, 5), dtype=bool))[0])
