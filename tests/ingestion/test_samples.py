import numpy as np
import pandas as pd
import pytest

from synthome.errors import InputError
from synthome.ingestion.config import IngestionConfig
from synthome.ingestion.journal import Journal
from synthome.ingestion.samples import (
    check_classes,
    check_groups,
    choose_samples,
    hint_at_groups,
    rename_columns,
    require_column,
    truth_values,
)


def journal(n=10):
    return Journal("cohort", n, 5)


def classes(**sizes):
    return pd.Series([name for name, size in sizes.items() for _ in range(size)], dtype=object)


def test_an_unknown_column_lists_those_that_exist_nearest_first():
    obs = pd.DataFrame(columns=["age", "sex", "condition"])
    with pytest.raises(InputError, match=r"no column 'conditon'.*It has: condition, age, sex"):
        require_column(obs, "conditon", "label")


@pytest.mark.parametrize(
    "column",
    [
        [True, False, True],
        ["yes", "no", "YES"],
        ["true", "FALSE", "t"],
        [1, 0, 1],
        [1.0, 0.0, 1.0],
        ["1", "0", "y"],
        ["yes", None, "yes"],
        [1.0, np.nan, 1.0],
    ],
)
def test_where_understands_the_usual_words(column):
    assert truth_values(pd.Series(column), "use").tolist() == [True, False, True]


def test_where_on_a_column_of_other_words_is_refused():
    with pytest.raises(InputError, match="needs a column of true and false.*tumour"):
        truth_values(pd.Series(["tumour", "normal"]), "tissue")


def test_where_that_is_never_true_is_refused():
    obs = pd.DataFrame({"use": [False, False]})
    with pytest.raises(InputError, match="true in none of the 2 samples"):
        choose_samples(obs, IngestionConfig(where="use"), None, journal(2))


def test_where_and_missing_labels_are_counted():
    obs = pd.DataFrame({"use": ["yes", "yes", None, "no"], "condition": ["a", "", "b", "c"]})
    log = journal(4)
    kept, labels = choose_samples(obs, IngestionConfig(where="use"), "condition", log)
    assert kept.tolist() == [0]
    assert labels.tolist() == ["a"]
    assert [(e["step"], e["dropped_samples"]) for e in log.entries] == [("where", 2), ("label", 1)]
    assert "1 without a value count as false" in log.entries[0]["why"]


def test_unlabelled_samples_may_stay():
    obs = pd.DataFrame({"condition": ["a", None, "b"]})
    kept, labels = choose_samples(
        obs, IngestionConfig(keep_unlabelled=True), "condition", journal()
    )
    assert kept.tolist() == [0, 1, 2]
    assert labels.tolist() == ["a", "", "b"]


def test_an_empty_label_column_is_refused():
    with pytest.raises(InputError, match="'condition' is empty in all 2 samples"):
        choose_samples(
            pd.DataFrame({"condition": [None, ""]}), IngestionConfig(), "condition", journal()
        )


def test_classes_are_counted_largest_first():
    assert list(check_classes(classes(b=3, a=5), "x", 3, journal()).items()) == [("a", 5), ("b", 3)]


def test_one_class_is_refused_with_what_was_lost_before():
    log = journal(12)
    log.step("where", "kept", n_obs=8)
    with pytest.raises(
        InputError, match=r"one class only, 'ill' with 8 samples .*where: 4 dropped"
    ):
        check_classes(classes(ill=8), "condition", 3, log)


def test_a_small_class_is_refused_with_the_numbers():
    with pytest.raises(
        InputError, match=r"at least 3 samples, but 'cms' has: CMS1 2.*CMS2 9, CMS1 2"
    ):
        check_classes(classes(CMS1=2, CMS2=9), "cms", 3, journal())


def test_a_measurement_is_no_label():
    with pytest.raises(InputError, match=r"'age' has 30 different numbers \(is it a measurement"):
        check_classes(pd.Series([str(i % 30) for i in range(120)]), "age", 3, journal())


def test_an_id_is_no_label():
    with pytest.raises(InputError, match=r"'name' has 30 different values \(is it an id"):
        check_classes(pd.Series([f"P{i}" for i in range(30)]), "name", 3, journal())


def test_classes_that_differ_in_case_only_are_told():
    log = journal()
    check_classes(classes(Control=3, control=3, ill=4), "x", 3, log)
    assert log.entries[0]["warning"]
    assert "'Control' and 'control'" in log.entries[0]["why"]


def test_a_sample_without_a_group_is_a_group_of_its_own():
    obs = pd.DataFrame({"patient": ["a", "a", None, None]}, index=list("wxyz"))
    log = journal()
    groups = check_groups(obs, "patient", log)
    assert groups.nunique() == 3
    assert groups["y"] != groups["z"]
    assert "2 samples without a value" in log.entries[0]["why"]
    assert "alone" not in str(log.entries)


def test_an_empty_group_column_is_refused():
    with pytest.raises(InputError, match="group column 'patient' is empty"):
        check_groups(pd.DataFrame({"patient": [None, None]}), "patient", journal())


@pytest.mark.parametrize("name", ["patient_id", "Donor", "SubjectID", "twin_pair"])
def test_persons_that_repeat_are_pointed_at(name):
    """Without a group, one person's samples end in training and in test."""
    log = journal()
    hint_at_groups(pd.DataFrame({name: ["a", "a", "b", "b", "c", "c"]}), log)
    assert log.entries[0]["warning"]
    assert f"--params=group={name}" in log.entries[0]["why"]


@pytest.mark.parametrize("column", [list("abcdef"), ["x", "x", "x", "y", "y", "y"]])
def test_persons_that_do_not_repeat_need_no_hint(column):
    log = journal()
    hint_at_groups(pd.DataFrame({"patient_id": column}), log)
    assert log.entries == []


def test_columns_that_cannot_keep_their_name_get_another():
    """synthome writes split itself; h5ad knows no slash, no empty name, and no _index."""
    obs = pd.DataFrame(
        [range(8)],
        columns=["split", "fold_0", "fold_change", "wild/mutant", "", "_index", " age ", "unnamed"],
    )
    log = journal()
    found, renamed = rename_columns(obs, log)
    assert list(found.columns) == [
        "split_sheet", "fold_0_sheet", "fold_change", "wild_mutant", "unnamed_", "_index_sheet",
        "age", "unnamed",
    ]  # fmt: skip
    assert renamed["wild/mutant"] == "wild_mutant"
    assert "'split' is now 'split_sheet'" in log.entries[0]["why"]
    assert obs.columns[0] == "split"


def test_usual_columns_keep_their_names():
    log = journal()
    obs = pd.DataFrame(columns=["condition", "age (years)", "Größe", "label"])
    assert rename_columns(obs, log)[1] == {}
    assert log.entries == []
