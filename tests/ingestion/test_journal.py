import logging

from synthome.ingestion.journal import Journal, count, some


def test_a_step_counts_what_it_dropped():
    journal = Journal("cohort", 10, 200)
    journal.step("label", "left out", n_obs=7)
    journal.step("genes", "left out", n_vars=150)
    assert [(e["kept_samples"], e["dropped_samples"]) for e in journal.entries] == [(7, 3), (7, 0)]
    assert [(e["kept_genes"], e["dropped_genes"]) for e in journal.entries] == [(200, 0), (150, 50)]
    assert journal.losses() == "label: 3 dropped"


def test_what_reading_told_survives_as_text():
    first = Journal("cohort")
    first.start("read", "10 samples", 10, 5)
    later = Journal("cohort", 10, 5)
    later.resume({"reading": first.to_json()})
    assert later.entries == first.entries


def test_warnings_are_logged_as_such(caplog):
    journal = Journal("cohort", 1, 1)
    with caplog.at_level(logging.INFO, logger="synthome.ingestion"):
        journal.step("a", "plain")
        journal.step("b", "beware", warning=True)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "cohort: plain"),
        ("WARNING", "cohort: beware"),
    ]


def test_some_shows_a_few_and_counts_the_rest():
    assert some("abc") == "a, b, c"
    assert some("abcde") == "a, b, c and 2 more"
    assert count(1, "sample") == "1 sample"
    assert count(1200, "gene") == "1,200 genes"
