"""Effects of contexts are the mode of their posterior, add up, and are those that were planted."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from contexts import prepared_contexts
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, optimize, sparse

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE
from synthome.fields import Fields
from synthome.models import pooled_effects
from synthome.models.context_effects import ContextEffects
from synthome.models.pooled_effects import ContextEffectsConfig, Key, Pools

FIELDS = ["cell_type", "assay", "condition"]
PLAIN = ContextEffectsConfig(interaction_scales=(0.3,), main_scale=0.8, null_scale=0.8)


@pytest.fixture(scope="module")
def cells():
    return prepared_contexts(n_obs=1500, n_vars=300)


@pytest.fixture(scope="module")
def fields(cells):
    return Fields.of(cells.obs, FIELDS)


@pytest.fixture(scope="module")
def inputs(cells, fields):
    """Counts, library sizes and codes."""
    size = cells.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)
    return cells.layers[COUNTS], size, fields.encode(cells.obs)


@pytest.fixture(scope="module")
def effects(inputs, fields):
    counts, size, codes = inputs
    return ContextEffects.fit(counts, size, codes, fields.sizes)


def rms(values):
    return float(np.sqrt(np.square(values).mean()))


def few_genes(sizes, n_donors=1, n_vars=4, seed=0):
    """Counts of one cell for each combination and donor, sizes, codes and donors.

    The label acts in all genes; the second and third field, and an interaction, in half of them
    each; donors in half of these. The last gene is rare.
    """
    rng = np.random.default_rng(seed)
    rows = np.array(list(product(*map(range, sizes), range(n_donors))))
    codes, donor = rows[:, :-1], rows[:, -1]
    size = rng.uniform(500, 1500, len(rows))
    acts = np.arange(n_vars) // 2 ** np.arange(4)[:, None] % 2
    rate = rng.normal(-4.0, 0.5, n_vars) + rng.normal(0, 1.5, (sizes[0], n_vars))[codes[:, 0]]
    for f, n in enumerate(sizes[1:], start=1):
        rate = rate + acts[f - 1] * rng.normal(0, 0.8, (n, n_vars))[codes[:, f]]
    pair = codes[:, 0] * sizes[1] + codes[:, 1]
    rate = rate + acts[2] * rng.normal(0, 0.4, (sizes[0] * sizes[1], n_vars))[pair]
    rate = rate + acts[3] * rng.normal(0, 0.3, (n_donors, n_vars))[donor]
    rate[:, -1] -= 5.0
    counts = rng.poisson(size[:, None] * np.exp(rate)).astype(np.float64)
    return sparse.csr_matrix(counts), size, codes, donor


def mode_of(y, exposure, b, covariance):
    """The most probable eta - b of one gene, by SciPy, and minus the log posterior there."""
    precision = np.linalg.inv(covariance)

    def loss(f):
        mu = exposure * np.exp(b + f)
        value = (mu - y * (b + f + np.log(exposure))).sum() + 0.5 * f @ precision @ f
        return value, mu - y + precision @ f

    found = optimize.minimize(
        loss, np.zeros(len(y)), jac=True, method="BFGS", options={"gtol": 1e-9}
    )
    return found.x, found.fun


def equal(codes, *key):
    """Ones where two rows have the same categories of the fields ``key``."""
    return np.array([[float(all(a[f] == b[f] for f in key)) for b in codes] for a in codes])


def test_one_gene_is_at_the_mode_of_its_posterior():
    """SciPy minimises the same log posterior, written down anew, in the log rates of all pools."""
    counts, size, codes, _ = few_genes((3, 2), n_donors=2)  # two cells in each pool
    found = ContextEffects.fit(counts, size, codes, (3, 2), config=PLAIN)
    pools = codes[::2]
    y, exposure = counts.toarray().reshape(6, 2, -1).sum(axis=1), size.reshape(6, 2).sum(axis=1)
    covariance = (
        1.0 + 9.0 * equal(pools, 0) + 0.64 * equal(pools, 1) + 0.09 * equal(pools, 0, 1)
    )  # eq. 3 but for the residual, which is no effect
    noise = covariance + 0.04 * np.eye(6)
    for g in range(4):
        b = np.log((y[:, g].sum() + 0.5) / exposure.sum())
        mode, _ = mode_of(y[:, g], exposure, b, noise)
        expected = b + covariance @ np.linalg.solve(noise, mode)
        assert_allclose(found.log_rate(pools)[:, g], expected, atol=1e-5)


@pytest.mark.parametrize("with_donors", [False, True])
def test_all_settings_are_weighed_as_by_a_loop_over_them(with_donors):
    """The settings of the docstring, their evidence (eq. 3.32) and shares by EM, written anew."""
    sizes, n_vars = (2, 2, 3), 17 if with_donors else 9
    counts, size, codes, donor = few_genes(sizes, n_donors=2 if with_donors else 1, n_vars=n_vars)
    told = donor if with_donors else None
    found = ContextEffects.fit(counts, size, codes, sizes, told)

    y, keys = counts.toarray(), [(0,), (1,), (2,), *combinations(range(3), 2)]
    b = np.log((y.sum(axis=0) + 0.5) / size.sum())
    same = {key: equal(codes, *key) for key in keys}
    log_evidence: list[list[float]] = []
    terms: list[list[list[np.ndarray]]] = []
    for acting, t, d in product(
        ([1, 2], [2], [1], []), (0.02, 0.1, 0.3), (0.05, 0.12, 0.3) if with_donors else (0.0,)
    ):
        if t > 0.02 and not acting:
            continue  # no two fields act
        scale: dict[Key, float] = {(0,): 3.0}
        scale |= {(f,): 0.8 if f in acting else 0.02 for f in (1, 2)}
        scale |= {key: min(t, *(scale[f,] for f in key)) for key in keys if len(key) == 2}
        part = {key: scale[key] ** 2 * same[key] for key in keys}
        covariance = 1.0 + sum(part.values()) + d**2 * equal(donor[:, None], 0)
        covariance = covariance + 0.2**2 * np.eye(len(y))
        log_evidence.append([])
        terms.append([])
        for g in range(n_vars):
            mode, least = mode_of(y[:, g], size, b[g], covariance)
            w = size * np.exp(b[g] + mode)
            curvature = np.linalg.slogdet(np.eye(len(y)) + covariance * w)[1]
            log_evidence[-1].append(-least - 0.5 * curvature)
            alpha = np.linalg.solve(covariance, mode)
            terms[-1].append([np.full(len(y), alpha.sum()), *(part[key] @ alpha for key in keys)])
    evidence = np.array(log_evidence)
    share = np.ones(len(evidence)) / len(evidence)
    for _ in range(pooled_effects.EM_STEPS):
        weight = np.exp(evidence - evidence.max(axis=0)) * share[:, None]
        weight /= weight.sum(axis=0)
        share = weight[:, y.sum(axis=0) >= 20].mean(axis=1)  # others say nothing of shares
    total = [  # of the base and each key, (n_pools, n_vars)
        np.array([np.dot(weight[:, g], [own[g][k] for own in terms]) for g in range(n_vars)]).T
        for k in range(len(keys) + 1)
    ]
    assert_allclose(found.log_rate(codes), b + sum(total), atol=1e-4)
    for key, expected in zip(keys, total[1:], strict=True):
        centred = expected - expected.mean(axis=0) if len(key) == 1 else expected
        assert_allclose(found.terms(codes)[key], centred, atol=1e-4)
    assert (weight.max(axis=1) > 0.3).sum() >= 3  # genes differ in what they choose
    assert weight.max(axis=0).min() < 0.95  # and some are of two minds


@pytest.mark.parametrize(
    ("counts", "shared", "diagonal"),
    [
        ([40.0], [3.9], 0.1),
        ([400.0], [0.06], 0.04),
        ([30.0, 80.0], [0.7], 0.55),  # both pools have the value
        ([0.0, 15.0], [0.5, 0.6, 0.4], 0.9),  # a shared one, and each its own
    ],
)
def test_log_evidence_is_that_of_quadrature(counts, shared, diagonal):
    """Laplace's method is off by some 0.01 nats where counts are not tiny; log y! is left out."""
    y, offset = np.array(counts), np.full(len(counts), np.log(30.0))
    n, own = len(y), np.arange(len(y))
    place = np.stack([0 * own, 1 + own] if len(shared) > 1 else [0 * own])
    u = np.sum([place == column for column in np.arange(len(shared))[:, None, None]], axis=1).T
    c = u @ np.diag(shared) @ u.T + diagonal * np.eye(n)
    setting = pooled_effects.Setting(np.array(shared), (), diagonal)
    rows = [torch.from_numpy(each)[None] for each in (y, offset, 0.0 * y)]
    values, alpha, evidence, mode = pooled_effects.laplace(setting, place, *rows)
    assert_allclose(alpha[0], np.linalg.solve(c, mode[0]), atol=1e-4)
    assert_allclose(values[0], np.diag(shared) @ u.T @ alpha[0].numpy(), atol=1e-4)
    precision, constant = np.linalg.inv(c), 0.5 * np.linalg.slogdet(2 * np.pi * c)[1]

    def density(*values):
        f = np.array(values)
        log = y * (f + offset) - np.exp(f + offset)
        return np.exp(log.sum() - 0.5 * f @ precision @ f - constant - float(evidence[0]))

    around = [(float(f) - 5.0, float(f) + 5.0) for f in mode[0]]
    exact = integrate.nquad(density, around, opts={"epsabs": 1e-6})[0]
    assert np.log(exact) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("depth", [1e5, 1e8])
