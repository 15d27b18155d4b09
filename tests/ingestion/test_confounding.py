import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats.contingency import association

from synthome.ingestion.confounding import combos, confounding, contingency, cramers_v
from synthome.ingestion.journal import Journal

TABLES = st.integers(2, 5).flatmap(
    lambda k: st.lists(
        st.lists(st.integers(1, 40), min_size=k, max_size=k), min_size=2, max_size=5
    ).map(np.array)
)


def drawn(n: int, r: int, k: int, seed: int) -> tuple[pd.Series, pd.Series]:
    rng = np.random.default_rng(seed)
    return pd.Series(rng.integers(r, size=n)), pd.Series(rng.integers(k, size=n))


def words(obs: pd.DataFrame, fields: list[str], donor: str | None = None) -> list[str]:
    journal = Journal("cells")
    confounding(obs, fields, donor, journal)
    assert all(entry["warning"] for entry in journal.entries)
    return [entry["why"] for entry in journal.entries]


@settings(deadline=None, max_examples=50)
@given(table=TABLES)
def test_v_is_that_of_scipy_after_the_correction_of_bergsma(table):
    """SciPy gives V without the correction; his eqs. 2-4 are applied to it one by one."""
    n, (r, k) = table.sum(), table.shape
    phi2 = association(table, method="cramer") ** 2 * min(r - 1, k - 1)
    less = max(0, phi2 - (r - 1) * (k - 1) / (n - 1))
    rows, columns = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    expected = np.sqrt(less / (min(rows, columns) - 1))
    assert cramers_v(table) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_v_of_unrelated_columns_is_about_zero_where_that_of_scipy_is_not():
    """Many categories and few cells: without the correction anything looks confounded."""
    tables = [contingency(*drawn(100, 5, 8, seed)) for seed in range(100)]
    assert np.mean([association(t, method="cramer") for t in tables]) > 0.2
    squares = [cramers_v(t) ** 2 for t in tables]
    assert np.mean(squares) < 0.01


def test_v_is_one_exactly_for_the_same_variable_under_another_name():
    a = pd.Series(list("xxyyyzzzz") * 3)
    assert cramers_v(contingency(a, a.str.upper())) == pytest.approx(1, abs=1e-12)


def test_v_says_nothing_of_a_column_of_one_category_or_of_ids():
    assert np.isnan(cramers_v(np.array([[4, 5]])))
    assert np.isnan(cramers_v(np.eye(6, dtype=int)))
    assert np.isnan(cramers_v(np.array([[1]])))


def test_a_contingency_table_is_that_of_pandas():
    a, b = drawn(60, 3, 4, 1)
    expected = pd.crosstab(a, b)
    np.testing.assert_array_equal(
        contingency(a, b), expected.loc[a.unique(), b.unique()].to_numpy()
    )


OBS = pd.DataFrame(
    {
        "kind": list("abab") * 6,
        "subkind": ["a1", "b1", "a2", "b1"] * 6,
        "sex": ["F"] * 12 + ["M"] * 12,
        "donor": ["d1"] * 6 + ["d2"] * 6 + ["d3"] * 6 + ["d4"] * 6,
    }
)


def test_each_pair_of_fields_and_each_field_with_the_donor_is_looked_at_once():
    found = confounding(OBS, ["kind", "subkind", "sex"], "donor", Journal("cells"))
    assert {(pair["a"], pair["b"]): pair["determined"] for pair in found} == {
        ("kind", "subkind"): "kind by subkind",
        ("kind", "sex"): "",
        ("subkind", "sex"): "",
        ("kind", "donor"): "",
        ("subkind", "donor"): "",
        ("sex", "donor"): "sex by donor",
    }
    v = {(pair["a"], pair["b"]): pair["cramers_v"] for pair in found}
    assert v["kind", "sex"] == 0
    assert v["sex", "donor"] == pytest.approx(np.sqrt(20 / 22))  # (n - k) / (n - r), from eqs. 2-4


def test_a_field_in_another_is_warned_of_and_a_sex_of_donors_is_not():
    """Donors have one sex each, in all studies; that says nothing against the study."""
    (told,) = words(OBS, ["kind", "subkind", "sex"], "donor")
    assert told.startswith(
        "kind and subkind cannot be told apart: each category of subkind comes with one category "
        "of kind"
    )


def test_a_sex_that_is_a_donor_is_warned_of():
    """With one woman and one man, nobody knows which of the two a difference comes from."""
    (told,) = words(OBS.assign(donor=OBS["sex"].str.lower()), ["kind", "sex"], "donor")
    assert told.startswith("sex and donor cannot be told apart: each category of one comes with")
    (told,) = words(OBS.assign(site=OBS["donor"] + "x", donor=OBS["sex"]), ["site"], "donor")
    assert "each category of site comes with one category of donor" in told


def test_a_donor_that_is_a_field_or_alone_is_no_second_partner():
    assert len(confounding(OBS, ["kind", "donor"], "donor", Journal(""))) == 1
    assert confounding(OBS.assign(donor="d1"), ["kind"], "donor", Journal("")) == []
    assert confounding(OBS, ["kind"], None, Journal("")) == []


def test_combinations_present_are_counted_among_those_possible():
    found = combos(OBS.iloc[:-5], ["subkind", "sex"])
    assert (found["present"], found["possible"]) == (6, 6)
    expected = OBS.iloc[:-5].groupby(["subkind", "sex"]).size()
    assert found["smallest"]["n_obs"] == expected.min()
    at = tuple(found["smallest"]["categories"].values())
    assert expected[at] == expected.min()
    assert combos(OBS, ["kind", "subkind"])["present"] == 3
    assert combos(OBS, ["kind", "subkind"])["possible"] == 6
    assert combos(OBS, ["kind"])["smallest"]["categories"].keys() == {"kind"}
