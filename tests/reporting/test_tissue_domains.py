import numpy as np
import pytest
from scipy import stats
from tissue_tables import ARMS, domain_scores, spots

from synthome.reporting.tissue_domains import (
    domains_answer,
    internal_answer,
    labels_answer,
    mean_interval,
    ours,
    scores_table,
    with_interval,
)


def test_the_interval_is_that_of_t():
    values = np.array([0.5, 0.6, 0.58, 0.55])
    mean, (low, high) = mean_interval(values)
    expected = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert (mean, low, high) == pytest.approx((values.mean(), *expected))


def test_one_value_has_no_interval_and_none_is_a_dash():
    assert with_interval(np.array([0.5])) == "0.50"
    assert with_interval(np.empty(0)) == "–"


def test_the_model_itself_is_the_true_image_and_without_one_none():
    assert set(ours(domain_scores())["arm"]) == {"real"}
    assert set(ours(domain_scores(("none",)))["arm"]) == {"none"}
    assert ours(domain_scores().iloc[:0, 2:]).empty


def test_the_number_found_and_the_number_estimated_are_said():
    said = domains_answer(spots(side=12), domain_scores())
    assert said.startswith("6 domains were found on 2 sections with 288 spots: domain 1 holds")
    assert "the number would be 5 (from 5 to 6 over trainings) instead" in said
    assert "as well" in domains_answer(spots(side=12), domain_scores().assign(k_estimated=6))


def test_one_domain_is_no_structure():
    table = spots(("a",), side=6).assign(domain="1", refined="1", estimated="1")
    said = domains_answer(table, domain_scores().iloc[:0])
    assert "no structure was found" in said
    assert "the number would be 1 as well" in said


def test_agreement_with_labels_is_over_seeds_and_sections_and_chose_nothing():
    said = labels_answer(spots(side=12), domain_scores())
    assert said.startswith("The domains follow the labels, which")
    assert "3 seeds × 2 sections" in said
    assert "never to choose" in said
    assert "Seeds of one section share its spots" in said
    low = domain_scores()
    for value, words in ((0.3, "follow in part"), (0.01, "do not follow")):
        said = labels_answer(spots(side=12), low.assign(ari=value))
        assert f"The domains {words} the labels" in said


def test_the_map_is_told_with_its_own_agreement():
    """By hand: two sections, one whose domains are the labels and one where they are not."""
    table = spots(side=12)
    table["label"] = table["label"].where(table["label"] != "", "L1")
    table["domain"] = table["label"]
    other = table["section"] == "151507"
    table.loc[other, "domain"] = "1"
    said = labels_answer(table, domain_scores())
    assert "by the vote of all 3 trainings: their ARI is 0.50." in said
    assert "by the vote of" not in labels_answer(table, domain_scores(seeds=(0,)))


def test_one_section_and_one_seed_say_what_they_cannot_tell():
    table = spots(("a",), side=12)
    assert "nothing about other tissue" in labels_answer(table, domain_scores(sections=("a",)))
    said = labels_answer(table, domain_scores(sections=("a",), seeds=(0,)))
    assert "there is no interval" in said


def test_only_sections_with_labels_are_counted():
    table = domain_scores()
    table.loc[table["section"] == "151507", "ari"] = np.nan
    assert "3 seeds × 1 section," in labels_answer(spots(side=12), table)


def test_without_labels_or_scores_it_is_not_known():
    said = labels_answer(spots(side=12, labelled=False), domain_scores(labelled=False))
    assert said.startswith("No spot has an anatomical label, so it is not known whether")
    said = labels_answer(spots(side=12), domain_scores(labelled=False))
    assert "no score against the labels was measured" in said


def test_internal_scores_are_named_as_such():
    assert "Internal scores, which ask no label" in internal_answer(domain_scores())
    assert "were not measured" in internal_answer(domain_scores().iloc[:0])
    rows = scores_table(domain_scores())["Score"].tolist()
    assert [name for name in rows if "internal" in name] == rows[-3:]


def test_the_table_has_the_mean_of_each_section():
    table = domain_scores(ARMS[:2])
    found = scores_table(table).set_index("Score")
    real = table[(table["arm"] == "real") & (table["section"] == "151507")]
    assert found.loc["NMI, domains", "151507"] == f"{real['nmi'].mean():.2f}"
    assert list(found) == ["Mean [95 % interval]", "151673", "151507"]
    assert list(scores_table(domain_scores(sections=("a",)))) == ["Score", "Mean [95 % interval]"]
    assert scores_table(table.iloc[:0]) is None
