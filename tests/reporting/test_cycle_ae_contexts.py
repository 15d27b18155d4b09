"""Contexts in words: shares of heads, who tells generated cells, donors, and fields alike."""

import math

import context_tables as tables
import numpy as np
import pandas as pd
import pytest

from synthome.reporting.cycle_ae_contexts import (
    claims_answer,
    claims_table,
    contexts_answer,
    contexts_table,
    effects_answer,
    fields_answer,
    heads_table,
    likelihood_words,
)

NOTHING = (pd.DataFrame(), tables.empty(tables.contexts()))


def test_heads_are_told_by_their_share_and_small_ones_left_out():
    heads = tables.heads()
    small = (heads["head"] == "cell_type × assay") & (heads["group"] == "all")
    answer = effects_answer(heads.assign(variance_share=heads["variance_share"].mask(small, 0.001)),
                            tables.planted())  # fmt: skip
    assert "made up of: base 10 %, cell_type 60 %, assay 28 %." in answer
    assert "signed heads find the sign of 100 % of genes (100 % of lowered ones)" in answer
    assert "the published model finds the sign of 40 % of genes (20 % of lowered ones)" in answer


def test_what_was_not_planted_or_not_read_is_said():
    assert effects_answer(tables.heads(), tables.empty(tables.planted())).endswith(
        "Planted effects are known in simulated cells alone; these are not."
    )
    assert "the published model has no signed heads" in effects_answer(
        pd.DataFrame(), tables.planted()
    )
    assert heads_table(pd.DataFrame()) is None


def test_a_judge_that_training_never_saw_has_the_last_word():
    assert "as surely as real ones (95 % against 96 %" in contexts_answer(tables.contexts())
    fooled = contexts_answer(tables.contexts(generated=0.6))
    assert "less surely than real ones (60 % against 96 %" in fooled
    assert "though the classifier of training is satisfied (99 %)" in fooled


def test_a_field_that_real_cells_do_not_show_judges_nothing():
    """50 % of generated cells named rightly would else look as good as 52 % of real ones."""
    table = tables.contexts(generated=0.5).assign(independent_accuracy=0.52)
    assert "hardly told even in real cells (52 %, guessing 50 %)" in contexts_answer(table)
    assert "as surely as real ones" not in contexts_answer(table)


def test_a_badly_calibrated_classifier_and_a_state_that_tells_are_said():
    leaky = contexts_answer(tables.contexts(state=0.9, error=0.2))
    assert "badly calibrated for assay (error 0.20)" in leaky
    assert "The state still tells assay (90 %, guessing 50 %, principal components 90 %)" in leaky
    fine = contexts_answer(tables.contexts(state=0.55))
    assert "calibrated" not in fine
    assert "still tells" not in fine


def test_the_cycle_is_no_proof_of_counterfactual_cells():
    answer = contexts_answer(tables.contexts())
    assert "loses at most 2 % of what its state adds" in answer
    assert answer.endswith("says nothing of counterfactual cells.")


@pytest.mark.parametrize("nothing", NOTHING, ids=["no columns", "no rows"])
def test_contexts_that_nobody_told_are_said_to_be_unknown(nothing):
    assert contexts_answer(nothing).startswith("It is not known whether generated cells")
    assert contexts_table(nothing) is None


def test_unknown_accuracies_are_no_success():
    table = tables.contexts().assign(generated_independent=np.nan, cycle_error=np.nan)
    answer = contexts_answer(table)
    assert "assay: it could not be judged." in answer
    assert "nan" not in answer + contexts_table(table).to_string()


def test_effects_that_donors_explain_are_not_built_upon():
    assert "no larger than donors differ by chance" in claims_answer(tables.claims())
    assert "nothing should be built" in claims_answer(tables.claims())
    assert "are larger than donors differ (p = 0.010" in claims_answer(tables.claims(0.01))
    assert "none was named" in claims_answer(tables.empty(tables.claims()))
    assert "could not be tested" in claims_answer(tables.claims(np.nan))
    assert claims_table(tables.empty(tables.claims())) is None
    assert claims_table(tables.claims())["p, corrected"].tolist() == ["0.400"]


def test_an_effect_that_correction_takes_away_is_neither_claimed_nor_called_chance():
    """Few permutations of donors leave no room for many fields: that is not a finding of none."""
    near = tables.claims(0.1).assign(p_value=0.025)
    assert "(p = 0.025), but not among all fields that were tested (p = 0.100" in claims_answer(
        near
    )
    assert "by chance" not in claims_answer(near)


def test_fields_that_cannot_be_told_apart_are_named():
    """That each donor has one sex is as it must be; that each sex has one donor is not."""
    pair = {"a": "sex", "b": "site", "cramers_v": 1.0, "determined": "sex by site"}
    fields = {"fields": [{"name": "sex"}, {"name": "site"}], "confounding": [pair]}
    assert "sex and site cannot be told apart (sex by site)" in fields_answer(fields)
    near = pair | {"cramers_v": 0.93, "determined": ""}
    assert "sex and site nearly always go together (Cramér's V 0.93)" in fields_answer(
        fields | {"confounding": [near]}
    )
    donor = {"a": "sex", "b": "donor", "cramers_v": 1.0, "determined": "sex by donor"}
    assert fields_answer(fields | {"confounding": [donor]}) == (
        "No two fields go together so much that they could not be told apart."
    )
    one = donor | {"determined": "sex by donor and donor by sex"}
    assert "sex and donor cannot be told apart" in fields_answer(fields | {"confounding": [one]})


def test_nothing_is_said_of_fields_that_were_not_described():
    assert "were not described" in fields_answer({})
    left = {"name": "sex", "used": False, "why": "all cells have the same category, 'F'"}
    answer = fields_answer({"fields": [{"name": "cell_type"}, left], "confounding": []})
    assert answer.startswith("sex was left out: all cells have the same category, 'F'.")
    assert answer.endswith("There is one field only, so that there is nothing to tell it apart "
                           "from.")  # fmt: skip


@pytest.mark.parametrize(
    ("nll", "alone", "words"),
    [
        (900.0, 950.0, "read from the cell itself."),
        (960.0, 950.0, "The state explains nothing beyond contexts."),
        (900.0, 1210.0, "Contexts alone explain nothing that holds for other cells."),
        (math.nan, 950.0, "could not be computed."),
    ],
)
def test_a_likelihood_that_is_no_better_is_said_to_be_none(nll, alone, words):
    scores = {"nll": nll, "contexts_nll": alone, "null_nll": 1200.0, "n_cells": 300}
    assert likelihood_words(scores).endswith(words)


def test_a_model_without_likelihood_says_so():
    assert likelihood_words({}).startswith("Counts have no law under the published model")
