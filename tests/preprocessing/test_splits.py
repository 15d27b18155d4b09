import logging
import time
from itertools import product

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from synthome.anndata_schema import UNS, folds_to_test
from synthome.errors import InputError
from synthome.preprocessing import splits
from synthome.preprocessing.splits import SplitConfig, assign_folds, fold_parts, set_aside

relaxed = settings(deadline=None, max_examples=40)
configs = st.builds(
    SplitConfig,
    n_splits=st.integers(2, 6),
    n_repeats=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)


def cohort(labels, groups=None) -> AnnData:
    obs = pd.DataFrame({"condition": labels}, index=[f"s{i:04d}" for i in range(len(labels))])
    if groups is not None:
        obs["patient"] = groups
    key = "patient" if groups is not None else ""
    return AnnData(
        np.ones((len(obs), 2)),
        obs=obs,
        uns={"synthome": {"label_key": "condition", "group_key": key, "scale": "log"}},
    )


def table(split: AnnData, repeat: int = 0) -> pd.DataFrame:
    """Samples of each class (columns) in each test fold (rows)."""
    return pd.crosstab(split.obs[f"fold_{repeat}"], split.obs["condition"])


@given(sizes=st.lists(st.integers(3, 40), min_size=2, max_size=4), config=configs)
@relaxed
def test_each_sample_is_tested_once_per_repeat_in_folds_as_even_as_can_be(sizes, config):
    split = assign_folds(cohort(np.repeat([f"c{i}" for i in range(len(sizes))], sizes)), config)
    n_splits = min(config.n_splits, *sizes)
    for repeat in range(config.n_repeats):
        counts = table(split, repeat)
        assert list(counts.index) == list(range(n_splits))
        assert (counts.max() - counts.min() <= 1).all()  # each class
        assert np.ptp(counts.sum(axis=1)) <= 1  # the whole
        assert (counts > 0).all(axis=None)
    assert ((split.obs["split"] == "test") == (split.obs["fold_0"] == 0)).all()
    assert set(split.obs["split"]) == {"train", "test"}


@given(
    group_sizes=st.lists(
        st.lists(st.integers(1, 6), min_size=3, max_size=12), min_size=2, max_size=3
    ),
    config=configs,
)
@relaxed
def test_groups_stay_whole_and_each_class_is_in_each_part(group_sizes, config):
    labels, groups = [], []
    for c, sizes in enumerate(group_sizes):
        for g, size in enumerate(sizes):
            labels += [f"c{c}"] * size
            groups += [f"c{c}g{g}"] * size
    split = assign_folds(cohort(labels, groups), config)
    n_splits = min(config.n_splits, *map(len, group_sizes))
    for repeat in range(config.n_repeats):
        assert (split.obs.groupby("patient")[f"fold_{repeat}"].nunique() == 1).all()
        counts = table(split, repeat)
        assert list(counts.index) == list(range(n_splits))
        assert (counts > 0).all(axis=None)


@given(data=st.data(), config=configs)
@relaxed
def test_groups_that_mix_classes_stay_whole_and_no_class_leaves_a_training_part(data, config):
    rows = data.draw(
        st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc")), min_size=12, max_size=60)
    )
    groups, labels = zip(*rows, strict=True)
    n_groups = pd.DataFrame(rows).groupby(1)[0].nunique()
    assume(n_groups.min() >= 3)
    split = assign_folds(cohort(list(labels), [f"g{g}" for g in groups]), config)
    for repeat in range(config.n_repeats):
        assert (split.obs.groupby("patient")[f"fold_{repeat}"].nunique() == 1).all()
        assert ((table(split, repeat) > 0).sum() >= 2).all()


def test_patients_with_tumour_and_normal_tissue_give_both_to_each_test_part():
    patients = np.repeat([f"p{i}" for i in range(13)], 2)
    split = assign_folds(cohort(np.tile(["tumour", "normal"], 13), patients), SplitConfig())
    assert (table(split) >= 2).all(axis=None)


