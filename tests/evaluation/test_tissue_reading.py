"""A tissue read: arms of the image test, held-out likelihood, maps."""

import numpy as np
import pytest
from tissues import prepared_tissue

from synthome.anndata_schema import BLOCK, IMAGE_FEATURES, labels
from synthome.evaluation import discordance
from synthome.evaluation import tissue_reading as read
from synthome.evaluation.domains import DomainConfig, find_domains
from synthome.evaluation.image_gain import BASELINE
from synthome.models.spatial_gvae import SpatialGVAEConfig, SpatialGVAEGenerator

CONFIG = read.TissueReadingConfig(
    arms=("real", "shuffled", "none"),
    n_seeds=2,
    n_folds=3,
    most_domains=6,
    domains=DomainConfig(hops=(0, 1), dims=(5,), n_starts=1),
    n_jobs=1,
)


def build(seed):
    training = {"max_epochs": 3}
    config = SpatialGVAEConfig.model_validate({"n_latent": 6, "n_hidden": 32, "training": training})
    return SpatialGVAEGenerator(config, seed=seed)


@pytest.fixture(scope="module")
def tissue():
    return prepared_tissue()


@pytest.fixture(scope="module")
def fitted(tissue):
    return build(0).fit(tissue)


def test_every_arm_is_fitted_from_every_seed(tissue):
    table, model, latents = read.fit_arms(tissue, build, CONFIG)
    trained = table[table["arm"] != BASELINE]
    assert set(zip(trained["arm"], trained["seed"], strict=True)) == {
        (arm, seed) for arm in CONFIG.arms for seed in (0, 1)
    }
    assert (table["arm"] == BASELINE).sum() == 1
    expected = build(0).fit(tissue).embed(tissue)
    np.testing.assert_array_equal(model.embed(tissue), expected)
    np.testing.assert_array_equal(latents[0], expected)
    assert len(latents) == CONFIG.n_seeds
    again = read.latents_of(read.latents_table(latents))
    np.testing.assert_array_equal(again, latents)
    none = table[table["arm"] == "none"]
    assert np.allclose(none["prior_balanced_accuracy"], none["prior_balanced_accuracy"].iloc[0])
    assert table[["ari", "balanced_accuracy"]].notna().all().all()
    assert trained["nll"].notna().all()


def test_arms_differ_by_their_image_alone(tissue):
    shown = read.of_arm(tissue, "shuffled", 0)
    assert (shown.X != tissue.X).nnz == 0
    own, other = tissue.obsm[IMAGE_FEATURES], shown.obsm[IMAGE_FEATURES]
    assert not np.allclose(own, other)
    np.testing.assert_allclose(np.sort(own[:, 0]), np.sort(other[:, 0]))
    assert IMAGE_FEATURES not in read.of_arm(tissue, "none", 0).obsm
    assert read.arms(read.with_image(tissue, None), CONFIG) == ["none"]


def test_held_out_likelihood_is_of_test_spots_that_touch_no_training_spot(tissue, fitted):
    found = read.held_out(fitted, tissue, CONFIG)
    is_test = (tissue.obs["split"] == "test").to_numpy()
    edges = read.graph_of(tissue)
    touches = np.asarray((edges + edges.T)[:, ~is_test].sum(axis=1)).ravel() > 0
    assert 0 < found["n_spots"] == (is_test & ~touches).sum()
    assert found["n_beside_training"] == (is_test & touches).sum()
    scores = fitted.spot_scores(tissue[is_test].copy())
    assert found["nll"] == pytest.approx(scores["nll"][~touches[is_test]].mean())
    assert found["elbo"] == pytest.approx(-(found["nll"] + found["kl"]))
    assert 0 < found["count_nll"] < found["nll"]
    far = read.held_out(fitted, tissue, CONFIG.model_copy(update={"buffer": 30}))
    assert far["n_spots"] == is_test.sum()


