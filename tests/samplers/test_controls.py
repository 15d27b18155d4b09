"""The controls must have exactly the faults, and the virtues, that their names promise."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from synthome.errors import InputError
from synthome.generator import Generator
from synthome.samplers.controls import Bootstrap, Copies, IndependentNoise, ShuffledGenes

CONTROLS = [IndependentNoise, ShuffledGenes, Copies, Bootstrap]


def training(sizes=(9, 5), n_vars=30, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat([f"class_{k}" for k in range(len(sizes))], sizes)
    factor = rng.standard_normal((len(labels), 1))
    x = 5 + factor + rng.standard_normal((len(labels), n_vars))
    x[labels == "class_1"] += 3
    obs = pd.DataFrame({"condition": labels}, index=[f"s{i}" for i in range(len(labels))])
    var = pd.DataFrame(index=[f"g{j}" for j in range(n_vars)])
    uns = {"synthome": {"label_key": "condition", "scale": "log"}}
    return AnnData(x, obs=obs, var=var, uns=uns)


def row_of(row, rows):
    """Positions of ``row`` among ``rows``, by exact single-precision equality."""
    return np.flatnonzero((rows.astype(np.float32) == row).all(axis=1))


@pytest.mark.parametrize("control", CONTROLS)
def test_every_control_meets_the_protocol_of_generators(control):
    """Same seed, same rows; classes in training shares; genes, labels and provenance kept."""
    train = training()
    fitted = control().fit(train)
    assert isinstance(fitted, Generator)
    first, again = (fitted.sample(28, None, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.X, again.X)
    assert first.X.dtype == np.float32
    assert first.obs["condition"].value_counts().to_dict() == {"class_0": 18, "class_1": 10}
    assert first.obs["synthetic"].all()
    assert first.var_names.equals(train.var_names)
    assert first.uns["synthome"] == train.uns["synthome"]
    wanted = ["class_1", "class_0", "class_1"]
    assert fitted.sample(3, wanted, np.random.default_rng(0)).obs["condition"].tolist() == wanted


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_do_not_change_the_training_rows(control):
    """A node never changes its inputs."""
    train = training()
    before = train.X.copy()
    control().fit(train).sample(50, None, np.random.default_rng(0)).X[:] = 0
    np.testing.assert_array_equal(train.X, before)


@pytest.mark.parametrize("control", CONTROLS)
def test_sparse_training_rows_give_the_same_draw(control):
    """How zeros are stored is no property of the data."""
    train = training()
    packed = train.copy()
    packed.X = sparse.csr_matrix(train.X)
    drawn = [control().fit(a).sample(20, None, np.random.default_rng(1)).X for a in (train, packed)]
    np.testing.assert_array_equal(*drawn)


def test_noise_has_the_mean_and_spread_of_each_class_and_no_coexpression():
    """20,000 rows leave a standard error of 0.007 sd on a mean."""
    train = training(sizes=(30, 20))
    drawn = IndependentNoise().fit(train).sample(20_000, None, np.random.default_rng(0))
    for c in ("class_0", "class_1"):
        real = train.X[(train.obs["condition"] == c).to_numpy()]
        fake = drawn.X[(drawn.obs["condition"] == c).to_numpy()]
        std = real.std(axis=0, ddof=1)
        np.testing.assert_allclose((fake.mean(axis=0) - real.mean(axis=0)) / std, 0, atol=0.05)
        np.testing.assert_allclose(fake.std(axis=0) / std, 1, atol=0.04)
        assert np.abs(np.corrcoef(fake.T) - np.eye(30)).max() < 0.05
        assert np.corrcoef(real.T)[np.triu_indices(30, 1)].mean() > 0.3  # there was some to lose


def test_noise_of_a_class_with_one_row_has_the_pooled_spread():
    """One row has no spread; without the pooled one, the class would be a single point."""
    train = training(sizes=(12, 10, 1))
    x, y = train.X, train.obs["condition"].to_numpy()
    within = np.concatenate([x[y == c] - x[y == c].mean(axis=0) for c in ("class_0", "class_1")])
    fitted = IndependentNoise().fit(train)
    np.testing.assert_allclose(fitted.std["class_2"], np.sqrt(np.square(within).sum(axis=0) / 20))
    np.testing.assert_array_equal(fitted.mean["class_2"], x[y == "class_2"][0])
    np.testing.assert_allclose(fitted.std["class_0"], x[y == "class_0"].std(axis=0, ddof=1))


def test_a_round_of_shuffled_genes_keeps_every_value_and_loses_every_row():
    """18 + 10 rows are two rounds: each value of each gene comes twice in its class."""
    train = training()
    drawn = ShuffledGenes().fit(train).sample(28, None, np.random.default_rng(0))
    for c in ("class_0", "class_1"):
        real = train.X[(train.obs["condition"] == c).to_numpy()].astype(np.float32)
        fake = drawn.X[(drawn.obs["condition"] == c).to_numpy()]
        np.testing.assert_array_equal(
            np.sort(fake, axis=0), np.sort(np.concatenate([real, real]), axis=0)
        )
        assert not any(len(row_of(row, real)) for row in fake)


@settings(deadline=None, max_examples=25)
@given(n_obs=st.integers(1, 60), seed=st.integers(0, 10))
def test_copies_use_each_row_of_a_class_before_any_twice(n_obs, seed):
    """The number of copies of two patients of a class differs by one at most."""
    train = training()
    drawn = Copies().fit(train).sample(n_obs, None, np.random.default_rng(seed))
    source = np.array([row_of(row, train.X)[0] for row in drawn.X])
    real, fake = train.obs["condition"].to_numpy(), drawn.obs["condition"].to_numpy()
    np.testing.assert_array_equal(real[source], fake)
    times = np.bincount(source, minlength=train.n_obs)
    for c in np.unique(real):
        assert np.ptp(times[real == c]) <= 1


def test_bootstrap_draws_with_replacement_within_its_class():
    """Of n draws of n rows about 63 % of the rows appear, and some more than once."""
    train = training(sizes=(200, 100))
    drawn = Bootstrap().fit(train).sample(300, None, np.random.default_rng(0))
    source = np.array([row_of(row, train.X)[0] for row in drawn.X])
    assert (train.obs["condition"].to_numpy()[source] == drawn.obs["condition"].to_numpy()).all()
    assert 0.55 < len(np.unique(source)) / 300 < 0.70


def test_an_empty_training_part_is_told():
    """And not met later as a division by zero."""
    with pytest.raises(InputError, match="training rows"):
        Copies().fit(training()[:0].copy())