@given(order=st.permutations(range(30)), seed=st.integers(0, 100))
@relaxed
def test_the_order_of_rows_does_not_change_the_fold_of_a_sample(order, seed):
    """A cohort that is sorted in another way must give the same models."""
    adata = cohort(["x"] * 12 + ["y"] * 18, [f"p{i // 2}" for i in range(30)])
    config = SplitConfig(n_splits=3, n_repeats=2, seed=seed)
    columns = ["fold_0", "fold_1", "split"]
    expected = assign_folds(adata, config).obs[columns]
    actual = assign_folds(adata[list(order)].copy(), config).obs[columns]
    pd.testing.assert_frame_equal(actual.loc[expected.index], expected)


def test_the_seed_and_the_repeat_change_the_folds_and_nothing_else_does():
    adata = cohort(["x"] * 20 + ["y"] * 30)
    config = SplitConfig(n_repeats=2, seed=7)
    first, again = assign_folds(adata, config), assign_folds(adata, config)
    pd.testing.assert_frame_equal(first.obs, again.obs)
    assert (first.obs["fold_0"] != first.obs["fold_1"]).any()
    other = assign_folds(adata, SplitConfig(seed=8))
    assert (first.obs["fold_0"] != other.obs["fold_0"]).any()


def test_every_sample_can_land_in_the_held_out_part():
    """Samples that no seed ever tests would be a bias nobody sees."""
    adata = cohort(["x"] * 7 + ["y"] * 8, [f"p{i}" for i in range(10) for _ in range(1 + i % 2)])
    tested = [assign_folds(adata, SplitConfig(n_splits=3, seed=s)).obs["split"] for s in range(40)]
    assert (pd.concat(tested, axis=1) == "test").any(axis=1).all()


def test_uneven_groups_are_stratified_at_least_as_well_as_by_scikit_learn():
    ours, theirs = [], []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        size = rng.integers(1, 6, 40)
        groups = np.repeat([f"g{i:02d}" for i in range(40)], size)
        labels = np.repeat(rng.permutation(["a"] * 24 + ["b"] * 10 + ["c"] * 6), size)
        counts = table(assign_folds(cohort(labels, groups), SplitConfig(n_splits=4, seed=seed)))
        ours.append((counts.std() / counts.mean()).mean())
        folds = StratifiedGroupKFold(4, shuffle=True, random_state=seed).split(
            labels, labels, groups
        )
        counts = pd.DataFrame([pd.Series(labels[test]).value_counts() for _, test in folds]).fillna(
            0
        )
        theirs.append((counts.std() / counts.mean()).mean())
    assert np.mean(ours) <= np.mean(theirs)


def test_a_class_too_small_for_the_folds_lowers_them_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        split = assign_folds(cohort(["common"] * 30 + ["rare"] * 4), SplitConfig(n_splits=5))
    assert "4 folds instead of 5: class 'rare' has only 4 samples" in caplog.text
    assert split.obs["fold_0"].nunique() == 4


def test_a_class_below_three_stops_with_the_numbers():
    with pytest.raises(InputError, match=r"'rare' of column 'condition' has 2 samples.*common 30"):
        assign_folds(cohort(["common"] * 30 + ["rare"] * 2), SplitConfig())


def test_with_groups_it_is_the_groups_of_a_class_that_count():
    labels = ["common"] * 30 + ["rare"] * 8
    groups = [f"p{i}" for i in range(30)] + ["q0", "q1"] * 4
    with pytest.raises(InputError, match=r"'rare' .* has 2 groups of 'patient'"):
        assign_folds(cohort(labels, groups), SplitConfig())


