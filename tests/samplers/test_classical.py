"""The classical samplers against closed forms, scikit-learn, SciPy and planted truth."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse, stats
from sklearn.covariance import ledoit_wolf, ledoit_wolf_shrinkage

from synthome.anndata_schema import labels
from synthome.errors import InputError
from synthome.generator import Generator
from synthome.preprocessing.transform import ExpressionTransform, TransformConfig
from synthome.samplers.classical import (
    ClassNormal,
    ClassNormalConfig,
    LocalGammaPoisson,
    LocalGammaPoissonConfig,
    SMOTEConfig,
    SMOTESampler,
    ledoit_wolf_intensity,
)
from synthome.samplers.counts import poisson_gamma

KINDS = ["empirical", "ledoit_wolf", "pooled_ledoit_wolf"]


def wrapped(x, names, scale="log"):
    obs = pd.DataFrame({"condition": names}, index=[f"s{i}" for i in range(len(names))])
    var = pd.DataFrame(index=[f"g{j}" for j in range(x.shape[1])])
    return AnnData(
        x, obs=obs, var=var, uns={"synthome": {"label_key": "condition", "scale": scale}}
    )


def training(sizes=(14, 9), n_vars=12, seed=0):
    """Genes of different spread, one factor, and a class effect."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"class_{k}" for k in range(len(sizes))], sizes)
    x = rng.standard_normal((len(names), n_vars)) * np.linspace(0.2, 3.0, n_vars)
    x += 5 + rng.standard_normal((len(names), 1))
    x[names == "class_1"] += 3
    return wrapped(x, names)


def counted(sizes=(9, 7), n_vars=40, seed=0, target_sum=1e6):
    """Counts as preprocessing leaves them: log1p of rates in X, counts and depth beside it."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"class_{k}" for k in range(len(sizes))], sizes)
    mu = rng.lognormal(4, 1, n_vars) * np.where(names == "class_1", 3.0, 1.0)[:, None]
    depth = rng.lognormal(0, 0.5, (len(names), 1))
    counts = rng.poisson(mu * depth * rng.gamma(10, 0.1, (len(names), n_vars)))
    adata = wrapped(counts.astype(float), names, scale="counts")
    config = TransformConfig(target_sum=target_sum, min_expression=0)
    return ExpressionTransform.fit(adata, config).apply(adata)


SAMPLERS = [
    *((lambda kind=kind: ClassNormal(ClassNormalConfig(covariance=kind))) for kind in KINDS),
    lambda: LocalGammaPoisson(LocalGammaPoissonConfig()),
    lambda: SMOTESampler(SMOTEConfig()),
]


@pytest.mark.parametrize("make", SAMPLERS)
def test_every_sampler_meets_the_protocol_of_generators(make):
    """Same seed, same rows; training shares; labels asked for; input unchanged."""
    train = counted()
    before = train.copy()
    fitted = make().fit(train)
    assert isinstance(fitted, Generator)
    assert isinstance(fitted.name, str)
    first, again = (fitted.sample(32, None, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.X, again.X)
    assert first.X.dtype == np.float32
    assert first.obs["condition"].value_counts().to_dict() == {"class_0": 18, "class_1": 14}
    assert first.var_names.equals(train.var_names)
    assert first.uns["synthome"] == train.uns["synthome"]
    wanted = ["class_1", "class_0", "class_1"]
    assert labels(fitted.sample(3, wanted, np.random.default_rng(0))).tolist() == wanted
    other = fitted.sample(32, None, np.random.default_rng(4))
    assert not np.array_equal(first.X, other.X)
    np.testing.assert_array_equal(train.X, before.X)
    np.testing.assert_array_equal(train.layers["counts"], before.layers["counts"])
    with pytest.raises(InputError, match="only class_0, class_1"):
        fitted.sample(1, ["other"], np.random.default_rng(0))


@pytest.mark.parametrize("make", SAMPLERS)
def test_drawn_classes_keep_the_means_of_training(make):
    """The least that a sampler owes; the other class is 3 to 9 standard deviations away.

    Local samplers weight rows by how many call them near, which costs a fraction of one.
    """
    train = counted(sizes=(20, 15))
    drawn = make().fit(train).sample(6000, None, np.random.default_rng(0))
    for name in ("class_0", "class_1"):
        real = train.X[(train.obs["condition"] == name).to_numpy()]
        fake = drawn.X[(drawn.obs["condition"] == name).to_numpy()]
        off = (fake.mean(axis=0) - real.mean(axis=0)) / real.std(axis=0)
        assert np.abs(off).mean() < 0.25


def covariance(root):
    return root.rows.T @ root.rows + np.diag(root.own**2)


def test_the_empirical_covariance_is_that_of_each_class():
    """Against NumPy, to rounding; and what is drawn has it (eq. 1)."""
    train = training()
    fitted = ClassNormal(ClassNormalConfig()).fit(train)
    for name in ("class_0", "class_1"):
        real = train.X[labels(train) == name]
        np.testing.assert_allclose(covariance(fitted.roots[name]), np.cov(real.T), atol=1e-12)
        np.testing.assert_allclose(fitted.mean[name], real.mean(axis=0))
    drawn = fitted.sample(40_000, ["class_0"] * 40_000, np.random.default_rng(0)).X
    expected = np.cov(train.X[labels(train) == "class_0"].T)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose((np.cov(drawn.T) - expected) / scale, 0, atol=0.03)


def test_draws_stay_in_the_span_of_the_class():
    """What makes the covariance of few patients unsafe: n - 1 directions, and no more."""
    train = training(sizes=(6, 5), n_vars=50)
    drawn = ClassNormal(ClassNormalConfig()).fit(train).sample(300, None, np.random.default_rng(0))
    x = drawn.X[labels(drawn) == "class_0"].astype(np.float64)
    assert np.linalg.matrix_rank(x - x.mean(axis=0), tol=1e-3) == 5


def test_noise_enlarges_the_covariance_by_its_fraction():
    """noise = 0.5 is Normal(mean, 1.5 cov): every drawn deviation is sqrt(1.5) times as long."""
    train, n_obs = training(), 500
    plain, noisy = (
        ClassNormal(ClassNormalConfig(noise=noise))
        .fit(train)
        .sample(n_obs, ["class_0"] * n_obs, np.random.default_rng(0))
        .X.astype(np.float64)
        for noise in (0.0, 0.5)
    )
    mean = train.X[labels(train) == "class_0"].mean(axis=0)
    np.testing.assert_allclose(noisy - mean, np.sqrt(1.5) * (plain - mean), atol=1e-5)


@pytest.mark.parametrize(("n_rows", "n_vars"), [(5, 40), (30, 8), (200, 8), (2, 3), (9, 1)])
def test_the_intensity_is_that_of_scikit_learn(n_rows, n_vars):
    """From the n x n matrix instead of the p x p one (eq. 3)."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n_rows, n_vars)) @ rng.standard_normal((n_vars, n_vars))
    centred = x - x.mean(axis=0)
    assert ledoit_wolf_intensity(centred) == pytest.approx(ledoit_wolf_shrinkage(x), abs=1e-10)


