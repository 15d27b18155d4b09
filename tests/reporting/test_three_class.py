import pandas as pd
import pytest
from perturbation_tables import DOSES, accuracy_rows, confusion_rows

from synthome.reporting.three_class import (
    accuracy_table,
    protocol_words,
    row_of,
    shared_dose,
    three_class_answer,
    usual_dose,
)


def set_to(table, representation, values, classifier=None):
    """The same table with other accuracies of one representation."""
    chosen = table["representation"] == representation
    if classifier:
        chosen &= table["classifier"] == classifier
    table.loc[chosen, "accuracy"] = values
    table.loc[chosen, "low"] = table.loc[chosen, "accuracy"] - 0.03
    table.loc[chosen, "high"] = table.loc[chosen, "accuracy"] + 0.03
    return table


def test_the_first_dose_better_than_guessing_is_the_first_whose_interval_is():
    text = three_class_answer(accuracy_rows())
    assert "better than by guessing (33 %) from 2 × on." in text
    wide = three_class_answer(accuracy_rows(half=0.6))
    assert "cannot be told apart from the latents at any dose, up to 10 ×" in wide


def test_the_latents_stand_beside_the_others_at_the_usual_dose():
    text = three_class_answer(accuracy_rows())
    assert (
        "At 2 × the latents put 43 % [40, 46] of the rows right; the signature score 58 %, "
        "principal components 43 % and all genes 63 %." in text
    )


def test_the_signature_score_is_said_to_win_where_it_does():
    text = three_class_answer(accuracy_rows())
    assert "The two-number signature score does clearly better than all latents at 4 of 6" in text
    assert "not the detector to use" in text
    every = three_class_answer(accuracy_rows(half=0.001))
    assert "clearly better than all latents at every dose" in every
    best = set_to(accuracy_rows(), "latents", 0.99)
    assert "The latents do clearly better than the two-number signature score at every" in (
        three_class_answer(best)
    )
    same = set_to(accuracy_rows(), "latents", 0.7)
    same = set_to(same, "signature", 0.69)
    assert "there is no clear winner" in three_class_answer(same)


def test_the_contrast_is_compared_with_all_genes():
    assert "come within 2 % of all genes together, at every dose" in (
        three_class_answer(accuracy_rows())
    )
    worse = set_to(accuracy_rows(), "latents+contrast", [0.41, 0.5, 0.55, 0.77, 0.87, 0.95])
    assert "stay 8 points below all genes together at 2 ×." in three_class_answer(worse)


@pytest.mark.parametrize(
    ("lift", "end"),
    [
        (0.12, "it flatters by 12 points."),
        (-0.12, "it does not flatter here but costs 12 points, since twins mislead."),
        (0.06, "it flatters by 6 points."),
        (0.035, "a difference within chance, so that it does not flatter here."),
        (0.02, "a difference within chance, so that it does not flatter here."),
    ],
)
def test_whether_the_published_protocol_flatters_is_computed(lift, end):
    """Half widths of 3 points on both sides: a difference above 4.2 points is one."""
    both = pd.concat([accuracy_rows(), accuracy_rows("published", lift)])
    words = protocol_words(both[both["dose"].isin([5.0])])
    assert words.endswith(end)
    assert "at 5 × where the strict one has 72 %" in words
    assert words in three_class_answer(both[both["dose"] == 5.0])
    assert protocol_words(accuracy_rows()) == ""


def test_the_published_accuracy_is_reached_or_not():
    assert (
        "The published 91 %, whose factor was not published, is reached at no dose up to 10 × "
        "under the strict protocol." in three_class_answer(accuracy_rows())
    )
    both = pd.concat([accuracy_rows(), accuracy_rows("published", 0.12)])
    assert (
        "is reached at no dose up to 10 × under the strict protocol and from 10 × on under the "
        "published protocol." in three_class_answer(both)
    )
    high = set_to(accuracy_rows(), "latents", [0.4, 0.5, 0.6, 0.8, 0.92, 0.95], "network")
    assert "is reached from 5 × on under the strict protocol." in three_class_answer(high)


def test_the_table_has_a_row_per_protocol_and_representation_and_a_column_per_dose():
    published = accuracy_rows("published", 0.1)
    table = accuracy_table(pd.concat([published[published["dose"] == 5.0], accuracy_rows()]))
    assert table.columns.tolist()[2:] == [f"{dose:g} ×" for dose in DOSES]
    assert table["Protocol"].tolist() == ["strict"] * 7 + ["published"] * 7
    assert table.loc[0, "2 ×"] == "43 % [40, 46]"
    assert table.loc[7, "2 ×"] == "–"
    assert table.loc[1, "What is looked at"] == "Latents alone, published network"


def test_doses_that_are_shown():
    table = accuracy_rows()
    assert usual_dose(table) == 2.0
    assert usual_dose(table[table["dose"] > 2]) == 3.0
    both = pd.concat([confusion_rows(), confusion_rows("published", doses=(5.0,))])
    assert shared_dose(both) == 5.0
    apart = pd.concat([confusion_rows(doses=(2.0,)), confusion_rows("published", doses=(5.0,))])
    assert shared_dose(apart) == 2.0
    assert shared_dose(confusion_rows().drop(columns="protocol")) == 2.0
    assert row_of(table, "latents", 2.0)["accuracy"] == 0.43
    assert row_of(table, "latents", 2.5) is None
