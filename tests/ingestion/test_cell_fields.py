import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from synthome.errors import InputError
from synthome.ingestion.cell_fields import (
    describe_fields,
    fill_fields,
    named_fields,
    report_fields,
    with_fields,
)
from synthome.ingestion.config import CellsConfig
from synthome.ingestion.journal import Journal

N = 120
SOURCE = {"label_key": "kind", "field_keys": np.array(["kind", "assay"])}


def sheet(**columns) -> pd.DataFrame:
    obs = pd.DataFrame(
        {
            "kind": np.array(["T", "B", "NK"])[np.arange(N) % 3],
            "sex": np.array(["F", "M"])[np.arange(N) // 60],
            "age": np.arange(N) // 2,
            "site": "here",
        }
    )
    return obs.set_axis([f"c{i}" for i in range(N)]).assign(**columns)


def gaps(values: pd.Series, n: int) -> pd.Series:
    return values.astype(object).mask(np.arange(N) < n)


@pytest.mark.parametrize(
    ("choices", "given", "label", "fields"),
    [
        ({}, {}, None, []),
        ({"cell_type": "kind"}, {}, "kind", []),
        ({"fields": "sex+age"}, {}, "sex", ["sex", "age"]),
        ({"fields": "sex+kind", "cell_type": "kind"}, {}, "kind", ["kind", "sex"]),
        ({"fields": "sex", "cell_type": "kind"}, {}, "kind", ["kind", "sex"]),
        ({"fields": "sex+sex"}, {}, "sex", ["sex"]),
        ({}, SOURCE, "kind", ["kind", "assay"]),
        ({"fields": "sex"}, SOURCE, "sex", ["sex"]),
        ({"cell_type": "sex"}, SOURCE, "sex", ["sex", "kind", "assay"]),
        ({}, {"field_keys": ["assay", "kind"]}, "assay", ["assay", "kind"]),
        ({}, {"label_key": "kind"}, "kind", []),
        ({"fields": "sex"}, {"label_key": "kind"}, "sex", ["sex"]),
        ({}, {"label_key": ""}, None, []),
    ],
)
def test_the_person_comes_before_the_source_and_the_label_first(choices, given, label, fields):
    config = named_fields(CellsConfig(**choices), given)
    assert (config.cell_type, config.fields) == (label, fields)


def kept_of(obs: pd.DataFrame, fields: str, kept=None, **choices):
    journal = Journal("cells", len(obs), row="cell")
    kept = np.ones(len(obs), dtype=bool) if kept is None else kept
    config = CellsConfig(fields=fields, **choices)
    return *with_fields(obs, config, kept, journal), [e["why"] for e in journal.entries]


def test_cells_without_a_value_are_left_out_when_the_person_says_so():
    obs = sheet()
    obs["sex"], obs["kind"] = gaps(obs["sex"], 5), gaps(obs["kind"], 7)
    kept, n_missing, told = kept_of(obs, "sex+kind", missing="drop")
    np.testing.assert_array_equal(kept, np.arange(N) >= 7)
    assert n_missing == {"sex": 5, "kind": 7}
    assert told == [
        "5 cells without a value in 'sex' left out", "7 cells without a value in 'kind' left out",
    ]  # fmt: skip


def test_cells_without_a_value_get_a_category_of_their_own_otherwise():
    obs = sheet()
    obs["sex"] = gaps(obs["sex"], 1)
    kept, n_missing, told = kept_of(obs, "sex+kind")
    assert kept.all()
    assert n_missing == {"sex": 1, "kind": 0}
    assert told == ["1 cell without a value in 'sex': their category is 'missing'"]
    fill_fields(obs, ["sex", "age"])
    assert obs["sex"].tolist()[:2] == ["missing", "F"]
    assert obs["age"].tolist()[:3] == ["0", "0", "1"]


def test_gaps_are_counted_among_the_cells_kept_so_far_and_no_cell_comes_back():
    obs = sheet()
    obs["sex"] = gaps(obs["sex"], 5)
    before = np.arange(N) >= 3
    kept, n_missing, _ = kept_of(obs, "sex", kept=before, missing="drop")
    np.testing.assert_array_equal(kept, np.arange(N) >= 5)
    assert n_missing == {"sex": 2}
    np.testing.assert_array_equal(before, np.arange(N) >= 3)  # the mask given is not changed


def test_a_field_that_cannot_be_used_is_an_error_that_says_what_to_do():
    obs = sheet(empty=None, id=[f"secret{i}" for i in range(N)], score=np.linspace(0, 1, N))
    with pytest.raises(InputError, match=r"no column 'assay' to use as fields. It has: .*kind"):
        kept_of(obs, "kind+assay")
    with pytest.raises(InputError, match="'empty' is empty in all cells. Leave it out of fields"):
        kept_of(obs, "empty")
    with pytest.raises(InputError, match="'score' has 120 different numbers.*Bin it"):
        kept_of(obs, "score")
    with pytest.raises(InputError, match="'id' has 120 different values in 120 cells") as error:
        kept_of(obs, "id")
    assert "secret" not in str(error.value)
    obs["sex"], obs["kind"] = gaps(obs["sex"], 60), obs["kind"].where(np.arange(N) < 60)
    with pytest.raises(InputError, match=r"No cell has a value in each of sex, kind.*missing=cat"):
        kept_of(obs, "sex+kind", missing="drop")


@pytest.mark.parametrize("stored", ["int64", "float64", "category"])
def test_numbers_are_categories_while_they_are_few(stored):
    """51 different ages are a measurement, 50 may be classes; h5ad stores either as categories."""
    few, many = sheet(age=np.arange(N) % 50), sheet(age=np.arange(N) % 51)
    kept_of(few.astype({"age": stored}), "age")
    with pytest.raises(InputError, match="'age' has 51 different numbers, more than 50"):
        kept_of(many.astype({"age": stored}), "age")
    kept_of(many.assign(age=many["age"].astype(str)), "age")  # names of clusters, perhaps


def test_categories_that_only_other_cells_have_are_not_counted():
    """An atlas remembers all ages; the cells asked for are of one clinic."""
    obs = sheet(age=pd.Categorical(np.where(np.arange(N) < 60, np.arange(N), 7)))
    kept_of(obs, "age", kept=np.arange(N) >= 58)
    with pytest.raises(InputError, match="60 different numbers"):
        kept_of(obs, "age")


def test_a_field_of_one_category_is_told_and_left_out():
    journal = Journal("cells")
    used, report = report_fields(sheet(), ["kind", "site"], {"kind": 2}, None, journal)
    assert used == ["kind"]
    kind, site = report["fields"]
    assert kind == {
        "name": "kind",
        "categories": {"T": 40, "B": 40, "NK": 40},
        "n_missing": 2,
        "used": True,
        "why": "3 categories",
    }
    assert (site["used"], site["categories"]) == (False, {"here": N})
    assert site["why"] == "all cells have the same category, 'here'"
    assert report["combinations"]["possible"] == 3
    assert report["confounding"] == []
    (entry,) = journal.entries
    assert entry["why"].startswith("the field 'site' is left out: all cells have the same")
    assert entry["warning"]


def test_without_named_fields_the_label_is_described():
    """A cohort without fields still has the vocabulary of one: its types."""
    cohort = AnnData(obs=sheet(), uns={"synthome": {"label_key": "kind", "group_key": "sex"}})
    described = describe_fields(cohort, {"label": "kind"})
    assert [field["name"] for field in described["fields"]] == ["kind"]
    assert [(pair["a"], pair["b"]) for pair in described["confounding"]] == [("kind", "sex")]
    known = {key: ["as reported"] for key in (*described, "other")}
    assert describe_fields(cohort, known).keys() == described.keys()
    assert describe_fields(cohort, known)["fields"] == ["as reported"]