def test_class_covariances_are_shrunk_as_scikit_learn_shrinks_them():
    """In units of the pooled within-class spread, times n / (n - 1) (eq. 2)."""
    train = training()
    y, x = labels(train), train.X
    centred = x - np.stack([x[y == c].mean(axis=0) for c in y])
    std = np.sqrt((centred**2).sum(axis=0) / (len(x) - 2))
    fitted = ClassNormal(ClassNormalConfig(covariance="ledoit_wolf")).fit(train)
    for name, n_rows in (("class_0", 14), ("class_1", 9)):
        shrunk, intensity = ledoit_wolf(x[y == name] / std)
        assert 0 < intensity < 1
        expected = shrunk * np.outer(std, std) * n_rows / (n_rows - 1)
        np.testing.assert_allclose(covariance(fitted.roots[name]), expected, rtol=1e-9)


def test_the_pooled_covariance_is_shared_and_shrunk():
    train = training()
    y, x = labels(train), train.X
    centred = x - np.stack([x[y == c].mean(axis=0) for c in y])
    std = np.sqrt((centred**2).sum(axis=0) / (len(x) - 2))
    shrunk, _ = ledoit_wolf(centred / std, assume_centered=True)
    fitted = ClassNormal(ClassNormalConfig(covariance="pooled_ledoit_wolf")).fit(train)
    for root in fitted.roots.values():
        expected = shrunk * np.outer(std, std) * len(x) / (len(x) - 2)
        np.testing.assert_allclose(covariance(root), expected, rtol=1e-9)


