"""Spots that disagree with their image, and the rate of false discoveries."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from synthome.evaluation import discordance as module
from synthome.evaluation.discordance import discordance, discordance_scores

SIDE = 30
ONE = np.full(SIDE * SIDE, "one section")


def lattice():
    line = sparse.diags_array([np.ones(SIDE - 1)] * 2, offsets=[-1, 1])
    own = sparse.eye_array(SIDE)
    return sparse.csr_matrix(sparse.kron(line, own) + sparse.kron(own, line))


GRAPH = lattice()


def layers(seed, planted=0, blur=1.0):
    """Three layers of rows; molecules of the first in a square patch of the last."""
    rng = np.random.default_rng(seed)
    row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
    place = np.minimum(row * 3 // SIDE, 2)
    patch = (row >= SIDE - planted) & (column < planted)
    molecular = np.where(patch, 0, place)
    z = 3.0 * np.eye(3)[molecular] + rng.normal(size=(len(row), 3))
    features = 3.0 * np.eye(3)[place] + blur * rng.normal(size=(len(row), 3))
    fold = (row // 5 + column // 5) % 5
    return z, features, molecular + 1, fold, patch


def found_in(seed, **options):
    z, features, domains, fold, patch = layers(seed, **options)
    return discordance(z, features, domains, GRAPH, fold, ONE), patch


def test_a_planted_patch_is_found_and_little_else():
    table, patch = found_in(0, planted=8)
    assert table["disagrees"].to_numpy()[patch].mean() > 0.7
    summary = discordance_scores(table, patch, 0.1)
    assert summary["false_discovery_share"] <= 0.1
    assert summary["auprc"] == average_precision_score(patch, table["score"])
    assert summary["auprc"] > 0.9
    assert summary["auprc_untrained"] is None
    other = table.assign(score=-table["score"])
    floor = discordance_scores(table, patch, 0.1, other)["auprc_untrained"]
    assert floor == average_precision_score(patch, -table["score"])


@pytest.mark.parametrize("blur", [1.0, 3.0])
def test_nothing_is_found_where_nothing_is_planted(blur):
    """Also where the image hardly shows the layers."""
    flagged = [found_in(seed, blur=blur)[0]["disagrees"].sum() for seed in range(10)]
    assert sum(flagged) == 0


@pytest.mark.parametrize("n_features", [3, 150])
def test_an_image_that_shows_nothing_flags_nothing(n_features):
    """Of many features, a discriminant makes something: it must not be believed."""
    flagged = 0
    for seed in range(3):
        z, _, domains, fold, _ = layers(seed)
        noise = np.random.default_rng(9 + seed).normal(size=(len(z), n_features))
        table = discordance(z, noise, domains, GRAPH, fold, ONE)
        flagged += int(table["disagrees"].sum())
    assert flagged == 0


def test_divergence_and_evidence_follow_the_equations():
    z, features, domains, fold, _ = layers(2, planted=8)
    table = discordance(z, features, domains, GRAPH, fold, ONE)
    whole = (GRAPH + sparse.eye_array(len(z))).toarray()
    mean = whole / whole.sum(axis=1, keepdims=True)
    shown = np.hstack([features, mean @ features - features])

    def read(x):
        p = np.zeros((len(x), 3))
        for f in range(5):
            discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
            fitted = make_pipeline(StandardScaler(), discriminant)
            p[fold == f] = fitted.fit(x[fold != f], domains[fold != f]).predict_proba(x[fold == f])
        return p

    q, seen = read(z), np.maximum(read(shown), 1e-4)
    surprise = []
    for t in np.linspace(0.0, 1.0, 401):
        warmer = seen**t / (seen**t).sum(axis=1, keepdims=True)
        own = np.sort(-np.log(warmer[np.arange(len(z)), domains - 1]))
        surprise.append((own[: int(0.9 * len(z))].mean(), t))
    t = min(surprise)[1]
    warmer = seen**t / (seen**t).sum(axis=1, keepdims=True)
    p = np.maximum(mean @ mean @ warmer, 1e-3)
    np.testing.assert_allclose(table["kl"], (q * np.log(q / p)).sum(axis=1), atol=5e-3)
    evidence = (q * np.log(p.mean(axis=0) / p)).sum(axis=1)
    np.testing.assert_allclose(table["score"], mean @ evidence, atol=5e-3)


def test_sections_have_images_of_their_own_to_exchange():
    z, features, domains, fold, _ = layers(4)
    half = np.where(np.arange(len(z)) < len(z) // 2, "upper", "lower")
    apart = discordance(z, features, domains, GRAPH, fold, half)
    together = discordance(z, features, domains, GRAPH, fold, ONE)
    np.testing.assert_array_equal(apart["kl"], together["kl"])
    assert not np.allclose(apart["score"], together["score"])


def test_no_spot_is_judged_by_what_was_fitted_to_its_block():
    """The domain of a spot changes what is believed of other folds, and not of its own."""
    _, features, domains, fold, _ = layers(5)
    names = np.array([1, 2, 3])
    other = domains.copy()
    own = fold == 0
    other[own] = np.random.default_rng(0).permutation(domains[own])
    before, after = (module._read(features, d, names, fold) for d in (domains, other))
    np.testing.assert_array_equal(before[own], after[own])
    assert not np.allclose(before[~own], after[~own])


def test_a_domain_that_is_in_one_fold_alone_is_not_expected_anywhere():
    z, features, domains, fold, _ = layers(6)
    rare = domains.copy()
    rare[np.flatnonzero(fold == 0)[:8]] = 9
    p = module._read(features, rare, np.array([1, 2, 3, 9]), fold)
    assert (p[fold == 0, 3] == 0.0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    table = discordance(z, features, rare, GRAPH, fold, ONE)
    assert np.isfinite(table[["kl", "score", "posterior", "q_value"]]).all().all()


def test_many_features_are_put_together(monkeypatch):
    monkeypatch.setattr(module, "MOST_FEATURES", 4)
    table, patch = found_in(0, planted=8)
    assert average_precision_score(patch, table["score"]) > 0.9


def test_the_rate_follows_the_posterior_by_hand():
    rate = module._rate(np.array([0.2, 0.9, 1.0, 0.5, 0.9]))
    # 1.0: 0; both 0.9: (0 + 0.1 + 0.1) / 3; 0.5: 0.7 / 4; 0.2: 1.5 / 5
    np.testing.assert_allclose(rate, [0.3, 0.2 / 3, 0.0, 0.175, 0.2 / 3])


def test_the_share_of_spots_that_disagree_is_estimated():
    """A tenth has the likelihood ratio of Normal(3, 1) against Normal(0, 1)."""
    rng = np.random.default_rng(0)
    odd = np.arange(5_000) < 500
    x = rng.normal(size=5_000) + 3.0 * odd
    posterior = module._posterior(3.0 * x - 4.5)
    assert posterior.mean() == pytest.approx(0.1, abs=0.01)
    called = module._rate(posterior) <= 0.1
    assert (called & ~odd).sum() / called.sum() == pytest.approx(0.1, abs=0.03)


def test_without_a_planted_patch_nothing_is_scored():
    summary = discordance_scores(found_in(0)[0], None, 0.1)
    assert summary["auprc"] is None
    assert summary["false_discovery_share"] is None