def test_discordance_is_judged_in_whole_blocks(tissue, fitted, monkeypatch):
    seen = []
    original = discordance.discordance

    def watched(z, features, domains, graph, fold, section, level):
        seen.append(fold)
        return original(z, features, domains, graph, fold, section, level)

    monkeypatch.setattr(discordance, "discordance", watched)
    spots, summary, _, _ = read.map_tissue(fitted, tissue, CONFIG)
    assert tissue.obs[BLOCK].groupby(tissue.obs[BLOCK]).ngroups > CONFIG.n_folds
    assert len(np.unique(seen[0])) == CONFIG.n_folds
    for block in tissue.obs[BLOCK].unique():
        assert len(np.unique(seen[0][tissue.obs[BLOCK] == block])) == 1
    assert summary["tested"]
    assert len(seen) == 2  # of the latents, and of what no training gives
    assert 0.0 < summary["auprc_untrained"] <= 1.0
    assert summary["n_flagged"] == spots["disagrees"].sum()
    assert spots["posterior"].between(0.0, 1.0).all()


def test_the_map_is_by_the_vote_of_all_trainings(tissue, fitted):
    latents = [fitted.embed(tissue), build(1).fit(tissue).embed(tissue)]
    k = read.number_of_domains(tissue, latents[0], CONFIG)[0]
    spots = read.map_tissue(fitted, tissue, CONFIG, latents)[0]
    expected = find_domains(latents, read.graph_of(tissue), k, CONFIG.domains)
    np.testing.assert_array_equal(spots["domain"], expected.astype(str))
    alone = read.map_tissue(fitted, tissue, CONFIG)[0]
    assert (alone["domain"] != spots["domain"]).any()


def test_where_no_image_can_be_judged_the_reason_is_said(tissue, fitted):
    one_block = tissue.copy()
    one_block.obs[BLOCK] = one_block.obs[BLOCK].iloc[0]
    _, summary, _, _ = read.map_tissue(fitted, one_block, CONFIG)
    assert not summary["tested"]
    assert "one block" in summary["reason"]
    _, summary, _, _ = read.map_tissue(fitted, tissue, CONFIG.model_copy(update={"k": 1}))
    assert "one domain" in summary["reason"]


def test_a_tissue_is_read_without_an_image_and_without_labels(tissue):
    bare = read.with_image(tissue, None)
    bare.obs[bare.uns["synthome"]["label_key"]] = "tissue"
    model = build(0).fit(bare)
    spots, genes, varying, summary, path, mixing = read.read_tissue(model, bare, CONFIG)
    assert not summary["tested"]
    assert not spots["disagrees"].any()
    assert (spots["label"] == "").all()
    assert spots["kl"].notna().all()
    assert mixing.empty
    assert set(varying["domain"]) >= {""}
    assert path["domains"]
    assert set(genes["domain"]) <= set(spots["domain"])
    assert sum(name.startswith("denoised:") for name in spots) == CONFIG.n_key_genes


def test_the_number_of_domains_is_given_or_that_of_the_labels(tissue, fitted):
    z = fitted.embed(tissue)
    n_labels = len(set(labels(tissue)))
    assert read.number_of_domains(tissue, z, CONFIG)[0] == n_labels
    given = CONFIG.model_copy(update={"k": 3})
    assert read.number_of_domains(tissue, z, given)[0] == 3


def test_the_floor_is_what_the_model_reads_and_no_training(tissue, fitted):
    """It is blind to the weights, and to the image."""
    found = read.components(fitted, tissue)
    other = build(7).fit(tissue)
    other.inputs = fitted.inputs
    np.testing.assert_array_equal(read.components(other, tissue), found)
    x = np.empty(tissue.shape)
    order, rows = fitted.inputs.rows(tissue)
    x[order] = rows.expression.numpy()
    scores = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    first = read.smoothed(scores[0][:, :1] * scores[1][0], read.graph_of(tissue), 1)[:, 0]
    assert abs(np.corrcoef(first, found[:, 0])[0, 1]) > 0.999


def test_labels_are_read_section_by_section():
    """Else one accuracy would count once for each section, and intervals be too narrow."""
    two = prepared_tissue(n_obs=150, n_sections=2)
    z = np.random.default_rng(0).normal(size=(two.n_obs, 4))
    first = two.obs["section"].astype(str).to_numpy() == two.obs["section"].astype(str).min()
    truth = np.unique(labels(two), return_inverse=True)[1]
    z[first, 0] = 10.0 * truth[first]
    z[first, 1] = (truth[first] - 2.0) ** 2
    scores = read.score_latents(z, two, CONFIG).set_index("section")["accuracy"]
    assert scores.iloc[0] > scores.iloc[1] + 0.3
