"""Counts are thinned and added to, by a factor for each cell and gene."""

import numpy as np

from synthome.simulate.counts import shifted_counts


def test_counts_change_by_the_ratio_and_stay_where_it_is_one():
    rng = np.random.default_rng(0)
    mu = np.full((20_000, 3), 4.0)
    counts = rng.poisson(mu).astype(float)
    ratio = np.broadcast_to([1.0, 0.5, 3.0], mu.shape)
    new = shifted_counts(counts, mu, ratio, rng)
    np.testing.assert_array_equal(new[:, 0], counts[:, 0])
    np.testing.assert_allclose(new.mean(axis=0), [4.0, 2.0, 12.0], rtol=0.03)
    assert (new == np.round(new)).all()
