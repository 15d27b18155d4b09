import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import sparse

from synthome.errors import InputError
from synthome.generator import as_synthetic
from synthome.preprocessing.splits import SplitConfig, assign_folds, fold_parts
from synthome.preprocessing.transform import ExpressionTransform, TransformConfig

DATA = Path(os.environ.get("SYNTHOME_DATA", Path(__file__).parents[3] / "shared" / "data"))
KEEP_ALL = TransformConfig(min_expression=0, min_fraction=0)


def cohort(values, scale="counts", labels=None) -> AnnData:
    values = np.asarray(values)
    labels = labels if labels is not None else ["a" if i % 2 else "b" for i in range(len(values))]
    obs = pd.DataFrame({"condition": labels}, index=[f"s{i}" for i in range(len(values))])
    var = pd.DataFrame(index=[f"g{j}" for j in range(values.shape[1])])
    return AnnData(
        values.astype(np.float64),
        obs=obs,
        var=var,
        layers={"counts": values.astype(np.int64)} if scale == "counts" else None,
        uns={"synthome": {"label_key": "condition", "group_key": "", "scale": scale}},
    )


def negative_binomial(n_obs=40, n_vars=300, seed=0, **items) -> AnnData:
    rng = np.random.default_rng(seed)
    mean = np.exp(rng.normal(3, 2, n_vars)) * np.exp(rng.normal(0, 0.3, (n_obs, 1)))
    return cohort(rng.poisson(mean * rng.gamma(5, 1 / 5, (n_obs, n_vars))), **items)


def linear(n_obs=20, n_vars=50, seed=0) -> AnnData:
    return cohort(np.random.default_rng(seed).gamma(1, 20, (n_obs, n_vars)), "linear")


def log(n_obs=20, n_vars=50, seed=0) -> AnnData:
    return cohort(np.random.default_rng(seed).normal(0, 3, (n_obs, n_vars)), "log")


COHORTS = [negative_binomial, linear, log]


def assert_same_state(one: ExpressionTransform, other: ExpressionTransform) -> None:
    """Bit for bit."""
    (arrays_one, facts_one), (arrays_other, facts_other) = one.state(), other.state()
    assert facts_one == facts_other
    assert arrays_one.keys() == arrays_other.keys()
    for name, values in arrays_one.items():
        assert values.tobytes() == arrays_other[name].tobytes(), name


# --- the transform and its inverse ---------------------------------------------------------------


@given(
    counts=arrays(
        np.int64,
        array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9),
        elements=st.one_of(st.integers(0, 5), st.integers(0, 10_000_000)),
    )
)
@settings(deadline=None, max_examples=150)
def test_counts_come_back_as_the_same_integers(counts):
    counts[:, 0] = np.arange(1, len(counts) + 1)  # no empty sample, and genes that vary
    counts[:, 1] = 5
    adata = cohort(counts)
    transform = ExpressionTransform.fit(adata, KEEP_ALL)
    prepared = transform.apply(adata)
    assert prepared.X.dtype == np.float64
    back = transform.invert(prepared.X, prepared.obs["library_size"].to_numpy())
    expected = adata[:, prepared.var_names].layers["counts"]
    np.testing.assert_array_equal(back.round().astype(np.int64), expected)
    np.testing.assert_array_equal(prepared.layers["counts"], expected)


@pytest.mark.parametrize("make", [linear, log])
def test_other_scales_come_back_too(make):
    adata = make()
    transform = ExpressionTransform.fit(adata, KEEP_ALL)
    back = transform.invert(transform.apply(adata).X)
    np.testing.assert_allclose(back, adata.X, rtol=1e-12, atol=1e-12)


def test_counts_become_the_log_of_counts_per_million_that_scanpy_gives():
    import scanpy as sc

    adata = negative_binomial()
    prepared = ExpressionTransform.fit(adata, TransformConfig()).apply(adata)
    reference = adata.copy()
    sc.pp.normalize_total(reference, target_sum=1e6)
    sc.pp.log1p(reference)
    np.testing.assert_allclose(prepared.X, reference[:, prepared.var_names].X, rtol=1e-12)
    assert prepared.n_vars < adata.n_vars  # the library is that of all genes, kept or not
    np.testing.assert_array_equal(prepared.obs["library_size"], adata.X.sum(axis=1))