def test_genes_with_very_many_counts_have_the_effects_of_a_normal_law(depth):
    """Counts then leave no doubt of eta, and what remains is linear algebra: pools of atlases."""
    counts, size, codes, _ = few_genes((3, 2))
    rate = (counts.toarray() + 1.0) / size[:, None]
    many = np.round(depth * size[:, None] * rate)
    found = ContextEffects.fit(sparse.csr_matrix(many), depth * size, codes, (3, 2), config=PLAIN)
    covariance = 1.0 + 9.0 * equal(codes, 0) + 0.64 * equal(codes, 1) + 0.09 * equal(codes, 0, 1)
    b = np.log(many.sum(axis=0) / (depth * size).sum())
    alpha = np.linalg.solve(covariance + 0.04 * np.eye(6), np.log(rate) - b)
    assert_allclose(found.log_rate(codes), b + covariance @ alpha, atol=1e-3)


def test_terms_add_up_and_main_effects_are_centred(effects, inputs):
    codes = inputs[2][:50]
    parts = effects.terms(codes)
    assert set(parts) == {(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)}
    assert_array_equal(effects.log_rate(codes), effects.base + sum(parts[key] for key in parts))
    for main in effects.main:
        assert_allclose(main.mean(axis=0), 0.0, atol=1e-12)
    assert effects.n_fields == 3
    assert effects.n_pairs == {(0, 1): 6, (0, 2): 6, (1, 2): 4}


