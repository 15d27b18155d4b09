"""Spots that disagree with their image, and the rate of false discoveries."""

import numpy as np
from scipy import sparse
from sklearn.metrics import average_precision_score

from synthome.evaluation.discordance import discordance, discordance_scores
from synthome.graph import Graph

SIDE = 40


def grid():
    line = sparse.diags_array([np.ones(SIDE - 1)] * 2, offsets=[-1, 1])
    own = sparse.eye_array(SIDE)
    return Graph.of(sparse.kron(line, own) + sparse.kron(own, line))


def divergences(seed, planted=0.0, step=1.5):
    """Log-normal KL in two domains of different level, higher in a square patch."""
    rng = np.random.default_rng(seed)
    row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
    domain = np.where(column < SIDE // 2, "1", "2")
    patch = (row < SIDE * planted) & (column < SIDE * planted)
    level = np.where(domain == "1", 1.0, 3.0) + step * patch
    return np.exp(level + 0.5 * rng.normal(size=len(row))), domain, patch


def test_a_planted_patch_is_found():
    kl, domain, patch = divergences(0, planted=0.25)
    table = discordance(kl, domain, grid())
    assert table["disagrees"].to_numpy()[patch].mean() > 0.7
    summary = discordance_scores(table, patch, 0.1, 0)
    assert summary["false_discovery_share"] < 0.2
    assert summary["auprc"] == average_precision_score(patch, table["score"])
    assert summary["auprc"] > 0.9


def test_nothing_is_found_where_nothing_is():
    flagged = []
    for seed in range(20):
        kl, domain, _ = divergences(seed)
        flagged.append(discordance(kl, domain, grid())["disagrees"].sum())
    assert np.mean(np.array(flagged) > 0) <= 0.15


def test_a_domain_of_high_divergence_is_no_discordance():
    kl, domain, _ = divergences(0)
    score = discordance(kl, domain, grid())["score"].to_numpy()
    assert abs(np.median(score[domain == "1"]) - np.median(score[domain == "2"])) < 1e-9


def test_a_spot_far_from_every_image_is_no_discordance():
    """Divergence from any image takes out what has nothing to do with its own."""
    kl, domain, _ = divergences(0)
    odd = np.zeros(len(kl), dtype=bool)
    odd[:100] = True
    kl = kl * np.where(odd, 10.0, 1.0)
    null = np.tile(np.where(odd, 10.0, 1.0), (3, 1))
    with_null = discordance(kl, domain, grid(), null)["score"].to_numpy()
    without = discordance(kl, domain, grid())["score"].to_numpy()
    assert with_null[odd].mean() < 0.5 < without[odd].mean()


def test_q_values_follow_the_mirror_by_hand():
    from synthome.evaluation.discordance import _mirror

    t = np.array([5.0, 4.0, 3.0, -3.5, 1.0, -1.0, 0.5])
    # at 5: (1 + 0) / 1; at 4: 1 / 2; at 3: (1 + 1) / 3; at 1: (1 + 2) / 4; at 0.5: 3 / 5
    np.testing.assert_allclose(_mirror(t), [0.5, 0.5, 0.6, 1.0, 0.6, 1.0, 0.6])


def test_without_a_planted_patch_nothing_is_scored():
    kl, domain, _ = divergences(0)
    summary = discordance_scores(discordance(kl, domain, grid()), None, 0.1, 5)
    assert summary["auprc"] is None
    assert summary["false_discovery_share"] is None
    assert summary["n_permutations"] == 5