@pytest.mark.parametrize("make", COHORTS)
def test_apply_to_its_own_result_changes_nothing(make):
    transform = ExpressionTransform.fit(make(), TransformConfig())
    once = transform.apply(make())
    twice = transform.apply(once)
    np.testing.assert_array_equal(once.X, twice.X)
    pd.testing.assert_frame_equal(once.obs, twice.obs)
    again = ExpressionTransform.fit(once, TransformConfig())
    np.testing.assert_array_equal(again.var_names, transform.var_names)
    np.testing.assert_array_equal(again.genes["std"], transform.genes["std"])


@pytest.mark.parametrize("make", COHORTS)
def test_nothing_that_is_passed_in_changes(make):
    adata, before = make(), make()
    transform = ExpressionTransform.fit(adata, TransformConfig())
    prepared = transform.apply(adata)
    prepared.X[:] = -1
    synthetic = as_synthetic(np.ones((4, prepared.n_vars)), np.array(["a"] * 4), prepared)
    copy = synthetic.copy()
    transform.to_original(synthetic, np.random.default_rng(0))
    for one, other in ((adata, before), (synthetic, copy)):
        np.testing.assert_array_equal(one.X, other.X)
        pd.testing.assert_frame_equal(one.obs, other.obs)
        assert list(one.layers) == list(other.layers)
        assert one.uns == other.uns


def test_a_view_gives_what_a_copy_gives():
    adata = negative_binomial()
    expected = ExpressionTransform.fit(adata[:30].copy(), TransformConfig())
    assert_same_state(ExpressionTransform.fit(adata[:30], TransformConfig()), expected)
    np.testing.assert_array_equal(expected.apply(adata).X[:30], expected.apply(adata[:30]).X)


# --- sparse counts -------------------------------------------------------------------------------


