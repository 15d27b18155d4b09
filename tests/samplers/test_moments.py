import logging
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from synthome.anndata_schema import COUNTS, UNS, labels
from synthome.errors import InputError, NotApplicable
from synthome.samplers.moments import MomentSampler, MomentSamplerConfig

SIZES = {"a": 40, "b": 12}


def cohort(n_vars=60, sizes=SIZES, seed=0, depth=2e5):
    """Negative binomial counts of two classes with log1p CPM."""
    rng = np.random.default_rng(seed)
    y = np.repeat(list(sizes), list(sizes.values()))
    mean = rng.lognormal(0, 1.2, n_vars) * np.where(y == "a", 1.0, 2.0)[:, None]
    rate = rng.gamma(4.0, mean / 4.0)
    total = depth * rng.lognormal(0, 0.1, len(y))[:, None]
    counts = rng.poisson(total * rate / rate.sum(axis=1, keepdims=True)).astype(np.float32)
    x = np.log1p(1e6 * counts / counts.sum(axis=1, keepdims=True))
    obs = pd.DataFrame({"label": y}, index=[f"s{i}" for i in range(len(y))])
    facts = {"label_key": "label", "scale": "counts"}
    return AnnData(x, obs=obs, layers={COUNTS: counts}, uns={UNS: facts})


def draw(train, n=4000, seed=0, **options):
    fitted = MomentSampler(MomentSamplerConfig(**options)).fit(train)
    wanted = np.repeat(list(SIZES), n).tolist()
    return fitted.sample(2 * n, wanted, np.random.default_rng(seed))


def variance_ratio(train, drawn):
    """Median over genes and classes of synthetic over real variance of rates."""
    ratios = []
    for c in SIZES:
        real, new = (np.expm1(a.X[labels(a) == c].astype(float)) for a in (train, drawn))
        ratios.append(new.var(axis=0) / real.var(axis=0, ddof=1))
    return float(np.median(ratios))


@pytest.mark.parametrize("members", [5, None])
@pytest.mark.parametrize("law", ["poisson", "gamma_poisson", "negative_binomial"])
def test_means_are_those_of_the_class(law, members):
    train = cohort()
    drawn = draw(train, law=law, members=members)
    for c in SIZES:
        real = np.expm1(train.X[labels(train) == c]).mean(axis=0)
        new = np.expm1(drawn.X[labels(drawn) == c].astype(float)).mean(axis=0)
        np.testing.assert_allclose(new, real, rtol=0.06)


def test_variances_are_those_of_the_laws():
    """Whole class: the negative binomial has the real variance, published gamma-Poisson M more."""
    train = cohort()
    assert variance_ratio(train, draw(train, law="negative_binomial", members=None)) == (
        pytest.approx(1.0, abs=0.04)
    )
    mean = {c: np.expm1(train.X[labels(train) == c]).mean(axis=0) for c in SIZES}
    depth = train.layers[COUNTS].sum(axis=1) / 1e6
    excess = []
    drawn = draw(train, law="gamma_poisson", members=None)
    for c in SIZES:
        real = np.expm1(train.X[labels(train) == c]).var(axis=0, ddof=1)
        new = np.expm1(drawn.X[labels(drawn) == c].astype(float)).var(axis=0)
        poisson = mean[c] * (1 / depth[labels(train) == c]).mean()
        excess.append((new - real) / poisson)
    assert np.median(excess) == pytest.approx(1.0, abs=0.25)


def test_few_members_spread_their_means_too():
    """Means of r members vary by 1/r of the variance, which adds to that of the law."""
    train = cohort()
    ratio = variance_ratio(train, draw(train, law="negative_binomial", members=5))
    assert ratio == pytest.approx(1.2, abs=0.06)
    assert variance_ratio(train, draw(train, law="poisson", members=5)) < 0.5


def test_the_published_fault_makes_rows_of_a_class_alike():
    """One rate for all rows leaves Poisson noise alone; a rate for each row does not."""
    train = cohort()
    options = {"law": "gamma_poisson", "members": None}
    assert variance_ratio(train, draw(train, shared_rate=True, **options)) < 0.2
    assert variance_ratio(train, draw(train, **options)) > 0.9


def test_normal_is_for_log_expression():
    train = cohort()
    del train.layers[COUNTS]
    drawn = draw(train, law="normal", members=None)
    for c in SIZES:
        real, new = train.X[labels(train) == c], drawn.X[labels(drawn) == c]
        np.testing.assert_allclose(new.mean(axis=0), real.mean(axis=0), atol=0.06)
        np.testing.assert_allclose(new.std(axis=0), real.std(axis=0, ddof=1), rtol=0.06)
    with pytest.raises(NotApplicable, match="draws counts"):
        draw(train, law="poisson")


def test_a_row_of_two_members_lies_where_they_do():
    """Independent reference: with r of two rows, each mean is that of a pair of training rows."""
    train = cohort(n_vars=3)
    del train.layers[COUNTS]
    fitted = MomentSampler(MomentSamplerConfig(law="normal", members=2)).fit(train)
    fitted._moments = lambda members: (  # type: ignore[method-assign]
        train.X[members].mean(axis=1), np.zeros((len(members), 3))
    )  # fmt: skip
    drawn = fitted.sample(50, ["b"] * 50, np.random.default_rng(0)).X
    rows = train.X[labels(train) == "b"]
    i, j = np.triu_indices(len(rows), k=1)
    pairs = (rows[i] + rows[j]) / 2
    nearest = np.abs(drawn[:, None] - pairs[None]).max(axis=2).min(axis=1)
    assert nearest.max() < 1e-5


def test_same_seed_same_rows_and_counts_are_whole():
    train = cohort()
    first, second = draw(train, n=20), draw(train, n=20)
    np.testing.assert_array_equal(first.X, second.X)
    assert not np.array_equal(first.X, draw(train, n=20, seed=1).X)
    depths = train.layers[COUNTS].sum(axis=1) / np.expm1(train.X).sum(axis=1)
    of_row = np.expm1(first.X[:5].astype(float))[:, None] * depths[None, :, None]
    assert np.abs(of_row - of_row.round()).max(axis=2).min(axis=1).max() < 0.05


def test_a_small_class_lowers_r_with_a_warning_and_one_row_is_an_error(caplog):
    train = cohort(sizes={"a": 10, "b": 3})
    with caplog.at_level(logging.WARNING):
        draw(train, n=5)
    assert "lowered from 5" in caplog.text
    assert "b has 3" in caplog.text
    alone = cohort(sizes={"a": 10, "b": 1})
    with pytest.raises(InputError, match="need 2 training rows or more, but b has 1"):
        draw(alone)
    assert draw(alone, n=5, law="poisson", members=None).n_obs == 10


def test_a_constant_gene_and_a_silent_one_stay_so():
    train = cohort()
    train.layers[COUNTS][:, 0] = train.X[:, 0] = 0.0
    drawn = draw(train, n=50)
    assert not drawn.X[:, 0].any()
    assert np.isfinite(drawn.X).all()


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_what_is_no_count_is_refused(value):
    train = cohort()
    train.layers[COUNTS][3, 4] = value
    with pytest.raises(InputError, match="1 values of layers"):
        draw(train)


def test_memory_stays_below_three_outputs():
    train = cohort(n_vars=978)
    fitted = MomentSampler(MomentSamplerConfig(law="gamma_poisson")).fit(train)
    wanted = ["a"] * 1000
    tracemalloc.start()
    fitted.sample(1000, wanted, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 1000 * 978 * 8
