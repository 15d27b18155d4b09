"""What the report says of the lists of genes that were changed."""

from perturbation_tables import gene_set_report

from synthome.reporting.gene_sets import gene_sets_answer, gene_sets_table


def test_what_was_found_and_what_is_expressed_is_said_of_each_list():
    text = gene_sets_answer(gene_set_report())
    assert (
        "Of down, 3 of 4 genes were found; 1 of them is in too few training cells: 2 were turned "
        "down. Of up, 3 of 3 genes were found: 3 were turned up." in text
    )
    assert "species" not in text
    assert "other" not in text


def test_names_that_match_in_another_case_alone_raise_the_question_of_the_species():
    sets = {
        name: {"n_given": 3, "n_found": 3, "found_by": {"in another case": 3}, "not_found": []}
        for name in ("down", "up")
    }
    assert "different species" in gene_sets_answer(gene_set_report(sets=sets))


def test_lists_that_nobody_gave_are_said_to_be_planted_or_random():
    random = gene_set_report(origin="random", sets={})
    assert "they stand for no disease. 2 genes were turned down (down)." in gene_sets_answer(random)
    assert gene_sets_table(random)["Given"].tolist() == [2, 3, 1]
    assert "planted" in gene_sets_answer(gene_set_report(origin="planted"))


def test_the_table_names_a_few_of_those_that_were_not_found():
    table = gene_sets_table(gene_set_report()).set_index("List")
    assert table.at["down", "How"] == "as written 2, in another case 1"
    assert table["What was done"].tolist() == ["turned down", "turned up", "nothing"]
    assert table["Kept"].tolist() == [2, 3, 1]
    assert table.at["other", "Not found"] == "N0, N1, N2, N3, N4, N5 and 23 more"