def test_planted_effects_come_back_up_and_down(effects, cells, fields):
    """The genes of the interaction are left out: what it adds is in no main effect alone."""
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
            assert np.polyfit(true, found, 1)[0] == pytest.approx(1.0, abs=0.1)
            assert rms(found[~moved]) < 0.1 * rms(found[moved])


def test_the_planted_interaction_is_found_in_its_genes(effects, cells, fields):
    """Among the pairs, that of type and condition, and no other, changes them."""
    truth = cells.uns["truth"]
    own = np.isin(truth["gene"], truth["interaction"]["genes"])
    seen, effect = effects.pairs[0, 2]
    code = [fields[str(n)].code(str(c)) for n, c in zip(
        truth["interaction"]["fields"], truth["interaction"]["categories"], strict=True
    )]  # fmt: skip
    found = effect[(seen == code).all(axis=1)][0]
    assert np.corrcoef(found[own], truth["interaction"]["effect"])[0, 1] > 0.9
    assert rms(found[own]) > 10 * rms(found[~own])
    assert rms(effect[:, own]) > 5 * rms(effects.pairs[0, 1][1][:, own])


def test_a_field_that_does_nothing_gets_next_to_nothing(effects, inputs, fields):
    counts, size, codes = inputs
    codes = codes.copy()
    codes[:, 1] = np.random.default_rng(0).permutation(codes[:, 1])
    found = ContextEffects.fit(counts, size, codes, fields.sizes)
    assert rms(found.main[1]) < 0.05 * rms(found.main[2])
    assert rms(found.main[1]) < 0.05 * rms(effects.main[1])
    assert np.ptp(found.depth[1]) < 0.05


