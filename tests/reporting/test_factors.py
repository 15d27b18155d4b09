import pytest
from perturbation_tables import enrichment_rows, loading_rows, response_rows

from synthome.reporting.factors import factors_answer, factors_table

NAMES = {"down": "down", "up": "up"}


@pytest.fixture(scope="module")
def loadings():
    return loading_rows()


def test_factors_that_come_back_are_listed_and_the_others_are_warned_of(loadings):
    text = factors_answer(loadings, response_rows(), enrichment_rows(), NAMES, 3)
    assert text.startswith(
        "Of 12 factors, 3 come back with another seed (mean r ≥ 0.8 between the loadings of 3 "
        "trainings): 0, 1 and 2. The others change with the seed: do not interpret them."
    )


def test_where_all_factors_come_back_no_others_are_warned_of(loadings):
    firm = loadings.assign(factor_stability=0.9)
    text = factors_answer(firm, response_rows(), enrichment_rows(), NAMES, 3)
    assert text.startswith("All 12 factors come back with another seed")
    assert "do not interpret" not in text


def test_without_stable_factors_none_is_to_be_interpreted(loadings):
    loose = loadings.assign(factor_stability=0.5)
    text = factors_answer(loose, response_rows(), enrichment_rows(), NAMES, 3)
    assert "None of 12 factors comes back" in text
    assert "single factors must not be interpreted" in text
    assert "It is not stable over seeds (0.50)." in text


def test_a_single_training_knows_nothing_of_stability(loadings):
    text = factors_answer(loadings, response_rows(), enrichment_rows(), NAMES, 1)
    assert text.startswith("The model was trained once")
    assert "stable" not in text


def test_the_factor_that_answers_is_named_with_its_genes_and_its_set(loadings):
    text = factors_answer(loadings, response_rows(), enrichment_rows(), NAMES, 3)
    assert (
        "To genes turned down, 1 of 12 factors answers (false discovery rate 0.05), most of all "
        "factor 0, which moves by 0.60 of its spread; its leading genes are −DOWN" in text
    )
    assert "DOWN5, all of which were changed; the genes that were turned down stand at one" in text
    assert "end of its loadings (AUC 0.98)." in text


def test_leading_genes_that_were_not_changed_are_told(loadings):
    none = loadings.assign(gene_sets="other; more")
    text = factors_answer(none, response_rows(), enrichment_rows(), NAMES, 3)
    assert text.count("none of which were changed") == 2
    some = loadings.assign(gene_sets=["x; up" if rank < 3 else "" for rank in loadings["rank"]])
    text = factors_answer(some, response_rows(), enrichment_rows(), NAMES, 3)
    assert "2 of which were changed" in text
    one = loadings.assign(gene_sets=["up" if rank == 1 else "" for rank in loadings["rank"]])
    text = factors_answer(one, response_rows(), enrichment_rows(), NAMES, 3)
    assert "one of which was changed" in text


def test_the_set_is_looked_up_under_its_own_name(loadings):
    other = enrichment_rows().replace({"gene_set": {"down": "ALS"}})
    text = factors_answer(loadings, response_rows(), other, {"down": "ALS", "up": "HD"}, 3)
    assert text.count("stand at one end") == 1
    assert "the genes that were turned down stand at one end" in text


def test_of_several_factors_that_answer_the_one_that_moves_most_is_named(loadings):
    answers = response_rows()
    answers.loc[(answers["condition"] == "up") & (answers["factor"] == 2), ["effect", "q"]] = (
        -0.3,
        0,
    )
    text = factors_answer(loadings, answers, enrichment_rows(), NAMES, 3)
    assert "To genes turned up, 2 of 12 factors answer (" in text
    assert "most of all factor 1, which moves by 0.80" in text
    answers.loc[(answers["condition"] == "up") & (answers["factor"] == 2), "effect"] = -0.9
    text = factors_answer(loadings, answers, enrichment_rows(), NAMES, 3)
    assert "most of all factor 2, which moves by 0.90" in text


def test_a_change_that_no_factor_answers_to_is_told(loadings):
    silent = response_rows().assign(q=0.5)
    text = factors_answer(loadings, silent, enrichment_rows(), NAMES, 3)
    assert "To genes turned up, none of 12 factors answers." in text


def test_the_table_begins_with_the_factor_that_answers_most(loadings):
    table = factors_table(loadings, response_rows(), n_factors=4)
    assert table["Factor"].tolist() == ["1", "0", "11", "10"]
    assert table.loc[0, "Effect, genes turned up"] == "+0.80 *"
    assert table.loc[1, "Effect, genes turned down"] == "−0.60 *"
    assert table.loc[0, "Stability"] == "0.90"
    assert table.loc[1, "Leading genes"].count("−DOWN") == 5