def sparse_pair(seed=0, library_size=False) -> tuple[AnnData, AnnData]:
    """Counts of cells, dense and CSR; a constant gene, a silent one and one without zeros."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(np.exp(rng.normal(-1, 1.5, 60)) * np.exp(rng.normal(0, 0.5, (80, 1))))
    counts[:, 0], counts[:, 1], counts[:, 2] = 3, 0, 1 + counts[:, 2]
    dense = cohort(counts)
    if library_size:
        dense.obs["library_size"] = 2.0 * counts.sum(axis=1) + rng.integers(0, 50, 80)
    packed = dense.copy()
    packed.X = packed.layers["counts"] = sparse.csr_matrix(counts, dtype=np.float32)
    return dense, packed


CP10K = TransformConfig(target_sum=1e4, min_expression=0, min_fraction=0, n_top_genes=20)


@given(
    seed=st.integers(0, 100),
    library_size=st.booleans(),
    config=st.sampled_from([CP10K, TransformConfig(), TransformConfig(min_fraction=0.3)]),
)
@settings(deadline=None, max_examples=20)
def test_sparse_counts_give_what_dense_counts_give(seed, library_size, config):
    dense, packed = sparse_pair(seed, library_size)
    expected = ExpressionTransform.fit(dense[:60].copy(), config)
    transform = ExpressionTransform.fit(packed[:60].copy(), config)
    pd.testing.assert_frame_equal(transform.genes, expected.genes, check_exact=False, rtol=1e-10)
    theirs, ours = expected.apply(dense), transform.apply(packed)
    np.testing.assert_allclose(ours.X.toarray(), theirs.X, rtol=1e-6)
    np.testing.assert_array_equal(ours.layers["counts"].toarray(), theirs.layers["counts"])
    pd.testing.assert_frame_equal(ours.obs, theirs.obs)
    pd.testing.assert_frame_equal(ours.var, theirs.var, check_exact=False, rtol=1e-10)
    assert ours.uns["synthome"] == theirs.uns["synthome"]


def test_sparse_counts_stay_sparse_single_and_as_they_were():
    _, packed = sparse_pair()
    before = packed.copy()
    prepared = ExpressionTransform.fit(packed, CP10K).apply(packed)
    for values in (prepared.X, prepared.layers["counts"]):
        assert isinstance(values, sparse.csr_matrix)
        assert values.dtype == np.float32
    assert prepared.uns["synthome"]["expression"] == "log1p CP10k"
    assert (packed.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(packed.var, before.var)
    again = ExpressionTransform.fit(packed, CP10K).apply(prepared)
    assert (again.X != prepared.X).nnz == 0


def test_zeros_that_a_sparse_matrix_stores_are_zeros():
    dense, packed = sparse_pair()
    rows, columns = np.nonzero(dense.X == 0)
    few = slice(0, 700, 3)
    every = sparse.coo_matrix(
        (
            np.append(packed.X.data, np.zeros(len(rows[few]))),
            np.hstack([packed.X.tocoo().coords, [rows[few], columns[few]]]),
        ),
        shape=packed.shape,
    ).tocsr()
    assert every.nnz > packed.X.nnz
    stored = packed.copy()
    stored.X = stored.layers["counts"] = every
    config = CP10K.model_copy(update={"min_fraction": 0.4})
    expected = ExpressionTransform.fit(packed, config)
    assert expected.n_vars_seen > len(expected.genes)
    pd.testing.assert_frame_equal(ExpressionTransform.fit(stored, config).genes, expected.genes)


def test_scanpy_gives_the_same_log_of_counts_per_ten_thousand():
    import scanpy as sc

    _, packed = sparse_pair()
    prepared = ExpressionTransform.fit(packed, CP10K).apply(packed)
    reference = packed.copy()
    sc.pp.normalize_total(reference, target_sum=1e4)
    sc.pp.log1p(reference)
    expected = reference[:, prepared.var_names].X.toarray()
    np.testing.assert_allclose(prepared.X.toarray(), expected, rtol=1e-5)


def test_genes_that_an_external_sparse_cohort_lacks_may_be_left_out():
    _, packed = sparse_pair()
    transform = ExpressionTransform.fit(packed, CP10K)
    part = packed[:, 10:].copy()
    with pytest.raises(InputError, match="are missing in the data"):
        transform.apply(part)
    part.obs["library_size"] = packed.X.sum(axis=1).A1
    shared = transform.apply(part, missing="restrict")
    whole = transform.apply(packed)[:, shared.var_names]
    assert (shared.X != whole.X).nnz == 0


# --- genes ---------------------------------------------------------------------------------------


def test_a_gene_that_only_the_smallest_class_expresses_is_kept():
    """5 of 40 samples are cases: 8, or 20 % of 40, would lose what the cases have alone."""
    labels = ["case"] * 5 + ["control"] * 35
    counts = np.full((40, 4), 1000)
    counts[:, 0] += np.arange(40)
    counts[:, 1] = np.where(np.arange(40) < 5, 100, 0)
    counts[:, 2] = np.where(np.arange(40) < 4, 100, 0)  # one too few
    counts[:, 3] = 0
    transform = ExpressionTransform.fit(
        cohort(counts, labels=labels), TransformConfig(min_fraction=0.2)
    )
    assert transform.min_samples == 5
    assert list(transform.var_names) == ["g0", "g1"]
    assert transform.n_vars_seen == 4


@pytest.mark.parametrize(
    ("n_cases", "n_controls", "min_fraction", "expected"),
    [(30, 30, 0.1, 6), (4, 56, 0.1, 4), (3, 7, 0.1, 2), (50, 50, 0.07, 7), (20, 20, 0, 2)],
)
def test_min_samples_by_hand(n_cases, n_controls, min_fraction, expected):
    """0.07 * 100 exceeds 7 by a rounding error, which must not ask for an eighth sample."""
    labels = ["case"] * n_cases + ["control"] * n_controls
    adata = negative_binomial(n_cases + n_controls, 20, labels=labels)
    config = TransformConfig(min_fraction=min_fraction)
    assert ExpressionTransform.fit(adata, config).min_samples == expected


def test_which_class_expresses_a_gene_is_not_looked_at():
    """Else gene selection would favour differences, and test scores would flatter them."""
    adata = negative_binomial(labels=["a"] * 12 + ["b"] * 28)
    other = adata.copy()
    other.obs["condition"] = np.random.default_rng(0).permutation(adata.obs["condition"])
    one, two = (ExpressionTransform.fit(x, TransformConfig()) for x in (adata, other))
    pd.testing.assert_frame_equal(one.genes, two.genes)


def test_moments_are_those_of_the_training_rows_on_the_log_scale():
    adata = negative_binomial()
    transform = ExpressionTransform.fit(adata, TransformConfig(n_top_genes=25))
    prepared = transform.apply(adata)
    frame = prepared.to_df()
    for name, expected in {
        "mean": frame.mean(),
        "std": frame.std(ddof=0),
        "min": frame.min(),
        "max": frame.max(),
    }.items():
        np.testing.assert_allclose(prepared.var[name], expected, rtol=1e-12)
    top = frame.var().nlargest(25).index
    assert set(prepared.var_names[prepared.var["highly_variable"]]) == set(top)


def test_genes_without_variance_in_training_are_dropped_on_each_scale():
    for adata in (linear(), log()):
        adata.X[:, 3] = 7.0
        kept = ExpressionTransform.fit(adata, TransformConfig()).var_names
        assert "g3" not in kept
        assert len(kept) == 49


def test_negative_array_values_are_noise_of_which_the_floor_is_the_median_size():
    rng = np.random.default_rng(0)
    adata = cohort(rng.normal(0, 100, (30, 40)), "linear")
    adata.X[:, :20] += 2000
    transform = ExpressionTransform.fit(adata, TransformConfig())
    assert transform.floor == np.median(-adata.X[adata.X < 0])
    assert transform.floor == pytest.approx(67, rel=0.1)  # median |x| of a normal is 0.67 sigma
    prepared = transform.apply(adata)
    raised = np.maximum(adata[:, prepared.var_names].X, transform.floor)
    np.testing.assert_allclose(transform.invert(prepared.X), raised)
    assert transform.invert(np.full((1, 3), -5.0)).min() == pytest.approx(transform.floor)


def test_no_gene_left_is_an_error_that_says_what_to_lower():
    with pytest.raises(InputError, match="None of the 50 genes .* 1e\\+06 .*Lower min_expression"):
        ExpressionTransform.fit(linear(), TransformConfig(min_expression=1e6))


@pytest.mark.skipif(not DATA.exists(), reason="no real data: set SYNTHOME_DATA to their folder")
def test_over_ten_thousand_genes_of_muscle_biopsies_are_kept_with_the_dux4_targets():
    """FSHD biopsies, GSE115650: the genes that DUX4 turns on are rare and are the disease."""
    folder = DATA / "fshd_gse115650"
    samples = pd.read_parquet(folder / "samples.parquet")
    expression = pd.read_parquet(folder / "expression.parquet")
    adata = cohort(expression, labels=samples["condition"].to_list())
    adata.var_names = expression.columns
    train, _ = fold_parts(assign_folds(adata, SplitConfig()), fold=0)
    transform = ExpressionTransform.fit(train, TransformConfig())
    assert 10_000 < len(transform.var_names) < 20_000
    assert {"PRAMEF2", "TRIM43", "CCNA1", "ZSCAN4"} <= set(transform.var_names)
    prepared = transform.apply(adata)
    back = transform.invert(prepared.X, prepared.obs["library_size"].to_numpy())
    np.testing.assert_array_equal(back.round(), prepared.layers["counts"])


# --- leaks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", COHORTS)
def test_changing_the_test_rows_changes_nothing_that_was_fitted(make):
    """Bit for bit, in each fold: genes, moments, floor, library sizes, training expression."""
    adata = assign_folds(make(), SplitConfig(n_splits=4, n_repeats=2))
    for repeat in (0, 1):
        for fold in range(4):
            train, test = fold_parts(adata, fold, repeat)
            changed = adata.copy()
            rows = changed.obs_names.isin(test.obs_names)
            changed.X[rows] = changed.X[rows][:, ::-1] * 1000 + 17
            for layer in changed.layers:
                changed.layers[layer][rows] = changed.X[rows].astype(np.int64)
            resplit = assign_folds(changed, SplitConfig(n_splits=4, n_repeats=2))
            pd.testing.assert_frame_equal(resplit.obs, adata.obs)
            other_train, other_test = fold_parts(resplit, fold, repeat)
            one = ExpressionTransform.fit(train, TransformConfig())
            other = ExpressionTransform.fit(other_train, TransformConfig())
            assert_same_state(one, other)
            assert one.apply(train).X.tobytes() == other.apply(other_train).X.tobytes()
            assert (one.apply(test).X != other.apply(other_test).X).any()


# --- other cohorts -------------------------------------------------------------------------------


def test_genes_missing_in_another_cohort_are_counted_or_left_out():
    train = negative_binomial()
    transform = ExpressionTransform.fit(train, TransformConfig())
    gone = transform.var_names[[2, 5, 9, 11]]
    external = negative_binomial(seed=1)
    external = external[:, ~external.var_names.isin(gone)].copy()
    with pytest.raises(InputError, match=f"4 of the {len(transform.var_names)} genes.*{gone[0]}, "):
        transform.apply(external)
    prepared = transform.apply(external[:, ::-1].copy(), missing="restrict")
    assert list(prepared.var_names) == list(transform.var_names.drop(gone))
    np.testing.assert_array_equal(prepared.obs["library_size"], external.X.sum(axis=1))
    np.testing.assert_array_equal(prepared.var["mean"], transform.genes["mean"].drop(gone))


def test_a_cohort_without_a_shared_gene_is_an_error_even_when_restricted():
    transform = ExpressionTransform.fit(negative_binomial(), TransformConfig())
    external = negative_binomial()
    external.var_names = "other_" + external.var_names
    with pytest.raises(InputError, match="are missing in the data"):
        transform.apply(external, missing="restrict")


def test_another_scale_than_in_training_is_an_error():
    transform = ExpressionTransform.fit(negative_binomial(), TransformConfig())
    with pytest.raises(InputError, match="on the counts scale, but these are on the linear scale"):
        transform.apply(linear())


def test_a_sample_without_counts_is_named():
    adata = negative_binomial()
    adata.layers["counts"][3] = 0
    with pytest.raises(InputError, match="'s3' has no counts"):
        ExpressionTransform.fit(adata, TransformConfig())


# --- synthetic data ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted() -> tuple[ExpressionTransform, AnnData]:
    adata = negative_binomial(labels=["a"] * 15 + ["b"] * 25)
    transform = ExpressionTransform.fit(adata, TransformConfig())
    return transform, transform.apply(adata)


def synthetic_like(prepared: AnnData, n_obs=60, seed=0, noise=0.3) -> AnnData:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, prepared.n_obs, n_obs)
    x = prepared.X[rows] + rng.normal(0, noise, (n_obs, prepared.n_vars))
    return as_synthetic(x, prepared.obs["condition"].to_numpy(dtype=str)[rows], prepared)


def test_synthetic_counts_are_whole_numbers_that_transform_back_to_the_expression(fitted):
    transform, prepared = fitted
    synthetic = synthetic_like(prepared)
    result = transform.to_original(synthetic, np.random.default_rng(1))
    counts = result.layers["counts"]
    assert counts.dtype == np.int64
    assert counts.min() >= 0
    again = transform.apply(result).X  # by the depth in obs, not by the sum of the kept genes
    half = 0.5e6 / result.obs["library_size"].to_numpy()[:, None]  # half a count, in CPM
    cpm = np.expm1(np.maximum(synthetic.X.astype(np.float64), 0))
    assert (np.abs(np.expm1(again) - cpm) <= half * 1.001).all()
    np.testing.assert_array_equal(result.X, synthetic.X)


def test_the_clipped_fraction_is_told(fitted):
    transform, prepared = fitted
    synthetic = synthetic_like(prepared)
    synthetic.X = np.abs(synthetic.X).clip(0.1, 12)
    synthetic.X[:3] = -0.5
    synthetic.X[3, 0] = 200.0  # no gene can have more counts than its library
    result = transform.to_original(synthetic, np.random.default_rng(1))
    expected = (3 * synthetic.n_vars + 1) / synthetic.X.size
    assert result.uns["synthome"]["clipped_fraction"] == pytest.approx(expected)
    assert (result.layers["counts"][:3] == 0).all()
    assert result.layers["counts"][3, 0] == result.obs["library_size"].iloc[3]


def test_library_sizes_follow_the_class_and_the_random_state(fitted):
    transform, prepared = fitted
    one, again, other = (
        transform.to_original(synthetic_like(prepared), np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.layers["counts"], again.layers["counts"])
    assert (one.obs["library_size"] != other.obs["library_size"]).any()
    drawn = transform.draw_library_size(["b"] * 4000, np.random.default_rng(0))
    real = prepared.obs.loc[prepared.obs["condition"] == "b", "library_size"]
    assert np.log(drawn).mean() == pytest.approx(np.log(real).mean(), abs=0.1)


def test_library_sizes_that_are_there_already_are_used(fitted):
    transform, prepared = fitted
    once = transform.to_original(synthetic_like(prepared), np.random.default_rng(1))
    twice = transform.to_original(once, np.random.default_rng(2))
    np.testing.assert_array_equal(once.layers["counts"], twice.layers["counts"])


def test_linear_and_log_data_leave_on_their_own_scale():
    for adata in (linear(), log()):
        transform = ExpressionTransform.fit(adata, TransformConfig())
        prepared = transform.apply(adata)
        result = transform.to_original(synthetic_like(prepared), np.random.default_rng(0))
        assert "counts" not in result.layers
        assert "library_size" not in result.obs
        assert np.isnan(transform.draw_library_size(["a", "b"], np.random.default_rng(0))).all()
        if transform.scale == "linear":
            assert result.layers["linear"].min() == 0
            assert result.uns["synthome"]["clipped_fraction"] > 0
        else:
            assert result.uns["synthome"]["clipped_fraction"] == 0
            np.testing.assert_array_equal(transform.invert(result.X), result.X)


def test_a_subset_of_the_genes_may_be_synthetic_and_others_may_not(fitted):
    transform, prepared = fitted
    some = prepared[:, prepared.var_names[::3]].copy()
    assert (
        transform.to_original(synthetic_like(some), np.random.default_rng(0)).n_vars == some.n_vars
    )
    some.var_names = ["nowhere", *some.var_names[1:]]
    with pytest.raises(InputError, match="1 genes .* the first being nowhere"):
        transform.to_original(synthetic_like(some), np.random.default_rng(0))


def test_a_generator_that_failed_is_not_turned_into_counts(fitted):
    transform, prepared = fitted
    synthetic = synthetic_like(prepared)
    synthetic.X[0, :2] = np.nan
    with pytest.raises(InputError, match="2 of the .* not finite"):
        transform.to_original(synthetic, np.random.default_rng(0))


def test_counts_need_a_library_size(fitted):
    transform, prepared = fitted
    with pytest.raises(ValueError, match="needs library_size"):
        transform.invert(prepared.X)


# --- state ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", COHORTS)
def test_a_transform_survives_its_state_without_loss(make):
    adata = make()
    config = TransformConfig(n_top_genes=11, target_sum=1e4 / 3)
    transform = ExpressionTransform.fit(adata, config)
    arrays, facts = transform.state()
    again = ExpressionTransform.from_state(dict(arrays), json.loads(json.dumps(facts)))
    assert_same_state(again, transform)
    assert again.config == config
    pd.testing.assert_frame_equal(again.genes, transform.genes)
    one, other = transform.apply(adata), again.apply(adata)
    np.testing.assert_array_equal(one.X, other.X)
    pd.testing.assert_frame_equal(one.var, other.var)
    labels = ["a", "b", "a"]
    np.testing.assert_array_equal(
        transform.draw_library_size(labels, np.random.default_rng(0)),
        again.draw_library_size(labels, np.random.default_rng(0)),
    )


def test_a_state_of_something_else_is_refused():
    with pytest.raises(InputError, match="not the state of an expression transform"):
        ExpressionTransform.from_state({}, {"generator": "rare_vae"})


# --- cost ----------------------------------------------------------------------------------------


def test_twenty_thousand_genes_take_well_under_two_seconds():
    """0.2 s on one idle core; the bound leaves room for a busy machine."""
    adata = negative_binomial(96, 20_000)
    start = time.perf_counter()
    ExpressionTransform.fit(adata, TransformConfig()).apply(adata)
    assert time.perf_counter() - start < 2


def test_the_configs_import_without_heavy_libraries():
    """Nodes import them whenever `kedro` starts."""
    code = (
        "import sys; import synthome.preprocessing.transform, synthome.simulate.bulk_cohort;"
        "print([m for m in ('torch', 'sklearn', 'scanpy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_number_of_kept_genes_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        transform = ExpressionTransform.fit(negative_binomial(), TransformConfig())
    assert f"Kept {len(transform.var_names)} of 300 genes" in caplog.text