def test_donors_explain_what_is_theirs(inputs):
    """Donors differ, each of one condition: told of them, less is put down to the condition."""
    rng = np.random.default_rng(0)
    counts, size, codes = inputs
    donor = np.arange(len(size)) % 6
    own = rng.lognormal(0.0, 0.4, (6, counts.shape[1]))
    drawn = sparse.csr_matrix(rng.poisson(counts.toarray() * own[donor]).astype(np.float64))
    two = np.column_stack([codes[:, 0], donor % 2])
    told, not_told = (
        rms(ContextEffects.fit(drawn, size, two, (3, 2), each).main[1]) for each in (donor, None)
    )
    assert told < 0.7 * not_told


def test_terms_without_scales_are_left_out():
    """No interactions, no donors: pools of donors are then as those of one."""
    counts, size, codes, donor = few_genes((3, 2), n_donors=2)
    config = ContextEffectsConfig(interaction_scales=(), donor_scales=())
    found = ContextEffects.fit(counts, size, codes, (3, 2), donor, config)
    assert found.pairs == {}
    assert set(found.terms(codes)) == {(0,), (1,)}
    assert np.isfinite(found.log_rate(codes)).all()


def test_a_combination_that_no_cell_showed_is_the_sum_of_what_it_shares(inputs, fields):
    """Main effects, and the pairs that other combinations showed; others are 0."""
    counts, size, codes = inputs
    unseen = np.array([[0, 1, 1]])
    kept = ~((codes[:, 0] == 0) & (codes[:, 1] == 1))
    found = ContextEffects.fit(counts[kept], size[kept], codes[kept], fields.sizes)
    parts = found.terms(unseen)
    assert_array_equal(parts[0, 1], 0.0)  # a pair that was never seen
    expected = found.base + sum(main[c] for main, c in zip(found.main, unseen[0], strict=True))
    for key in ((0, 2), (1, 2)):
        seen, effect = found.pairs[key]
        pair = effect[(seen == unseen[0, list(key)]).all(axis=1)]
        assert len(pair) == 1
        expected = expected + pair[0]
        assert np.abs(parts[key]).max() > 0.0
    assert_allclose(found.log_rate(unseen)[0], expected, atol=1e-12)
    assert found.n_pairs[0, 1] == 5


def test_a_category_that_no_cell_showed_changes_nothing():
    """Its effect is 0, the mean of the others; it is no part of their centring."""
    counts, size, codes, _ = few_genes((3, 2))
    found = ContextEffects.fit(counts, size, codes, (4, 2))
    assert_array_equal(found.main[0][3], 0.0)
    assert_allclose(found.main[0][:3].mean(axis=0), 0.0, atol=1e-12)
    assert np.isfinite(found.log_rate(np.array([[3, 1]]))).all()


def test_a_gene_that_was_never_seen_has_a_low_rate():
    """And a finite one; it says nothing of the shares of settings among the other genes."""
    counts, size, codes, _ = few_genes((3, 2))
    dense = np.column_stack([counts.toarray(), np.zeros(len(size))])
    found = ContextEffects.fit(sparse.csr_matrix(dense), size, codes, (3, 2))
    without = ContextEffects.fit(counts, size, codes, (3, 2))
    rate = found.log_rate(codes)
    assert rate[:, -1].max() < np.log(1.0 / size.sum())
    assert np.abs(found.main[0][:, -1]).max() < 0.5
    assert_allclose(rate[:, :-1], without.log_rate(codes), atol=1e-9)


def test_the_order_of_the_cells_does_not_matter(effects, inputs, fields):
    counts, size, codes = inputs
    order = np.random.default_rng(0).permutation(len(size))
    again = ContextEffects.fit(counts[order], size[order], codes[order], fields.sizes)
    codes = np.unique(codes, axis=0)
    assert_allclose(again.log_rate(codes), effects.log_rate(codes), atol=1e-6)
    assert_allclose(again.log_depth(codes), effects.log_depth(codes), atol=1e-9)