def test_shrunk_draws_have_the_shrunk_covariance():
    """The two parts of eq. 2 are added with the right weights."""
    train = training()
    fitted = ClassNormal(ClassNormalConfig(covariance="ledoit_wolf")).fit(train)
    drawn = fitted.sample(40_000, ["class_1"] * 40_000, np.random.default_rng(0)).X
    expected = covariance(fitted.roots["class_1"])
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose((np.cov(drawn.T) - expected) / scale, 0, atol=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_of_one_row_has_the_pooled_covariance(kind):
    train = training(sizes=(12, 10, 1))
    y, x = labels(train), train.X
    fitted = ClassNormal(ClassNormalConfig(covariance=kind)).fit(train)
    np.testing.assert_array_equal(fitted.mean["class_2"], x[y == "class_2"][0])
    total = np.trace(covariance(fitted.roots["class_2"]))
    centred = x - np.stack([x[y == c].mean(axis=0) for c in y])
    if kind == "empirical":
        expected = centred.T @ centred / (len(x) - 3)
        np.testing.assert_allclose(covariance(fitted.roots["class_2"]), expected, atol=1e-12)
    assert total == pytest.approx((centred**2).sum() / (len(x) - 3), rel=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gene_without_spread_stays_as_it_is(kind):
    train = training()
    train.X[:, 4] = 7.0
    drawn = ClassNormal(ClassNormalConfig(covariance=kind)).fit(train)
    np.testing.assert_array_equal(drawn.sample(50, None, np.random.default_rng(0)).X[:, 4], 7.0)


def test_classes_of_one_row_each_are_refused():
    with pytest.raises(InputError, match="class_0, class_1 has one"):
        ClassNormal(ClassNormalConfig()).fit(training(sizes=(1, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_transcriptome_needs_no_square_matrix(kind):
    """15,000 genes: their covariance alone would take 1.8 GB."""
    train = training(sizes=(20, 14), n_vars=15_000)
    tracemalloc.start()
    ClassNormal(ClassNormalConfig(covariance=kind)).fit(train).sample(
        200, None, np.random.default_rng(0)
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_gamma_poisson_is_the_negative_binomial_of_its_moments():
    """SciPy's nbinom has size M² / (V - M); without overdispersion, SciPy's Poisson (eq. 5)."""
    mean, variance = np.array([3.0, 40.0, 6.0, 0.0]), np.array([12.0, 300.0, 2.0, 0.0])
    many = (np.broadcast_to(v, (40_000, len(mean))) for v in (mean, variance - mean))
    drawn = poisson_gamma(*many, np.random.default_rng(0))
    for j in (0, 1):
        size = mean[j] ** 2 / (variance[j] - mean[j])
        law = stats.nbinom(size, size / (size + mean[j]))
        values = np.arange(drawn[:, j].max() + 1)
        seen = np.searchsorted(np.sort(drawn[:, j]), values, side="right") / len(drawn)
        assert np.abs(seen - law.cdf(values)).max() < 0.01
    assert drawn[:, 2].mean() == pytest.approx(6, abs=0.05)
    assert drawn[:, 2].var() == pytest.approx(6, rel=0.03)
    assert not drawn[:, 3].any()


def test_draws_are_counts_at_the_depth_of_a_training_row():
    """expm1(x) times a depth of the class is whole numbers: x is on the scale of X."""
    train = counted(target_sum=5e5)
    fitted = LocalGammaPoisson(LocalGammaPoissonConfig()).fit(train)
    depth = train.obs["library_size"].to_numpy() / 5e5
    drawn = fitted.sample(60, None, np.random.default_rng(0))
    rates = np.expm1(drawn.X.astype(np.float64))
    for row, name in zip(rates, labels(drawn), strict=True):
        counts = row * depth[labels(train) == name][:, None]
        assert (np.abs(counts - counts.round()).max(axis=1) < 0.05).any()


def test_genes_taken_away_do_not_change_the_depth():
    """The library size is over all genes; a selection of them has counts at the same depth."""
    train = counted()
    whole = LocalGammaPoisson(LocalGammaPoissonConfig()).fit(train)
    part = LocalGammaPoisson(LocalGammaPoissonConfig()).fit(train[:, :10].copy())
    np.testing.assert_allclose(part._depth, whole._depth, rtol=1e-9)
    np.testing.assert_allclose(whole._depth, train.obs["library_size"] / 1e6, rtol=1e-9)


def test_mean_and_variance_are_those_of_the_neighbours():
    """One class, r = all rows: each row gives the class moments at its own depth (eq. 4)."""
    train = counted(sizes=(6, 6))
    fitted = LocalGammaPoisson(LocalGammaPoissonConfig(neighbours=6)).fit(train)
    own = (train.obs["condition"] == "class_0").to_numpy()
    library = train.obs["library_size"].to_numpy()[own]
    rates = np.asarray(train.layers["counts"])[own] / library[:, None] * 1e6
    drawn = fitted.sample(30_000, ["class_0"] * 30_000, np.random.default_rng(0)).X
    cpm = np.expm1(drawn.astype(np.float64))
    np.testing.assert_allclose(cpm.mean(axis=0), rates.mean(axis=0), rtol=0.03)
    at_each_depth = [
        np.maximum(rates.var(axis=0, ddof=1), rates.mean(axis=0) / (size / 1e6)) for size in library
    ]
    np.testing.assert_allclose(cpm.var(axis=0), np.mean(at_each_depth, axis=0), rtol=0.12)


def test_neighbours_are_the_nearest_of_the_class_and_the_row_itself():
    train = counted()
    fitted = LocalGammaPoisson(LocalGammaPoissonConfig(neighbours=3)).fit(train)
    y = labels(train)
    for row, near in enumerate(fitted._neighbours):
        distance = np.linalg.norm(train.X - train.X[row], axis=1)
        distance[y != y[row]] = np.inf
        assert near[0] == row
        assert set(near) == set(np.argsort(distance)[:3])


def test_a_class_of_one_row_is_drawn_around_that_row():
    """No spread to fit: Poisson noise of counting, and nothing else."""
    train = counted(sizes=(8, 1))
    fitted = LocalGammaPoisson(LocalGammaPoissonConfig()).fit(train)
    drawn = fitted.sample(5000, ["class_1"] * 5000, np.random.default_rng(0)).X
    depth = train.obs["library_size"].to_numpy()[-1] / 1e6
    counts = np.expm1(drawn.astype(np.float64)) * depth
    real = np.asarray(train.layers["counts"])[-1]
    np.testing.assert_allclose(counts.mean(axis=0), real, rtol=0.02)
    np.testing.assert_allclose(counts.var(axis=0), real, rtol=0.12)


def test_counts_may_be_sparse():
    train = counted()
    packed = train.copy()
    packed.layers["counts"] = sparse.csr_matrix(train.layers["counts"])
    drawn = [
        LocalGammaPoisson(LocalGammaPoissonConfig())
        .fit(a)
        .sample(20, None, np.random.default_rng(1))
        for a in (train, packed)
    ]
    np.testing.assert_array_equal(drawn[0].X, drawn[1].X)


def test_data_without_counts_are_refused():
    with pytest.raises(InputError, match="on the log scale.*no layers.*another sampler"):
        LocalGammaPoisson(LocalGammaPoissonConfig()).fit(training())


def test_a_row_without_counts_is_refused():
    train = counted()
    train.X[2], train.layers["counts"][2] = 0, 0
    with pytest.raises(InputError, match="1 of the 16 training rows"):
        LocalGammaPoisson(LocalGammaPoissonConfig()).fit(train)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_smote_rows_lie_between_a_row_and_a_near_one_of_its_class(k):
    """On the segment, not at its ends, and the partner is among the k nearest (eq. 6)."""
    train = training(n_vars=30)
    drawn = (
        SMOTESampler(SMOTEConfig(k_neighbors=k))
        .fit(train)
        .sample(60, None, np.random.default_rng(0))
    )
    for row, name in zip(drawn.X.astype(np.float64), labels(drawn), strict=True):
        real = train.X[labels(train) == name]
        apart = np.linalg.norm(real[:, None] - real, axis=2)
        via = np.linalg.norm(real - row, axis=1)
        detour = via[:, None] + via - apart + 1e9 * np.eye(len(real))
        i, j = np.unravel_index(detour.argmin(), detour.shape)
        assert detour[i, j] < 1e-4
        assert min(via[i], via[j]) > 1e-4  # no original comes back
        assert min((apart[i] < apart[i, j]).sum(), (apart[j] < apart[i, j]).sum()) <= k


def test_smote_gives_no_original_and_as_many_rows_as_asked():
    train = training()
    drawn = (
        SMOTESampler(SMOTEConfig())
        .fit(train)
        .sample(400, ["class_1"] * 400, np.random.default_rng(0))
    )
    seen = {row.tobytes() for row in train.X.astype(np.float32)}
    assert drawn.n_obs == 400
    assert not any(row.tobytes() in seen for row in drawn.X)


def test_smote_refuses_a_class_of_one_row():
    with pytest.raises(InputError, match="class_2 has one row"):
        SMOTESampler(SMOTEConfig()).fit(training(sizes=(8, 6, 1)))


def test_smote_refuses_a_single_class():
    with pytest.raises(InputError, match="two classes"):
        SMOTESampler(SMOTEConfig()).fit(training(sizes=(8,)))
