"""Effects of contexts are the mode of their posterior, add up, and are those that were planted."""

import numpy as np
import pytest
from scipy import optimize, sparse

from synthome.fields import Fields
from synthome.models.context_effects import ContextEffects, ContextEffectsConfig, Pools
from synthome.simulate.contexts import ContextsConfig, simulate_contexts

FIELDS = ["cell_type", "assay", "condition"]


@pytest.fixture(scope="module")
def cells():
    return simulate_contexts(
        ContextsConfig(
            n_obs=1200, n_vars=200, n_types=3, n_assays=2, n_donors=8, n_least=30,
            n_interaction_genes=10,
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def fields(cells):
    return Fields.of(cells.obs, FIELDS)


def sizes_of(counts):
    return np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()


@pytest.fixture(scope="module")
def effects(cells, fields):
    counts = cells.layers["counts"]
    return ContextEffects.fit(counts, sizes_of(counts), fields.encode(cells.obs), fields.sizes)


def test_one_gene_is_at_the_mode_of_its_posterior():
    """SciPy minimises the same log posterior, written down anew, in the log rates of all pools."""
    rng = np.random.default_rng(0)
    codes = np.array([[a, b] for a in range(3) for b in range(2)] * 2)
    counts = sparse.csr_matrix(rng.poisson(5.0 + 10.0 * codes[:, [0]], (len(codes), 1)))
    size = rng.uniform(500, 1500, len(codes))
    config = ContextEffectsConfig(
        interaction_scales=(0.3,), main_scale=0.8, null_scale=0.8, residual_scale=0.2
    )  # one setting only: where a field is silent, it has the same spread
    found = ContextEffects.fit(counts, size, codes, (3, 2), config=config)

    pools, place = np.unique(codes, axis=0, return_inverse=True)
    y, exposure = np.zeros(6), np.zeros(6)
    np.add.at(y, place.ravel(), counts.toarray()[:, 0])
    np.add.at(exposure, place.ravel(), size)
    same = [(pools[:, [f]] == pools[:, [f]].T).astype(float) for f in range(2)]
    covariance = 1.0 + 9.0 * same[0] + 0.64 * same[1] + 0.09 * same[0] * same[1]
    noise = covariance + 0.04 * np.eye(6)
    b = np.log((y.sum() + 0.5) / exposure.sum())

    def loss(f):
        mu = exposure * np.exp(b + f)
        return (mu - y * (b + f)).sum() + 0.5 * f @ np.linalg.solve(noise, f)

    mode = optimize.minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-8}).x
    expected = b + covariance @ np.linalg.solve(noise, mode)  # without the residual term
    np.testing.assert_allclose(found.log_rate(pools)[:, 0], expected, atol=1e-4)


def test_terms_add_up_and_main_effects_are_centred(effects, cells, fields):
    codes = fields.encode(cells.obs)[:50]
    parts = effects.terms(codes)
    assert set(parts) == {(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)}
    np.testing.assert_array_equal(
        effects.log_rate(codes), effects.base + sum(parts[key] for key in parts)
    )
    for main in effects.main:
        np.testing.assert_allclose(main.mean(axis=0), 0.0, atol=1e-12)


def test_planted_effects_come_back_up_and_down(effects, cells, fields):
    truth = cells.uns["truth"]
    plain = ~np.isin(truth["gene"], truth["interaction"]["genes"])
    for f, name in enumerate(FIELDS):
        planted = truth["effects"][name]
        names = [str(c) for c in planted["categories"]]
        first = effects.main[f][fields[name].code(names[0])]
        for c, category in enumerate(names[1:], start=1):
            found = (effects.main[f][fields[name].code(category)] - first)[plain]
            true = (np.asarray(planted["effect"])[c] - np.asarray(planted["effect"])[0])[plain]
            moved = true != 0.0
            assert (np.sign(found) == np.sign(true))[moved].mean() >= 0.95
            assert (found[true < 0.0] < 0.0).mean() >= 0.95
            assert np.corrcoef(found, true)[0, 1] >= 0.95