def test_a_round_trip_changes_nothing(effects, inputs):
    back = ContextEffects.from_state(effects.state())
    codes = inputs[2]
    assert_array_equal(back.log_depth(codes), effects.log_depth(codes))
    assert list(back.terms(codes)) == list(effects.terms(codes))
    for key, term in effects.terms(codes).items():
        assert_array_equal(back.terms(codes)[key], term)
    assert_array_equal(back.base, effects.base)


def test_genes_in_parts_are_those_of_one_part(inputs, fields):
    """As many at a time as memory allows: here 3, with a rest."""
    counts, size, codes = inputs
    counts = counts[:, :50]
    whole = ContextEffects.fit(counts, size, codes, fields.sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooled_effects, "ENTRIES", 3 * 12**2)
        again = ContextEffects.fit(counts, size, codes, fields.sizes)
    assert_allclose(again.log_rate(codes), whole.log_rate(codes), atol=1e-6)


def test_planted_depths_are_found(inputs, fields):
    """Effects of all fields at once on made-up library sizes, against NumPy's least squares."""
    counts, _, codes = inputs
    planted = [np.array([0.0, 0.7, -0.4]), np.array([0.0, -0.5]), np.array([0.0, 0.2])]
    noise = np.random.default_rng(0).normal(0, 0.1, len(codes))
    log_depth = 7.0 + sum(x[codes[:, f]] for f, x in enumerate(planted)) + noise
    found = ContextEffects.fit(counts[:, :5], np.exp(log_depth), codes, fields.sizes).depth
    columns = [
        (codes[:, f] == c).astype(float)
        for f, x in enumerate(planted)
        for c in (1, 2)[: len(x) - 1]
    ]
    least = np.linalg.lstsq(
        np.column_stack([np.ones(len(codes)), *columns]), log_depth, rcond=None
    )[0]
    differences = np.concatenate([x[1:] - x[0] for x in found])
    assert_allclose(differences, least[1:], atol=0.01)  # a slight ridge is between them
    assert_allclose(differences, np.concatenate([x[1:] for x in planted]), atol=0.02)


def test_depths_of_assays_are_found(effects, fields):
    """The second assay is planted with 0.6 of the depth of the first."""
    codes = np.zeros((2, 3), dtype=np.int64)
    codes[0, 1], codes[1, 1] = fields["assay"].code("10x v2"), fields["assay"].code("10x v3")
    depth = effects.log_depth(codes)
    assert np.exp(depth[0] - depth[1]) == pytest.approx(0.6, rel=0.1)


def test_pools_are_sums_over_the_cells_of_a_combination_and_donor(inputs):
    """Each pool by a loop over cells."""
    counts, size, codes = inputs
    donor = np.arange(len(size)) % 3
    pools = Pools.of(counts, size, codes, donor, max_pools=100)
    assert len(pools.exposure) == 36
    assert pools.donor is not None
    for k in (0, 17, 35):
        own = [
            i for i in range(len(size))
            if (codes[i] == pools.codes[k]).all() and donor[i] == pools.donor[k]
        ]  # fmt: skip
        assert pools.exposure[k] == pytest.approx(size[own].sum())
        assert_allclose(pools.counts[k], counts[own].toarray().sum(axis=0))


def test_a_term_is_the_same_whether_or_not_it_is_taken_for_the_diagonal(monkeypatch):
    """Third field and label tell all pools apart, in another order: an interaction in D."""
    counts, size, codes, _ = few_genes((3, 4, 5), n_vars=6)
    codes[:, 1] = (7 * codes[:, 2] + codes[:, 0]) % 4  # told by the others
    found = ContextEffects.fit(counts, size, codes, (3, 4, 5), config=PLAIN)
    monkeypatch.setattr(pooled_effects.Term, "is_alone", False)
    other = ContextEffects.fit(counts, size, codes, (3, 4, 5), config=PLAIN)
    assert set(found.pairs) == set(other.pairs) == {(0, 1), (0, 2), (1, 2)}
    for key, term in found.terms(codes).items():
        assert_allclose(term, other.terms(codes)[key], atol=1e-6)
    assert np.abs(found.pairs[0, 2][1]).max() > 0.01