@pytest.mark.parametrize(("n_splits", "n_groups"), [(2, 8), (3, 8), (4, 7)])
def test_each_class_is_in_each_test_part_wherever_a_search_of_all_deals_finds_a_way(
    n_splits, n_groups
):
    deals = np.array(list(product(range(n_splits), repeat=n_groups)))
    in_fold = (deals[:, :, None] == np.arange(n_splits)).astype(np.int8)  # (n_deals, groups, folds)
    n_possible = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        sizes = rng.poisson(rng.uniform(0.3, 1.2, 3), (n_groups, 3))  # rows of 3 classes
        if (sizes > 0).sum(axis=0).min() < max(3, n_splits) or not sizes.any(axis=1).all():
            continue
        present = np.einsum("dgf,gc->dfc", in_fold, (sizes > 0).astype(np.int8))
        if not (present > 0).all(axis=(1, 2)).any():
            continue
        n_possible += 1
        group, label = np.nonzero(sizes)
        rows = np.repeat(np.arange(len(group)), sizes[group, label])
        labels = np.array(["a", "b", "c"])[label[rows]]
        adata = cohort(labels, [f"g{g}" for g in group[rows]])
        split = assign_folds(adata, SplitConfig(n_splits=n_splits))
        assert (table(split) > 0).all(axis=None)
    assert n_possible > 10


def test_a_deal_that_leaves_a_test_part_without_a_class_is_dealt_again():
    """Eight patients with up to four of five tissues each: one deal in two misses some tissue."""
    held = ["cd", "ade", "abc", "e", "acd", "ae", "abce", "abde"]
    labels = [tissue for tissues in held for tissue in tissues]
    groups = [f"g{i}" for i, tissues in enumerate(held) for _ in tissues]
    split = assign_folds(cohort(labels, groups), SplitConfig(n_splits=3, n_repeats=8))
    assert all((table(split, repeat) > 0).all(axis=None) for repeat in range(8))


def test_groups_that_allow_no_split_are_an_error():
    """On the Fano plane, each two-colouring of the points leaves some line in one colour."""
    lines = ["012", "034", "056", "135", "146", "236", "245"]
    labels, points = zip(
        *[(f"line{i}", p) for i, line in enumerate(lines) for p in line], strict=True
    )
    with pytest.raises(InputError, match=r"has class line\d.* in every training part"):
        assign_folds(cohort(list(labels), list(points)), SplitConfig(n_splits=2))


def test_samples_of_unknown_patient_are_not_one_patient():
    labels = ["a", "b"] * 10
    groups = [np.nan, ""] * 8 + ["p1", "p1", "p1", "p1"]
    split = assign_folds(cohort(labels, groups), SplitConfig(n_splits=4))
    assert (table(split) > 0).all(axis=None)
    assert split.obs.loc[split.obs["patient"] == "p1", "fold_0"].nunique() == 1


@pytest.mark.parametrize("unknown", [np.nan, ""])
def test_unlabelled_samples_are_dealt_without_counting_as_a_class(unknown):
    split = assign_folds(cohort(["a", "b"] * 10 + [unknown] * 2), SplitConfig(n_splits=5))
    assert split.obs["fold_0"].nunique() == 5
    assert split.obs["fold_0"].iloc[-2:].nunique() == 2


def test_the_input_is_left_alone_and_older_folds_are_replaced():
    adata = cohort(["a", "b"] * 10)
    before = adata.copy()
    many = assign_folds(adata, SplitConfig(n_repeats=3))
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert "split" not in adata.obs
    few = assign_folds(many, SplitConfig(n_repeats=1))
    assert [c for c in few.obs if c.startswith("fold_")] == ["fold_0"]
    assert "fold_2" in many.obs


def test_fold_parts_gives_disjoint_parts_that_make_the_whole():
    adata = assign_folds(cohort(["a", "b"] * 10), SplitConfig(n_repeats=2))
    train, test = fold_parts(adata, fold=3, repeat=1)
    assert set(train.obs_names) | set(test.obs_names) == set(adata.obs_names)
    assert not set(train.obs_names) & set(test.obs_names)
    assert (test.obs["fold_1"] == 3).all()
    assert not train.is_view


def test_a_few_shot_split_trains_on_so_many_of_each_class_and_tests_on_the_rest():
    """Proportions by largest remainder, another draw in each repeat; train rows in no test fold."""
    data = cohort(np.repeat(["a", "b", "c"], [60, 30, 10]))
    split = assign_folds(data, SplitConfig(train_size=40, n_repeats=3))
    for repeat in range(3):
        counts = table(split, repeat)
        assert counts.loc[-1].to_dict() == {"a": 24, "b": 12, "c": 4}
        assert counts.loc[0].to_dict() == {"a": 36, "b": 18, "c": 6}
        assert folds_to_test(split, repeat) == [0]
    assert not (split.obs["fold_0"] == split.obs["fold_1"]).all()
    assert (split.obs["split"] == "train").sum() == 40