def test_a_field_that_does_nothing_gets_next_to_nothing(cells, fields):
    counts, codes = cells.layers["counts"], fields.encode(cells.obs).copy()
    codes[:, 1] = np.random.default_rng(0).permutation(codes[:, 1])
    found = ContextEffects.fit(counts, sizes_of(counts), codes, fields.sizes)
    spread = [float(np.sqrt(np.square(main).mean())) for main in found.main]
    assert spread[1] < 0.1 * spread[2]


def test_donors_explain_what_is_theirs(cells, fields):
    """Donors differ, each of one condition: told of them, less is put down to the condition."""
    rng = np.random.default_rng(0)
    donor = np.arange(cells.n_obs) % 6
    own = rng.lognormal(0.0, 0.4, (6, cells.n_vars))
    counts = sparse.csr_matrix(rng.poisson(cells.layers["counts"].toarray() * own[donor]))
    codes = np.column_stack([fields.encode(cells.obs)[:, 0], donor % 2])
    spread = {}
    for name, told in (("told", donor), ("not told", None)):
        found = ContextEffects.fit(counts, sizes_of(counts), codes, (3, 2), told)
        spread[name] = float(np.sqrt(np.square(found.main[1]).mean()))
    assert spread["told"] < 0.7 * spread["not told"]


def test_a_combination_that_no_cell_showed_is_the_sum_of_what_it_shares(cells, fields):
    codes = fields.encode(cells.obs)
    unseen = np.array([[0, 1, 1]])
    kept = ~(codes == unseen).all(axis=1) & ~((codes[:, 0] == 0) & (codes[:, 1] == 1))
    counts = cells.layers["counts"][kept]
    found = ContextEffects.fit(counts, sizes_of(counts), codes[kept], fields.sizes)
    parts = found.terms(unseen)
    np.testing.assert_array_equal(parts[0, 1], 0.0)  # a pair that was never seen
    assert np.abs(parts[0, 2]).max() > 0.0


def test_neither_order_nor_a_round_trip_changes_anything(effects, cells, fields):
    counts, codes = cells.layers["counts"], fields.encode(cells.obs)
    order = np.random.default_rng(0).permutation(len(codes))
    again = ContextEffects.fit(counts[order], sizes_of(counts)[order], codes[order], fields.sizes)
    np.testing.assert_allclose(again.log_rate(codes[:9]), effects.log_rate(codes[:9]), atol=1e-6)
    back = ContextEffects.from_state(effects.state())
    np.testing.assert_array_equal(back.log_rate(codes[:9]), effects.log_rate(codes[:9]))
    np.testing.assert_array_equal(back.log_depth(codes[:9]), effects.log_depth(codes[:9]))


def test_depths_of_assays_are_found(effects, fields):
    """The second assay is planted with 0.6 of the depth of the first."""
    codes = np.zeros((2, 3), dtype=np.int64)
    codes[0, 1], codes[1, 1] = fields["assay"].code("10x v2"), fields["assay"].code("10x v3")
    depth = effects.log_depth(codes)
    assert np.exp(depth[0] - depth[1]) == pytest.approx(0.6, rel=0.1)


def test_many_pools_are_merged_over_donors(cells, fields):
    counts, codes = cells.layers["counts"], fields.encode(cells.obs)
    donor = np.arange(cells.n_obs) % 30
    few = Pools.of(counts, sizes_of(counts), codes, donor, max_pools=100)
    assert few.donor is None
    assert len(few.exposure) == len(np.unique(codes, axis=0))
    many = Pools.of(counts, sizes_of(counts), codes, donor, max_pools=1000)
    assert many.counts.sum() == few.counts.sum() == counts.sum()
    assert len(many.donor) > 100