def test_interactions_of_too_many_combinations_are_noise(monkeypatch, caplog):
    """The largest are left out first, and that is said; main effects stay about the same."""
    counts, size, codes, _ = few_genes((3, 4, 5), n_vars=6)
    whole = ContextEffects.fit(counts, size, codes, (3, 4, 5))
    monkeypatch.setattr(pooled_effects, "MOST_COLUMNS", 1 + 12 + 12 + 15)
    few = ContextEffects.fit(counts, size, codes, (3, 4, 5))
    assert set(few.pairs) == {(0, 1), (0, 2)}
    assert "Fields 1 and 2 have 20 combinations" in caplog.text
    for f in range(3):
        assert np.corrcoef(few.main[f].ravel(), whole.main[f].ravel())[0, 1] > 0.99
    unseen = few.log_rate(codes) - few.base - sum(few.main[f][codes[:, f]] for f in range(3))
    assert np.abs(unseen).max() > 0.01  # the others are there


@pytest.mark.parametrize("with_donors", [False, True])
def test_what_a_field_does_everywhere_is_its_own_effect(with_donors):
    """A fall by a fifth in a tenth of the genes, alike in all types and assays, is no interaction.

    Were interactions free where the field does not act, they would have most of it; so would donors
    if the only spread that is wide enough for them were much too wide.
    """
    rng = np.random.default_rng(0)
    rows = np.array([(t, a, d % 2, d) for t, a, d in product(range(12), range(3), range(24))])
    codes, donor = rows[:, :3].copy(), rows[:, 3].copy()
    effect = np.where(np.arange(100) < 10, -0.25, 0.0)
    eta = rng.normal(-6.0, 0.5, 100) + rng.normal(0, 1.0, (12, 100))[codes[:, 0]]
    own = rng.normal(0, 0.1 if with_donors else 0.0, (24, 100))
    for half in (own[::2], own[1::2]):
        half -= half.mean(axis=0)  # so that the donors of both sides are alike on average
    eta = eta + effect * codes[:, 2:] + own[donor]
    size = np.full(len(codes), 1e5)
    counts = sparse.csr_matrix(rng.poisson(size[:, None] * np.exp(eta)).astype(float))
    told = donor if with_donors else None
    found = ContextEffects.fit(counts, size, codes, (12, 3, 2), told).main[2]
    change = found[1] - found[0]
    assert_allclose(change[:10], -0.25, atol=0.08)
    assert np.abs(change[10:]).max() < 0.02


def test_very_many_pools_take_as_many_numbers_as_categories(monkeypatch):
    """30 types of 40 donors: the matrices are of 71 columns, not of 1,200 pools."""
    rng = np.random.default_rng(0)
    codes = np.array(list(product(range(30), range(40))))
    main = rng.normal(0, 1.0, (30, 3)), rng.normal(0, 0.5, (40, 3))
    eta = -4.0 + main[0][codes[:, 0]] + main[1][codes[:, 1]]
    counts = sparse.csr_matrix(rng.poisson(2000.0 * np.exp(eta)).astype(float))
    seen, own = [], torch.linalg.cholesky
    monkeypatch.setattr(torch.linalg, "cholesky", lambda a: seen.append(a.shape[-1]) or own(a))
    found = ContextEffects.fit(counts, np.full(len(codes), 2000.0), codes, (30, 40))
    assert set(seen) == {71}
    assert set(found.pairs) == {(0, 1)}
    for effect, planted in zip(found.main, main, strict=True):
        assert np.corrcoef((planted - planted.mean(axis=0)).ravel(), effect.ravel())[0, 1] > 0.99


def test_many_pools_are_merged_over_donors(inputs):
    counts, size, codes = inputs
    donor = np.arange(len(size)) % 30
    few = Pools.of(counts, size, codes, donor, max_pools=100)
    assert few.donor is None
    assert len(few.exposure) == len(np.unique(codes, axis=0))
    many = Pools.of(counts, size, codes, donor, max_pools=1000)
    assert many.counts.sum() == few.counts.sum() == counts.sum()
    assert many.donor is not None
    assert len(many.donor) > 100
    assert few.exposure.sum() == pytest.approx(many.exposure.sum())