def test_a_few_shot_split_keeps_groups_whole():
    groups = np.repeat(np.arange(40), 3)
    data = cohort(np.repeat(["a", "b"], [60, 60]), groups.astype(str))
    split = assign_folds(data, SplitConfig(train_size=30))
    assert (split.obs.groupby("patient")["fold_0"].nunique() == 1).all()
    assert (split.obs["fold_0"] == -1).sum() == 30


@pytest.mark.parametrize(
    ("train_size", "message"),
    [(100, "leaves no sample to test on"), (90, "leaves none of class c")],
)
def test_a_few_shot_split_that_leaves_nothing_to_test_is_refused(train_size, message):
    data = cohort(np.repeat(["a", "b", "c"], [60, 37, 3]))
    with pytest.raises(InputError, match=message):
        assign_folds(data, SplitConfig(train_size=train_size))


def test_one_tested_fold_leaves_the_others_to_every_training_part():
    data = cohort(np.repeat(["a", "b"], [60, 40]), [f"p{i // 4}" for i in range(100)])
    every, one = (assign_folds(data, SplitConfig(n_tested_folds=n)) for n in (None, 1))
    assert folds_to_test(one, 0) == [0]
    assert (one.obs["split"] == every.obs["split"]).all()  # the same held-out part
    assert (one.obs["fold_0"] == every.obs["fold_0"].where(every.obs["fold_0"] == 0, -1)).all()
    assert (one.obs.groupby("patient")["fold_0"].nunique() == 1).all()
    two = assign_folds(data, SplitConfig(n_tested_folds=2, n_repeats=2))
    assert folds_to_test(two, 1) == [0, 1]
    more = assign_folds(data, SplitConfig(n_tested_folds=9))
    pd.testing.assert_frame_equal(more.obs, every.obs)


def test_a_hundred_thousand_cells_are_dealt_in_seconds():
    """One group a cell; the deal itself is a loop, and takes a second or two."""
    labels = np.random.default_rng(0).choice(["a", "b", "c"], 114_600, p=[0.9, 0.09, 0.01])
    start = time.process_time()
    split = assign_folds(cohort(labels), SplitConfig())
    assert time.process_time() - start < 20
    counts = table(split)
    assert (counts.max() - counts.min() <= 1).all()


def grouped(groups: list[int]) -> AnnData:
    obs = pd.DataFrame({"twin": groups}, index=[f"c{i}" for i in range(len(groups))])
    return AnnData(np.zeros((len(groups), 1)), obs=obs, uns={UNS: {"group_key": "twin"}})


def test_groups_stay_together_where_there_are_enough():
    groups = np.repeat(np.arange(100), 3)
    aside = set_aside(grouped(groups.tolist()), 0.1, seed=0)
    assert aside.sum() == 30
    assert pd.Series(aside).groupby(groups).nunique().max() == 1
    other = set_aside(grouped(groups.tolist()), 0.1, seed=1)
    assert (aside != other).any()


def test_few_groups_are_divided_and_nothing_may_be_asked_for():
    few = grouped(np.repeat(np.arange(4), 50).tolist())
    aside = set_aside(few, 0.1, seed=0)
    assert aside.sum() == 20
    assert not set_aside(few, 0.0, seed=0).any()
    assert set_aside(grouped([0, 1]), 0.1, seed=0).sum() == 1
    assert not set_aside(grouped([0]), 0.1, seed=0).any()


def test_no_more_rows_are_set_aside_than_tell_much(monkeypatch):
    monkeypatch.setattr(splits, "MOST_ASIDE", 30)
    assert set_aside(grouped(list(range(1000))), 0.1, seed=0).sum() == 30
    assert set_aside(grouped(list(range(100))), 0.1, seed=0).sum() == 10
