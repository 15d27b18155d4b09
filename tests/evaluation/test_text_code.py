import numpy as np
import pytest
from signature_cohort import cohort

from synthome.anndata_schema import absent, labels
from synthome.evaluation.text_code import TextCodeConfig, read_patients, text_code
from synthome.models.omics_lm import OmicsLMConfig, OmicsLMGenerator

CONFIG = TextCodeConfig(precisions=(3, 8), n_permutations=49)


@pytest.fixture(scope="module")
def prepared():
    adata = cohort()
    adata.obs["split"] = np.where(np.arange(60) < 45, "train", "test")
    return adata


@pytest.fixture(scope="module")
def model(prepared):
    config = {
        "n_genes": 12,
        "class_size": 60,
        "network": {"n_hidden": 32, "n_layers": 1, "n_heads": 2, "n_key_heads": 2,
                    "n_feedforward": 32},
        "training": {"max_epochs": 1, "warmup_steps": 2},
    }  # fmt: skip
    train = prepared[prepared.obs["split"] == "train"].copy()
    return OmicsLMGenerator(OmicsLMConfig.model_validate(config)).fit(train)


def test_the_code_is_measured_on_held_out_patients(model, prepared):
    curve, facts = text_code(model, prepared, CONFIG)
    assert facts["decode_r2"] > 0.9998
    assert facts["clipped_train"] == facts["clipped_test"] == 0.0
    assert (facts["n_train"], facts["n_test"], facts["n_texts"]) == (45, 15, 60)
    assert facts["text_length"] == 13
    published = curve[curve["setting"] == "published"]
    assert (published["clipped_test"] > 0.2).all()
    uncoded = curve[curve["setting"] == "uncoded"]["accuracy"].item()
    assert uncoded > 0.9
    assert facts["mantel_p"] <= 1.0
    assert facts["published_r_independent"] > 0.15


def test_few_texts_are_compared_where_there_are_many(model, prepared):
    _, facts = text_code(model, prepared, CONFIG.model_copy(update={"max_texts": 20}))
    assert facts["n_texts"] == 20


def test_patients_are_read_by_number_and_never_by_name(model, prepared):
    external = cohort(n=9, seed=3)
    table = read_patients(model, prepared, external)
    assert table["part"].value_counts().to_dict() == {"test": 15, "external": 9}
    assert table.loc[table["part"] == "test", "row"].tolist() == list(range(45, 60))
    assert (table.loc[table["part"] == "external", "true"] == labels(external)).all()
    np.testing.assert_allclose(table[list("ABC")].sum(axis=1), 1.0)
    np.testing.assert_allclose(table["confidence"], table[list("ABC")].max(axis=1))
    assert not table.astype(str).isin(prepared.obs_names).to_numpy().any()
    assert set(read_patients(model, prepared, absent())["part"]) == {"test"}


def test_a_patient_without_a_label_is_read_too(model, prepared):
    some = prepared.copy()
    some.obs.loc[some.obs_names[50], "label"] = np.nan
    table = read_patients(model, some, absent())
    assert table.loc[table["part"] == "unlabelled", "row"].tolist() == [50]
    assert (table.loc[table["part"] == "unlabelled", "true"] == "").all()
