import pytest
from tissue_tables import DISCORDANCE, IMAGE, NO_DISCORDANCE, NO_GAIN, gain, image_gain, spots

from synthome.reporting.tissue_image import (
    discordance_answer,
    image_answer,
    image_table,
    image_words,
    number,
)


def test_a_gain_is_told_with_its_interval_pairs_and_best_control():
    said = image_answer(image_gain(), IMAGE)
    assert said.startswith("The image helped on this tissue")
    assert ("ARI of the domains +0.05 [+0.03, +0.07] against “coordinates alone”, 6 pairs, p 0.031"
            in said)  # fmt: skip
    assert "labels read from the image alone (balanced accuracy) +0.20" in said
    assert "48 numbers for each spot, from statistics of colour and texture" in said


def test_no_gain_is_an_expected_answer():
    said = image_answer(image_gain("does not help", ari=gain(-0.01, -0.03, 0.01, None)), IMAGE)
    assert "did not help on this tissue. That is an expected answer" in said
    assert "ARI of the domains −0.01 [−0.03, +0.01] against “coordinates alone”, 6 pairs;" in said


@pytest.mark.parametrize("verdict", ["cannot be told", "something new"])
def test_what_cannot_be_told_is_said(verdict):
    one = image_gain(verdict, ari=gain(low=float("nan"), high=float("nan"), n=1))
    said = image_answer(one, IMAGE)
    assert said.startswith("Whether the image helps on this tissue cannot be told")
    assert "+0.05 (no interval) against “coordinates alone”, 1 pair, p" in said


def test_not_tested_gives_its_reason_once():
    said = image_answer(NO_GAIN, {"kind": "none"})
    assert said == (
        "Whether the image helps on this tissue was not tested. The slide has no image. The model "
        "saw no image."
    )
    assert image_table(NO_GAIN) is None
    whole = NO_GAIN | {"reason": "The slide has no image."}
    assert image_answer(whole, {"kind": "none"}) == said
    assert image_words({"kind": "encoder"}).endswith("from an image encoder.")


def test_the_table_has_both_arms_and_their_difference():
    row = image_table(image_gain()).iloc[0]
    assert row.tolist() == [
        "ARI of the domains", "0.56", "0.51", "Coordinates alone", "+0.05 [+0.03, +0.07]", "6",
        "0.031",
    ]  # fmt: skip
    elbo = image_table({"scores": {"elbo": gain(1.2) | {"arms": {"real": -808.62}}}}).iloc[0]
    assert elbo["Image of this tissue"] == "−808.6"
    assert elbo["Best control"] == "–"


def test_disagreement_is_told_with_its_rate_and_its_null():
    table = spots(side=18)
    said = discordance_answer(DISCORDANCE, table)
    assert said.startswith("44 of 1,152 spots (3.8 %) disagree with the image at a false "
                           "discovery rate of 10 %.")  # fmt: skip
    assert "the image of another place of the section, taken at random" in said
    top = table.loc[table["disagrees"], "domain"].value_counts().index[0]
    assert f"lie in domain {top}." in said
    assert (
        "AUPRC 0.81, chance 0.04 (principal components without any training, judged alike: 0.72), "
        "and 7 % of the calls are false." in said
    )
    unknown = discordance_answer(DISCORDANCE | {"auprc_untrained": None}, table)
    assert "AUPRC 0.81, chance 0.04, and 7 % of the calls are false." in unknown
    assert "more than was allowed" in discordance_answer(
        DISCORDANCE | {"false_discovery_share": 0.2}, table
    )


def test_no_call_is_an_answer_and_unknown_truth_is_said():
    none = DISCORDANCE | {"n_flagged": 0, "auprc": None}
    said = discordance_answer(none, spots(side=6).assign(disagrees=False))
    assert said.startswith("None of 1,152 spots disagrees with the image")
    assert "is not known here" in said
    assert "lie in domain" not in said
    one = DISCORDANCE | {"n_flagged": 1}
    assert "1 of 1,152 spots (0.1 %) disagrees" in discordance_answer(one, spots(side=6))


def test_without_an_image_disagreement_is_not_tested():
    said = discordance_answer(NO_DISCORDANCE, spots(side=6, image=False))
    assert said == (
        "Whether counts disagree with the image anywhere was not tested. The slide has no image."
    )


def test_whatever_is_no_number_is_nan():
    assert number("3") == 3.0
    assert number(None) != number(None)
    assert number("x") != number("x")
